"""Effort: what blocks see and shards render is counted as it is, and work grows with what is asked for."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from cost_example import configured, laid_out
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.benchmark.timing import counted
from isofield.blocks import BlockGrid
from isofield.cost.effort import adapted, fit_effort, n_reached, n_rendered, network_work
from isofield.geometry import ZYX, Roi
from isofield.jobs import Jobs
from isofield.prior.denoiser import Denoiser
from isofield.prior.spec import PriorSpec
from isofield.speed import CPU_SPEED

sides = st.integers(1, 40)


@st.composite
def runs(draw) -> Jobs:
    """Jobs over all of a small volume, or over a part of it that is made of whole shards."""
    shape, core, margin, shard = draw(st.tuples(sides, sides, sides)), draw(st.integers(3, 12)), draw(st.integers(0, 3)), 8
    grid = BlockGrid(ZYX(*shape), ZYX(core, core, core), ZYX(margin + 1, margin, margin))
    region = None
    if draw(st.booleans()):
        begin = [draw(st.integers(0, (side - 1) // shard)) * shard for side in shape]
        region = Roi.between(begin, (b + draw(st.integers(1, 3)) * shard for b in begin)).intersect(grid.bounds)
    return Jobs(grid, margin, shard, region, n_fit=1, n_blend=1, pyramid_span=1)


@settings(max_examples=100)
@given(runs())
def test_voxels_are_counted_as_often_as_they_are_worked_on(jobs):
    grid = jobs.grid
    assert n_reached(jobs, grid.context) == sum(grid[index].read_roi.volume for index in jobs.fit_blocks(0))
    assert n_reached(jobs, (0, 0, 0)) == sum(grid[index].write_roi.volume for index in jobs.fit_blocks(0))
    touched = [index for roi in jobs.blend_shards(0) for index in grid.touching(roi, jobs.overlap_vox)]
    assert n_rendered(jobs) == sum(grid[index].field_roi.volume for index in touched)


@pytest.mark.parametrize(
    "spec",
    [PriorSpec(), PriorSpec(channels=(48, 96, 128), n_residual_blocks=2), PriorSpec(channels=(16,), neighbours=0, rounds=1)],
    ids=lambda spec: f"{spec.channels}",
)
@pytest.mark.parametrize("ratio", [Fraction(8), Fraction(5), Fraction(33, 4), Fraction(5, 2)], ids=str)
def test_the_network_s_work_is_what_torch_counts(spec, ratio):
    denoiser = Denoiser(spec, 0.5, 0.1, ratio).requires_grad_(False)
    side = 80 if ratio == 5 else 64
    condition = torch.zeros(1, spec.n_condition, side, side)
    condition[:, -2] = -1
    flop = counted(lambda: denoiser(None, torch.full((1,), torch.inf), condition))
    assert network_work(spec, ratio) == pytest.approx(flop / 2 / side**2, rel=0.05)


MORE = [
    {"fit": {"detail": 0.5}},
    {"fit": {"mode": "sds"}},
    {"fit": {"steps": 100}},
    {"fit": {"slice_share": 0.5}},
    {"prior": {"channels": [64, 96, 128]}},
    {"field": {"hidden": 64}},
    {"blocks": {"context_vox": 32}},
    {"blocks": {"write_vox": 64}},
]


@pytest.mark.parametrize("more", MORE, ids=str)
def test_what_asks_for_more_is_slower(more):
    usual, other = configured(), configured(**more)
    speeds = [adapted(CPU_SPEED, config, laid_out(config, (100, 1024, 1024))) for config in (usual, other)]
    assert speeds[1].fit_vox_per_s < 0.99 * speeds[0].fit_vox_per_s


def test_a_draw_from_the_posterior_takes_as_long_as_was_measured():
    """On one core of the processor of CPU_SPEED: 4.14 s per block of 128^3, 16.0 s at detail 1, 4.56 s for sds, 24 steps each."""
    effort = {}
    for name, fit in {
        "mean": {},
        "draw": {"detail": 1},
        "sds": {"mode": "sds"},
        "mirrored": {"mirrored": True},
    }.items():
        config = configured(fit={"mirrored": False, "steps": 24, **fit})
        layout = laid_out(config, (100, 1024, 1024), (32, 4, 4))
        effort[name] = fit_effort(layout.jobs, layout.axial.ratio, config.prior, config.field, config.fit)
    assert effort["draw"] / effort["mean"] == pytest.approx(16.0 / 4.14, rel=0.2)
    assert effort["sds"] / effort["mean"] == pytest.approx(4.56 / 4.14, rel=0.25)
    # On two cores, `isofield benchmark speed` with and without: 5.56 and 3.66 s for the fit.
    assert effort["mirrored"] / effort["mean"] == pytest.approx(5.56 / 3.66, rel=0.2)


def test_default_settings_leave_the_speed_as_it_was_measured():
    config = configured()
    speed = adapted(CPU_SPEED, config, laid_out(config, (1280, 10_240, 10_240), (32, 4, 4)))
    assert speed.fit_vox_per_s == pytest.approx(CPU_SPEED.fit_vox_per_s, rel=0.02)
    assert speed.blend_vox_per_s == pytest.approx(CPU_SPEED.blend_vox_per_s, rel=0.02)
    assert speed.training_step_s == CPU_SPEED.training_step_s


def test_shards_that_fit_the_blocks_badly_are_slow_to_blend():
    rates = []
    for shard_vox in (64, 256, 1024):
        config = configured(output={"shard_vox": shard_vox})
        rates.append(adapted(CPU_SPEED, config, laid_out(config, (200, 2048, 2048))).blend_vox_per_s)
    assert rates == sorted(rates)
    assert rates[0] < rates[1] / 3
