"""The neuroglancer state: places, sources and what a link carries."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from isofield.report.neuroglancer import BASE, fragment, viewer_state, with_base


def state(**changes: object) -> dict:
    fixed = {"measured_url": f"{BASE}/measured.ome.zarr", "isotropic_url": f"{BASE}/isotropic.ome.zarr/"}
    return viewer_state(**(fixed | {"voxel_size_nm": 8.0, "shape": (100, 200, 300)} | changes))


def test_position_is_in_voxels_from_the_first_edge_in_x_y_z_order() -> None:
    placed = state(position_nm=(80.0, 160.0, 804.0))
    assert placed["position"] == [100.5, 20.0, 10.0]
    assert list(placed["dimensions"]) == ["x", "y", "z"]
    assert placed["dimensions"]["z"] == [pytest.approx(8e-9), "m"]
    assert state()["position"] == [150.0, 100.0, 50.0]


def test_each_image_has_a_panel_of_its_own_and_labels_wait_beside_the_result() -> None:
    made = state(maps={"error": (f"{BASE}/error.ome.zarr", 40)}, labels={"origin": f"{BASE}/isotropic.ome.zarr/labels/origin"})
    assert [layer["name"] for layer in made["layers"]] == ["measured", "isotropic", "error", "origin"]
    assert [layer["type"] for layer in made["layers"]] == ["image", "image", "image", "segmentation"]
    assert made["layers"][2]["shaderControls"]["contrast"]["range"] == [0, 40]
    assert "emitRGB" in made["layers"][2]["shader"]
    assert made["layers"][3]["visible"] is False
    assert made["layout"]["type"] == "row"
    assert [child["layers"] for child in made["layout"]["children"]] == [["measured"], ["isotropic", "origin"], ["error"]]
    assert made["crossSectionScale"] == pytest.approx(state()["crossSectionScale"] * 3 / 2, rel=1e-3), "panels are narrower"


def test_an_image_of_the_older_format_is_named_so_with_its_labels() -> None:
    made = state(labels={"origin": f"{BASE}/isotropic.ome.zarr/labels/origin"}, isotropic_format="zarr2")
    assert [layer["source"].rpartition("|")[2] for layer in made["layers"]] == ["zarr3:", "zarr2:", "zarr2:"]


def test_of_a_large_volume_what_lies_around_the_position_is_shown() -> None:
    wide = {"shape": (100, 200, 30_000), "extent_vox": 320}
    assert state(**wide)["crossSectionScale"] == pytest.approx(320 / 640)
    assert state(extent_vox=9000) == state()


def test_layers_have_contrast_controls_set_to_the_given_windows() -> None:
    measured, isotropic = state(windows={"measured": (10, 200)})["layers"]
    assert measured["shaderControls"]["contrast"]["range"] == [10, 200]
    assert "shaderControls" not in isotropic
    assert all("invlerp contrast" in layer["shader"] for layer in (measured, isotropic))


def test_base_is_filled_in_everywhere_and_only_there() -> None:
    made = state(measured_url="s3://bucket/measured")
    made["layers"].append({"type": "image", "name": "error", "source": {"url": f"{BASE}/error.zarr"}})
    filled = with_base(made, "http://127.0.0.1:1/")
    sources = [layer["source"] for layer in filled["layers"]]
    assert sources[0] == "s3://bucket/measured/|zarr3:"
    assert sources[1] == "http://127.0.0.1:1/isotropic.ome.zarr/|zarr3:"
    assert sources[2] == {"url": "http://127.0.0.1:1/error.zarr"}
    assert BASE not in json.dumps(filled)


def test_larger_volumes_are_shown_smaller() -> None:
    assert state(shape=(100, 200, 6000))["crossSectionScale"] == pytest.approx(20 * state()["crossSectionScale"], rel=1e-3)


def test_fragment_carries_the_state_unchanged() -> None:
    made = state(labels={'a "quoted" name, 50 % & #1 µm': "x"})
    text = fragment(made)
    assert text.startswith("#!")
    assert not set(' "<>#') & set(text[2:])
    assert json.loads(unquote(text[2:])) == made


def test_a_state_with_nan_is_refused_not_written_as_invalid_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        fragment(state(position_nm=(float("nan"), 0, 0)))
