"""What the user says about the volume to read."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveFloat, field_validator

from isofield.spec import Spec

Triple = tuple[PositiveFloat, PositiveFloat, PositiveFloat]
Interval = tuple[float, float]


class KernelFile(NamedTuple):
    """A file that holds an axial profile, as the configuration names it.

    section: the part of the configuration with the keys kernel_file and kernel_voxel_nm (z, y, x; None: from metadata).
    """

    section: str
    file: str
    voxel_nm: Triple | None = None


class SimulateSpec(Spec):
    """Turn an isotropic volume into an anisotropic one and keep it as truth for the metrics."""

    factor: float = Field(ge=1.05, le=20, description="ratio of simulated section thickness to plane spacing; need not be whole")
    operator: Literal["section", "skip", "gaussian", "kernel"] = Field(
        "section",
        description="section: average of the planes a section spans; skip: one plane kept; "
        "gaussian: Gaussian profile whose FWHM is the section thickness; kernel: the profile in kernel_file",
    )
    kernel_file: str | None = Field(
        None, min_length=1, description="file with the axial profile of operator kernel; see measurement.kernel_file"
    )
    kernel_voxel_nm: Triple | None = Field(None, description="as measurement.kernel_voxel_nm")

    @property
    def kernel(self) -> KernelFile | None:
        """The file of the profile that is simulated with."""
        return KernelFile("source.simulate", self.kernel_file, self.kernel_voxel_nm) if self.kernel_file else None


class SourceSpec(Spec):
    """The measured volume: where it is, what its voxels measure, which part to use."""

    path: str = Field(
        min_length=1,
        description="file, folder or store to read: OME-TIFF, TIFF, HDF5, Zarr, OME-Zarr, N5, neuroglancer precomputed (all "
        "these also at s3://, gs://, http:// and https://), folder of TIFF, PNG or JPEG slices, IMS, MRC, NRRD, CZI, LIF, ND2, "
        "or phantom:tissue for the synthetic demo volume; $VAR and ${VAR:-default} are expanded; see docs/formats.md",
    )
    dataset: str | None = Field(
        None,
        description="dataset inside an HDF5 file, array or level inside a Zarr or N5 group, scale of a precomputed volume, "
        "scene of a CZI, LIF or ND2, resolution level of an IMS, or number of the series of a TIFF that has several; "
        "null: the only one, or level 0",
    )
    voxel_size_nm: Triple | None = Field(
        None, description="voxel size z, y, x in nm; null: from the metadata, which must then have it"
    )
    channel: NonNegativeInt | tuple[NonNegativeInt, ...] | Literal["all"] | None = Field(
        None,
        description="channel to reconstruct, counted from 0, or several, as [0, 2] or all: each is reconstructed by itself, as a "
        "run of that channel alone would, and all are written to one image, in this order; null: the only channel of the volume",
    )
    simulate: SimulateSpec | None = Field(
        None,
        description="null: the volume is used as measured; else it is taken as isotropic truth and degraded",
    )
    roi_nm: tuple[Interval, Interval, Interval] | None = Field(
        None,
        description="region to reconstruct, [[z0, z1], [y0, y1], [x0, x1]] in nm from the volume's first "
        "voxel edge, widened to whole measured voxels; null: everything. Prior and normalisation always see "
        "the whole volume",
    )

    @field_validator("channel", mode="before")
    @classmethod
    def _channels(cls, value):
        several = isinstance(value, list | tuple)
        numbers = list(value) if several else [] if value in (None, "all") else [value]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("is no channel; give a number from 0 on, several as [0, 2], or all")
        if several and not numbers:
            raise ValueError("names no channel; give those to reconstruct, as [0, 2], or all")
        if len(set(numbers)) < len(numbers):
            raise ValueError("names a channel twice; give each once")
        return value

    @property
    def has_several(self) -> bool:
        """Whether `channel` names channels of which each is reconstructed by itself."""
        return self.channel == "all" or isinstance(self.channel, tuple)

    @field_validator("roi_nm")
    @classmethod
    def _intervals_ascend(cls, value):
        for axis, (begin, end) in zip("zyx", value or (), strict=False):
            if begin < 0 or end <= begin:
                raise ValueError(f"{axis} interval [{begin}, {end}] nm is empty or starts before 0; give begin < end, both >= 0")
        return value
