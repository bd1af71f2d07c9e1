"""Training patches from XY sections, and the conditions that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from isofield.defects.filling import fill_matrix, planes_of
from isofield.geometry import AxialMap
from isofield.interpolation import interpolation_matrix, phase_features
from isofield.measurement import MeasurementModel

MARGIN_SECTIONS = 3
"""Sections degraded beyond each end of a patch, so that its condition has no ends of its own."""
MAX_PHASES = 64
MIN_PATCH_VOX = 32
"""Patches are made smaller where sections are, down to this."""
END_SHARE = 0.05
"""Share of patches that are drawn without regard to whether their section has all its neighbours."""
AXIAL_END_SHARE = 0.1
"""Share of patches that are degraded as if the volume began or ended with them. There interpolation has sections on one side
only; a prior that never saw that has a quarter more squared error in the outermost section (docs/method.md)."""

GAP_SHARE = 0.2
"""Share of patches that are degraded as if sections were missing, where the volume lacks some. On fib25_a at x8 a prior that is
shown such patches, and told where, gains 0.5 dB in the gaps and loses nothing elsewhere; not told, it gains nothing."""
MAX_GAP, MAX_GAPS = 4, 64
"""Sections of the longest gap, and how many gaps, by length and place, conditions are made with at most."""


@dataclass(frozen=True)
class PatchBatch:
    """Patches and conditions in working units, float32, axis 2 degraded: clean (B, 1, D, P), condition (B, C, D, P).

    Condition channels: the interpolated measurement of the patch, of its neighbours (nearest pair first), and cosine and sine
    of the place within the section.
    """

    clean: np.ndarray
    condition: np.ndarray


class LateralDegradation:
    """The axial measurement applied along one lateral axis of an XY patch and interpolated back, at every phase.

    A crop (L, P) with L = `length` is mapped to the condition of the patch in its middle by one matrix (D, L) per phase:
    interpolation times measurement. Phases are where sections may begin relative to the lattice. A ratio that is whole has one:
    patches begin where a section does, as the network wants them, and are whole sections deep, D <= P. Any other, p/q, has p, of
    which up to 64 evenly spaced are kept. Two more are those of patches with which the volume begins and ends, and after them
    come `n_gaps` in which sections are missing; `gaps` says where crops begin then, and which sections these are.
    """

    def __init__(self, model: MeasurementModel, patch: int, gaps: Sequence[int] = ()) -> None:
        """gaps: how many sections are missing in a row, each length that there is."""
        axial = AxialMap(model.ratio, 10**6)
        self.patch, self.ratio, period = patch, axial.ratio, axial.ratio.numerator
        whole = axial.ratio.denominator == 1
        self.depth = patch - patch % period if whole and period <= patch else patch
        self.margin = int(np.ceil(MARGIN_SECTIONS * float(model.ratio)))
        self.length = self.depth + 2 * self.margin
        self.n_phases = 1 if whole else min(period, MAX_PHASES)
        far = period * (10 + ceil((self.depth + self.margin) / period))
        starts = [far + (i * period) // self.n_phases for i in range(self.n_phases)]
        # Where the volume begins or ends a section does, in whole periods from here.
        at_ends = [far - self.margin, far - self.depth - self.margin]
        all_of = [(start, False, False, range(0)) for start in starts]
        all_of += [(at_ends[0], True, False, range(0)), (at_ends[1], False, True, range(0))]
        all_of += self._with_gaps(axial, starts, gaps)
        self.gaps = [(start, gap) for start, _, _, gap in all_of[self.n_phases + 2 :]]
        self.n_gaps = len(self.gaps)
        matrices, averaged_out = zip(*(self._matrices(model, axial, *each) for each in all_of), strict=True)
        self.matrices = np.stack(matrices).astype(np.float32)
        self.n_sections = max(matrix.shape[1] for matrix in averaged_out)
        wide = [np.pad(matrix, ((0, 0), (0, self.n_sections - matrix.shape[1]))) for matrix in averaged_out]
        self.averaged_out = np.stack(wide).astype(np.float32)
        places = [(start + self.margin, start + self.margin + self.depth, gap) for start, _, _, gap in all_of]
        in_gaps = [planes_of(axial, gap, begin, end) if gap else None for begin, end, gap in places]
        phases = [phase_features(axial, begin, end, in_gap) for (begin, end, _), in_gap in zip(places, in_gaps, strict=True)]
        self.phases = np.stack(phases)

    def _with_gaps(self, axial: AxialMap, starts: Sequence[int], gaps: Sequence[int]) -> list[tuple[int, bool, bool, range]]:
        """Gaps of every length at every place in a patch; MAX_GAPS of them at most, evenly chosen."""
        found = []
        for length in sorted({min(gap, MAX_GAP) for gap in gaps}):
            for start in starts:
                planes = start + self.margin, start + self.margin + self.depth
                touched = axial.sections_touching(*planes)
                missing = [range(first, first + length) for first in range(touched.start - length + 1, touched.stop)]
                found += [(start, False, False, gap) for gap in missing if planes_of(axial, gap, *planes).any()]
        n = min(len(found), MAX_GAPS)
        return [found[i * len(found) // n] for i in range(n)]

    def _matrices(
        self, model: MeasurementModel, axial: AxialMap, start: int, begins: bool, ends: bool, gap: range
    ) -> tuple[np.ndarray, np.ndarray]:
        """From a crop to its condition (depth, length); from unit noise per section to what the condition lacks of it.

        begins, ends: whether the volume begins or ends with the patch, and there are no sections beyond. gap: sections that are
        missing.
        """
        inner = start + self.margin
        seen = inner if begins else start, inner + self.depth if ends else start + self.length
        sections = axial.sections_inside(*seen)
        measure = model.matrix(axial, sections, start, start + self.length)
        interpolate = interpolation_matrix(axial, sections, inner, inner + self.depth, "cubic")
        if gap:
            interpolate = interpolate @ fill_matrix(sections, gap)
        return interpolate @ measure, interpolate * np.sqrt(1 - np.square(measure).sum(axis=1))

    def condition(self, crops: np.ndarray, phase: np.ndarray, noise: np.ndarray | None = None) -> PatchBatch:
        """crops (B, 1 + neighbours, length, patch), the patch first, and phase indices (B,) -> patches with their conditions.

        noise (B, 1 + neighbours, n_sections, patch): noise of measured sections. Degrading a crop averages its own noise out; of
        `noise` so much is added that the condition has what a measured section has.
        """
        base = self.matrices[phase][:, None] @ crops
        if noise is not None:
            base = base + self.averaged_out[phase][:, None] @ noise
        waves = np.broadcast_to(self.phases[phase][..., None], (len(crops), 2, self.depth, self.patch))
        clean = crops[:, :1, self.margin : self.margin + self.depth]
        return PatchBatch(clean.copy(), np.concatenate([base, waves], axis=1).astype(np.float32))


class PatchSampler:
    """Draws batches from a pool of section stacks; batch k depends on (seed, k) only, so training can resume anywhere.

    A patch comes with its `n_neighbours` sections on both sides, in either order. Where the stack has none the patch itself
    stands in for them, as it does where the volume ends.
    """

    def __init__(
        self, pool: list[np.ndarray], degradation: LateralDegradation, seed: int, n_neighbours: int = 0, noise: float = 0.0
    ) -> None:
        """pool: float32 stacks (sections, Y, X) in working units, each at least (length, patch) in one of two orientations.

        noise: standard deviation of the white noise of a section that conditions are to show, in working units.
        Raises ValueError when no stack is large enough.
        """
        need = (degradation.length, degradation.patch)
        self.pool = [c for c in pool if max(c.shape[1:]) >= need[0] and min(c.shape[1:]) >= need[1]]
        if not self.pool:
            raise ValueError(f"no XY crop is at least {need[0]} x {need[1]} voxels")
        volume = np.array([c.size for c in self.pool], float)
        self.probability = volume / volume.sum()
        self.degradation, self.seed, self.n_neighbours, self.noise = degradation, seed, n_neighbours, noise

    def batch(self, step: int, n: int) -> PatchBatch:
        """Batch of step `step`: random section, place, flips, 90-degree turns and section phase for each of its n patches."""
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.pool), n, p=self.probability)
        crops = np.stack([self._crop(self.pool[i], rng) for i in chosen])
        phase = self._phases(n, rng)
        if not self.noise:
            return self.degradation.condition(crops, phase)
        shape = (n, crops.shape[1], self.degradation.n_sections, self.degradation.patch)
        return self.degradation.condition(crops, phase, np.float32(self.noise) * rng.standard_normal(shape, np.float32))

    def _phases(self, n: int, rng: np.random.Generator) -> np.ndarray:
        inside, at_end = rng.integers(self.degradation.n_phases, size=n), self.degradation.n_phases + rng.integers(2, size=n)
        phase = np.where(rng.random(n) < AXIAL_END_SHARE, at_end, inside)
        if self.degradation.n_gaps:
            with_gap = self.degradation.n_phases + 2 + rng.integers(self.degradation.n_gaps, size=n)
            phase = np.where(rng.random(n) < GAP_SHARE, with_gap, phase)
        return phase

    def _crop(self, stack: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self._cut(stack[self._sections(len(stack), rng)], rng)

    def _cut(self, stack: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random place of a stack (C, Y, X), turned and flipped: (C, length, patch)."""
        length, patch = self.degradation.length, self.degradation.patch
        turn = bool(rng.integers(2))
        if stack.shape[1 + turn] < length or stack.shape[2 - turn] < patch:
            turn = not turn
        stack = stack.transpose(0, 2, 1) if turn else stack
        top = rng.integers(stack.shape[1] - length + 1)
        left = rng.integers(stack.shape[2] - patch + 1)
        crop = stack[:, top : top + length, left : left + patch]
        flips = rng.integers(2, size=2)
        return crop[:, :: 1 - 2 * flips[0], :: 1 - 2 * flips[1]]

    def _sections(self, n: int, rng: np.random.Generator) -> list[int]:
        """A section and its neighbours, nearest pair first: mostly one that has them all, now and then one at an end."""
        reach = self.n_neighbours
        interior = rng.random() > END_SHARE and n > 2 * reach
        own = int(rng.integers(reach, n - reach) if interior else rng.integers(n))
        side = 1 - 2 * int(rng.integers(2))
        beside = [own + sign * side * (k + 1) for k in range(reach) for sign in (-1, 1)]
        return [own, *(min(max(i, 0), n - 1) for i in beside)]
