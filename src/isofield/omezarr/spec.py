"""What the user says about the image to write."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from isofield.spec import Spec

NgffVersion = Literal["0.4", "0.5"]
Side = tuple[NonNegativeInt, PositiveInt]


class JointSpec(Spec):
    """One image of several channels, as a run that makes one of them knows it."""

    channels: tuple[NonNegativeInt, ...] = Field(min_length=2, description="channels of the source, in the image's order")
    labels: tuple[str, ...] = Field(description="their names")
    index: NonNegativeInt = Field(description="which of them this run makes, by its place in the image")

    @model_validator(mode="after")
    def _each_has_a_name(self) -> JointSpec:
        if len(self.labels) != len(self.channels) or self.index >= len(self.channels):
            raise ValueError("needs a label per channel, and an index of one of them")
        return self


class OutputSpec(Spec):
    """The isotropic OME-Zarr (zstd, axes z y x): its sampling and how it is stored."""

    path: str | None = Field(
        None,
        min_length=1,
        description="where the image is written: a local path, s3://bucket/folder/name.ome.zarr or gs://...; null: "
        "isotropic.ome.zarr in the run's results folder; $VAR and ${VAR:-default} are expanded",
    )
    ome_zarr: NgffVersion = Field(
        "0.5",
        description="version of OME-Zarr (NGFF). 0.5: Zarr v3, a file per shard. 0.4, for readers that know no Zarr v3: Zarr v2, "
        "which has no shards: a file per chunk, so choose a larger chunk_vox",
    )
    voxel_size_nm: PositiveFloat | None = Field(
        None,
        description="side of an output voxel in nm, the same in z, y and x; null: the source's lateral one",
    )
    chunk_vox: int = Field(
        64,
        ge=8,
        le=512,
        description="side of a chunk in voxels: the smallest cube that can be read by itself; in OME-Zarr 0.4 a file",
    )
    shard_vox: int = Field(
        256,
        ge=8,
        le=2048,
        description="side of a shard in voxels, a multiple of chunk_vox: written whole by one job; in OME-Zarr 0.5 one file",
    )
    compression_level: int = Field(
        3, ge=1, le=19, description="zstd level: higher is smaller and slower; every level is lossless"
    )
    pyramid_min_vox: int = Field(
        64, ge=1, description="coarser levels are added until the longest side is at most this many voxels"
    )

    shards_per_job: PositiveInt | None = Field(
        None,
        description="shards that one blend job writes; null: 8 or more, as many as are expected to take some 45 minutes, or "
        "more where there would be more than 500 jobs",
    )
    pyramid_span: PositiveInt | None = Field(
        None,
        description="shards along each side of the cube that one pyramid job makes coarser levels of, a power of two; null: 8, "
        "or more where there would be more than 400 jobs",
    )
    region_vox: tuple[Side, Side, Side] | None = Field(
        None,
        description="part of the output to make in this run, begin and end in z, y, x, whole shards; runs over other parts can "
        "fill the same image. null: all of it",
    )

    joint: JointSpec | None = Field(
        None,
        description="how the image is shared where source.channel names several: said by the workflow to the runs of the single "
        "channels; leave it null",
    )

    @field_validator("pyramid_span")
    @classmethod
    def _power_of_two(cls, value: int | None) -> int | None:
        if value and value & (value - 1):
            raise ValueError(f"{value} is not a power of two; give 4, 8 or 16, say")
        return value

    @property
    def n_channels(self) -> int | None:
        """Channels of the image; None where it has no axis of channels."""
        return len(self.joint.channels) if self.joint else None

    @model_validator(mode="after")
    def _whole_chunks_per_shard(self) -> OutputSpec:
        if self.shard_vox % self.chunk_vox:
            nearest = max(1, round(self.shard_vox / self.chunk_vox)) * self.chunk_vox
            raise ValueError(
                f"shard_vox {self.shard_vox} is not a multiple of chunk_vox {self.chunk_vox}; the nearest that is: {nearest}"
            )
        return self
