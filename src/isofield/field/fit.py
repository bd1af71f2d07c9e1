"""Fitting fields: the data term through the measurement, the prior term on ZX and ZY slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isofield.field.batch import BlockBatch
from isofield.field.block import BlockData
from isofield.field.representation import Fields, X, Y, make_fields
from isofield.field.spec import FieldSpec, FitSpec, slices_per_call
from isofield.field.targets import Denoise, distillation_targets
from isofield.optimisers import Adam

PATIENCE = 8
"""Steps whose mean loss is compared with that of as many before, to see whether a field still improves."""


@dataclass(frozen=True)
class FitResult:
    """Fitted fields of a batch, and per block: loss curve (steps, N; nan once stopped), final data and prior rms, soundness."""

    fields: Fields
    losses: np.ndarray
    data_rms: np.ndarray
    prior_rms: np.ndarray
    sound: np.ndarray


def fit_fields(
    blocks: Sequence[BlockData],
    denoise: Denoise,
    field_spec: FieldSpec,
    spec: FitSpec,
    device: torch.device,
    step_scale: float = 1.0,
    noise: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FitResult:
    """Fit one field per block, all blocks at once: minimise |A f - y|^2 + weight * |s - target|^2 on ZX and ZY slices s of f.

    Blocks have equal shapes (`shape_key`). No gradient flows through `denoise`. A block's result depends on its own data and
    seed only. `noise` is the standard deviation of the sections' noise, in working units: the more of it, the less the data term
    weighs. `step_scale` multiplies the step size (retries are gentler). In mode distill a grid starts at the least-squares fit to
    the volume that is best by both terms, and a field that improves by less than `stop_below` over PATIENCE steps stays as it is.
    Source: RED-diff (Mardani et al. 2023) with the field as variable; score distillation (Lee & Jeong 2024) in mode sds.
    """
    batch = BlockBatch.stack(blocks, device)
    base = batch.field_base
    fields = make_fields(field_spec, blocks[0].field_shape, [b.seed for b in blocks]).to(device)
    data_weight = spec.data_weight_at(noise)
    targets = None
    if spec.has_targets:
        targets = distillation_targets(batch, denoise, spec.detail, spec.mirrored)
        if fields.over_interpolation:
            best = drawn_to_sections((targets[Y] + targets[X]) / 2, batch, data_weight / spec.prior_weight)
            fields.start_at(best - base)
    # On a CPU the fused step rounds the last numbers of a tensor unlike the others, and which these are depends on the batch.
    optimiser = Adam(fields.parameters(), betas=(0.9, 0.95), fused=base.is_cuda)
    generators = [torch.Generator().manual_seed(b.seed % 2**63) for b in blocks]
    order = np.random.default_rng(0)
    total = spec.n_steps
    watch = Watch(fields, len(blocks), total)
    last = torch.zeros(2, len(blocks), device=device)
    for step in range(total):
        axis = Y if step % 2 == 0 else X
        width = fields.shape[axis]
        count = max(1, round(width * spec.slice_share))
        chosen = torch.from_numpy(np.sort(order.permutation(width)[:count])).to(device)
        rendered = render_slices(fields, base, axis, chosen)
        data = _data_term(rendered, batch, axis, chosen)
        if not spec.prior_weight:
            prior = torch.zeros_like(data)
        elif targets is not None:
            wanted = targets[axis].index_select(1 + axis, chosen).movedim(1 + axis, 1)
            prior = (rendered - wanted).square().mean(dim=(1, 2, 3))
        else:
            prior = _score_distillation(rendered, denoise, spec, generators)
        loss = data_weight * data + spec.prior_weight * prior
        fields.zero_grad()
        loss.sum().backward()
        optimiser.step(spec.rate * step_scale * _decay(step, total))
        running = torch.from_numpy(watch.running).to(device)
        last = torch.where(running, torch.stack([data, prior]).detach(), last)
        watch.see(step, loss.detach().cpu().numpy())
        progress(step + 1, total)
        if spec.mode == "distill" and watch.stop(step, spec.stop_below):
            break
    watch.restore()
    data_rms, prior_rms = last.sqrt().cpu().numpy()
    return FitResult(fields, watch.losses, data_rms, prior_rms, watch.sound())


def drawn_to_sections(values: Tensor, batch: BlockBatch, weight: float) -> Tensor:
    """The volumes f where weight * mean |A f - y|^2 + mean |f - values|^2 is least; sections count as far as they are believed.

    Both (N, Z, Y, X). f is values + B' (B B' + r)^-1 (z - B values), where B and z are A and y times the roots of what the
    sections weigh, and r is the sum of what they weigh over `weight` and depth.
    """
    drawn = values.clone()
    # One block at a time: batched products round differently from single ones.
    for n, (own, measure, measured, believed) in enumerate(zip(values, batch.measure, batch.measured, batch.weight, strict=True)):
        if weight and believed.any():
            root = believed.double().sqrt()
            rows = root[:, None] * measure.double()
            ridge = believed.double().sum() / (weight * measure.shape[1])
            gram = rows @ rows.T + ridge * torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
            pull = (root[:, None] * torch.linalg.solve(gram, rows)).T.to(own)
            drawn[n] += torch.tensordot(pull, measured - torch.tensordot(measure, own, dims=1), dims=1)
    return drawn


class Watch:
    """Losses of a batch's fields: which of them still improve, as what the others are to be kept, and which are sound."""

    def __init__(self, fields: Fields, n: int, n_steps: int) -> None:
        self.fields = fields
        self.losses = np.full((n_steps, n), np.nan)
        self.running = np.ones(n, bool)
        self.finite = np.ones(n, bool)
        self.kept: dict[int, list[Tensor]] = {}

    def see(self, step: int, losses: np.ndarray) -> None:
        self.losses[step, self.running] = losses[self.running]
        self.finite &= ~self.running | np.isfinite(losses)

    def stop(self, step: int, below: float) -> bool:
        """Set aside fields whose loss fell by less than the share `below` over PATIENCE steps; whether none is left."""
        done = step + 1
        if done % PATIENCE == 0 and done >= 2 * PATIENCE:
            before = self.losses[done - 2 * PATIENCE : done - PATIENCE].mean(axis=0)
            recent = self.losses[done - PATIENCE : done].mean(axis=0)
            for n in np.flatnonzero(self.running & (before - recent < below * before)):
                self.kept[n] = [p.detach()[n].clone() for p in self.fields.parameters()]
                self.running[n] = False
        return not self.running.any()

    @torch.no_grad()
    def restore(self) -> None:
        """Fields that were set aside, as they were then: what the others' steps did to them is undone."""
        for n, kept in self.kept.items():
            for parameter, value in zip(self.fields.parameters(), kept, strict=True):
                parameter[n] = value

    def sound(self) -> np.ndarray:
        """Per field: all losses finite, and the last one not far above the first."""
        last = np.array([column[~np.isnan(column)][-1:].sum() for column in self.losses.T])
        return self.finite & (last <= 10 * self.losses[0] + 1e-3)


def render_slices(fields: Fields, base: Tensor, axis: int, index: Tensor) -> Tensor:
    """Slices `index` across `axis` (Y: ZX, X: ZY) of every field: (N, len(index), Z, width)."""
    values = fields.slices(axis, index)
    if fields.over_interpolation:
        values = values + base.index_select(1 + axis, index).movedim(1 + axis, 1)
    return values


@torch.no_grad()
def render_fields(fields: Fields, base: Tensor, slices_per_call: int = 16) -> Tensor:
    """All voxels of every field: (N, Z, Y, X). base is the interpolated measurement (N, Z, Y, X)."""
    return render_slab(fields, base, Y, 0, slices_per_call)


@torch.no_grad()
def render_slab(fields: Fields, base: Tensor, axis: int, begin: int, slices_per_call: int = 16) -> Tensor:
    """Voxels of every field on the slices from `begin` on across `axis` (Y or X), as many as `base` has: shaped like it.

    base: the interpolated measurement over these slices, (N, Z, Y, X). What the others are is not computed.
    """
    index = torch.arange(base.shape[1 + axis], device=base.device)
    parts = [fields.slices(axis, begin + part) for part in index.split(slices_per_call)]
    values = torch.cat(parts, dim=1).movedim(1, 1 + axis)
    return base + values if fields.over_interpolation else values


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
            at_once = slices_per_call(noisy.is_cuda, noisy[0].numel())
            parts = [
                denoise(noisy[i : i + at_once, None], sigma[i : i + at_once], None)[:, 0] for i in range(0, len(noisy), at_once)
            ]
        terms.append((slices - torch.cat(parts)).square().mean())
    return torch.stack(terms)


def _data_term(rendered: Tensor, batch: BlockBatch, axis: int, chosen: Tensor) -> Tensor:
    """Mean of |A f - y|^2 over the rendered slices, as far as sections are believed, per block; else zero."""
    if batch.measured.shape[1] == 0:
        return rendered.sum(dim=(1, 2, 3)) * 0
    wanted = batch.measured.index_select(1 + axis, chosen).movedim(1 + axis, 1)
    predicted = torch.einsum("nmz,nkzw->nkmw", batch.measure, rendered)
    believed = batch.weight.mean(dim=1)
    squares = (predicted - wanted).square() * batch.weight[:, None, :, None]
    return squares.mean(dim=(1, 2, 3)) / torch.where(believed > 0, believed, 1.0)


def _decay(step: int, total: int) -> float:
    """Short rise, then half a cosine from 1 to 1/20."""
    rise = min(1.0, (step + 1) / 5)
    return rise * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / max(1, total - 1))))
