"""Which chunks of a Zarr array exist: what was never written need not be read to be known as empty."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np

from isofield.source.zarr_nodes import Node, read_node
from isofield.storage.local import LocalPlace
from isofield.storage.place import Place

MAX_CHUNKS = 10**8


@dataclass(frozen=True)
class Occupancy:
    """The grid of a local array's chunk files (of shards where there are some), ZYX: which of them are there.

    chunk (z, y, x) in voxels; there: bool, one per chunk; fill_value: what voxels of the others read as.
    """

    chunk: tuple[int, int, int]
    there: np.ndarray
    fill_value: float

    def any_in(self, bounds: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Whether any chunk is there in the boxes that are products of intervals: bool (n_z, n_y, n_x).

        bounds: per axis (n, 2) begin and end in voxels.
        """
        total = np.pad(self.there, ((1, 0),) * 3).astype(np.int64)
        for axis in range(3):
            total = total.cumsum(axis=axis)
        for axis, (side, pairs) in enumerate(zip(self.chunk, bounds, strict=True)):
            begin = np.minimum(pairs[:, 0] // side, self.there.shape[axis])
            end = np.clip(-(-pairs[:, 1] // side), begin, self.there.shape[axis])
            total = total.take(end, axis=axis) - total.take(begin, axis=axis)
        return total > 0


def occupancy(place: Place, axes: str, channel: int = 0) -> Occupancy | None:
    """Of the array at `place`, whose axes are letters of c, z, y, x and `_`; None unless it is one of this machine's folders.

    An object store would be listed in thousands of requests, an array of more than MAX_CHUNKS for hours.
    """
    node = read_node(place) if isinstance(place, LocalPlace) else None
    if node is None or not node.is_array:
        return None
    layout = _layout(node, place.path)  # type: ignore[attr-defined]
    if layout is None:
        return None
    chunk, folder, separator = layout
    grid = [ceil(n / c) for n, c in zip(node.metadata["shape"], chunk, strict=True)]
    if prod(grid) > MAX_CHUNKS:
        return None
    there = np.zeros(grid, bool)
    for index in _indices(folder, separator, len(grid)):
        if all(0 <= i < n for i, n in zip(index, grid, strict=True)):
            there[index] = True
    # The channel that is looked at; other axes have length 1.
    for axis in reversed(range(len(axes))):
        if axes[axis] not in "zyx":
            place = channel // chunk[axis] if axes[axis] == "c" else 0
            there, chunk = there.take(place, axis=axis), chunk[:axis] + chunk[axis + 1 :]
    spatial = [a for a in axes if a in "zyx"]
    order = [spatial.index(a) for a in "zyx"]
    fill_value = float(node.metadata.get("fill_value") or 0)
    return Occupancy(tuple(chunk[i] for i in order), there.transpose(order), fill_value)  # type: ignore[arg-type]


def _layout(node: Node, path: Path) -> tuple[tuple[int, ...], Path, str] | None:
    """Shape of what one file holds, the folder of the files, and what separates the numbers in their names."""
    about = node.metadata
    if node.version == 2:
        return tuple(about["chunks"]), path, about.get("dimension_separator", ".")
    if about["chunk_grid"]["name"] != "regular":
        return None
    encoding = about["chunk_key_encoding"]
    separator = encoding.get("configuration", {}).get("separator", "/" if encoding["name"] == "default" else ".")
    chunk = tuple(about["chunk_grid"]["configuration"]["chunk_shape"])
    if encoding["name"] == "default":
        return chunk, path / "c" if separator == "/" else path, "c" + separator
    return chunk, path, separator


def _indices(folder: Path, separator: str, n_axes: int) -> Iterator[tuple[int, ...]]:
    """Grid indices of the chunk files below `folder`."""
    prefix, separator = ("c", separator[1:]) if separator.startswith("c") else ("", separator)
    if separator == "/":
        yield from _nested(str(folder), n_axes)
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            numbers = entry.name.split(separator)
            numbers = numbers[1:] if prefix and numbers[0] == prefix else numbers
            if len(numbers) == n_axes and all(n.isdigit() for n in numbers):
                yield tuple(map(int, numbers))


def _nested(folder: str, depth: int) -> Iterator[tuple[int, ...]]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.name.isdigit():
                if depth == 1:
                    yield (int(entry.name),)
                else:
                    for rest in _nested(entry.path, depth - 1):
                        yield (int(entry.name), *rest)
