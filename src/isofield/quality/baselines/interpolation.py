"""Nearest, linear and cubic interpolation along z: what costs nothing and learns nothing."""

from __future__ import annotations

import numpy as np

from isofield.geometry import AxialMap
from isofield.interpolation import Kind, interpolation_matrix
from isofield.measurement import MeasurementModel
from isofield.quality.baselines.baseline import sections_around


class Interpolation:
    """A baseline that interpolates each column of measured values; see `interpolation_matrix`."""

    def __init__(self, kind: Kind) -> None:
        self.name: str = kind
        self.kind: Kind = kind

    def train(self, sections: np.ndarray, model: MeasurementModel, seconds: float, seed: int) -> None:
        """Nothing to learn."""

    def reconstruct(self, sections: np.ndarray, axial: AxialMap, begin: int, end: int) -> np.ndarray:
        around = sections_around(axial, begin, end)
        matrix = interpolation_matrix(axial, around, begin, end, self.kind).astype(np.float32)
        return np.tensordot(matrix, sections[around.start : around.stop].astype(np.float32, copy=False), axes=1)
