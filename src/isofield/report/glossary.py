"""The metrics in words: label, unit, direction and meaning, once for the whole page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """How one number is named, printed and read. `better`: the good direction; `ideal`: the best value."""

    label: str
    words: str
    better: Literal["higher", "lower", "neither"] = "lower"
    unit: str = ""
    digits: int = 3
    percent: bool = False
    ideal: str = ""

    @property
    def shown_unit(self) -> str:
        return "%" if self.percent else self.unit


METRICS: dict[str, Metric] = {
    "psnr_db": Metric(
        "PSNR",
        "Peak signal-to-noise ratio against the truth, in decibels: 10 log10(range² / mean squared error). "
        "One decibel more is a fifth less squared error. Known only where a truth exists.",
        better="higher",
        unit="dB",
        digits=2,
    ),
    "ssim": Metric(
        "SSIM",
        "Structural similarity with the truth, at most 1. It compares local contrast and structure, and so "
        "punishes blur that PSNR forgives.",
        better="higher",
    ),
    "ssim_axial": Metric(
        "SSIM, axial",
        "Structural similarity on ZX and ZY slices only, where the missing resolution is seen.",
        better="higher",
    ),
    "gain_db": Metric(
        "Gain on cubic",
        "PSNR of isotropic minus PSNR of cubic spline in the same block: what the reconstruction adds there.",
        better="higher",
        unit="dB",
        digits=2,
    ),
    "residual_rms": Metric(
        "Measurement residual",
        "The reconstruction is pushed back through the measurement model and compared with the sections "
        "that were measured: root mean square of the difference, as a share of the contrast range. About "
        "the noise of the data is right; much more means the reconstruction contradicts what was measured.",
        percent=True,
        digits=2,
    ),
    "section_noise": Metric(
        "Noise of the sections",
        "How noisy the measured sections are, estimated from themselves (second differences within a section): standard "
        "deviation as a share of the contrast range. A measurement residual of about this size is right.",
        better="neither",
        percent=True,
        digits=2,
    ),
    "seam_score": Metric(
        "Seam score",
        "Mean step in intensity across the faces between blocks, over the mean step across comparable "
        "planes elsewhere; the worst axis. At 1 a face looks like any other plane; from about 1.1 seams may "
        "be visible.",
        better="neither",
        digits=2,
        ideal="1",
    ),
    "seam": Metric("Seam", "The seam score of a block's own faces, the worst of them.", digits=2),
    "overlap_rms": Metric(
        "Overlap disagreement",
        "Where neighbouring blocks overlap they were fitted independently: root mean square of their "
        "difference before blending, as a share of the contrast range. A cheap hint of how uncertain the "
        "reconstruction is.",
        percent=True,
        digits=2,
    ),
    "spectral_ratio": Metric(
        "Axial / lateral power",
        "Spectral power along z over spectral power within sections, at the frequencies that the sections "
        "are too thick to resolve. Near 1 the volume looks equally sharp from all sides; below 1 it is "
        "blurred along z; above 1 it is noisier along z. Power is not truth: read it together with the "
        "residual.",
        better="neither",
        digits=2,
        ideal="1",
    ),
    "resolution_nm": Metric(
        "Resolution along z",
        "The size down to which detail along z agrees with the truth: the period at which their Fourier shell correlation falls "
        "below one half. Known only where a truth exists.",
        unit="nm",
        digits=0,
    ),
    "resolution_cubic_nm": Metric(
        "Resolution along z, cubic",
        "The same of cubic spline interpolation of the sections.",
        unit="nm",
        digits=0,
    ),
    "clipped_fraction": Metric(
        "Clipped voxels",
        "Share of voxels that fell outside the range of the integer type and were set to its limit (never wrapped).",
        percent=True,
        digits=3,
    ),
    "seconds": Metric("Fit time", "Wall time spent on the block, in seconds.", unit="s", digits=1),
    "attempts": Metric("Attempts", "How often the block was fitted; more than one means it diverged first.", digits=0),
}


def metric(name: str) -> Metric:
    """The entry for `name`; an unknown name is shown as it is."""
    return METRICS.get(name) or Metric(name.replace("_", " "), "", better="neither")


def text(name: str, value: float | None, unit: bool = True) -> str:
    """The number as printed, with its unit unless told otherwise; an en dash where it is unknown."""
    entry = metric(name)
    if value is None or value != value:
        return "–"
    value = 100 * value if entry.percent else value
    number = f"{value:.{entry.digits}f}"
    if value and entry.digits and abs(value) < 10**-entry.digits:
        number = f"{value:.1e}"
    return f"{number} {entry.shown_unit}".strip() if unit else number
