"""What the report says, as plain values: the page is a function of this and of nothing else."""

from __future__ import annotations

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
class Curve:
    """One line chart. series: name -> (x, y), equally long; NaN leaves a gap; `reference`: a dashed level."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, tuple[np.ndarray, np.ndarray]]
    caption: str = ""
    x_log: bool = False
    y_log: bool = False
    reference: float | None = None


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page.

    methods: method -> {psnr_db, ssim, ssim_axial}; empty where no truth exists. figures: metric name -> value
    for the volume (names of isofield.report.glossary.METRICS; others are shown under their own name). window:
    intensities shown as black and white (null: from the slices). blocks: one row per block, columns
    BLOCK_COLUMNS. stages: (stage, seconds, note). bad_sections: what `bad_sections_html` makes of them.
    """

    run_name: str
    voxel_size_nm: float
    summary: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    methods: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    slices: Sequence[Slice] = ()
    window: tuple[float, float] | None = None
    curves: Sequence[Curve] = ()
    blocks: pd.DataFrame | None = None
    stages: Sequence[tuple[str, float, str]] = ()
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
