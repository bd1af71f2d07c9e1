"""Report content made from arrays: what the tests draw, and what the page is looked at with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy import ndimage

from isofield.geometry import AxialMap
from isofield.interpolation import interpolation_matrix
from isofield.phantom import tissue, tissue_clean
from isofield.report.content import (
    PLANES,
    Cube,
    ReportContent,
    Slice,
    Stage,
    fsc_curve,
    histogram_curve,
    loss_curve,
    seam_curve,
    spectrum_curve,
)
from isofield.report.pictures import spread
from isofield.report.spec import ReportSpec

FACTOR = 8


def volumes(shape: tuple[int, int, int] = (128, 160, 192), seed: int = 3) -> dict[str, np.ndarray]:
    """Truth, its sections (means of 8 planes) and stand-ins for results, all on the isotropic grid."""
    truth = tissue(shape, seed)
    axial = AxialMap(Fraction(FACTOR), shape[0] // FACTOR)
    sections = truth.reshape(-1, FACTOR, *shape[1:]).mean(1)

    def on_planes(kind: str) -> np.ndarray:
        matrix = interpolation_matrix(axial, range(axial.n_sections), 0, shape[0], kind)
        return np.clip(np.einsum("ps,syx->pyx", matrix, sections), 0, 255).astype(np.uint8)

    clean = ndimage.gaussian_filter1d(tissue_clean(shape, seed).astype(np.float32), 1.6, axis=0)
    isotropic = np.clip(0.75 * clean + 0.25 * on_planes("cubic"), 0, 255).astype(np.uint8)
    return {
        "measured": on_planes("nearest"),
        "linear": on_planes("linear"),
        "cubic": on_planes("cubic"),
        "isotropic": isotropic,
        "truth": truth,
        "error": np.abs(isotropic.astype(np.float32) - truth),
    }


def slices(arrays: Mapping[str, np.ndarray], n_slices: int = 3) -> list[Slice]:
    """`n_slices` per orientation through volumes of one (Z, Y, X) shape."""
    shape = next(iter(arrays.values())).shape
    return [
        Slice(plane, index, {key: array.take(index, axis) for key, array in arrays.items()})
        for axis, plane in enumerate(PLANES)
        for index in spread(shape[axis], n_slices)
    ]


def cube(
    arrays: Mapping[str, np.ndarray], label: str = "middle", begin: tuple[int, int, int] = (0, 0, 0), side: int = 48
) -> Cube:
    """A cube of volumes of one shape, with the sections in it and a residual made up of them."""
    region = tuple(slice(b, min(b + side, n)) for b, n in zip(begin, arrays["isotropic"].shape, strict=True))
    first = begin[0] // FACTOR
    measured = arrays["measured"][first * FACTOR :: FACTOR, region[1], region[2]]
    return Cube(
        label,
        begin,
        float(FACTOR),
        first,
        {key: arrays[key][region] for key in ("isotropic", "truth") if key in arrays},
        {"measured": measured, "residual": np.abs(measured.astype(np.float32) - 120)},
    )


def block_table(shape: tuple[int, int, int], core: int, seed: int = 0, with_truth: bool = True) -> pd.DataFrame:
    """A row per block of a grid, with plausible numbers; one failed, one skipped, one a fallback."""
    random = np.random.default_rng(seed)
    rows = []
    for z in range(0, shape[0], core):
        for y in range(0, shape[1], core):
            for x in range(0, shape[2], core):
                bad = math.exp(-((x - 128) ** 2 + (y - 64) ** 2) / 4000)
                rows.append(
                    {
                        "block_id": f"{z // core:04d}-{y // core:04d}-{x // core:04d}",
                        "state": "done",
                        "offset_z": z,
                        "offset_y": y,
                        "offset_x": x,
                        "shape_z": min(core, shape[0] - z),
                        "shape_y": min(core, shape[1] - y),
                        "shape_x": min(core, shape[2] - x),
                        "psnr_db": 25.4 - 2.2 * bad + random.normal(0, 0.3) if with_truth else np.nan,
                        "residual_rms": 0.021 + 0.018 * bad + random.uniform(0, 0.004),
                        "cubic_psnr_db": 23.4 + random.normal(0, 0.2) if with_truth else np.nan,
                        "seam": 1 + 0.4 * bad + random.uniform(0, 0.05),
                        "overlap_rms": 0.03 + 0.02 * bad + random.uniform(0, 0.004),
                        "seconds": random.uniform(38, 44),
                        "attempts": 1,
                        "message": "",
                    }
                )
    metrics = ["psnr_db", "cubic_psnr_db", "residual_rms", "seam", "overlap_rms"]
    for at, state, message in (
        (1, "failed", "loss became NaN at step 412, and again with the safer setting"),
        (2, "skipped", "no signal above the background"),
        (7, "fallback", "cubic spline in its place"),
    ):
        if at < len(rows):
            rows[at] |= {"state": state, "message": message, "attempts": 2} | dict.fromkeys(metrics, np.nan)
    return pd.DataFrame(rows)


def example(arrays: Mapping[str, np.ndarray] | None = None, run_name: str = "demo", **changes: object) -> ReportContent:
    """A full report about `arrays` (default: the phantom); keyword arguments replace its fields."""
    arrays = dict(arrays or volumes())
    shape = next(iter(arrays.values())).shape
    with_truth = "truth" in arrays
    random = np.random.default_rng(0)
    step = np.arange(0, 2000, 5)
    frequency = np.linspace(0.01, 0.5, 60)
    methods = {
        "nearest": {"psnr_db": 20.11, "ssim": 0.512, "ssim_axial": 0.448},
        "linear": {"psnr_db": 22.40, "ssim": 0.588, "ssim_axial": 0.531},
        "cubic": {"psnr_db": 22.71, "ssim": 0.601, "ssim_axial": 0.549},
        "isotropic": {"psnr_db": 24.12, "ssim": 0.661, "ssim_axial": 0.642},
    }
    fields: dict[str, object] = {
        "run_name": run_name,
        "voxel_size_nm": 8.0,
        "summary": [
            "A synthetic piece of neuropil, cut into sections of 64 nm, was reconstructed at 8 nm in all three axes.",
            "The prior was learned from the volume's own sections; no isotropic data was used.",
        ],
        "facts": [
            ("Measured voxel (z, y, x)", "64 × 8 × 8 nm"),
            ("Isotropic voxel", "8 nm"),
            ("Output shape (z, y, x)", " × ".join(map(str, shape)) + " voxels"),
            ("Axial factor", "8"),
            ("Finished", "2026-11-22 17:40 UTC"),
        ],
        "methods": methods if with_truth else {},
        "figures": {
            "residual_rms": 0.0182,
            "seam_score": 1.04,
            "overlap_rms": 0.0417,
            "spectral_ratio": 0.83,
            "clipped_fraction": 0.00012,
        },
        "slices": slices(arrays),
        "cubes": [cube(arrays), cube(arrays, "worst block", (0, shape[1] // 3, shape[2] // 3))],
        "curves": [
            loss_curve(step, 0.08 + 0.9 * np.exp(-step / 150) + random.normal(0, 0.008, len(step))),
            spectrum_curve(
                frequency,
                {
                    "isotropic": 1 / (1 + (frequency / 0.33) ** 4),
                    "cubic": np.exp(-((frequency / 0.07) ** 2)) + 2e-3,
                    "truth": np.ones(60),
                },
            ),
            fsc_curve(
                frequency,
                {"isotropic, axial": np.exp(-((frequency / 0.2) ** 2)), "cubic, axial": np.exp(-((frequency / 0.1) ** 2))},
            ),
            histogram_curve(
                np.linspace(0, 255, 65),
                {"measured": random.dirichlet(np.ones(64) * 9), "isotropic": random.dirichlet(np.ones(64) * 9)},
            ),
            seam_curve({"y": (np.arange(-8, 9), 1 + random.normal(0, 0.02, 17))}),
        ],
        "blocks": block_table(shape, 32, with_truth=with_truth),
        "stages": [
            Stage("plan", 1, 3.2, 3.0, 0.25e9, 0.3e9),
            Stage("train", 1, 190.0, 371.0, 1.1e9, 1.4e9),
            Stage("fit", 2, 271.4, 520.0, 1.9e9, 2.2e9),
            Stage("measure", 1, 14.0),
        ],
        "cost": ["All jobs together took 8 min of wall time and 15 min of processor time."],
        "warnings": [
            "1 of 120 blocks could not be fitted and was left empty; 1 was filled by cubic interpolation.",
            "Seams can be told apart at x = 128: the residual there is twice that of the rest.",
        ],
        "config_yaml": "run:\n  name: demo\nsource:\n  path: phantom:tissue\n  simulate: {factor: 8}\n",
        "provenance": {
            "isofield": "0.1.0",
            "fit fingerprint": "3f6b7c1d9a20e4",
            "seed": "0",
            "torch": "2.13.0 (CPU)",
        },
        "citations": ["Lee and Jeong, MICCAI 2024, arXiv 2408.08616."],
        "spec": ReportSpec(title="Demo: synthetic neuropil"),
    }
    return ReportContent(**(fields | changes))
