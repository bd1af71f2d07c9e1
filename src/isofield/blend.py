"""Windows that sum to one, and the gathering of overlapping blocks into one output region."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
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
        raw.append((first, _ramps(np.arange(first, last) + 0.5, begin, end, length, overlap)))
    total = np.zeros(length)
    for first, weights in raw:
        total[first : first + len(weights)] += weights
    return [(first, (weights / total[first : first + len(weights)]).astype(np.float32)) for first, weights in raw]


def _ramps(at: np.ndarray, begin: int, end: int, length: int, overlap: int) -> np.ndarray:
    """Weight of what owns [begin, end) at positions `at`, before all are made to sum to one. float64."""
    weights = np.ones(len(at))
    if overlap and begin > 0:
        weights *= np.clip((at - begin + overlap) / (2 * overlap), 0, 1)
    if overlap and end < length:
        weights *= np.clip((end + overlap - at) / (2 * overlap), 0, 1)
    return weights


def axis_weights_at(at: np.ndarray, position: int, length: int, core: int, overlap: int) -> np.ndarray:
    """Window of the block at `position` along an axis, anywhere from 0 to `length` and not at voxel centres alone. float32.

    At voxel centres it is `axis_windows`, and nought where that is not defined. Without overlap a face belongs to what follows.
    """
    faces = [*range(0, length, core), length]
    if not overlap:
        first, last = faces[position], faces[position + 1]
        return ((at >= first) & ((at < last) | (last == length))).astype(np.float32)
    near = [(b, e) for b, e in itertools.pairwise(faces) if b - overlap <= at.max() and at.min() <= e + overlap]
    total = sum(_ramps(at, begin, end, length, overlap) for begin, end in near)
    own = _ramps(at, faces[position], faces[position + 1], length, overlap)
    return (own / total).astype(np.float32)


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

    def weights_at(self, index: int, points: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Weights of block `index` along z, y and x at positions in voxels of the volume; their product is its window."""
        place, grid = self.grid.position(index), self.grid
        axes = zip(points, place, grid.shape, grid.core, strict=True)
        return [axis_weights_at(at, position, length, core, self.overlap) for at, position, length, core in axes]


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
