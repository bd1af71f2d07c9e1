"""The plan of a run: what follows from the metadata alone (Layout), and what looking at the voxels adds (Plan)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from isofield.blocks import BlockGrid
from isofield.bundling import blocks_per_job, pyramid_span, shards_per_job
from isofield.config import Config, Sections
from isofield.defects.spec import BadSection
from isofield.errors import InputError
from isofield.geometry import ZYX, AxialMap, Roi, exact_nm
from isofield.intensity import Intensity
from isofield.jobs import Jobs, blocks_reaching, shards_in
from isofield.measurement import Kernel, MeasurementModel
from isofield.omezarr.spec import OutputSpec
from isofield.records import fingerprint, read_json
from isofield.source.region import measured_roi
from isofield.source.volume import VolumeInfo
from isofield.spec import Spec

MAX_RATIO, MIN_RATIO = 20, Fraction(9, 10)
"""Section thickness over pixel size. A little less than 1: such stacks are isotropic but for the blur of the optics."""
MIN_VOXEL_NM, MAX_VOXEL_NM = 0.1, 1e6
"""Sides of a voxel that no microscope has: a unit was mistaken."""


LABELLED = "origin-1"
"""What shards carry beside their voxels; those that were made without it are made again."""


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
    jobs: Jobs


def lay_out(config: Config | Sections, info: VolumeInfo) -> Layout:
    """Layout of a run over the volume `info`. Raises InputError for geometry that cannot be reconstructed."""
    dz, dy, dx = info.voxel_size_nm
    sizes = [float(v) for v in info.voxel_size_nm]
    if min(sizes) < MIN_VOXEL_NM or max(sizes) > MAX_VOXEL_NM:
        less = min(sizes) < MIN_VOXEL_NM
        limit = f"holds {min(sizes):g} nm, smaller than an atom" if less else f"holds {max(sizes):g} nm, more than a millimetre"
        # The nearest unit, up to metres and down to picometres, in which the voxels would be those of a microscope.
        factors = [1e3, 1e6, 1e9] if less else [1e-3, 1e-6]
        factor = next((f for f in factors if min(sizes) * f >= 1 and max(sizes) * f <= 1e5), factors[0])
        likely = ", ".join(f"{v * factor:g}" for v in sizes)
        raise InputError("source.voxel_size_nm", sizes, limit, f"Give it in nm, z, y, x: is it [{likely}]?")
    if abs(dy / dx - 1) > Fraction(1, 1000):
        remedy = "Resample the sections to square pixels, or correct source.voxel_size_nm"
        if abs(dz / dy - 1) < Fraction(1, 1000) and dx > dy:
            remedy = f"Sizes are given in the order z, y, x: write [{sizes[2]:g}, {sizes[1]:g}, {sizes[0]:g}]"
        raise InputError("source.voxel_size_nm", sizes, "y and x differ", remedy)
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
            sizes,
            f"gives an anisotropy of {float(ratio):g}, outside {float(MIN_RATIO):g} to {MAX_RATIO}",
            "Check the order (z, y, x) and the unit (nm)",
        )
    roi = measured_roi(info, config.source.roi_nm)
    axial = AxialMap(ratio, roi.shape.z)
    shape = ZYX(axial.n_planes, roi.shape.y, roi.shape.x)
    grid = BlockGrid.even(shape, config.blocks)
    region = output_region(config.output, shape)
    n_blocks = len(blocks_reaching(grid, config.blocks.overlap_vox, region))
    output = config.output
    shards = shards_in(shape, output.shard_vox, region)
    n_shards = len(shards)
    n_fit = ceil(n_blocks / (config.fit.blocks_per_job or blocks_per_job(n_blocks, grid.core.volume)))
    n_blend = ceil(n_shards / (output.shards_per_job or shards_per_job(n_shards, output.shard_vox**3)))
    span = output.pyramid_span or pyramid_span(shards.box)
    jobs = Jobs(grid, config.blocks.overlap_vox, output.shard_vox, region, n_fit, n_blend, span)
    return Layout(roi, axial, dx, shape, grid, n_fit, n_shards, n_blend, jobs)


def output_region(spec: OutputSpec, shape: ZYX) -> Roi | None:
    """The part of the output that is made. Raises InputError unless it lies in the volume and consists of whole shards."""
    if spec.region_vox is None:
        return None
    side = spec.shard_vox
    for axis, (begin, end), length in zip("zyx", spec.region_vox, shape, strict=True):
        whole_end = end % side == 0 or end == length
        if begin % side or not whole_end or not begin < end <= length:
            begin = min(begin, length - 1) // side * side
            near = min(max(begin // side + 1, round(end / side)) * side, length)
            raise InputError(
                "output.region_vox",
                [list(pair) for pair in spec.region_vox],
                f"along {axis} it must begin and end at whole shards of {side} voxels, or end with the volume at {length}",
                f"Along {axis} give [{begin}, {near}], say",
            )
    return Roi.between(*zip(*spec.region_vox, strict=True))


class Plan(Spec):
    """plan.json: everything the later stages need to know about the run besides the configuration."""

    format: str = "isofield-plan-1"
    made_from: str = Field(description="mark of the configuration that was planned from")
    run_name: str
    source: dict[str, Any] = Field(description="uri, format, shape, dtype, voxel size and identity of the measured volume")
    source_spec: dict[str, Any] = Field(
        default_factory=dict, description="the configuration's section source, by which the volume is opened again"
    )
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
    pyramid_span: int = Field(8, description="shards along each side of what a pyramid job owns")
    region: tuple[tuple[int, int, int], tuple[int, int, int]] | None = Field(
        None, description="offset and shape of the part of the output that is made; null: all of it"
    )
    empty_below: float | None = Field(None, description="blocks without a measured grey value above this are not fitted")
    bad_sections: tuple[BadSection, ...] = Field((), description="sections of the source that are not believed")
    has_truth: bool
    projected: dict[str, float] = Field(description="bytes of memory per job, bytes and files on disk")
    fingerprints: dict[str, str] = Field(description="volume: source, intensity, measurement; geometry: that and the blocks")
    checksum: str | None = Field(None, description="see `sealed`; null: not checked")

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
    def jobs(self) -> Jobs:
        region = Roi(*self.region) if self.region else None  # type: ignore[arg-type]
        return Jobs(
            self.block_grid, self.overlap_vox, self.shard_vox, region, self.n_fit_jobs, self.n_blend_jobs, self.pyramid_span
        )

    @property
    def bad(self) -> frozenset[int]:
        """Bad sections, counted from the first section of the planned region."""
        first, n = self.roi[0][0], self.roi[1][0]
        return frozenset(one.section - first for one in self.bad_sections if first <= one.section < first + n)

    @property
    def contrast(self) -> Intensity:
        return Intensity(**self.intensity)

    def shard_mark(self, roi: Roi, marks: Sequence[str]) -> str:
        """Fingerprint of what the voxels of an output shard depend on; `marks` of the blocks that reach into it, ascending."""
        return fingerprint(
            list(marks), roi, self.overlap_vox, self.intensity, self.dtype, self.fingerprints["geometry"], LABELLED
        )
