"""The plan of a run: what follows from the metadata alone (Layout), and what looking at the voxels adds (Plan)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from isofield.blocks import BlockGrid
from isofield.config import Config, Sections
from isofield.errors import InputError
from isofield.geometry import ZYX, AxialMap, Roi, exact_nm
from isofield.intensity import Intensity
from isofield.measurement import Kernel, MeasurementModel
from isofield.records import read_json
from isofield.source.region import measured_roi
from isofield.source.volume import VolumeInfo
from isofield.spec import Spec

DEFAULT_BLOCKS_PER_JOB = 64
MAX_FIT_JOBS = 1000
MAX_RATIO, MIN_RATIO = 20, 1


@dataclass(frozen=True)
class Layout:
    """Geometry of a run, known from metadata: parsing the workflow and planning use the same one.

    roi in measured voxels; shape, grid in output voxels from the region's first edge; voxel_size_nm isotropic.
    """

    roi: Roi
    axial: AxialMap
    voxel_size_nm: Fraction
    shape: ZYX
    grid: BlockGrid
    n_fit_jobs: int
    n_shards: int
    n_blend_jobs: int


def lay_out(config: Config | Sections, info: VolumeInfo) -> Layout:
    """Layout of a run over the volume `info`. Raises InputError for geometry that cannot be reconstructed."""
    dz, dy, dx = info.voxel_size_nm
    if abs(dy / dx - 1) > Fraction(1, 1000):
        raise InputError(
            "source.voxel_size_nm",
            [float(v) for v in info.voxel_size_nm],
            "y and x differ",
            "Resample the sections to square pixels, or correct source.voxel_size_nm",
        )
    voxel = exact_nm(config.output.voxel_size_nm) if config.output.voxel_size_nm else dx
    if abs(voxel / dx - 1) > Fraction(1, 1000):
        raise InputError(
            "output.voxel_size_nm",
            float(voxel),
            f"must be the lateral voxel size of the source, {float(dx):g} nm",
            "Leave it null",
        )
    ratio = dz / dx
    if not MIN_RATIO <= ratio <= MAX_RATIO:
        raise InputError(
            "source.voxel_size_nm",
            [float(v) for v in info.voxel_size_nm],
            f"gives an anisotropy of {float(ratio):g}, outside {MIN_RATIO} to {MAX_RATIO}",
            "Check the order (z, y, x) and the unit (nm)",
        )
    roi = measured_roi(info, config.source.roi_nm)
    axial = AxialMap(ratio, roi.shape.z)
    shape = ZYX(axial.n_planes, roi.shape.y, roi.shape.x)
    grid = BlockGrid.even(shape, config.blocks)
    per_job = config.fit.blocks_per_job or max(DEFAULT_BLOCKS_PER_JOB, ceil(grid.n_blocks / MAX_FIT_JOBS))
    n_shards = ZYX(*(ceil(side / config.output.shard_vox) for side in shape)).volume
    return Layout(
        roi,
        axial,
        dx,
        shape,
        grid,
        ceil(grid.n_blocks / per_job),
        n_shards,
        ceil(n_shards / config.output.shards_per_job),
    )


class Plan(Spec):
    """plan.json: everything the later stages need to know about the run besides the configuration."""

    format: str = "isofield-plan-1"
    made_from: str = Field(description="mark of the configuration that was planned from")
    run_name: str
    source: dict[str, Any] = Field(description="uri, format, shape, dtype, voxel size and identity of the measured volume")
    ratio: str = Field(description="section thickness / output voxel size, an exact fraction")
    operator: str
    fwhm_vox: float | None
    kernel_nm: Kernel | None = Field(None, description="profile of operator kernel, as its file had it when this was planned")
    roi: tuple[tuple[int, int, int], tuple[int, int, int]] = Field(description="offset and shape in measured voxels")
    voxel_size_nm: float
    origin_nm: tuple[float, float, float] = Field(description="edge at which the output begins")
    shape: tuple[int, int, int] = Field(description="output shape in voxels")
    dtype: str
    intensity: dict[str, float]
    grid: dict[str, tuple[int, int, int]] = Field(description="core, context and margin of the fields in output voxels")
    overlap_vox: int
    n_blocks: int
    n_empty_blocks: int
    n_fit_jobs: int
    n_blend_jobs: int
    n_shards: int
    shard_vox: int
    has_truth: bool
    projected: dict[str, float] = Field(description="bytes of memory per job, bytes and files on disk")
    fingerprints: dict[str, str] = Field(description="volume: source, intensity, measurement; geometry: that and the blocks")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """The plan in `path`. Raises InputError when it is absent or damaged."""
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            limit = f"is not a plan of this version ({'.'.join(map(str, first['loc']))}: {first['msg']})"
            raise InputError("plan", str(path), limit, "Run the plan stage again") from None

    @property
    def axial(self) -> AxialMap:
        return AxialMap(Fraction(self.ratio), self.roi[1][0])

    @property
    def model(self) -> MeasurementModel:
        kernel_vox = self.kernel_nm.scaled(1 / self.voxel_size_nm) if self.kernel_nm else None
        return MeasurementModel(Fraction(self.ratio), self.operator, self.fwhm_vox, kernel_vox)  # type: ignore[arg-type]

    @property
    def measured_roi(self) -> Roi:
        return Roi(*self.roi)  # type: ignore[arg-type]

    @property
    def block_grid(self) -> BlockGrid:
        return BlockGrid(ZYX(*self.shape), *(ZYX(*self.grid[name]) for name in ("core", "context", "margin")))

    @property
    def contrast(self) -> Intensity:
        return Intensity(**self.intensity)
