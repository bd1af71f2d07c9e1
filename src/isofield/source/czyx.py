"""Stored arrays of any axis order as CZYX that is read when it is indexed, and as lazy dask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from isofield.source.damage import reading

if TYPE_CHECKING:
    import dask.array as da

    from isofield.source.volume import Voxels

_CHUNK_BYTES = 4 * 2**20
_LARGEST_CHUNK_BYTES = 64 * 2**20
_N_CHUNKS = 100_000


class ArrayLike(Protocol):
    """What a reader's `load` returns: an array in the stored axis order that reads when it is indexed."""

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray: ...


class OneChannel:
    """A stored array seen as (1, Z, Y, X) in native byte order; reads when it is indexed.

    file: where the volume lies on this machine, if it does. Raises UnreadableError, about the volume at `uri`, where its voxels
    cannot be read.
    """

    ndim = 4

    def __init__(self, array: ArrayLike, axes: str, channel: int, uri: str = "", file: Path | None = None) -> None:
        lengths = dict(zip(axes, array.shape, strict=True))
        self.shape = (1, lengths["z"], lengths["y"], lengths["x"])
        stored_chunks = dict(zip(axes, array.chunks, strict=True))
        self.chunks = (stored_chunks["z"], stored_chunks["y"], stored_chunks["x"])
        self.dtype = array.dtype.newbyteorder("=")
        self._array, self._axes, self._channel, self._uri, self._file = array, axes, channel, uri, file

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        # Readers see ascending slices of step 1; integers, steps and reversal are applied to what was read.
        envelopes, within = zip(*(envelope(i, n) for i, n in zip(index, self.shape, strict=True)), strict=True)
        wanted = dict(zip("czyx", envelopes, strict=True))
        stored_index = tuple(self._stored_index(axis, wanted) for axis in self._axes)
        place = ", ".join(f"{axis} {wanted[axis].start} to {wanted[axis].stop}" for axis in "zyx")
        with reading(self._uri, self._file, place):
            read = self._array[stored_index]
        spatial = [axis for axis in self._axes if axis in "zyx"]
        ordered = np.transpose(np.asarray(read), [spatial.index(axis) for axis in "zyx"])
        return ordered[None][wanted["c"]][within].astype(self.dtype, copy=False)

    def _stored_index(self, axis: str, wanted: dict[str, slice]) -> slice | int:
        if axis == "c":
            return self._channel
        return 0 if axis == "_" else wanted[axis]


def envelope(index: slice | int, length: int) -> tuple[slice, slice | int]:
    """The shortest run of step 1 that holds `index` on an axis of `length`, and the index within that run."""
    if not isinstance(index, slice):
        index = range(length)[index]
        return slice(index, index + 1), 0
    picked = range(length)[index]
    if not picked:
        return slice(0, 0), slice(None)
    return slice(min(picked), max(picked) + 1), slice(None, None, picked.step)


def as_dask(view: Voxels, identity: dict[str, str | int]) -> da.Array:
    """`view` as lazy dask, named by `identity`, in stored chunks joined along y and x where these are small."""
    # Loading dask's arrays takes longer than many a job does for its blocks.
    import dask.array as da

    chunks = joined_chunks(view.chunks, view.shape[1:], view.dtype.itemsize)
    name = f"source-{da.core.tokenize(identity, chunks)}"
    meta = np.empty((0, 0, 0, 0), view.dtype)
    return da.from_array(view, chunks=(1, *chunks), name=name, asarray=True, fancy=False, meta=meta)


def joined_chunks(chunks: tuple[int, int, int], shape: tuple[int, int, int], itemsize: int) -> tuple[int, int, int]:
    """Whole multiples of a storage chunk (z, y, x) along y and x: fewer and larger reads.

    Up to 4 MiB; in volumes of more than 100 000 such chunks proportionally larger, up to 64 MiB, because dask
    lists all chunks of an array whenever it computes a part of it.
    """
    n_bytes = shape[0] * shape[1] * shape[2] * itemsize
    limit = min(max(_CHUNK_BYTES, n_bytes // _N_CHUNKS), _LARGEST_CHUNK_BYTES)
    z, y, x = (min(c, n) for c, n in zip(chunks, shape, strict=True))
    while z * y * x * itemsize * 2 <= limit and (y < shape[1] or x < shape[2]):
        if x < shape[2] and (x <= y or y >= shape[1]):
            x = min(2 * x, shape[2])
        else:
            y = min(2 * y, shape[1])
    return z, y, x
