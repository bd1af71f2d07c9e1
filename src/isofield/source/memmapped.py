"""Uncompressed voxels in one run of a file, as an array."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError

if TYPE_CHECKING:
    import numpy as np


class MemmappedArray:
    """Voxels of `dtype` in C order that begin at byte `offset` of a file, mapped for each read. Can be pickled.

    Raises InputError for a file that ends before its last voxel.
    """

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int) -> None:
        from math import prod

        self._path, self._offset = path, offset
        self.shape, self.dtype, self.chunks = shape, dtype, (1,) * (len(shape) - 2) + shape[-2:]
        n_bytes, there = offset + prod(shape) * dtype.itemsize, path.stat().st_size
        if there < n_bytes:
            limit = f"has {there} bytes, and its header promises {n_bytes}"
            raise InputError("source.path", str(path), limit, "Copy it again")

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        import numpy as np

        return np.array(np.memmap(self._path, self.dtype, "r", self._offset, self.shape)[index])
