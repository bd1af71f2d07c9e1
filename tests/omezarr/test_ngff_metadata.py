"""Where voxels lie in the world: the same place on every level and in the measured image."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.geometry import AxialMap
from isofield.measurement import measurement_matrix
from isofield.omezarr.metadata import (
    DisplayWindow,
    group_attributes,
    level_shapes,
    level_transforms,
    multiscale,
    omero,
)
from isofield.omezarr.pyramid import mean_2x2x2

sides = st.integers(1, 5000)


@given(st.tuples(sides, sides, sides), st.integers(1, 300))
def test_levels_halve_every_side_until_the_longest_is_short_enough(shape, min_vox):
    levels = level_shapes(shape, min_vox)
    assert levels[0] == shape
    assert max(levels[-1]) <= min_vox or levels[-1] == (1, 1, 1)
    assert all(max(level) > min_vox for level in levels[:-1])
    for k, level in enumerate(levels):
        # The voxels of a level reach the end of the volume, and none lies wholly outside it.
        assert all((n - 1) * 2**k < side <= n * 2**k for n, side in zip(level, shape, strict=True))


@pytest.mark.parametrize(("shape", "min_vox"), [((0, 5, 5), 64), ((5, 5, 5), 0)])
def test_levels_of_nothing_are_refused(shape, min_vox):
    with pytest.raises(ValueError, match="at least 1"):
        level_shapes(shape, min_vox)


def blob(shape, centre, sigma=4.0):
    """Gaussian spot at `centre`, in voxel edges from the array's corner: voxel i is centred at i + 0.5."""
    profiles = [np.exp(-0.5 * ((np.arange(n) + 0.5 - c) / sigma) ** 2) for n, c in zip(shape, centre, strict=True)]
    return np.einsum("i,j,k->ijk", *profiles)


def world_centroid(image, transforms):
    """Centre of mass in nm, read off an image with nothing but its NGFF transforms."""
    scale, translation = (np.array(t[t["type"]]) for t in transforms)
    indices = np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij", sparse=True)
    return np.array([(index * image).sum() / image.sum() for index in indices]) * scale + translation


centres = st.tuples(*[st.floats(24, 36)] * 3)
odd_or_even = st.tuples(*[st.integers(60, 67)] * 3)
origins = st.tuples(*[st.floats(0, 1e5)] * 3)


def centroids_by_level(shape, centre, origin_nm, transforms_of_level):
    image = blob(shape, centre)
    for level in range(3):
        yield world_centroid(image, transforms_of_level(level, origin_nm))
        image = mean_2x2x2(image)


@settings(max_examples=15)
@given(odd_or_even, centres, origins, st.floats(0.5, 500))
def test_a_point_has_one_world_position_on_every_level(shape, centre, origin_nm, voxel_size_nm):
    expected = np.array(origin_nm) + np.array(centre) * voxel_size_nm

    def transforms(level, origin_nm):
        return level_transforms([voxel_size_nm] * 3, level, origin_nm)

    for found in centroids_by_level(shape, centre, origin_nm, transforms):
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * voxel_size_nm)


def test_a_pyramid_with_scales_only_moves_the_point():
    """Negative control: one translation for all levels, as some writers have it, is up to 1.5 voxels off."""

    def scale_only(level, origin_nm):
        scale, _ = level_transforms([4.0] * 3, level, origin_nm)
        return [scale, level_transforms([4.0] * 3, 0, origin_nm)[1]]

    errors = [
        np.abs(found - np.array((30.3, 31.0, 29.2)) * 4).max() / 4
        for found in centroids_by_level((64, 64, 64), (30.3, 31.0, 29.2), (0, 0, 0), scale_only)
    ]
    np.testing.assert_allclose(errors, [0, 0.5, 1.5], atol=0.01)


@settings(max_examples=15)
@given(st.sampled_from(["4", "30/8", "250/46", "2"]), centres, origins)
def test_the_measured_image_lies_over_the_isotropic_one(ratio, centre, origin_nm):
    axial = AxialMap(Fraction(ratio), n_sections=int(64 / Fraction(ratio)))
    image = blob((axial.n_planes, 64, 64), centre)
    matrix = measurement_matrix(axial, range(axial.n_sections), 0, axial.n_planes)
    measured = np.tensordot(matrix, image, 1)
    dz = 8.0 * float(axial.ratio)
    expected = np.array(origin_nm) + np.array(centre) * 8.0
    for found in (
        world_centroid(measured, level_transforms((dz, 8.0, 8.0), 0, origin_nm)),
        world_centroid(image, level_transforms((8.0, 8.0, 8.0), 0, origin_nm)),
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * 8.0)
    # Negative control: section 0 placed where plane 0 is.
    wrong = world_centroid(
        measured,
        [
            {"type": "scale", "scale": (dz, 8.0, 8.0)},
            {"type": "translation", "translation": np.array(origin_nm) + 4.0},
        ],
    )
    assert abs(wrong[0] - expected[0]) > 0.1 * 8.0


def test_the_entry_has_what_the_specification_asks_for():
    entry = multiscale("isotropic", 3, (4.0, 4.0, 4.0), (100.0, 0.0, 8.0))
    assert [axis["name"] for axis in entry["axes"]] == ["z", "y", "x"]
    assert {(axis["type"], axis["unit"]) for axis in entry["axes"]} == {("space", "nanometer")}
    assert [dataset["path"] for dataset in entry["datasets"]] == ["0", "1", "2"]
    assert entry["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [8.0, 8.0, 8.0]},
        {"type": "translation", "translation": [104.0, 4.0, 12.0]},
    ]
    assert entry["name"] == "isotropic"
    assert entry["type"] == "mean"
    assert entry["metadata"]
    assert "type" not in multiscale("measured", 1, (40.0, 4.0, 4.0))


def test_attributes_hold_version_window_and_provenance_where_readers_look():
    window = DisplayWindow(0, 255, 10.5, 200)
    attributes = group_attributes("a", 1, (1, 1, 1), window=window, provenance={"config": {"seed": 1}})
    assert attributes["ome"]["version"] == "0.5"
    assert "version" not in attributes["ome"]["multiscales"][0]
    assert attributes["ome"]["omero"] == omero("a", window)
    assert attributes["ome"]["omero"]["channels"] == [
        {
            "label": "a",
            "color": "FFFFFF",
            "active": True,
            "window": {"min": 0, "max": 255, "start": 10.5, "end": 200},
        }
    ]
    assert attributes["isofield"] == {"config": {"seed": 1}}
    assert "omero" not in group_attributes("a", 1, (1, 1, 1))["ome"]


@pytest.mark.parametrize("limits", [(0, 255, 200, 10), (0, 255, 10, 10), (20, 255, 10, 100), (0, 90, 10, 100)])
def test_a_window_that_shows_nothing_is_refused(limits):
    with pytest.raises(ValueError, match="min <= start < end <= max"):
        DisplayWindow(*limits)
