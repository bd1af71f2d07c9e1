"""What a volume is to the rest of the package: its description, and its lazy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from isofield.geometry import ZYX

if TYPE_CHECKING:
    import dask.array as da

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


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume with its voxels: `data` is what was measured, dask CZYX, lazy, native byte order.

    `truth` is the isotropic volume that a simulated measurement came from, dask CZYX; None for real
    measurements.
    """

    info: VolumeInfo
    data: da.Array
    truth: da.Array | None = None
