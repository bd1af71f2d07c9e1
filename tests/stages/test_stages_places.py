"""Where the report looks: at structure, not at rims and not at nothing; and at the worst block."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isofield.geometry import ZYX, Roi
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.pyramid import downsample_shard
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import level_shape, shard_rois, write_shard
from isofield.stages import places
from isofield.stages.places import box_around, most_structure, worst_block

SHAPE = ZYX(32, 64, 96)
WHOLE = Roi(ZYX(0, 0, 0), SHAPE)
MIN_VOX = 24


def image_of(folder: Path, values: np.ndarray) -> Path:
    path = folder / "image.ome.zarr"
    spec = OutputSpec(chunk_vox=16, shard_vox=32, pyramid_min_vox=MIN_VOX)
    create_canvas(path, values.shape, values.dtype, spec, voxel_size_nm=(8, 8, 8))
    for level in range(3):
        for roi in shard_rois(level_shape(path, level), 32):
            if level:
                downsample_shard(path, level, roi)
            else:
                write_shard(path, 0, roi, np.ascontiguousarray(values[roi.slices]))
    return path


@pytest.fixture(params=[2**24, 2**14, 1])
def level(request, monkeypatch) -> int:
    """Looked at from the finest level, from a coarser one, and from the coarsest there is."""
    monkeypatch.setattr(places, "MAX_SEEN_VOX", request.param)
    return request.param


def test_the_place_with_most_structure_is_found_beside_a_rim_that_is_brighter(tmp_path, level):
    values = np.full(SHAPE, 100, np.uint8)
    values[:, :, :10] = 0  # the rim of the specimen: the strongest edge there is
    texture = np.repeat(np.repeat(np.repeat(np.random.default_rng(0).integers(60, 140, (4, 4, 4)), 4, 0), 4, 1), 4, 2)
    values[8:24, 40:56, 64:80] = texture
    found = most_structure(image_of(tmp_path, values), SHAPE, MIN_VOX, WHOLE, 16)
    assert np.abs(np.subtract(found, (16, 48, 72))).max() <= 6


def test_what_is_looked_at_takes_what_the_promise_of_the_report_counts(monkeypatch):
    """24 bytes a voxel, of at most 2^22 of them: of a volume of any size."""
    side = 96
    values = np.random.default_rng(0).integers(0, 255, (side,) * 3).astype(np.uint8)
    seen = []

    def read_region(image, level, roi, fill_missing):
        seen.append((level, roi.volume))
        return values[roi.slices]

    monkeypatch.setattr(places, "read_region", read_region)

    def peak_per_voxel(n: int) -> float:
        tracemalloc.start()
        try:
            whole = Roi(ZYX(0, 0, 0), ZYX(n, n, n))
            most_structure("image", whole.shape, MIN_VOX, whole, 16)
            return tracemalloc.get_traced_memory()[1] / seen[-1][1]
        finally:
            tracemalloc.stop()

    assert 16 < peak_per_voxel(side) < 24.2
    # Larger ones are looked at from afar: what is looked at stays as much.
    assert places.MAX_SEEN_VOX == 2**22
    monkeypatch.setattr(places, "MAX_SEEN_VOX", side**3)
    peak_per_voxel(4 * side)
    assert seen == [(0, side**3), (2, side**3)]


def test_only_the_part_that_was_made_is_looked_at(tmp_path, level):
    values = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    part = Roi(ZYX(0, 32, 0), ZYX(32, 32, 32))
    found = most_structure(image_of(tmp_path, values), SHAPE, MIN_VOX, part, 16)
    assert part.contains(Roi(found, ZYX(1, 1, 1)))


def test_of_a_flat_image_the_middle_is_shown(tmp_path, level):
    found = most_structure(image_of(tmp_path, np.full(SHAPE, 7, np.uint8)), SHAPE, MIN_VOX, WHOLE, 16)
    assert np.abs(np.subtract(found, (16, 32, 48))).max() <= 6


def test_a_box_is_moved_into_the_part_that_was_made():
    part = Roi(ZYX(10, 0, 0), ZYX(20, 64, 64))
    assert box_around(ZYX(11, 63, 30), 16, part) == Roi(ZYX(10, 48, 22), ZYX(16, 16, 16))
    assert box_around(ZYX(15, 0, 0), 128, part) == part


def test_the_worst_block_is_one_that_failed_then_one_that_contradicts_and_never_an_empty_one():
    table = pd.DataFrame(
        {
            "block_id": range(4),
            "state": ["done", "done", "skipped", "done"],
            **{f"offset_{a}": [0, 8, 16, 24] for a in "zyx"},
            **{f"shape_{a}": [8] * 4 for a in "zyx"},
            "residual_rms": [0.01, 0.03, 0.9, 0.02],
        }
    )
    assert worst_block(table) == ("1", ZYX(12, 12, 12))
    table.loc[3, "state"] = "failed"
    assert worst_block(table) == ("3", ZYX(28, 28, 28))
    assert worst_block(table[:1]) is None
