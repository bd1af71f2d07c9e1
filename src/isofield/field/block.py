"""What a field is fitted to: the data of one block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BlockData:
    """What one block is fitted to, in working units. The block sees (Z, Yr, Xr), its field spans (Z, Y, X) of it.

    base (Z, Yr, Xr): the interpolated measurement; inner: first voxel of the field within it along y and x;
    measured (Zm, Y, X): sections wholly inside the block; measure (Zm, Z): their rows of A; weight (Zm,): how far each is
    believed, 0 for bad ones; phase (2, Z): place within the section; neighbours: per lateral axis (2n, W, W), see
    `neighbour_matrices`; noise (Z, Yr, Xr): unit white noise, equal where blocks overlap, None where none is asked for; seed: of
    this block alone.
    """

    base: np.ndarray
    inner: tuple[int, int]
    measured: np.ndarray
    measure: np.ndarray
    weight: np.ndarray
    phase: np.ndarray
    neighbours: tuple[np.ndarray, np.ndarray]
    noise: np.ndarray | None
    seed: int

    @property
    def field_shape(self) -> tuple[int, int, int]:
        return (self.base.shape[0], *self.measured.shape[1:])

    @property
    def shape_key(self) -> tuple[int, ...]:
        """Blocks with equal keys can be fitted in one batch."""
        return (*self.base.shape, *self.measured.shape, *self.inner)
