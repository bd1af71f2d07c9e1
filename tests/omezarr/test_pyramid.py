"""Every level is the mean of the one above it, odd ends included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.pyramid import downsample_shard, mean_2x2x2
from isofield.omezarr.reading import read_region
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import level_shape, missing_shards, shard_path, shard_rois, write_shard

SPEC = OutputSpec(chunk_vox=8, shard_vox=16, pyramid_min_vox=8)


def mean_by_hand(fine):
    """Mean over the voxels that exist, one coarse voxel at a time."""
    coarse = np.empty([-(-n // 2) for n in fine.shape])
    for z, y, x in np.ndindex(coarse.shape):
        coarse[z, y, x] = fine[2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].astype(float).mean()
    return coarse


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**32 - 1))
def test_means_are_over_the_voxels_that_exist(shape, seed):
    fine = np.random.default_rng(seed).integers(0, 65536, shape).astype("uint16")
    before = fine.copy()
    np.testing.assert_array_equal(mean_2x2x2(fine), mean_by_hand(fine))
    np.testing.assert_array_equal(fine, before)


def test_padding_an_odd_end_with_zero_would_darken_it():
    """Negative control of the odd end."""
    fine = np.full((3, 3, 3), 100, "uint8")
    assert (mean_2x2x2(fine) == 100).all()
    assert not (mean_2x2x2(np.pad(fine, (0, 1))) == 100).all()


def build(path, truth):
    create_canvas(path, truth.shape, truth.dtype, SPEC, voxel_size_nm=(4, 4, 4))
    for roi in shard_rois(truth.shape, 16):
        write_shard(path, 0, roi, truth[roi.slices])


@pytest.mark.parametrize(("shape", "dtype"), [((35, 70, 33), "uint16"), ((16, 70, 32), "uint8"), ((3, 70, 17), "float32")])
def test_every_level_is_the_mean_of_the_one_above(tmp_path, shape, dtype):
    truth = np.random.default_rng(0).normal(100, 30, shape).astype(dtype)
    build(tmp_path / "a", truth)
    fine = truth
    for level in range(1, 5):
        coarse_shape = level_shape(tmp_path / "a", level)
        for roi in reversed(shard_rois(coarse_shape, 16)):
            downsample_shard(tmp_path / "a", level, roi)
        assert missing_shards(tmp_path / "a", level) == []
        coarse = read_region(tmp_path / "a", level, Roi((0, 0, 0), coarse_shape))
        expected = mean_by_hand(fine)
        if dtype == "float32":
            np.testing.assert_array_equal(coarse, expected.astype("float32"))
        else:
            np.testing.assert_array_equal(coarse, np.rint(expected))
        fine = coarse
    assert max(coarse_shape) <= 8


def test_a_tall_shard_is_computed_in_slabs_that_do_not_show(tmp_path):
    spec = OutputSpec(chunk_vox=8, shard_vox=128)
    truth = np.random.default_rng(0).integers(0, 65536, (145, 9, 10)).astype("uint16")
    create_canvas(tmp_path / "a", truth.shape, "uint16", spec, voxel_size_nm=(4, 4, 4))
    for roi in shard_rois(truth.shape, 128):
        write_shard(tmp_path / "a", 0, roi, truth[roi.slices])
    whole = Roi((0, 0, 0), (73, 5, 5))
    downsample_shard(tmp_path / "a", 1, whole)
    np.testing.assert_array_equal(read_region(tmp_path / "a", 1, whole), np.rint(mean_by_hand(truth)))


def test_a_bright_level_does_not_wrap(tmp_path):
    build(tmp_path / "a", np.full((16, 16, 20), 65535, "uint16"))
    downsample_shard(tmp_path / "a", 1, Roi((0, 0, 0), (8, 8, 10)))
    assert (read_region(tmp_path / "a", 1, Roi((0, 0, 0), (8, 8, 10))) == 65535).all()


def test_downsampling_twice_gives_the_same_bytes(tmp_path):
    build(tmp_path / "a", np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype("uint8"))
    roi = Roi((0, 0, 0), (10, 10, 10))
    file = shard_path(tmp_path / "a", 1, roi)
    downsample_shard(tmp_path / "a", 1, roi)
    first = file.read_bytes()
    file.write_bytes(first[:100])
    downsample_shard(tmp_path / "a", 1, roi)
    assert file.read_bytes() == first


def test_a_missing_or_damaged_source_shard_stops_the_level(tmp_path):
    build(tmp_path / "a", np.ones((20, 20, 20), "uint8"))
    roi, source = Roi((0, 0, 0), (10, 10, 10)), shard_path(tmp_path / "a", 0, Roi((16, 0, 0), (4, 16, 16)))
    whole = source.read_bytes()
    source.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="damaged"):
        downsample_shard(tmp_path / "a", 1, roi)
    source.unlink()
    with pytest.raises(InputError, match="not been written"):
        downsample_shard(tmp_path / "a", 1, roi)
    assert missing_shards(tmp_path / "a", 1) == [roi]
    source.write_bytes(whole)
    downsample_shard(tmp_path / "a", 1, roi)


def test_level_zero_and_partial_shards_are_refused(tmp_path):
    build(tmp_path / "a", np.ones((20, 20, 20), "uint8"))
    with pytest.raises(ValueError, match="level 0"):
        downsample_shard(tmp_path / "a", 0, Roi((0, 0, 0), (16, 16, 16)))
    with pytest.raises(ValueError, match="not one whole shard"):
        downsample_shard(tmp_path / "a", 1, Roi((0, 0, 0), (10, 10, 8)))
