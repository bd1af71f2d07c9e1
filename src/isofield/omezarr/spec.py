"""What the user says about the image to write."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from isofield.spec import Spec


class OutputSpec(Spec):
    """The isotropic OME-Zarr (NGFF 0.5, Zarr v3, zstd, axes z y x): its sampling and how it is stored."""

    voxel_size_nm: PositiveFloat | None = Field(
        None,
        description="side of an output voxel in nm, the same in z, y and x; null: the source's lateral one",
    )
    chunk_vox: int = Field(
        64,
        ge=8,
        le=512,
        description="side of a chunk in voxels: the smallest cube that can be read by itself",
    )
    shard_vox: int = Field(
        256,
        ge=8,
        le=2048,
        description="side of a shard in voxels, a multiple of chunk_vox: one file, written whole by one job",
    )
    compression_level: int = Field(
        3, ge=1, le=19, description="zstd level: higher is smaller and slower; every level is lossless"
    )
    pyramid_min_vox: int = Field(
        64, ge=1, description="coarser levels are added until the longest side is at most this many voxels"
    )

    shards_per_job: PositiveInt = Field(8, description="shards that one blend job writes")

    @model_validator(mode="after")
    def _whole_chunks_per_shard(self) -> OutputSpec:
        if self.shard_vox % self.chunk_vox:
            nearest = max(1, round(self.shard_vox / self.chunk_vox)) * self.chunk_vox
            raise ValueError(
                f"shard_vox {self.shard_vox} is not a multiple of chunk_vox {self.chunk_vox}; the nearest that is: {nearest}"
            )
        return self
