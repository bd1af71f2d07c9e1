"""The figures of one reconstruction: how near it is to the truth, how consistent, and what it cost."""

from __future__ import annotations

import itertools

import numpy as np

from isofield.geometry import Roi
from isofield.plan import Plan
from isofield.quality.fsc import DirectionalFsc
from isofield.quality.jitter import SliceJitter
from isofield.quality.similarity import MARGIN, Similarity, data_range
from isofield.quality.spectra import DirectionalSpectra

CUBE_VOX = 64
N_BANDS = 4
THRESHOLDS = (0.143, 0.5)


def score(grey: np.ndarray, truth: np.ndarray, sections: np.ndarray, plan: Plan) -> dict[str, float]:
    """Columns of one row. grey and truth (Z, Y, X) in grey values, sections (M, Y, X) likewise."""
    return {
        **_similarity(grey, truth, plan),
        **_resolution(grey, truth, plan.voxel_size_nm),
        **_spectra(grey),
        **_jitter(grey, truth, plan.voxel_size_nm),
        "residual_rms": _residual(grey, sections, plan),
    }


def _similarity(grey: np.ndarray, truth: np.ndarray, plan: Plan) -> dict[str, float]:
    total = Similarity(data_range(plan.dtype, plan.intensity["low"], plan.intensity["high"]))
    everything = Roi((0, 0, 0), truth.shape)
    total.add(grey, truth, everything.slices, everything.grown((-MARGIN,) * 3).slices)
    found = total.summary()
    return {name: found[name] for name in ("psnr_db", "ssim", "ssim_axial")}


def cubes(shape: tuple[int, ...], side: int) -> list[tuple[slice, ...]]:
    """Cubes of `side` that fit into `shape`, edge to edge from the middle outwards."""
    starts = [range((n % side) // 2, n - side + 1, side) for n in shape]
    return [tuple(slice(s, s + side) for s in place) for place in itertools.product(*starts)]


def _resolution(grey: np.ndarray, truth: np.ndarray, voxel_nm: float) -> dict[str, float]:
    side = min(CUBE_VOX, *truth.shape)
    fsc = DirectionalFsc(side, voxel_nm)
    for cube in cubes(truth.shape, side):
        fsc.add(grey[cube], truth[cube])
    return {
        f"fsc_{direction}_{threshold:g}_nm": fsc.cutoff_nm(direction, threshold)  # type: ignore[arg-type]
        for direction in ("axial", "lateral")
        for threshold in THRESHOLDS
    }


def _spectra(grey: np.ndarray) -> dict[str, float]:
    side = min(CUBE_VOX, *grey.shape)
    spectra = DirectionalSpectra(side)
    for cube in cubes(grey.shape, side):
        spectra.add(grey[cube])
    return {f"power_ratio_{band + 1}": ratio for band, ratio in enumerate(spectra.band_ratios(N_BANDS))}


def _jitter(grey: np.ndarray, truth: np.ndarray, voxel_nm: float) -> dict[str, float]:
    jitter = SliceJitter(voxel_nm)
    for axis in (1, 2):
        jitter.add(grey, truth, axis)
    return {
        "jitter_zx_nm": jitter.rms_nm(1),
        "jitter_zy_nm": jitter.rms_nm(2),
        "wobble_zx_nm": jitter.wobble_nm(1),
        "wobble_zy_nm": jitter.wobble_nm(2),
    }


def _residual(grey: np.ndarray, sections: np.ndarray, plan: Plan) -> float:
    """Rms of A x - y as a share of the contrast range."""
    contrast = plan.intensity["high"] - plan.intensity["low"]
    matrix = plan.model.matrix(plan.axial, range(plan.axial.n_sections), 0, plan.shape[0])
    difference = np.tensordot(matrix, grey.astype(np.float64), axes=1) - sections
    return float(np.sqrt(np.square(difference / contrast).mean()))
