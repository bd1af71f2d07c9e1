"""Coarser levels: each voxel the mean of the 2x2x2 voxels of the level above, one whole shard at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isofield.geometry import ZYX, Roi
from isofield.intensity import to_dtype
from isofield.omezarr.reading import read_region
from isofield.omezarr.store import Location, level_shape, shard_path, shard_rois, write_shard

_SLAB_VOX = 32


def downsample_shard(path: Location, level: int, roi: Roi, reduce: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
    """Compute and publish the shard `roi` of `level` >= 1 from the shards of level - 1 that lie under it.

    reduce: halves the sides of (Z, Y, X), rounding up; None: the mean, at an odd end over the voxels that exist. Raises
    ValueError if `roi` is not one whole shard of the level, InputError if a shard that it needs is missing or damaged.
    """
    if level < 1:
        raise ValueError(f"level {level} is not computed from another one")
    shard_path(path, level, roi)
    slabs = []
    for begin in range(roi.offset.z, roi.end.z, _SLAB_VOX):
        end = min(begin + _SLAB_VOX, roi.end.z)
        slab = Roi.between((begin, *roi.offset[1:]), (end, *roi.end[1:]))
        fine = read_region(path, level - 1, below(path, level, slab))
        slabs.append(to_dtype((reduce or mean_2x2x2)(fine), fine.dtype))
    write_shard(path, level, roi, np.concatenate(slabs))


def level_shards(shape: ZYX, region: Roi, level: int, shard_vox: int) -> list[Roi]:
    """Shards of a level, of that shape, that hold what lies over a region of level 0, in C order."""
    over = Roi.between((o >> level for o in region.offset), (-(-e >> level) for e in region.end))
    return shard_rois(shape, shard_vox, over.intersect(Roi(ZYX(0, 0, 0), shape)))


def below(path: Location, level: int, roi: Roi) -> Roi:
    """The part of level - 1 that `roi` of `level` is the mean of."""
    doubled = Roi.between((2 * o for o in roi.offset), (2 * e for e in roi.end))
    return doubled.intersect(Roi(ZYX(0, 0, 0), level_shape(path, level - 1)))


def mean_2x2x2(fine: np.ndarray) -> np.ndarray:
    """Means of 2x2x2 voxels of a (z, y, x) array, float64; sides round up, a last odd plane stands alone."""
    coarse = np.asarray(fine)
    for axis in range(3):
        coarse = _mean_of_pairs(coarse, axis)
    return coarse


def _mean_of_pairs(values: np.ndarray, axis: int) -> np.ndarray:
    values = np.moveaxis(values, axis, 0)
    mean = values[0::2].astype(np.float64)
    paired = mean[: len(values) // 2]
    paired += values[1::2]
    paired /= 2
    return np.moveaxis(mean, 0, axis)
