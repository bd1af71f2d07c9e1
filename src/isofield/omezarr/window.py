"""The grey values that viewers show black and white, from the image itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from isofield.geometry import ZYX, Roi
from isofield.omezarr.layout import Level
from isofield.omezarr.metadata import DisplayWindow
from isofield.omezarr.reading import ImageReader
from isofield.omezarr.store import Location

PERCENTILES = (0.5, 99.5)
N_SAMPLES, SAMPLE_VOX = 64, 40
"""Cubes that are looked at, at most, and their sides: 4 million voxels, each cube within one chunk."""


def display_window(path: Location, fallback: tuple[float, float]) -> DisplayWindow:
    """PERCENTILES of level 0, from cubes spread evenly over it; `fallback` where these coincide or nothing was written.

    The slider goes over all values of an integer dtype, else over those that were seen.
    """
    image = ImageReader(path)
    level = image.level
    seen = [image.region(roi).ravel() for roi in _samples(level) if image.is_written(roi)]
    grey = np.concatenate(seen) if seen else np.array(fallback)
    start, end = (float(value) for value in np.percentile(grey, PERCENTILES)) if seen else fallback
    if not start < end:
        start, end = fallback
    if level.array.dtype.kind in "iu":
        limits = np.iinfo(level.array.dtype)
        low, high = float(limits.min), float(limits.max)
        # A contrast that lies beyond what the dtype holds is cut off; one level remains.
        start = min(max(start, low), high - 1)
        return DisplayWindow(low, high, start, max(min(end, high), start + 1))
    return DisplayWindow(min(float(grey.min()), start), max(float(grey.max()), end), start, end)


def _samples(level: Level) -> Iterator[Roi]:
    """Corners of chunks, in each direction evenly spread, cut down to SAMPLE_VOX."""
    chunk = level.array.chunks[-3:]
    counts = [-(-n // c) for n, c in zip(level.shape, chunk, strict=True)]
    wanted = _even_counts(counts)
    axes = [[int((k + 0.5) * n / w) for k in range(w)] for n, w in zip(counts, wanted, strict=True)]
    side = ZYX(*(min(c, SAMPLE_VOX) for c in chunk))
    for index in product(*axes):
        yield Roi(ZYX(*(i * c for i, c in zip(index, chunk, strict=True))), side).intersect(level.bounds)


def _even_counts(counts: list[int]) -> list[int]:
    """How many of so many chunks to take along each axis: N_SAMPLES in all at most, no axis more than it must."""
    wanted = [1, 1, 1]
    while True:
        room = [axis for axis in range(3) if wanted[axis] < counts[axis]]
        axis = min(room, key=lambda a: wanted[a] / counts[a], default=None)
        if axis is None or (wanted[axis] + 1) * np.prod(wanted) / wanted[axis] > N_SAMPLES:
            return wanted
        wanted[axis] += 1
