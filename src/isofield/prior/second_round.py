"""The second round of training: patches of a restored volume, between the slices beside them a voxel or a few away.

Measured sections have no neighbour nearer than a section, but the ZX and ZY slices of the answer do: theirs are a lateral voxel
away. A volume that a first network restored is isotropic, so its XY slices have such neighbours along z. A network that learns to
restore them, degraded along x or y as ever, learns from slices as thin as those it is for, and what lies beside them. No truth is
needed.
"""

from __future__ import annotations

import numpy as np
import torch

from isofield.measurement import MeasurementModel, neighbour_matrices
from isofield.prior.denoiser import Denoiser
from isofield.prior.patches import AXIAL_END_SHARE, LateralDegradation, PatchBatch, PatchSampler
from isofield.prior.spec import PriorSpec


class RestoredSampler(PatchSampler):
    """Draws batches as `PatchSampler` does, from stacks (Z, Y, X) of restored planes.

    Condition channels: the patch, what stands beside it as neighbouring sections do, and the slices `spec.slice_offsets` voxels
    before and behind, as the denoiser is shown of a ZX or ZY slice.
    """

    def __init__(
        self,
        pool: list[np.ndarray],
        degradation: LateralDegradation,
        seed: int,
        model: MeasurementModel,
        spec: PriorSpec,
        noise: float,
    ) -> None:
        super().__init__(pool, degradation, seed, spec.neighbours, noise)
        # Near the ends of a stack planes were restored from sections on one side only. As neighbours they are seen all the same.
        self.margin = round(degradation.ratio)
        self.views = {}
        for depth in {len(stack) for stack in self.pool}:
            beside = neighbour_matrices(model, depth, spec.neighbours, spec.slice_offsets)
            self.views[depth] = np.concatenate([np.eye(depth, dtype=np.float32)[None], beside]).swapaxes(0, 1)

    def batch(self, step: int, n: int) -> PatchBatch:
        """Batch of step `step`: random plane, place, flips, 90-degree turns and section phase for each of its n patches.

        Planes of the first and last section of a stack are among one patch in ten.
        """
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.pool), n, p=self.probability)
        crops, noise = zip(*(self._seen(self.pool[i], rng) for i in chosen), strict=True)
        return self.degradation.condition(np.stack(crops), self._phases(n, rng), np.stack(noise) if self.noise else None)

    def _seen(self, stack: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A plane and what stands beside it (1 + n_beside, length, patch), and their noise: that of single planes, mixed."""
        margin = self.margin if len(stack) > 2 * self.margin and rng.random() >= AXIAL_END_SHARE else 0
        view = self.views[len(stack)][rng.integers(margin, len(stack) - margin)]
        if rng.integers(2):
            # What is before and what is behind: either order.
            view = np.concatenate([view[:1], view[1:].reshape(-1, 2, len(stack))[:, ::-1].reshape(-1, len(stack))])
        used = np.flatnonzero(view.any(axis=0))
        span = slice(used[0], used[-1] + 1)
        planes = self._cut(stack[span], rng)
        noise = np.zeros((len(planes), 1, 1), np.float32)
        if self.noise:
            shape = (len(planes), self.degradation.n_sections, self.degradation.patch)
            noise = np.float32(self.noise) * rng.standard_normal(shape, np.float32)
        return np.tensordot(view[:, span], planes, axes=1), np.tensordot(view[:, span], noise, axes=1)


def widen(network: Denoiser, first: Denoiser) -> None:
    """Give `network`, which sees slices beside its own, the weights of one that sees none: it answers as that does."""
    n_more = network.n_condition - first.n_condition
    weights = {name: value.clone() for name, value in first.state_dict().items()}
    stem = weights["network.stem.weight"]
    # The last two channels say where in its section a plane lies; the slices come before them.
    places = 2 * network.network.fold
    new = stem.new_zeros(len(stem), n_more * network.network.fold, *stem.shape[2:])
    weights["network.stem.weight"] = torch.cat([stem[:, :-places], new, stem[:, -places:]], dim=1)
    network.load_state_dict(weights)
