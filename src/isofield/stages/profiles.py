"""The profile of a section: taken from the configuration once, when a run is planned, and refused if it cannot be right."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from isofield.config import Sections
from isofield.config.consistency import kernel_in_force, operator_in_force
from isofield.errors import InputError
from isofield.measurement import FAINT, NEGLIGIBLE, Kernel, MeasurementModel, Operator
from isofield.plan import Layout
from isofield.source.kernel_file import read_kernel
from isofield.source.paths import kernel_identity
from isofield.source.spec import KernelFile


@dataclass(frozen=True)
class Profile:
    """What a plan says about the profile. identity: tells the content of the kernel's file from any other."""

    operator: Operator
    fwhm_vox: float | None
    kernel_nm: Kernel | None
    identity: dict[str, str]

    def model(self, layout: Layout) -> MeasurementModel:
        kernel_vox = self.kernel_nm.scaled(1 / float(layout.voxel_size_nm)) if self.kernel_nm else None
        return MeasurementModel(layout.axial.ratio, self.operator, self.fwhm_vox, kernel_vox)


def profile_in_use(config: Sections, layout: Layout) -> Profile:
    """The profile that is configured. Raises InputError for a file that holds none, and for a profile that does not fit."""
    voxel_nm = float(layout.voxel_size_nm)
    choice, fwhm_nm = kernel_in_force(config.source, config.measurement), config.measurement.width_nm
    profile = Profile(
        operator_in_force(config.source, config.measurement),
        fwhm_nm / voxel_nm if fwhm_nm else None,
        read_kernel(choice, voxel_nm) if choice else None,
        kernel_identity(choice),
    )
    if choice and profile.kernel_nm:
        _require_likely(choice, profile.kernel_nm, layout)
    _require_data_for_every_section(config, profile.model(layout), layout)
    return profile


def _require_likely(choice: KernelFile, kernel_nm: Kernel, layout: Layout) -> None:
    """Profiles in another unit, or counted from another place than the section's centre, are caught by their size."""
    voxel, section = float(layout.voxel_size_nm), float(layout.axial.ratio * layout.voxel_size_nm)
    depth = float(layout.axial.n_planes * layout.voxel_size_nm)
    span = kernel_nm.quantile(1 - FAINT) - kernel_nm.quantile(FAINT)
    key = f"{choice.section}.kernel_file"
    if span < voxel / 2:
        limit = f"its profile spans {span:g} nm, less than half an output voxel of {voxel:g} nm"
        raise InputError(key, choice.file, limit, f"Give positions in nm, or set {choice.section}.operator: skip")
    if span > depth:
        limit = f"its profile spans {span:g} nm, more than the {depth:g} nm that are reconstructed"
        raise InputError(key, choice.file, limit, "Give positions in nm, cut off its tails, or reconstruct more sections")
    if abs(kernel_nm.mean) > section / 2:
        limit = f"its centre of mass lies at {kernel_nm.mean:g} nm, outside the section of {section:g} nm around 0"
        raise InputError(key, choice.file, limit, "Count positions in nm from the section's centre")


def _require_data_for_every_section(config: Sections, model: MeasurementModel, layout: Layout) -> None:
    """A profile wider than its section may fit into no block; the section would then shape no field's data term."""
    if not max(model.overreach_vox):
        return
    grid = layout.grid
    _, ny, nx = grid.grid_shape
    reads = [grid[index].read_roi for index in range(0, grid.n_blocks, ny * nx)]
    seen = {s for roi in reads for s in model.whole_sections(layout.axial, roi.offset.z, roi.end.z)}
    if len(seen) < layout.axial.n_sections:
        reach = max(float(side) for side in model.extent_vox(NEGLIGIBLE))
        raise InputError(
            "blocks.context_vox",
            config.blocks.context_vox,
            f"is less than the {reach:.1f} voxels that the profile of a section reaches from its centre: "
            f"{layout.axial.n_sections - len(seen)} of {layout.axial.n_sections} sections lie wholly in no block",
            f"Raise it to {ceil(reach)}",
        )
