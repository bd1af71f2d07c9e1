"""Windows that sum to one, and the gathering of overlapping blocks into one output region."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isofield.blocks import BlockGrid
from isofield.geometry import Roi


def axis_windows(length: int, core: int, overlap: int) -> list[tuple[int, np.ndarray]]:
    """Blending windows along one axis, one per block: (first voxel, weights float32).

    Each window is 1 where its block alone owns, and falls linearly to 0 within `overlap` voxels on both sides of a face
    between blocks. At every voxel the windows sum to one; a window reaches at most `overlap` beyond its owned region,
    however short the last block is.
    """
    faces = [*list(range(0, length, core)), length]
    raw = []
    for begin, end in itertools.pairwise(faces):
        first, last = max(0, begin - overlap), min(length, end + overlap)
        centre = np.arange(first, last) + 0.5
        weights = np.ones(last - first)
        if overlap and begin > 0:
            weights *= np.clip((centre - begin + overlap) / (2 * overlap), 0, 1)
        if overlap and end < length:
            weights *= np.clip((end + overlap - centre) / (2 * overlap), 0, 1)
        raw.append((first, weights))
    total = np.zeros(length)
    for first, weights in raw:
        total[first : first + len(weights)] += weights
    return [(first, (weights / total[first : first + len(weights)]).astype(np.float32)) for first, weights in raw]


class Windows:
    """Separable blending windows of a whole grid: a partition of unity over the volume."""

    def __init__(self, grid: BlockGrid, overlap: int) -> None:
        if overlap > min(grid.margin):
            raise ValueError(f"overlap {overlap} exceeds the margin {tuple(grid.margin)} of the fields")
        self.grid, self.overlap = grid, overlap
        self.axes = [axis_windows(n, c, overlap) for n, c in zip(grid.shape, grid.core, strict=True)]

    def support(self, index: int) -> Roi:
        """Where the window of block `index` is defined: its write_roi grown by the overlap."""
        windows = [axis[p] for axis, p in zip(self.axes, self.grid.position(index), strict=True)]
        return Roi(tuple(first for first, _ in windows), tuple(len(w) for _, w in windows))  # type: ignore[arg-type]

    def weights(self, index: int, roi: Roi) -> np.ndarray:
        """Weights of block `index` over `roi`, which lies within its support. float32, roi.shape."""
        parts = []
        for axis, position, begin, end in zip(self.axes, self.grid.position(index), roi.offset, roi.end, strict=True):
            first, window = axis[position]
            parts.append(window[begin - first : end - first])
        return parts[0][:, None, None] * parts[1][None, :, None] * parts[2][None, None, :]


@dataclass(frozen=True)
class Blended:
    """A blended region: values float32, and the root mean square disagreement of blocks where they overlap."""

    values: np.ndarray
    overlap_sum_squares: float
    n_overlap_vox: int


Render = Callable[[int, Roi], np.ndarray]
"""(block, a part of its field_roi) -> its float32 values over that part."""


def whole_blocks(grid: BlockGrid, render: Callable[[int], np.ndarray]) -> Render:
    """Parts cut out of what `render(index)` returns, a block's values over its field_roi; ValueError for another shape."""

    def part_of(index: int, part: Roi) -> np.ndarray:
        field = grid[index].field_roi
        rendered = render(index)
        if rendered.shape != tuple(field.shape):
            raise ValueError(f"block {index} rendered {rendered.shape}, its field_roi is {tuple(field.shape)}")
        return rendered[part.relative_to(field).slices]

    return part_of


def gather(roi: Roi, windows: Windows, render: Render) -> Blended:
    """Blend all blocks that reach into `roi`.

    Blocks are added in ascending order, so the result depends on nothing but their values. Disagreement at a voxel is
    sum w v^2 - (sum w v)^2, the weighted variance.
    """
    values = np.zeros(roi.shape, np.float32)
    squares = np.zeros(roi.shape, np.float32)
    strongest = np.zeros(roi.shape, np.float32)
    for index in windows.grid.touching(roi, windows.overlap):
        part = windows.support(index).intersect(roi)
        if part.empty:
            continue
        rendered = render(index, part)
        weights = windows.weights(index, part)
        inside = part.relative_to(roi).slices
        values[inside] += weights * rendered
        squares[inside] += weights * rendered * rendered
        np.maximum(strongest[inside], weights, out=strongest[inside])
    shared = strongest < 0.999
    variance = np.maximum(squares[shared].astype(np.float64) - values[shared].astype(np.float64) ** 2, 0)
    return Blended(values, float(variance.sum()), int(shared.sum()))
