"""Training pairs of the reference-free baselines: XY crops, and the sections that a crop becomes along one lateral axis."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

from isofield.geometry import AxialMap
from isofield.interpolation import interpolation_matrix, section_positions
from isofield.measurement import MeasurementModel

MAX_PHASES = 64
_FAR = 100
"""Whole periods of the phase between the start of the volume and a crop, so that no profile is cut off by the volume."""


@dataclass(frozen=True)
class Pairs:
    """B crops whose axis 1 plays z, float32 in working units: S sections and the T planes whose centres they hold."""

    sections: np.ndarray
    """(B, S, X)"""
    planes: np.ndarray
    """(B, T, X), the truth."""
    cubic: np.ndarray
    """(B, T, X), the sections interpolated; beyond them it knows nothing."""
    positions: np.ndarray
    """(B, T) centres of the planes in units of sections: -0.5 to S - 0.5, and 0.0 is the centre of section 0."""


class LateralPairs:
    """XY crops degraded along either lateral axis by the measurement, drawn at random.

    Where a section begins within its first plane is the phase: a rational ratio p/q has q of them, of which up to 64
    evenly spaced are used.
    """

    def __init__(self, pool: list[np.ndarray], model: MeasurementModel, n_sections: int, width: int) -> None:
        """pool: 2-D float32 arrays in working units. Raises ValueError when none of them holds one crop."""
        n_phases = min(model.ratio.denominator, MAX_PHASES)
        axial = AxialMap(model.ratio, 10**9)
        self.n_planes = floor(n_sections * model.ratio)
        self.width = width
        crops = []
        for phase in range(n_phases):
            start = (_FAR * n_phases + phase) * model.ratio.denominator // n_phases
            sections = range(start, start + n_sections)
            # The first plane whose centre lies within the first section.
            first = ceil(start * model.ratio - Fraction(1, 2))
            reached = model.planes(axial, sections)
            crops.append((sections, first, min(first, reached.start), max(first + self.n_planes, reached.stop)))
        self.length = max(end - begin for _, _, begin, end in crops)
        measure = [model.matrix(axial, s, begin, begin + self.length) for s, _, begin, _ in crops]
        self.measure = np.stack(measure).astype(np.float32)
        self.first = np.array([first - begin for _, first, begin, _ in crops])
        inner = [(s, first, first + self.n_planes) for s, first, _, _ in crops]
        self.interpolate = np.stack([interpolation_matrix(axial, *where) for where in inner]).astype(np.float32)
        self.positions = np.stack([section_positions(axial, begin, end) - s.start for s, begin, end in inner])
        need = (self.length, width)
        self.pool = [plane for plane in pool if max(plane.shape) >= max(need) and min(plane.shape) >= min(need)]
        if not self.pool:
            raise ValueError(f"no XY section is at least {need[0]} x {need[1]} voxels")
        area = np.array([plane.size for plane in self.pool], float)
        self.probability = area / area.sum()

    def batch(self, seed: tuple[int, ...], n: int) -> Pairs:
        """n pairs at random places, flipped, turned and in random phase; depends on `seed` only."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(self.pool), n, p=self.probability)
        crops = np.stack([self._crop(self.pool[i], rng) for i in chosen])
        phase = rng.integers(len(self.measure), size=n)
        sections = self.measure[phase] @ crops
        planes = np.stack([crop[at : at + self.n_planes] for crop, at in zip(crops, self.first[phase], strict=True)])
        return Pairs(sections, planes, self.interpolate[phase] @ sections, self.positions[phase])

    def _crop(self, plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        turn = bool(rng.integers(2))
        if plane.shape[int(turn)] < self.length or plane.shape[1 - int(turn)] < self.width:
            turn = not turn
        plane = plane.T if turn else plane
        top = rng.integers(plane.shape[0] - self.length + 1)
        left = rng.integers(plane.shape[1] - self.width + 1)
        crop = plane[top : top + self.length, left : left + self.width]
        flips = rng.integers(2, size=2)
        return crop[:: 1 - 2 * flips[0], :: 1 - 2 * flips[1]]
