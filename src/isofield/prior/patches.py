"""Training patches from XY sections, and the conditions that go with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isofield.geometry import AxialMap
from isofield.interpolation import interpolation_matrix, phase_features
from isofield.measurement import MeasurementModel

MARGIN_SECTIONS = 3
"""Sections degraded beyond each end of a patch, so that its condition has no ends of its own."""
MAX_PHASES = 64


@dataclass(frozen=True)
class PatchBatch:
    """Patches and conditions in working units, float32, axis 2 degraded: clean (B, 1, P, P), condition (B, 3, P, P)."""

    clean: np.ndarray
    condition: np.ndarray


class LateralDegradation:
    """The axial measurement applied along one lateral axis of an XY patch and interpolated back, at every phase.

    A patch (L, P) with L = `length` >= patch is mapped to its condition by one matrix (patch, L) per phase: interpolation
    times measurement, cropped to the middle. Phases are where sections may begin relative to the lattice; a rational ratio
    p/q has p of them, of which up to 64 evenly spaced are kept.
    """

    def __init__(self, model: MeasurementModel, patch: int) -> None:
        axial = AxialMap(model.ratio, 10**6)
        self.patch = patch
        self.margin = int(np.ceil(MARGIN_SECTIONS * float(model.ratio)))
        self.length = patch + 2 * self.margin
        n_phases = min(axial.ratio.numerator, MAX_PHASES)
        origin = axial.ratio.numerator * 10
        starts = [origin + (i * axial.ratio.numerator) // n_phases for i in range(n_phases)]
        self.matrices = np.stack([self._matrix(model, axial, start) for start in starts]).astype(np.float32)
        phases = [phase_features(axial, s + self.margin, s + self.margin + patch) for s in starts]
        self.phases = np.stack(phases)

    def _matrix(self, model: MeasurementModel, axial: AxialMap, start: int) -> np.ndarray:
        sections = axial.sections_inside(start, start + self.length)
        measure = model.matrix(axial, sections, start, start + self.length)
        inner = start + self.margin
        return interpolation_matrix(axial, sections, inner, inner + self.patch, "cubic") @ measure

    @property
    def n_phases(self) -> int:
        return len(self.matrices)

    def condition(self, crops: np.ndarray, phase: np.ndarray) -> PatchBatch:
        """crops (B, length, patch) and phase indices (B,) -> patches with their conditions."""
        base = self.matrices[phase] @ crops
        waves = np.broadcast_to(self.phases[phase][..., None], (len(crops), 2, self.patch, self.patch))
        clean = crops[:, self.margin : self.margin + self.patch]
        return PatchBatch(clean[:, None].copy(), np.concatenate([base[:, None], waves], axis=1).astype(np.float32))


class PatchSampler:
    """Draws batches from a pool of XY crops; batch k depends on (seed, k) only, so training can resume anywhere."""

    def __init__(self, pool: list[np.ndarray], degradation: LateralDegradation, seed: int) -> None:
        """pool: 2-D float32 arrays in working units, each at least (length, patch) in one of its two orientations.

        Raises ValueError when no crop is large enough.
        """
        need = (degradation.length, degradation.patch)
        self.pool = [c for c in pool if max(c.shape) >= need[0] and min(c.shape) >= need[1]]
        if not self.pool:
            raise ValueError(f"no XY crop is at least {need[0]} x {need[1]} voxels")
        area = np.array([c.size for c in self.pool], float)
        self.probability = area / area.sum()
        self.degradation, self.seed = degradation, seed

    def batch(self, step: int, n: int) -> PatchBatch:
        """Batch of step `step`: random place, flips, 90-degree turns and section phase for each of its n patches."""
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.pool), n, p=self.probability)
        crops = np.stack([self._crop(self.pool[i], rng) for i in chosen])
        return self.degradation.condition(crops, rng.integers(self.degradation.n_phases, size=n))

    def _crop(self, plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        length, patch = self.degradation.length, self.degradation.patch
        turn = bool(rng.integers(2))
        if plane.shape[int(turn)] < length or plane.shape[1 - int(turn)] < patch:
            turn = not turn
        plane = plane.T if turn else plane
        top = rng.integers(plane.shape[0] - length + 1)
        left = rng.integers(plane.shape[1] - patch + 1)
        crop = plane[top : top + length, left : left + patch]
        flips = rng.integers(2, size=2)
        return crop[:: 1 - 2 * flips[0], :: 1 - 2 * flips[1]]
