"""Ridge regression from the measured neighbourhood of a section to the planes within it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isofield.geometry import AxialMap
from isofield.interpolation import section_positions
from isofield.measurement import MeasurementModel
from isofield.quality.baselines.baseline import cubic_planes
from isofield.quality.baselines.pairs import MAX_PHASES, LateralPairs

REACH_SECTIONS = 2
"""A plane is predicted from its own section and this many on both sides."""
MARGIN_SECTIONS = 3
"""Sections at each end of a crop that are not learned from: their interpolation knows of the end."""
LEARNED_SECTIONS = 4
N_CROPS, CROPS_PER_BATCH, CROP_WIDTH = 2048, 64, 64
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Ridge penalties that are tried, in units of the mean variance of the features."""
HELD_OUT_EVERY = 5


@dataclass
class NormalEquations:
    """Sums over samples from which any ridge solution and its squared error follow, for each phase bin by itself.

    With features X (n, F) and targets t (n,) of a bin: gram X^T X (bins, F, F), cross X^T t (bins, F), power |t|^2 (bins,).
    """

    gram: np.ndarray
    cross: np.ndarray
    power: np.ndarray

    @classmethod
    def empty(cls, n_bins: int, n_features: int) -> NormalEquations:
        return cls(np.zeros((n_bins, n_features, n_features)), np.zeros((n_bins, n_features)), np.zeros(n_bins))

    def add(self, index: int, features: np.ndarray, target: np.ndarray) -> None:
        """Count samples of one bin: features (n, F), target (n,)."""
        self.gram[index] += features.T @ features
        self.cross[index] += features.T @ target
        self.power[index] += target @ target

    def solve(self, strength: float) -> np.ndarray:
        """Weights (bins, F) that minimise |X w - t|^2 + strength * mean(diag(X^T X)) |w|^2; bins without samples give 0."""
        scale = np.trace(self.gram, axis1=1, axis2=2) / self.gram.shape[1]
        penalty = (strength * scale + np.where(scale > 0, 0.0, 1.0))[:, None, None] * np.eye(self.gram.shape[1])
        return np.linalg.solve(self.gram + penalty, self.cross[..., None])[..., 0]

    def squared_error(self, weights: np.ndarray) -> float:
        """Sum of squared errors of `weights` (bins, F) over all samples."""
        explained = 2 * np.einsum("bf,bf->", weights, self.cross) - np.einsum("bf,bfg,bg->", weights, self.gram, weights)
        return float(self.power.sum() - explained)


def phase_bins(positions: np.ndarray, n_sections: int, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Section that each position lies in, and the bin of its place within it; positions in units of sections.

    Positions before the first of `n_sections` or behind the last count as its outermost.
    """
    # The tolerance keeps planes whose centre lies on an edge between bins on one side of it, whatever the rounding.
    steps = np.floor((positions + 0.5) * n_bins + 1e-6).astype(int)
    steps = np.clip(steps, 0, n_sections * n_bins - 1)
    return steps // n_bins, steps % n_bins


def neighbourhood(five: np.ndarray, width: int) -> np.ndarray:
    """Features (..., X, 5 * width): `five` (5, ..., X) sections and lateral neighbours along the last axis, less the middle one.

    Beyond the ends of the last axis the outermost value is repeated.
    """
    half = width // 2
    padded = np.pad(five, [(0, 0)] * (five.ndim - 1) + [(half, half)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)
    features = np.moveaxis(windows, 0, -2) - five[REACH_SECTIONS][..., None, None]
    return features.reshape(*features.shape[:-2], -1)


class Ridge:
    """Residual to cubic interpolation, linear in 5 sections times `width` lateral neighbours, one set of weights per phase.

    Features are differences to the middle value, so constants are kept; the lateral neighbours pay 0.025 dB (fib25, x8). Trained
    on XY sections degraded along either lateral axis; applied along x and along y, and averaged. The number of samples is
    fixed: training takes seconds, whatever the budget.
    """

    def __init__(self, width: int = 5) -> None:
        """width: lateral neighbourhood in voxels, odd; 1 is a column of five measured values."""
        self.name = "ridge"
        self.width = width
        self.strength = float("nan")

    def train(self, sections: np.ndarray, model: MeasurementModel, seconds: float, seed: int) -> None:
        if len(sections) < 2:
            raise ValueError("ridge regression needs two sections or more, one to choose its penalty on")
        held_out, learned = (
            self.statistics([s for i, s in enumerate(sections) if (i % HELD_OUT_EVERY == 0) == is_held_out], model, seed)
            for is_held_out in (True, False)
        )
        errors = [held_out.squared_error(learned.solve(strength)) for strength in STRENGTHS]
        self.strength = STRENGTHS[int(np.argmin(errors))]
        self.weights = learned.solve(self.strength).astype(np.float32)

    def statistics(self, planes: list[np.ndarray], model: MeasurementModel, seed: int) -> NormalEquations:
        """Normal equations of random crops of XY `planes`, degraded along either lateral axis."""
        n_bins = min(model.ratio.numerator, MAX_PHASES)
        sums = NormalEquations.empty(n_bins, 5 * self.width)
        n_sections = 2 * MARGIN_SECTIONS + LEARNED_SECTIONS
        pairs = LateralPairs(planes, model, n_sections, CROP_WIDTH)
        inner = slice(self.width // 2, CROP_WIDTH - self.width // 2)
        for step in range(N_CROPS // CROPS_PER_BATCH):
            batch = pairs.batch((seed, step), CROPS_PER_BATCH)
            residual = batch.planes - batch.cubic
            section, bins = phase_bins(batch.positions, n_sections, n_bins)
            for middle in range(MARGIN_SECTIONS, MARGIN_SECTIONS + LEARNED_SECTIONS):
                five = batch.sections[:, middle - REACH_SECTIONS : middle + REACH_SECTIONS + 1].swapaxes(0, 1)
                features = neighbourhood(five, self.width)[:, inner]
                for index in range(n_bins):
                    crop, plane = np.nonzero((section == middle) & (bins == index))
                    if len(crop):
                        sums.add(index, features[crop].reshape(-1, 5 * self.width), residual[crop, plane, inner].reshape(-1))
        return sums

    def reconstruct(self, sections: np.ndarray, axial: AxialMap, begin: int, end: int) -> np.ndarray:
        planes = cubic_planes(sections, axial, begin, end)
        section, bins = phase_bins(section_positions(axial, begin, end), axial.n_sections, len(self.weights))
        for middle in np.unique(section):
            inside = section == middle
            five = sections[_mirrored(middle, axial.n_sections)]
            weights = self.weights[bins[inside]].T
            along_x = neighbourhood(five, self.width) @ weights
            along_y = neighbourhood(five.swapaxes(1, 2), self.width) @ weights
            planes[inside] += np.moveaxis(along_x + along_y.swapaxes(0, 1), -1, 0) / 2
        return planes


def _mirrored(middle: int, n: int) -> np.ndarray:
    """Indices of the five sections around `middle`, mirrored at the ends of the volume as cubic interpolation mirrors them."""
    index = np.abs(np.arange(middle - REACH_SECTIONS, middle + REACH_SECTIONS + 1))
    return np.clip(np.where(index >= n, 2 * (n - 1) - index, index), 0, n - 1)
