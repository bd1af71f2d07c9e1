"""Looking at a volume without reading it whole: grey values for the normalisation, contrast per block."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import numpy as np

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.parallel import in_parallel, own_cores
from isofield.plan import Layout
from isofield.source.volume import Volume

N_SECTIONS_PER_BLOCK = 4
CROP_VOX = 512
LOOK_VOX = 2 * 10**9
"""Measured voxels up to which plan looks at every block: a minute or so."""


def spread(k: int) -> float:
    """The k-th of places in 0 to 1 that lie evenly however many of them are taken: multiples of the golden ratio."""
    return (k * 0.6180339887498949 + 0.5) % 1.0


def sample_crops(
    volume: Volume, n_vox: int, seed: int, crop_vox: int = CROP_VOX, n_sections: int = 1, bad: Collection[int] = ()
) -> list[np.ndarray]:
    """XY crops spread over the measured volume (its first channel), about `n_vox` voxels in all, as stored.

    Each is a stack (sections, Y, X) of `n_sections` consecutive sections, cut where one is bad. Sections are visited in an order
    that spreads evenly from the first crop on; places within them are random in `seed`. A volume that is smaller than `n_vox`
    is returned whole, as one stack. Of a volume parts of which were never written, crops come from the chunks that are there.
    """
    depth, height, width = volume.info.shape_zyx
    if depth * height * width <= n_vox:
        return _without(volume.read(Roi(ZYX(0, 0, 0), ZYX(depth, height, width)))[0], 0, bad)
    deep, crop_y, crop_x = min(n_sections, depth), min(crop_vox, height), min(crop_vox, width)
    n_crops = max(1, n_vox // (deep * crop_y * crop_x))
    rng = np.random.default_rng([seed, n_crops])
    crop = ZYX(deep, crop_y, crop_x)
    written = None if volume.occupied is None or volume.occupied.there.all() else np.argwhere(volume.occupied.there)
    corners = []
    for k in range(n_crops):
        even = spread(k)
        if written is None or not len(written):
            z = int(even * (depth - deep + 1))
            y, x = int(rng.integers(height - crop_y + 1)), int(rng.integers(width - crop_x + 1))
        else:
            chunk = written[int(even * len(written))] * volume.occupied.chunk  # type: ignore[union-attr]
            slack = np.maximum(np.array(volume.occupied.chunk) - crop, 0)  # type: ignore[union-attr]
            z, y, x = np.minimum(chunk + rng.integers(slack + 1), np.array(volume.info.shape_zyx) - crop).tolist()
        corners.append(ZYX(z, y, x))
    stacks = in_parallel(lambda corner: volume.read(Roi(corner, crop))[0], corners, own_cores())
    return [run for corner, stack in zip(corners, stacks, strict=True) for run in _without(stack, corner.z, bad)]


def _without(stack: np.ndarray, first: int, bad: Collection[int]) -> list[np.ndarray]:
    """The runs of good sections of a stack that begins with section `first`."""
    cuts = [k for k in range(len(stack)) if first + k in bad]
    runs = itertools.pairwise([-1, *cuts, len(stack)])
    return [stack[before + 1 : behind] for before, behind in runs if behind > before + 1]


def require_contrast(crops: list[np.ndarray], name: str) -> np.ndarray:
    """All sampled voxels in one array; refuses samples that hold NaN, infinity or a single value."""
    if not crops:
        raise InputError("source", name, "has no good section where it was sampled", "Shorten sections.bad")
    grey = np.concatenate([crop.ravel() for crop in crops])
    if not np.isfinite(grey).all():
        raise InputError("source", name, "holds NaN or infinite voxels", "Replace them, or choose a region without them")
    if grey.min() == grey.max():
        raise InputError(
            "source",
            name,
            f"has no contrast: every sampled voxel is {grey.flat[0]}",
            "Check source.path and source.dataset",
        )
    return grey


def empty_blocks(volume: Volume, layout: Layout, empty_below: float | None) -> np.ndarray:
    """Numbers, ascending, of blocks that are known to be without contrast (or, with `empty_below`, no brighter than that).

    Blocks of which no chunk was ever written are, without being read. Others are looked at only where all that is left is
    at most LOOK_VOX measured voxels: of a larger volume each block is looked at when it is fitted.
    """
    blocks, axial, grid = layout.jobs.blocks, layout.axial, layout.grid
    spans = [grid.spans(axis, grid.context[axis])[blocks.box.slices[axis]] for axis in range(3)]
    touched = [axial.sections_touching(int(begin), int(end)) for begin, end in spans[0]]
    measured = [np.array([(t.start, t.stop) for t in touched]), *spans[1:]]
    measured = [pairs + begin for pairs, begin in zip(measured, layout.roi.offset, strict=True)]
    written = np.ones(blocks.box.shape, bool)
    if volume.occupied is not None and (empty_below is None or volume.occupied.fill_value <= empty_below):
        written = volume.occupied.any_in(tuple(measured))  # type: ignore[arg-type]
    empty = ~written
    per_block = [pairs[:, 1] - pairs[:, 0] for pairs in measured]
    n_vox = np.einsum("zyx,z,y,x->", written.astype(np.int64), *per_block)
    if n_vox <= LOOK_VOX:
        places = np.argwhere(written)
        boxes = (Roi.between(*zip(*(pairs[i] for pairs, i in zip(measured, p, strict=True)), strict=True)) for p in places)
        found = in_parallel(lambda box: _looks_empty(volume, box, empty_below), boxes, own_cores())
        empty[tuple(places.T)] = np.fromiter(found, bool, len(places))
    return np.array([blocks.number(blocks.box.offset + place) for place in np.argwhere(empty)], int)


def _looks_empty(volume: Volume, box: Roi, empty_below: float | None) -> bool:
    """Whether measured voxels in `box` are empty. A few sections decide most; only where these are is all of it read."""
    depth = box.shape.z
    step = max(1, depth // N_SECTIONS_PER_BLOCK)

    def read(begin: int, n: int) -> np.ndarray:
        offset, shape = box.offset, box.shape
        return volume.read(Roi(ZYX(offset.z + begin, offset.y, offset.x), ZYX(n, shape.y, shape.x)))[0]

    return all(is_empty(read(z, 1), empty_below) for z in range(0, depth, step)) and is_empty(read(0, depth), empty_below)


def is_empty(grey: np.ndarray, empty_below: float | None) -> bool:
    """Whether grey values are all alike, or none exceeds `empty_below`."""
    return bool(grey.max() <= empty_below) if empty_below is not None else bool(grey.min() == grey.max())
