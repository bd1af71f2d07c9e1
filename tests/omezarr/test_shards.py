"""One shard, one file, written whole or missing; damage is noticed on reading and healed by writing."""

from __future__ import annotations

import os

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.reading import read_region
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import missing_shards, shard_path, shard_rois, write_shard

SPEC = OutputSpec(chunk_vox=8, shard_vox=16)
SHAPE = (20, 33, 16)
ROIS = shard_rois(SHAPE, 16)
CORNER = ROIS[-1]  # 4 x 1 x 16 voxels, far less than a shard
TRUTH = np.random.default_rng(0).integers(1, 4000, SHAPE).astype("uint16")


@pytest.fixture
def canvas(tmp_path):
    path = tmp_path / "a.ome.zarr"
    create_canvas(path, SHAPE, "uint16", SPEC, voxel_size_nm=(4, 4, 4))
    return path


@pytest.fixture
def full(canvas):
    for roi in ROIS:
        write_shard(canvas, 0, roi, TRUTH[roi.slices])
    return canvas


@settings(max_examples=50)
@given(st.tuples(*[st.integers(1, 40)] * 3), st.integers(4, 17))
def test_shards_partition_the_volume_in_c_order(shape, side):
    counts = np.zeros(shape, int)
    rois = shard_rois(shape, side)
    for roi in rois:
        counts[roi.slices] += 1
    assert (counts == 1).all()
    assert rois == sorted(rois)
    assert all(offset % side == 0 for roi in rois for offset in roi.offset)


def test_zarr_reads_what_was_written(full):
    np.testing.assert_array_equal(zarr.open_array(str(full / "0"), mode="r")[...], TRUTH)


@pytest.mark.parametrize(
    "roi",
    [
        Roi((0, 0, 0), SHAPE),
        Roi((3, 15, 1), (15, 18, 2)),
        Roi((16, 32, 0), (4, 1, 16)),
        Roi((5, 5, 5), (0, 2, 2)),
    ],
)
def test_any_region_reads_back(full, roi):
    np.testing.assert_array_equal(read_region(full, 0, roi), TRUTH[roi.slices])


def test_a_region_beyond_the_level_is_refused(full):
    with pytest.raises(ValueError, match="leaves level 0"):
        read_region(full, 0, Roi((0, 0, 0), (21, 1, 1)))
    with pytest.raises(ValueError, match="leaves level 0"):
        read_region(full, 0, Roi((-1, 0, 0), (4, 1, 1)))


@pytest.mark.parametrize(
    "roi",
    [
        Roi((0, 0, 0), (16, 16, 8)),  # part of a shard
        Roi((0, 0, 0), (20, 16, 16)),  # one and a bit
        Roi((0, 0, 0), (16, 32, 16)),  # two shards
        Roi((8, 0, 0), (12, 16, 16)),  # not on the lattice
        Roi((16, 0, 0), (16, 16, 16)),  # not clipped at the end of the volume
        Roi((32, 0, 0), (16, 16, 16)),  # outside
        Roi((-16, 0, 0), (16, 16, 16)),
        Roi((0, 0, 0), (0, 16, 16)),
    ],
)
def test_only_whole_shards_are_written(canvas, roi):
    with pytest.raises(ValueError, match="not one whole shard"):
        write_shard(canvas, 0, roi, np.ones(roi.shape, "uint16"))
    with pytest.raises(ValueError, match="not one whole shard"):
        shard_path(canvas, 0, roi)
    assert missing_shards(canvas, 0) == ROIS


@pytest.mark.parametrize("block", [np.ones((16, 16, 16), "float32"), np.ones((16, 16, 15), "uint16"), np.uint16(1)])
def test_a_block_of_another_shape_or_dtype_is_refused(canvas, block):
    with pytest.raises(ValueError, match="takes"):
        write_shard(canvas, 0, ROIS[0], block)
    assert missing_shards(canvas, 0) == ROIS


def test_an_all_zero_shard_is_there_and_a_missing_one_is_not(canvas):
    write_shard(canvas, 0, ROIS[0], np.zeros((16, 16, 16), "uint16"))
    assert shard_path(canvas, 0, ROIS[0]).stat().st_size > 0
    assert missing_shards(canvas, 0) == ROIS[1:]
    assert not read_region(canvas, 0, ROIS[0]).any()
    both = Roi((0, 0, 0), (16, 17, 16))
    with pytest.raises(InputError, match=r"0/c/0/1/0.*not been written"):
        read_region(canvas, 0, both)
    assert not read_region(canvas, 0, both, fill_missing=True).any()
    # Negative control: written the plain way, zero is indistinguishable from missing.
    zarr.open_array(str(canvas / "0"), mode="r+")[:16, 16:32] = 0
    assert not shard_path(canvas, 0, ROIS[1]).exists()


@pytest.mark.parametrize("roi", [ROIS[0], CORNER], ids=["inner", "corner"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_shard_is_noticed_and_healed(full, roi, kept):
    file = shard_path(full, 0, roi)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"damaged.*Delete it"):
        read_region(full, 0, roi)
    if kept and roi is CORNER:
        # Negative control: written the plain way, an edge shard is read first and fails for ever.
        with pytest.raises(ValueError, match="checksum"):
            zarr.open_array(str(full / "0"), mode="r+")[roi.slices] = TRUTH[roi.slices]
    write_shard(full, 0, roi, TRUTH[roi.slices])
    assert file.read_bytes() == whole
    np.testing.assert_array_equal(read_region(full, 0, Roi((0, 0, 0), SHAPE)), TRUTH)


def test_the_old_shard_is_not_even_opened(full):
    """The old shard is a dangling link, which only a rename can replace."""
    file = shard_path(full, 0, CORNER)
    whole = file.read_bytes()
    file.unlink()
    file.symlink_to("/nonexistent/shard")
    write_shard(full, 0, CORNER, TRUTH[CORNER.slices])
    assert not file.is_symlink()
    assert file.read_bytes() == whole


def test_a_flipped_bit_never_gives_a_wrong_voxel(full):
    roi = ROIS[0]
    file = shard_path(full, 0, roi)
    whole = file.read_bytes()
    noticed = 0
    rng = np.random.default_rng(1)
    for position in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read_region(full, 0, roi), TRUTH[roi.slices])
        except InputError:
            noticed += 1
    assert noticed > 50


def test_equal_voxels_are_equal_bytes(full, tmp_path):
    other = tmp_path / "b.ome.zarr"
    create_canvas(other, SHAPE, "uint16", SPEC, voxel_size_nm=(4, 4, 4))
    for roi in reversed(ROIS):
        # Neither memory layout nor the order of shards may show.
        write_shard(other, 0, roi, np.asfortranarray(TRUTH[roi.slices]))
        write_shard(full, 0, roi, TRUTH[roi.slices])
    for roi in ROIS:
        assert shard_path(full, 0, roi).read_bytes() == shard_path(other, 0, roi).read_bytes()
    write_shard(other, 0, ROIS[0], TRUTH[ROIS[0].slices] + np.uint16(1))
    assert shard_path(full, 0, ROIS[0]).read_bytes() != shard_path(other, 0, ROIS[0]).read_bytes()


def test_a_shard_leaves_nothing_beside_itself(full):
    files = [os.path.relpath(f, full / "0" / "c") for f in (full / "0" / "c").rglob("*") if f.is_file()]
    assert sorted(files) == [f"{z}/{y}/0" for z in range(2) for y in range(3)]
