"""What the report says, as plain values: the page is a function of this and of nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from markupsafe import Markup

from isofield.report.spec import ReportSpec

Plane = Literal["XY", "ZX", "ZY"]
PLANES: tuple[Plane, ...] = ("XY", "ZX", "ZY")
NORMAL_AXIS: Mapping[str, str] = {"XY": "z", "ZX": "y", "ZY": "x"}

# Columns of ReportContent.blocks. The first eight must be there; a metric column may be missing or NaN.
# gain_db is filled in where the table also has cubic_psnr_db.
BLOCK_ID_COLUMNS = (
    "block_id",
    "state",
    "offset_z",
    "offset_y",
    "offset_x",
    "shape_z",
    "shape_y",
    "shape_x",
)
BLOCK_METRICS = ("psnr_db", "gain_db", "residual_rms", "seam", "overlap_rms", "seconds", "attempts")
BLOCK_COLUMNS = (*BLOCK_ID_COLUMNS, *BLOCK_METRICS, "message")


@dataclass(frozen=True)
class Slice:
    """One plane of the isotropic grid, seen several ways.

    plane: rows and columns of the images: XY (y, x), ZX (z, x), ZY (z, y). index: position along the
    remaining axis, in isotropic voxels. images: key -> (rows, columns) of intensities in source units, one
    voxel per pixel and all of one shape. Usual keys, in the order shown: measured, linear, cubic, isotropic,
    truth; and the maps error, residual, uncertainty (>= 0).
    """

    plane: Plane
    index: int
    images: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if self.plane not in PLANES:
            raise ValueError(f"plane {self.plane!r} is none of {PLANES}")
        shapes = {key: np.shape(image) for key, image in self.images.items()}
        if not shapes or len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 2:
            raise ValueError(f"{self.plane} slice {self.index}: images must be 2-D and of one shape, got {shapes}")


@dataclass(frozen=True)
class Cube:
    """A box of the volume that can be looked through along all three axes.

    offset: its first voxel (z, y, x) on the isotropic grid. planes: key -> (Z, Y, X), one plane per isotropic voxel: isotropic,
    truth. sections: key -> (M, Y, X), one plane per measured section from `first_section` on: measured, residual (>= 0, NaN
    where unknown). ratio: planes per section. Intensities in source units; label: why this place is shown.
    """

    label: str
    offset: tuple[int, int, int]
    ratio: float
    first_section: int
    planes: Mapping[str, np.ndarray]
    sections: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        shapes = {key: np.shape(values) for key, values in self.planes.items()}
        if "isotropic" not in shapes or len(set(shapes.values())) > 1 or len(shapes["isotropic"]) != 3:
            raise ValueError(f"cube {self.label!r}: planes must be 3-D, of one shape and hold isotropic, got {shapes}")
        first, last = self.section_of(0), self.section_of(self.shape[0] - 1)
        for key, values in self.sections.items():
            if np.shape(values)[1:] != self.shape[1:] or not 0 <= first <= last < len(values):
                wanted = f"sections {self.first_section + first} to {self.first_section + last} of {self.shape[1:]}"
                raise ValueError(f"cube {self.label!r}: {key} must hold {wanted}, got {np.shape(values)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        return np.shape(self.planes["isotropic"])  # type: ignore[return-value]

    def section_of(self, plane: int) -> int:
        """Index in `sections` of the section in which the centre of a plane of the cube lies.

        Of a plane that begins in the last section and has its centre beyond it, as the volume's last one may, the last.
        """
        begins, centre = (int((self.offset[0] + plane + part) / self.ratio) - self.first_section for part in (0.0, 0.5))
        n = min((len(values) for values in self.sections.values()), default=centre + 1)
        return begins if centre == n and begins < n else centre


@dataclass(frozen=True)
class Curve:
    """One line chart. series: name -> (x, y), equally long; NaN leaves a gap; `reference`: a dashed level.

    y_within: what the vertical axis spans at least, so that small differences look small. section: where it is shown.
    """

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, tuple[np.ndarray, np.ndarray]]
    caption: str = ""
    section: Literal["quality", "run"] = "quality"
    x_log: bool = False
    y_log: bool = False
    reference: float | None = None
    y_within: tuple[float, float] | None = None


@dataclass(frozen=True)
class Stage:
    """What one rule took: number of jobs, seconds of all together, hours of processor, bytes of the largest; NaN: not known."""

    name: str
    n_jobs: int
    seconds: float
    cpu_s: float = math.nan
    peak_bytes: float = math.nan
    promised_bytes: float = math.nan


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page.

    verdict: one sentence on whether the result is good, where there is no truth to compare with (page.verdict does that).
    methods: method -> {psnr_db, ssim, ssim_axial}; empty where no truth exists. figures: metric name -> value for the volume
    (names of isofield.report.glossary.METRICS; others are shown under their own name). window: intensities shown as black and
    white (null: from the slices, or the cubes). viewer_state: of neuroglancer, for links to blocks; origin_nm (z, y, x): where
    the output begins there. blocks: one row per block, columns BLOCK_COLUMNS. stages: one per rule that was timed.
    bad_sections: what `bad_sections_html` makes of them.
    """

    run_name: str
    voxel_size_nm: float
    origin_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    summary: Sequence[str] = ()
    verdict: str = ""
    facts: Sequence[tuple[str, str]] = ()
    methods: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    cubes: Sequence[Cube] = ()
    slices: Sequence[Slice] = ()
    viewer_state: Mapping[str, object] | None = None
    window: tuple[float, float] | None = None
    curves: Sequence[Curve] = ()
    blocks: pd.DataFrame | None = None
    stages: Sequence[Stage] = ()
    cost: Sequence[str] = ()
    warnings: Sequence[str] = ()
    bad_sections: Markup = field(default_factory=Markup)
    config_yaml: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    citations: Sequence[str] = ()
    spec: ReportSpec = field(default_factory=ReportSpec)

    def __post_init__(self) -> None:
        if self.blocks is not None:
            missing = [name for name in BLOCK_ID_COLUMNS if name not in self.blocks.columns]
            if missing:
                raise ValueError(f"blocks table lacks the columns {missing}; it has {list(self.blocks.columns)}")


def loss_curve(step: np.ndarray, loss: np.ndarray, n_bins: int = 200) -> Curve:
    """Training loss against step: each point as logged (thinned to `n_bins` medians) on logarithmic loss."""
    step, loss = np.asarray(step, float), np.asarray(loss, float)
    pieces = [p for p in np.array_split(np.arange(len(step)), max(1, min(n_bins, len(step)))) if len(p)]
    x = np.array([np.median(step[p]) for p in pieces])
    y = np.array([np.median(loss[p]) for p in pieces])
    return Curve(
        title="Training of the prior",
        x_label="step",
        y_label="loss",
        series={"loss": (x, y)},
        y_log=bool(len(y)) and bool(np.nanmin(y) > 0),
        caption="Denoising loss of the 2-D diffusion prior. It should fall steeply, then flatten; "
        "a rise at the end means training diverged.",
        section="run",
    )


def spectrum_curve(frequency_per_vox: np.ndarray, ratio: Mapping[str, np.ndarray]) -> Curve:
    """Axial over lateral spectral power by frequency (cycles per isotropic voxel), one line per method."""
    frequency = np.asarray(frequency_per_vox, float)
    return Curve(
        title="Axial power against lateral power",
        x_label="spatial frequency (cycles per voxel)",
        y_label="axial / lateral power",
        series={name: (frequency, np.asarray(values, float)) for name, values in ratio.items()},
        y_log=True,
        reference=1.0,
        caption="1 means the volume is as detailed along z as within sections. Falling below 1 at high "
        "frequency is blur along z; above 1 is detail along z that the sections do not have.",
    )


def fsc_curve(frequency_per_vox: np.ndarray, correlation: Mapping[str, np.ndarray]) -> Curve:
    """Fourier shell correlation with truth by frequency (cycles per isotropic voxel), one line per image and direction."""
    frequency = np.asarray(frequency_per_vox, float)
    return Curve(
        title="Agreement with the truth by size of detail (FSC)",
        x_label="spatial frequency (cycles per voxel)",
        y_label="correlation",
        series={name: (frequency, np.asarray(values, float)) for name, values in correlation.items()},
        reference=0.5,
        caption="Fourier shell correlation: 1 is detail that agrees with the truth, 0 is detail that has nothing to do with it. "
        "Where a line falls below one half (dashed), detail of that size and smaller is not to be relied on.",
    )


def histogram_curve(edges: np.ndarray, shares: Mapping[str, np.ndarray]) -> Curve:
    """Intensity histograms; shares: image -> share of voxels per bin between `edges`."""
    edges = np.asarray(edges, float)
    centres = (edges[1:] + edges[:-1]) / 2
    return Curve(
        title="Intensities before and after",
        x_label="intensity",
        y_label="share of voxels (%)",
        series={name: (centres, 100 * np.asarray(values, float)) for name, values in shares.items()},
        caption="The result should have the range of the sections. It may be a little wider: sections are averages of what "
        "lies in them. A shift, or a spike at an end, is an error.",
    )


def seam_curve(profile: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Curve:
    """Roughness by distance from block faces; profile: axis -> (distance in voxels, step over that of interpolated sections)."""
    return Curve(
        title="Steps in intensity around the faces of blocks",
        x_label="distance from the face (voxels)",
        y_label="step, relative to its surroundings",
        series={f"across {axis}": values for axis, values in profile.items()},
        reference=1.0,
        y_within=(0.8, 1.2),
        caption="Distance 0 is the face between two blocks. A line without a spike there has no seam.",
    )
