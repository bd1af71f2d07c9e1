"""How much more or less work a run's settings make of a voxel than those the speeds were measured with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import prod

import numpy as np

from isofield.blocks import BlockGrid, BlocksSpec
from isofield.config import Config
from isofield.field.spec import N_DRAW_SIGMAS, FieldSpec, FitSpec
from isofield.geometry import ZYX
from isofield.jobs import Jobs
from isofield.plan import Layout
from isofield.prior.spec import RESTORED_VOX, PriorSpec, axial_fold
from isofield.speed import (
    REFERENCE_BLOCK_VOX,
    REFERENCE_CONTEXT_VOX,
    REFERENCE_OVERLAP_VOX,
    REFERENCE_RATIO,
    REFERENCE_SHARD_VOX,
    Speed,
)

RENDER_SHARE, SET_UP_SHARE = 0.15, 0.4
"""Work of rendering all slices of one direction once, and of what is done once per block, beside denoising them once."""
WRITE_SHARE = 2.0
"""Work of blending and storing a voxel beside that of rendering one."""
_N_REFERENCE_BLOCKS = 64
"""Blocks per axis of the volume in the middle of which the reference lies: ends do not count there."""


def adapted(speed: Speed, config: Config, layout: Layout) -> Speed:
    """`speed`, measured with default settings, as it is with those of this run."""
    usual, ratio = PriorSpec(), layout.axial.ratio
    fit = fit_effort(_REFERENCE, REFERENCE_RATIO, usual, FieldSpec(), FitSpec())
    return replace(
        speed,
        fit_vox_per_s=speed.fit_vox_per_s * fit / fit_effort(layout.jobs, ratio, config.prior, config.field, config.fit),
        blend_vox_per_s=speed.blend_vox_per_s * blend_effort(_REFERENCE) / blend_effort(layout.jobs),
        training_step_s=speed.training_step_s * training_effort(config.prior, ratio) / training_effort(usual, REFERENCE_RATIO),
    )


def fit_effort(jobs: Jobs, ratio: Fraction, prior: PriorSpec, field: FieldSpec, fit: FitSpec) -> float:
    """Work of fitting one voxel that a block owns, in units of a voxel denoised once by the default network."""
    seen = n_reached(jobs, jobs.grid.context) / n_reached(jobs, (0, 0, 0))
    denoise = network_work(prior, ratio) / network_work(PriorSpec(), REFERENCE_RATIO)
    rendered = fit.n_steps * fit.slice_share
    render = RENDER_SHARE * field_work(field.decided(fit.detail, ratio)) / field_work(FieldSpec().decided())
    passes = 0.0
    if fit.has_targets:
        passes = 2 * (1 + fit.mirrored) + (N_DRAW_SIGMAS + 1 if fit.detail else 0)
    elif fit.prior_weight:
        passes = rendered
    return seen * (SET_UP_SHARE + passes * denoise + rendered * render)


def blend_effort(jobs: Jobs) -> float:
    """Work of blending one output voxel, in units of a voxel rendered: a shard renders every block that reaches into it."""
    return n_rendered(jobs) / (jobs.region or jobs.grid.bounds).volume + WRITE_SHARE


def training_effort(prior: PriorSpec, ratio: Fraction) -> float:
    """Work of a training step, in units of a voxel that the network of `prior` sees."""
    return prior.batch * prior.patch_vox**2 * network_work(prior, ratio)


def n_restored(prior: PriorSpec, measured_vox: int, ratio: Fraction) -> Fraction:
    """Voxels that the network of the first round restores for the second one to learn from."""
    return min(Fraction(RESTORED_VOX), measured_vox * ratio) if prior.rounds == 2 else Fraction(0)


def network_work(prior: PriorSpec, ratio: Fraction) -> float:
    """Products per input voxel of the U-Net: convolutions on levels that halve X, after planes were folded into channels."""
    fold, n_in = axial_fold(ratio), 2 + prior.n_condition
    widths, last = prior.channels, len(prior.channels) - 1
    work = 9 * widths[0] * fold * (n_in + 1)
    for level, width in enumerate(widths):
        twice = 2 if level < last else 1
        work += twice * prior.n_residual_blocks * 18 * width**2 / 2**level
    work += sum(4 * a * b / 2 ** (level + 1) for level, (a, b) in enumerate(pairwise(widths)))
    return work / fold


def field_work(field: FieldSpec) -> float:
    """Products per voxel of a field's MLP, and what interpolating its grids takes."""
    n_in = sum(field.features or ()) if field.kind == "grid" else 2 * field.n_frequencies if field.kind == "fourier" else 3
    widths = [n_in, *[field.hidden] * field.n_hidden_layers, 1]
    return sum(a * b for a, b in pairwise(widths)) + 8 * n_in


def n_reached(jobs: Jobs, margin: Sequence[int]) -> int:
    """Voxels in all blocks that are fitted, grown by `margin` within the volume; those in several blocks counted as often."""
    return prod(int(_lengths(jobs, axis, margin[axis]).sum()) for axis in range(3))


def n_rendered(jobs: Jobs) -> int:
    """Voxels rendered for all shards: the whole field of every block whose window reaches into a shard, for each of them."""
    grid, box, side = jobs.grid, jobs.shards.box, jobs.shard_vox
    margin = grid.margin or grid.context
    per_axis = []
    for axis, (length, core) in enumerate(zip(grid.shape, grid.core, strict=True)):
        up_to = np.concatenate([[0], np.cumsum(grid.spans(axis, margin[axis]) @ (-1, 1))])
        begin = np.arange(box.offset[axis], box.end[axis]) * side
        first = np.maximum(begin - jobs.overlap_vox, 0) // core
        last = (np.minimum(begin + side + jobs.overlap_vox, length) - 1) // core
        per_axis.append(int((up_to[last + 1] - up_to[first]).sum()))
    return prod(per_axis)


def _lengths(jobs: Jobs, axis: int, margin: int) -> np.ndarray:
    box = jobs.blocks.box
    return jobs.grid.spans(axis, margin)[box.offset[axis] : box.end[axis]] @ (-1, 1)


_REFERENCE = Jobs(
    BlockGrid.even(
        ZYX(*(_N_REFERENCE_BLOCKS * REFERENCE_BLOCK_VOX,) * 3),
        BlocksSpec(write_vox=REFERENCE_BLOCK_VOX, context_vox=REFERENCE_CONTEXT_VOX, overlap_vox=REFERENCE_OVERLAP_VOX),
    ),
    REFERENCE_OVERLAP_VOX,
    REFERENCE_SHARD_VOX,
    region=None,
    n_fit=1,
    n_blend=1,
    pyramid_span=1,
)
