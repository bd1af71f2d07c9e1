"""What a volume is to the rest of the package: its description, and its lazy arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from isofield.geometry import ZYX, Roi

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from isofield.source.occupancy import Occupancy

VoxelSize = tuple[Fraction, Fraction, Fraction]


@dataclass(frozen=True)
class VolumeInfo:
    """A volume without its voxels: metadata only.

    shape (C, Z, Y, X); dtype a numpy name; voxel_size_nm (z, y, x) exact. `identity` tells this volume from
    any other and from an earlier state of itself; it is small and serialises to JSON.
    """

    uri: str
    format: str
    dataset: str | None
    shape: tuple[int, int, int, int]
    dtype: str
    voxel_size_nm: VoxelSize
    identity: dict[str, str | int]

    @property
    def shape_zyx(self) -> ZYX:
        return ZYX(*self.shape[1:])

    @property
    def extent_nm(self) -> VoxelSize:
        """Side lengths of the volume (z, y, x) in nm, from the first voxel edge to the last."""
        z, y, x = (n * size for n, size in zip(self.shape[1:], self.voxel_size_nm, strict=True))
        return z, y, x


class Voxels(Protocol):
    """An array that reads when it is indexed, by a slice or a number per axis: shape (C, Z, Y, X), chunks (z, y, x)."""

    ndim: int
    shape: tuple[int, int, int, int]
    chunks: tuple[int, int, int]
    dtype: np.dtype

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume with its voxels, native byte order: `measured`, and for a simulated measurement the `isotropic` one it came from.

    `isotropic` is None for real measurements.
    """

    info: VolumeInfo
    measured: Voxels
    isotropic: Voxels | None = None
    find_occupied: Callable[[], Occupancy | None] = lambda: None

    @cached_property
    def data(self) -> da.Array:
        """What was measured as dask CZYX, lazy."""
        from isofield.source.czyx import as_dask

        return as_dask(self.measured, self.info.identity)

    @cached_property
    def truth(self) -> da.Array | None:
        """The isotropic volume as dask CZYX, lazy; None for real measurements."""
        from isofield.source.czyx import as_dask

        return None if self.isotropic is None else as_dask(self.isotropic, {**self.info.identity, "isotropic": 1})

    @cached_property
    def occupied(self) -> Occupancy | None:
        """Which chunks of the stored array were ever written; None where that is not known. Lists files."""
        return self.find_occupied()

    def read(self, roi: Roi) -> np.ndarray:
        """Measured voxels of `roi` as (C, Z, Y, X), now. `roi` must lie inside the volume (ValueError).
        Raises UnreadableError where they cannot be read.

        For one block of a large volume this is the way to go: computing a slice of `data` takes dask time and
        memory in proportion to the chunks of the whole volume.
        """
        if not Roi(ZYX(0, 0, 0), self.info.shape_zyx).contains(roi):
            raise ValueError(f"{roi} reaches outside the volume of shape {tuple(self.info.shape_zyx)}")
        index = (slice(0, self.info.shape[0]), *roi.slices)
        return self.measured[index]

    def read_truth(self, roi: Roi) -> np.ndarray:
        """Voxels of the isotropic volume over `roi`, as far as it reaches: (C, Z, Y, X). Raises ValueError if there is none."""
        if self.isotropic is None:
            raise ValueError(f"{self.info.uri} did not come from an isotropic volume")
        return self.isotropic[slice(0, self.info.shape[0]), *roi.slices]
