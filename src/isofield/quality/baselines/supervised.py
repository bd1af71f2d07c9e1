"""The bound: isofield's own network trained with supervision, on true ZX and ZY slices of another, truly isotropic volume."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isofield.geometry import AxialMap
from isofield.interpolation import phase_features
from isofield.measurement import MeasurementModel, neighbour_matrices
from isofield.prior.network import UNet2d
from isofield.prior.precision import mixed_precision
from isofield.prior.spec import PriorSpec, axial_fold
from isofield.quality.baselines.baseline import SLICES_AT_ONCE, cubic_planes
from isofield.quality.baselines.budget import Recipe, train_within

CONTEXT_PLANES = 16


class SupervisedBound:
    """What the prior's network reaches when it is shown the truth: not a competitor, since it needs an isotropic volume.

    The network turns an interpolated ZX or ZY slice, seen between its neighbours as the prior sees it, into its residual to the
    truth. Batch, patch, learning rate and averaging
    are those of the prior. Reconstructs ZX and ZY slices and averages them.
    """

    def __init__(
        self,
        truth_units: np.ndarray,
        sections_units: np.ndarray,
        axial: AxialMap,
        spec: PriorSpec,
        device: str | torch.device = "cpu",
        steps: int | None = None,
    ) -> None:
        """truth_units (Z, Y, X), Z = axial.n_planes, and its sections_units (M, Y, X): the other volume, in its working units.

        steps: train for exactly so many steps instead of a time. Raises ValueError when truth and sections do not match.
        """
        expected = (axial.n_planes, *sections_units.shape[1:])
        if truth_units.shape != expected or len(sections_units) != axial.n_sections:
            raise ValueError(
                f"truth of shape {truth_units.shape} and {len(sections_units)} sections do not match: "
                f"{axial.n_sections} sections of ratio {axial.ratio} make {expected}"
            )
        self.name = "supervised"
        self.spec, self.device, self.steps = spec, torch.device(device), steps
        self.n_steps = 0
        self.base = cubic_planes(sections_units, axial, 0, axial.n_planes)
        self.residual = truth_units.astype(np.float32) - self.base
        self.scale = max(float(self.residual.std()), 1e-6)
        self.waves = phase_features(axial, 0, axial.n_planes)
        self.step = int(axial.ratio) if axial.ratio.denominator == 1 else 1

    def train(self, sections: np.ndarray, model: MeasurementModel, seconds: float, seed: int) -> None:
        """Train on the other volume; the `sections` that are to be reconstructed are not looked at. `model` measured both."""
        self.model = model
        # The same view in depth as the prior has: what stands beside a slice.
        self.beside = {axis: self._beside(self.base, axis) for axis in (1, 2)}
        torch.manual_seed(seed)
        n_in, fold = 1 + self.spec.n_beside + len(self.waves), axial_fold(model.ratio)
        network = UNet2d(n_in, self.spec.channels, self.spec.n_residual_blocks, fold)
        network = network.to(self.device, memory_format=torch.channels_last)

        def loss(step: int) -> Tensor:
            batch = self.batch((seed, step), symmetric=model.operator != "kernel")
            condition, target = (torch.from_numpy(a).to(self.device) for a in batch)
            return F.mse_loss(self._predict(network, condition, 0), target)

        recipe = Recipe(self.spec.learning_rate, self.spec.warmup_steps, self.spec.ema_decay)
        self.network, self.n_steps = train_within(network, loss, recipe, seconds, self.steps)

    def batch(self, seed: tuple[int, ...], symmetric: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Conditions (B, C, P, P) and residuals over `scale` (B, 1, P, P) of random places, flipped; depends on `seed` only.

        symmetric: whether a section's profile is, so that slices may be turned upside down.
        """
        rng = np.random.default_rng(seed)
        patch = [min(self.spec.patch_vox, side) for side in self.base.shape]
        conditions, targets = [], []
        for _ in range(self.spec.batch):
            across = 1 + int(rng.integers(2))
            along = 3 - across
            size = (patch[0] - patch[0] % self.step or patch[0], min(patch[1], patch[2]))
            z, start = (
                int(rng.integers(n - side + 1)) for n, side in zip((len(self.base), self.base.shape[along]), size, strict=True)
            )
            # Patches begin where a section does, as those of the prior.
            z -= z % self.step
            index = rng.integers(self.base.shape[across])
            base, *beside, residual = (
                np.moveaxis(volume, across, 0)[index, z : z + size[0], start : start + size[1]]
                for volume in (self.base, *self.beside[across], self.residual)
            )
            if rng.integers(2):
                beside = [one for pair in zip(beside[1::2], beside[::2], strict=True) for one in pair]
            cosine, sine = (np.broadcast_to(wave[z : z + size[0], None], size) for wave in self.waves)
            flip_z, flip_x = (1 - 2 * int(flip) for flip in rng.integers(2, size=2))
            flip_z = flip_z if symmetric else 1
            # Upside down, what was above the middle of its section is below it: the sine changes its sign.
            conditions.append(np.stack([base, *beside, cosine, flip_z * sine])[:, ::flip_z, ::flip_x])
            targets.append(residual[None, ::flip_z, ::flip_x] / np.float32(self.scale))
        return np.stack(conditions), np.stack(targets)

    def _beside(self, base: np.ndarray, axis: int) -> list[np.ndarray]:
        """What stands before and behind every slice across `axis` of base (Z, Y, X): 2 neighbours volumes."""
        matrices = neighbour_matrices(self.model, base.shape[axis], self.spec.neighbours, self.spec.slice_offsets)
        return [np.moveaxis(np.tensordot(matrix, base, axes=(1, axis)), 0, axis) for matrix in matrices]

    def _predict(self, network: torch.nn.Module, condition: Tensor, lead: int) -> Tensor:
        with mixed_precision(self.device):
            scalar = condition.new_zeros(len(condition))
            return network(condition.contiguous(memory_format=torch.channels_last), scalar, lead).float()

    @torch.inference_mode()
    def reconstruct(self, sections: np.ndarray, axial: AxialMap, begin: int, end: int) -> np.ndarray:
        first, last = max(0, begin - CONTEXT_PLANES), min(axial.n_planes, end + CONTEXT_PLANES)
        base = cubic_planes(sections, axial, first, last)
        waves = torch.from_numpy(phase_features(axial, first, last)).to(self.device)
        inner = slice(begin - first, end - first)
        planes = base[inner].copy()
        at_once = SLICES_AT_ONCE[self.device.type]
        for axis in (1, 2):
            seen = np.stack([np.moveaxis(volume, axis, 0) for volume in (base, *self._beside(base, axis))], axis=1)
            target = np.moveaxis(planes, axis, 0)
            for at in range(0, len(seen), at_once):
                part = slice(at, at + at_once)
                channels = torch.from_numpy(np.ascontiguousarray(seen[part])).to(self.device)
                shape = (len(channels), len(waves), *channels.shape[2:])
                condition = torch.cat([channels, waves[None, :, :, None].expand(shape)], dim=1)
                residual = self._predict(self.network, condition, first % self.step)[:, 0, inner]
                target[part] += residual.cpu().numpy() * (self.scale / 2)
        return planes
