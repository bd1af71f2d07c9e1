"""Fitting fields: the data term through the measurement, the prior term on ZX and ZY slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isofield.field.representation import Fields, X, Y, make_fields
from isofield.field.spec import FieldSpec, FitSpec

Denoise = Callable[[Tensor | None, Tensor, Tensor | None], Tensor]
"""(noisy slices (B, 1, Z, W) or None, sigma (B,), condition (B, 3, Z, W) or None) -> denoised (B, 1, Z, W)."""

SLICES_PER_CALL = 32
"""Slices per call of the denoiser: one number for all devices and batches, so that it cannot change a result."""


@dataclass(frozen=True)
class BlockData:
    """What one block is fitted to, in working units.

    measured (Zm, Y, X): sections wholly inside the block; measure (Zm, Z): their rows of A; base (Z, Y, X): the interpolated
    measurement; phase (2, Z): place within the section; seed: of this block alone.
    """

    measured: np.ndarray
    measure: np.ndarray
    base: np.ndarray
    phase: np.ndarray
    seed: int

    @property
    def shape_key(self) -> tuple[int, ...]:
        """Blocks with equal keys can be fitted in one batch."""
        return (*self.base.shape, self.measured.shape[0])


@dataclass(frozen=True)
class FitResult:
    """Fitted fields of a batch, and per block: loss curve (steps, N), final data and prior rms, and whether it is sound."""

    fields: Fields
    losses: np.ndarray
    data_rms: np.ndarray
    prior_rms: np.ndarray
    sound: np.ndarray


@dataclass(frozen=True)
class _Batch:
    measured: Tensor
    measure: Tensor
    base: Tensor
    phase: Tensor


def fit_fields(
    blocks: Sequence[BlockData],
    denoise: Denoise,
    field_spec: FieldSpec,
    spec: FitSpec,
    device: torch.device,
    step_scale: float = 1.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FitResult:
    """Fit one field per block, all blocks at once: minimise |A f - y|^2 + weight * |s - target|^2 on ZX and ZY slices s of f.

    Blocks have equal shapes (`shape_key`). No gradient flows through `denoise`. A block's result depends on its own data and
    seed only. `step_scale` multiplies the step size (retries are gentler). Source: RED-diff (Mardani et al. 2023) with the
    field as variable; score distillation (Lee & Jeong 2024) in mode sds.
    """
    seeds = [b.seed for b in blocks]
    shape = blocks[0].base.shape
    batch = _stack(blocks, device)
    fields = make_fields(field_spec, shape, seeds).to(device)
    optimiser = torch.optim.Adam(fields.parameters(), lr=0.0, betas=(0.9, 0.95))
    noise = [torch.Generator().manual_seed(s % 2**63) for s in seeds]
    order = np.random.default_rng(0)
    levels: Sequence[float | None] = spec.sigmas if spec.mode == "distill" else (None,)
    total = len(levels) * spec.steps
    losses = np.zeros((total, len(blocks)))
    last = {"data": torch.zeros(len(blocks)), "prior": torch.zeros(len(blocks))}
    step = 0
    for sigma in levels:
        targets = distillation_targets(fields, batch, denoise, sigma, noise) if sigma and spec.prior_weight else None
        for _ in range(spec.steps):
            for group in optimiser.param_groups:
                group["lr"] = spec.learning_rate * step_scale * _decay(step, total)
            axis = Y if step % 2 == 0 else X
            count = max(1, round(shape[axis] * spec.slice_share))
            chosen = torch.from_numpy(np.sort(order.permutation(shape[axis])[:count])).to(device)
            rendered = render_slices(fields, batch.base, axis, chosen)
            data = _data_term(rendered, batch, axis, chosen)
            if not spec.prior_weight:
                prior = torch.zeros_like(data)
            elif targets is not None:
                wanted = targets[axis].index_select(1 + axis, chosen).movedim(1 + axis, 1)
                prior = (rendered - wanted).square().mean(dim=(1, 2, 3))
            else:
                prior = _score_distillation(rendered, denoise, spec, noise)
            loss = spec.data_weight * data + spec.prior_weight * prior
            optimiser.zero_grad(set_to_none=True)
            loss.sum().backward()
            optimiser.step()
            losses[step] = loss.detach().cpu().numpy()
            last = {"data": data.detach(), "prior": prior.detach()}
            step += 1
            progress(step, total)
    sound = np.isfinite(losses).all(axis=0) & (losses[-1] <= 10 * losses[0] + 1e-3)
    rms = {name: value.sqrt().cpu().numpy() for name, value in last.items()}
    return FitResult(fields, losses, rms["data"], rms["prior"], sound)


def render_slices(fields: Fields, base: Tensor, axis: int, index: Tensor) -> Tensor:
    """Slices `index` across `axis` (Y: ZX, X: ZY) of every field: (N, len(index), Z, width)."""
    values = fields.slices(axis, index)
    if fields.over_interpolation:
        values = values + base.index_select(1 + axis, index).movedim(1 + axis, 1)
    return values


@torch.no_grad()
def render_fields(fields: Fields, base: Tensor, slices_per_call: int = 16) -> Tensor:
    """All voxels of every field: (N, Z, Y, X). base is the interpolated measurement (N, Z, Y, X)."""
    index = torch.arange(base.shape[2], device=base.device)
    parts = [render_slices(fields, base, Y, part) for part in index.split(slices_per_call)]
    return torch.cat(parts, dim=1).movedim(1, 2)


@torch.no_grad()
def distillation_targets(
    fields: Fields, batch: _Batch, denoise: Denoise, sigma: float, noise: list[torch.Generator]
) -> dict[int, Tensor]:
    """Conditionally denoised volumes (N, Z, Y, X), one from ZX and one from ZY slices, at noise level sigma.

    The noisy input is the field as it stands plus noise of the block's own generator.
    """
    current = render_fields(fields, batch.base)
    targets = {}
    for axis in (Y, X):
        per_block = [
            _denoise_slices(current[n].movedim(axis, 0), batch.base[n].movedim(axis, 0), batch.phase[n], denoise, sigma, g)
            for n, g in enumerate(noise)
        ]
        targets[axis] = torch.stack(per_block).movedim(1, 1 + axis)
    return targets


def _denoise_slices(
    current: Tensor, base: Tensor, phase: Tensor, denoise: Denoise, sigma: float, generator: torch.Generator
) -> Tensor:
    """Slices (K, Z, W) of one block through the conditional denoiser."""
    parts = []
    for start in range(0, len(base), SLICES_PER_CALL):
        part = base[start : start + SLICES_PER_CALL, None]
        waves = phase[None, :, :, None].expand(len(part), -1, -1, part.shape[-1])
        drawn = torch.randn(part.shape, generator=generator).to(part.device)
        noisy = current[start : start + SLICES_PER_CALL, None] + sigma * drawn
        level = torch.full((len(part),), sigma, device=part.device)
        parts.append(denoise(noisy, level, torch.cat([part, waves], dim=1))[:, 0])
    return torch.cat(parts)


def _score_distillation(rendered: Tensor, denoise: Denoise, spec: FitSpec, noise: list[torch.Generator]) -> Tensor:
    """|s - sg(D(s + sigma eps; sigma))|^2 per block, fresh sigma and eps for every slice."""
    low, high = spec.sds_sigma_range
    terms = []
    for slices, generator in zip(rendered, noise, strict=True):
        drawn = torch.rand(len(slices), generator=generator).to(slices.device)
        sigma = low * (high / low) ** drawn
        eps = torch.randn(slices.shape, generator=generator).to(slices.device)
        with torch.no_grad():
            noisy = slices + sigma[:, None, None] * eps
            parts = [
                denoise(noisy[i : i + SLICES_PER_CALL, None], sigma[i : i + SLICES_PER_CALL], None)[:, 0]
                for i in range(0, len(noisy), SLICES_PER_CALL)
            ]
        terms.append((slices - torch.cat(parts)).square().mean())
    return torch.stack(terms)


def _data_term(rendered: Tensor, batch: _Batch, axis: int, chosen: Tensor) -> Tensor:
    """Mean of |A f - y|^2 over the rendered slices, per block; zero for blocks thinner than a section."""
    if batch.measured.shape[1] == 0:
        return rendered.sum(dim=(1, 2, 3)) * 0
    wanted = batch.measured.index_select(1 + axis, chosen).movedim(1 + axis, 1)
    predicted = torch.einsum("nmz,nkzw->nkmw", batch.measure, rendered)
    return (predicted - wanted).square().mean(dim=(1, 2, 3))


def _stack(blocks: Sequence[BlockData], device: torch.device) -> _Batch:
    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(getattr(b, name), np.float32) for b in blocks])).to(device)

    return _Batch(stacked("measured"), stacked("measure"), stacked("base"), stacked("phase"))


def _decay(step: int, total: int) -> float:
    """Short rise, then half a cosine from 1 to 1/20."""
    rise = min(1.0, (step + 1) / 5)
    return rise * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / max(1, total - 1))))
