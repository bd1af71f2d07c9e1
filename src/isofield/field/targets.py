"""What a field is drawn to: its ZX and ZY slices as the measurement-conditioned denoiser would have them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from isofield.field.batch import BlockBatch
from isofield.field.representation import X, Y
from isofield.field.spec import N_DRAW_SIGMAS, slices_per_call

Denoise = Callable[[Tensor | None, Tensor, Tensor | None], Tensor]
"""(noisy slices (B, 1, Z, W) or None, sigma (B,), condition (B, C, Z, W) or None) -> denoised (B, 1, Z, W)."""

_DRAWN = torch.arange(N_DRAW_SIGMAS, dtype=torch.float64) / (N_DRAW_SIGMAS - 1)
DRAW_SIGMAS = tuple(float(s) for s in 0.6 * (0.03 / 0.6) ** _DRAWN)
"""Noise levels of a draw from the posterior: from several times the residual of the interpolation to what nobody sees."""


@torch.no_grad()
def distillation_targets(batch: BlockBatch, denoise: Denoise, detail: float = 0.0, mirrored: bool = False) -> dict[int, Tensor]:
    """Denoised volumes (N, Z, Y, X) over the fields, one of ZX slices (Y) and one of ZY slices (X).

    detail 0: the posterior mean given the measurement. detail 1: a draw from the posterior. Between them linearly: texture
    grows in amplitude, the expected squared error by detail squared. mirrored: the posterior mean of a slice is that of the
    slice and of its mirror image, averaged.
    """
    answer = _both_ways(denoise) if mirrored else denoise
    mean = {axis: _denoised(batch, answer, axis, None, torch.inf, inner=not detail) for axis in (Y, X)}
    if not detail:
        return mean
    if batch.noise is None:
        raise ValueError("a draw from the posterior needs the noise of the blocks")
    drawn = _draw((mean[Y] + mean[X]) / 2, batch, denoise)
    inner = (slice(None), *batch.field_slices)
    return {axis: torch.lerp(mean[axis][inner], drawn[axis], detail) for axis in (Y, X)}


def _both_ways(denoise: Denoise) -> Denoise:
    """The mean of what `denoise` makes of a slice and of its mirror image along X or Y: the errors of the two differ."""

    def denoised(noisy: Tensor | None, sigma: Tensor, condition: Tensor | None) -> Tensor:
        mirror_images = [None if slices is None else slices.flip(-1) for slices in (noisy, condition)]
        turned = denoise(mirror_images[0], sigma, mirror_images[1]).flip(-1)
        return (denoise(noisy, sigma, condition) + turned) / 2

    return denoised


def _draw(mean: Tensor, batch: BlockBatch, denoise: Denoise) -> dict[int, Tensor]:
    """A draw from the posterior around its mean (N, Z, Yr, Xr).

    Each sweep denoises the slices of one direction, ZX and ZY in turn, so that both shape one texture, and takes the
    deterministic step to the next sigma (DDIM with eta 0, Song et al. 2021).
    """
    noisy = mean + DRAW_SIGMAS[0] * batch.noise
    for sweep, (sigma, following) in enumerate(itertools.pairwise(DRAW_SIGMAS)):
        denoised = _denoised(batch, denoise, (Y, X)[sweep % 2], noisy, sigma, inner=False)
        noisy = denoised + following / sigma * (noisy - denoised)
    return {axis: _denoised(batch, denoise, axis, noisy, DRAW_SIGMAS[-1], inner=True) for axis in (Y, X)}


def _denoised(batch: BlockBatch, denoise: Denoise, axis: int, noisy: Tensor | None, sigma: float, inner: bool) -> Tensor:
    """The slices across `axis` denoised, over all that the blocks see or (inner) over the fields, block by block."""
    part = batch.field_slices if inner else (slice(None),) * 3
    wanted = range(batch.base.shape[1 + axis])[part[axis]]
    volumes = []
    for n, base in enumerate(batch.base):
        slices = _slices(base, batch.phase[n], batch.neighbours[axis - 1], noisy if noisy is None else noisy[n], axis, wanted)
        parts = []
        for condition, drawn in slices:
            level = torch.full((len(condition),), sigma, device=base.device)
            parts.append(denoise(drawn, level, condition)[:, 0])
        volume = torch.cat(parts).movedim(0, axis)
        volumes.append(volume[part] if not inner else volume[_across(part, axis)])
    return torch.stack(volumes)


def _across(part: tuple[slice, slice, slice], axis: int) -> tuple[slice, ...]:
    """`part` without the cut along `axis`, which has been made already."""
    return tuple(slice(None) if d == axis else cut for d, cut in enumerate(part))


def _slices(base: Tensor, phase: Tensor, neighbours: Tensor, noisy: Tensor | None, axis: int, wanted: range):
    """(condition (B, C, Z, W), noisy (B, 1, Z, W) or None) of consecutive slices across `axis` of one block (Z, Yr, Xr)."""
    rows = base.movedim(axis, 0)
    at_once = slices_per_call(base.is_cuda, rows[0].numel())
    for start in range(wanted.start, wanted.stop, at_once):
        stop = min(start + at_once, wanted.stop)
        own = rows[start:stop, None]
        beside = torch.tensordot(neighbours[:, start:stop], rows, dims=([2], [0])).movedim(0, 1)
        waves = phase[None, :, :, None].expand(len(own), -1, -1, own.shape[-1])
        condition = torch.cat([own, beside, waves], dim=1)
        yield condition, None if noisy is None else noisy.movedim(axis, 0)[start:stop, None]
