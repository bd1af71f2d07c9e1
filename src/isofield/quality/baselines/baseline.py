"""What every method that isofield is compared with looks like."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from isofield.geometry import AxialMap
from isofield.interpolation import SPLINE_REACH, interpolation_matrix
from isofield.measurement import MeasurementModel

SLICES_AT_ONCE = {"cpu": 8, "cuda": 128}
"""Slices that a network reconstructs in one call, by device."""


class Baseline(Protocol):
    """A method that makes isotropic planes out of sections, in working units (about -1 to 1), float32 throughout."""

    name: str

    def train(self, sections: np.ndarray, model: MeasurementModel, seconds: float, seed: int) -> None:
        """Learn what there is to learn from sections (M, Y, X) measured by `model`, for at most about `seconds`.

        Raises ValueError when the sections are too small to learn from.
        """
        ...

    def reconstruct(self, sections: np.ndarray, axial: AxialMap, begin: int, end: int) -> np.ndarray:
        """Isotropic planes [begin, end), all of Y and X, from all sections (M, Y, X) of `axial`: (end - begin, Y, X)."""
        ...


def sections_around(axial: AxialMap, begin: int, end: int, reach: int = SPLINE_REACH) -> range:
    """Sections that planes [begin, end) touch and `reach` more on both sides, as far as there are any."""
    touching = axial.sections_touching(begin, end)
    return range(max(0, touching.start - reach), min(axial.n_sections, touching.stop + reach))


def cubic_planes(sections: np.ndarray, axial: AxialMap, begin: int, end: int) -> np.ndarray:
    """Cubic interpolation of all sections (M, Y, X) of `axial` at planes [begin, end): float32 (planes, Y, X)."""
    around = sections_around(axial, begin, end)
    matrix = interpolation_matrix(axial, around, begin, end, "cubic").astype(np.float32)
    return np.tensordot(matrix, sections[around.start : around.stop].astype(np.float32, copy=False), axes=1)
