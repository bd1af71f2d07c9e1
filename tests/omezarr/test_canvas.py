"""Creating the image: complete at once, kept when equal, else replaced; independent readers accept it."""

from __future__ import annotations

import json
import os
import warnings

import numpy as np
import ome_zarr_models.v05
import pydantic
import pytest
import yaozarrs
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import create_canvas, set_provenance
from isofield.omezarr.metadata import DisplayWindow
from isofield.omezarr.pyramid import downsample_shard
from isofield.omezarr.reading import read_region
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import level_shape, shard_path, shard_rois, write_shard

SPEC = OutputSpec(chunk_vox=8, shard_vox=16, pyramid_min_vox=8)
SHAPE = (20, 33, 16)
FIRST = Roi((0, 0, 0), (16, 16, 16))


def create(path, shape=SHAPE, dtype="uint16", spec=SPEC, **kwargs):
    return create_canvas(path, shape, dtype, spec, **{"voxel_size_nm": (4.0, 4.0, 4.0), **kwargs})


@pytest.fixture
def image(tmp_path):
    """A finished image of random voxels, and those voxels."""
    path = tmp_path / "isotropic.ome.zarr"
    create(path, origin_nm=(100.0, 0.0, 8.0))
    truth = np.random.default_rng(0).integers(0, 4000, SHAPE).astype("uint16")
    for roi in shard_rois(SHAPE, 16):
        write_shard(path, 0, roi, truth[roi.slices])
    for level in (1, 2, 3):
        for roi in shard_rois(level_shape(path, level), 16):
            downsample_shard(path, level, roi)
    set_provenance(path, {"version": "0.1.0"}, DisplayWindow(0, 4095, 10, 3990))
    return path, truth


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_independent_validators_accept_it(image):
    path, _ = image
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yaozarrs.validate_zarr_store(str(path))
        ome_zarr_models.v05.Image.from_zarr(zarr.open_group(str(path), mode="r"))


def test_validators_reject_it_without_dimension_names(image):
    path, _ = image
    document = json.loads((path / "1" / "zarr.json").read_text())
    del document["dimension_names"]
    (path / "1" / "zarr.json").write_text(json.dumps(document))
    with pytest.warns(UserWarning, match="dimension_names"):
        yaozarrs.validate_zarr_store(str(path))
    with pytest.raises(pydantic.ValidationError, match="dimension"):
        ome_zarr_models.v05.Image.from_zarr(zarr.open_group(str(path), mode="r"))


def test_it_opens_with_ome_zarr_py(image):
    path, truth = image
    node = next(iter(Reader(parse_url(str(path)))()))
    assert [level.shape for level in node.data] == [(20, 33, 16), (10, 17, 8), (5, 9, 4), (3, 5, 2)]
    np.testing.assert_array_equal(node.data[0].compute(), truth)
    assert node.metadata["coordinateTransformations"][1][1]["translation"] == [104.0, 4.0, 12.0]
    assert node.metadata["contrast_limits"] == [[10, 3990]]


def test_it_opens_with_tensorstore(image):
    tensorstore = pytest.importorskip("tensorstore", reason="tensorstore is not installed")
    path, truth = image
    kvstore = {"driver": "file", "path": f"{path}/0/"}
    array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result()
    assert array.domain.labels == ("z", "y", "x")
    np.testing.assert_array_equal(array.read().result(), truth)


def test_there_is_no_consolidated_metadata(image):
    path, _ = image
    assert "consolidated_metadata" not in json.loads((path / "zarr.json").read_text())


def test_a_measured_image_has_one_level_and_its_own_voxel_size(tmp_path):
    path = tmp_path / "measured.ome.zarr"
    create(path, voxel_size_nm=(40.0, 4.0, 4.0), name="measured", n_levels=1)
    ome = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    (dataset,) = ome["multiscales"][0]["datasets"]
    assert [t[t["type"]] for t in dataset["coordinateTransformations"]] == [
        [40.0, 4.0, 4.0],
        [20.0, 2.0, 2.0],
    ]
    assert sorted(os.listdir(path)) == ["0", "zarr.json"]
    yaozarrs.validate_zarr_store(str(path))


def test_an_equal_canvas_keeps_every_byte(image):
    path, _ = image
    before = contents(path)
    assert not create(path, origin_nm=(100.0, 0.0, 8.0))
    assert contents(path) == before
    assert os.listdir(path.parent) == [path.name]


def test_a_moved_canvas_keeps_its_voxels_and_its_provenance(image):
    path, truth = image
    assert not create(path, origin_nm=(0.0, 0.0, 0.0))
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    dataset = attributes["ome"]["multiscales"][0]["datasets"][0]
    assert dataset["coordinateTransformations"][1]["translation"] == [2.0, 2.0, 2.0]
    assert attributes["isofield"] == {"version": "0.1.0"}
    np.testing.assert_array_equal(read_region(path, 0, Roi((0, 0, 0), SHAPE)), truth)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (20, 33, 17)},
        {"dtype": "uint8"},
        {"spec": SPEC.model_copy(update={"chunk_vox": 16})},
        {"spec": SPEC.model_copy(update={"compression_level": 4})},
        {"spec": SPEC.model_copy(update={"pyramid_min_vox": 16})},
        {"n_levels": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_canvas_of_other_arrays_is_replaced_whole(image, change):
    path, _ = image
    assert create(path, **change)
    assert not (path / "0" / "c").exists()
    assert os.listdir(path.parent) == [path.name]
    fresh = path.with_name("fresh")
    create(fresh, **change)
    assert contents(path) == contents(fresh)


def test_the_same_arrays_spelt_differently_are_the_same(image):
    path, truth = image
    file = path / "0" / "zarr.json"
    document = json.loads(file.read_text())
    assert document.pop("storage_transformers") == []
    file.write_text(json.dumps(dict(sorted(document.items()))))
    assert not create(path, origin_nm=(100.0, 0.0, 8.0))
    np.testing.assert_array_equal(read_region(path, 0, FIRST), truth[FIRST.slices])


def test_something_else_at_the_path_is_left_alone(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    file = tmp_path / "file"
    file.write_text("mine")
    zarr.create_group(str(tmp_path / "foreign.zarr"), zarr_format=3)
    for path in (folder, file, tmp_path / "foreign.zarr"):
        with pytest.raises(InputError, match="Move it away"):
            create(path)
    assert (folder / "precious.txt").read_text() == file.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "foreign.zarr", "results"]


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    assert create(tmp_path)
    assert level_shape(tmp_path, 0) == SHAPE


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint64", "complex64", "bool"])
def test_dtypes_that_viewers_cannot_show_are_refused(tmp_path, dtype):
    with pytest.raises(InputError, match=f"{dtype}.*float32"):
        create(tmp_path / "a.zarr", dtype=dtype)
    assert os.listdir(tmp_path) == []


def test_provenance_is_replaced_and_the_rest_stays(image):
    path, _ = image
    before = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    set_provenance(path, {"voxels": np.int64(3), "shape": (1, 2)})
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    assert attributes == {"ome": before, "isofield": {"voxels": 3, "shape": [1, 2]}}


def test_a_canvas_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.zarr"):
        set_provenance(tmp_path / "a.zarr", {})
    with pytest.raises(InputError, match=r"a\.zarr/0.*creates the image"):
        shard_path(tmp_path / "a.zarr", 0, FIRST)
