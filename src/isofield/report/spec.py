"""What the user says about the report."""

from __future__ import annotations

from pydantic import Field, PositiveInt, field_validator

from isofield.spec import Spec


class ReportSpec(Spec):
    """The page report/index.html and the viewer link. Changing it refits and measures nothing."""

    title: str | None = Field(None, min_length=1, max_length=200, description="title of the page; null: the run's name")
    n_slices: int = Field(3, ge=1, le=12, description="slices shown per orientation (XY, ZX, ZY), evenly spread")
    cube_vox: int = Field(
        128, ge=32, le=256, description="side of the cubes of the volume that the page lets one look through, in voxels"
    )
    max_page_mb: float = Field(
        15,
        gt=0,
        le=500,
        description="size of the page at most, in MB, whatever the volume's: pictures and cubes are cut until they fit",
    )
    max_picture_vox: int = Field(
        320,
        ge=32,
        le=2048,
        description="largest side of a picture in voxels; larger slices are cropped about their centre",
    )
    window_percentiles: tuple[float, float] = Field(
        (0.5, 99.5),
        description="intensity percentiles shown as black and white, in the report and in the viewer",
    )
    n_preview_blocks: int = Field(
        4, ge=1, le=100, description="blocks that `snakemake preview` reconstructs, spread over the volume"
    )
    max_measured_vox: PositiveInt = Field(
        2_000_000_000,
        description="measured voxels that are copied for viewing beside the result; of a larger volume those around its middle",
    )
    max_map_vox: PositiveInt = Field(
        500_000_000,
        description="output voxels under the map of residuals (errors, where truth is known); of a larger volume those around "
        "the place that the viewer opens at",
    )
    n_worst_blocks: int = Field(12, ge=1, le=200, description="rows of the table of worst blocks")

    @field_validator("window_percentiles")
    @classmethod
    def _percentiles_ascend(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 0 <= low < high <= 100:
            raise ValueError(f"[{low}, {high}] are not two ascending percentiles; give 0 <= black < white <= 100")
        return value
