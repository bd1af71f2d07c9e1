"""Where to look: the place with the most structure, and the blocks that are worst."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from isofield.geometry import ZYX, Roi
from isofield.omezarr.metadata import level_shapes
from isofield.omezarr.reading import read_region
from isofield.omezarr.store import Location
from isofield.report.block_view import worst_blocks

MAX_SEEN_VOX = 2**22
"""Voxels of a pyramid level that are looked at, at most; they take 24 bytes each, which the report's promise counts."""


def most_structure(image: Location, shape: ZYX, min_vox: int, bounds: Roi, side: int) -> ZYX:
    """Centre, in voxels of level 0, of the box of `side` voxels in `bounds` where grey values change most; never outside.

    shape, min_vox: of the image and of its coarsest level (`output.pyramid_min_vox`). Looks at the finest level of which
    `bounds` has at most 2^22 voxels. What counts is how much of a box changes along the axis along which it changes least, each
    change as much as the median one at most: the rim of the specimen, however strong, changes along one axis in few places. Of
    equal places, and of a flat image, the one nearest to the middle.
    """
    shapes = level_shapes(shape, min_vox)
    seen = [_coarser(bounds, level, size) for level, size in enumerate(shapes)]
    level = next((k for k, roi in enumerate(seen) if roi.volume <= MAX_SEEN_VOX), len(shapes) - 1)
    values = read_region(image, level, seen[level], fill_missing=True).astype(np.float32)
    low, high = np.percentile(values, (1, 99))
    np.clip(values, low, high, out=values)
    boxes = [max(1, min(side >> level, n)) for n in values.shape]
    mean = np.full(values.shape, np.inf, np.float32)
    for axis in range(3):
        change = np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)
        np.abs(change, out=change)
        if np.any(change):
            change /= np.median(change[change > 0], overwrite_input=True)
            np.minimum(change, 1, out=change)
            np.minimum(mean, ndimage.uniform_filter(change, boxes, mode="constant"), out=mean)
    mean[np.isinf(mean)] = 0  # nothing changes along any axis
    inside = tuple(slice(box // 2, box // 2 + n - box + 1) for box, n in zip(boxes, values.shape, strict=True))
    # Rounded, so that the sums of equal boxes are equal.
    mean = np.round(mean[inside], 3)
    middle = [(n - 1) / 2 for n in mean.shape]
    away = sum(np.square(axis - m) for axis, m in zip(np.ogrid[tuple(map(slice, mean.shape))], middle, strict=True))
    found = np.unravel_index(np.argmin(np.where(mean == mean.max(), away, np.inf)), mean.shape)
    centre = (
        o + ((int(i) + box // 2) << level) + (1 << level) // 2 for o, i, box in zip(bounds.offset, found, boxes, strict=True)
    )
    return ZYX(*(min(c, e - 1) for c, e in zip(centre, bounds.end, strict=True)))


def worst_block(blocks: pd.DataFrame) -> tuple[str, ZYX] | None:
    """Number and centre of the worst block that is not empty; None where there are not two."""
    blocks = blocks[blocks["state"] != "skipped"]
    if len(blocks) < 2:
        return None
    worst = worst_blocks(blocks).iloc[0]
    return str(worst["block_id"]), ZYX(*(int(worst[f"offset_{a}"] + worst[f"shape_{a}"] // 2) for a in "zyx"))


def box_around(centre: ZYX, side: int, bounds: Roi) -> Roi:
    """The box of at most `side` voxels around a place, moved so that it lies in `bounds`."""
    shape = [min(side, n) for n in bounds.shape]
    begin = [min(max(c - s // 2, o), e - s) for c, s, o, e in zip(centre, shape, bounds.offset, bounds.end, strict=True)]
    return Roi(ZYX(*begin), ZYX(*shape))


def _coarser(bounds: Roi, level: int, shape: ZYX) -> Roi:
    whole = Roi(ZYX(0, 0, 0), shape)
    return Roi.between((o >> level for o in bounds.offset), (-(-e >> level) for e in bounds.end)).intersect(whole)
