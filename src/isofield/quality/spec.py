"""What is measured about a result."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from isofield.spec import Spec


class QualitySpec(Spec):
    """How a result is measured against the sections, against itself, and against truth where it is known."""

    max_blocks: PositiveInt = Field(
        1000, description="blocks that are measured; of a larger run so many, spread evenly at random"
    )
    n_spectrum_cubes: PositiveInt = Field(
        8, description="cubes spread over the volume from which axial and lateral spectra are estimated"
    )
    spectrum_cube_vox: int = Field(64, ge=16, description="side of such a cube in voxels")
    seam_reach_vox: PositiveInt = Field(
        48, description="how far from a block face the planes it is compared with may lie, in voxels"
    )
