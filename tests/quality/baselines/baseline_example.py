"""Phantom tissue, measured: what the tests of the baselines learn from and are scored on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from isofield.geometry import AxialMap
from isofield.measurement import MeasurementModel
from isofield.phantom import tissue


@dataclass(frozen=True)
class Measured:
    """A truth (Z, Y, X) in working units and the sections (M, Y, X) that were made of it."""

    truth: np.ndarray
    sections: np.ndarray
    axial: AxialMap
    model: MeasurementModel

    def psnr(self, planes: np.ndarray, begin: int = 0) -> float:
        """In dB, a full scale of 2 working units."""
        error = np.square(planes.astype(np.float64) - self.truth[begin : begin + len(planes)]).mean()
        return float(10 * np.log10(4 / error))

    def score(self, baseline) -> float:
        return self.psnr(baseline.reconstruct(self.sections, self.axial, 0, self.axial.n_planes))


@cache
def measured(ratio: Fraction, n_sections: int, side: int, seed: int = 0) -> Measured:
    axial, model = AxialMap(ratio, n_sections), MeasurementModel(ratio)
    truth = tissue((axial.n_planes, side, side), seed).astype(np.float32) / 100 - 1.4
    matrix = model.matrix(axial, range(n_sections), 0, axial.n_planes)
    return Measured(truth, np.tensordot(matrix, truth, axes=1).astype(np.float32), axial, model)
