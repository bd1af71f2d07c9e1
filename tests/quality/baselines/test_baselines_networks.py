"""The two networks that isofield is compared with: they learn, repeat, and know what they may not know."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from baseline_example import measured

from isofield.prior.spec import PriorSpec
from isofield.quality.baselines import regressor as regressor_module
from isofield.quality.baselines.budget import N_TIMED_STEPS, Recipe, steps_within, train_within
from isofield.quality.baselines.interpolation import Interpolation
from isofield.quality.baselines.regressor import Regressor
from isofield.quality.baselines.supervised import SupervisedBound

pytestmark = pytest.mark.usefixtures("one_thread")

FOUR = Fraction(4)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(regressor_module, "BATCH", 8)
    monkeypatch.setattr(regressor_module, "PATCH_VOX", 32)
    monkeypatch.setattr(regressor_module, "N_STATISTICS_CROPS", 32)
    monkeypatch.setattr(regressor_module, "RECIPE", Recipe(learning_rate=4e-3, warmup_steps=10, ema_decay=0.9))


SPEC = PriorSpec(channels=(16, 24), batch=8, patch_vox=32, warmup_steps=10, ema_decay=0.95)


def regressor(data, steps=60, seed=0):
    method = Regressor(steps=steps)
    method.train(data.sections, data.model, 0.0, seed)
    return method


def supervised(teacher, steps=150, seed=0):
    method = SupervisedBound(teacher.truth, teacher.sections, teacher.axial, SPEC, steps=steps)
    method.train(teacher.sections[:0], teacher.model, 0.0, seed)
    return method


def test_the_regressor_beats_cubic_on_tissue():
    data = measured(FOUR, 16, 96)
    method = regressor(data)
    assert method.n_steps == 60
    assert sum(p.numel() for p in method.network.parameters()) in range(300_000, 1_500_000)
    planes = method.reconstruct(data.sections, data.axial, 0, data.axial.n_planes)
    assert (planes.shape, planes.dtype) == (data.truth.shape, np.float32)
    assert data.psnr(planes) > data.score(Interpolation("cubic")) + 0.1
    # A window is what it is in the whole, but for what lies beyond the context.
    part = method.reconstruct(data.sections, data.axial, 28, 37)
    assert np.sqrt(np.mean((part - planes[28:37]) ** 2)) < 5e-3


def test_the_regressor_works_at_a_ratio_that_is_not_whole():
    data = measured(Fraction(250, 23), 9, 112)
    method = regressor(data, steps=30)
    planes = method.reconstruct(data.sections, data.axial, 33, 60)
    assert planes.shape == (27, 112, 112)
    assert data.psnr(planes, 33) > data.psnr(Interpolation("cubic").reconstruct(data.sections, data.axial, 33, 60), 33)


def test_untrained_networks_are_cubic():
    """Negative control: what they gain they have learned."""
    data = measured(FOUR, 16, 96)
    cubic = Interpolation("cubic").reconstruct(data.sections, data.axial, 8, 24)
    for method in (regressor(data, steps=0), supervised(data, steps=0)):
        assert method.n_steps == 0
        np.testing.assert_allclose(method.reconstruct(data.sections, data.axial, 8, 24), cubic, atol=1e-3)


def test_the_supervised_bound_beats_cubic_on_other_tissue():
    data, teacher = measured(FOUR, 16, 96), measured(FOUR, 16, 96, seed=1)
    method = supervised(teacher)
    planes = method.reconstruct(data.sections, data.axial, 0, data.axial.n_planes)
    assert (planes.shape, planes.dtype) == (data.truth.shape, np.float32)
    assert data.psnr(planes) > data.score(Interpolation("cubic")) + 0.1


def test_slices_upside_down_are_measured_alike():
    """Flipped conditions must be what another volume could have given: residual and phase turned together."""
    method = supervised(measured(FOUR, 16, 96), steps=0)
    turned = 0
    for step in range(6):
        condition, target = method.batch((0, step))
        assert condition.shape == (SPEC.batch, SPEC.n_condition, 32, 32)
        assert target.shape == (SPEC.batch, 1, 32, 32)
        # At ratio 4 the sine climbs from a section's middle up; whichever way the slice is turned.
        angle = np.unwrap(np.arctan2(condition[:, -1, :, 0], condition[:, -2, :, 0]), axis=1)
        np.testing.assert_allclose(np.diff(angle, axis=1), 2 * np.pi / 4, atol=1e-4)
        upright, _ = method.batch((0, step), symmetric=False)
        turned += int((abs(upright[:, 0] - condition[:, 0]).max(axis=(1, 2)) > 0).sum())
    assert 0 < turned < 6 * SPEC.batch


def test_truth_and_sections_must_match():
    data = measured(FOUR, 16, 96)
    for truth, sections in ((data.truth[1:], data.sections), (data.truth, data.sections[1:])):
        with pytest.raises(ValueError, match="do not match"):
            SupervisedBound(truth, sections, data.axial, SPEC)


@pytest.mark.parametrize("make", [regressor, supervised])
def test_the_same_seed_and_steps_give_the_same_planes(make):
    data = measured(FOUR, 16, 96)
    first, again, other = (
        make(data, steps=4, seed=seed).reconstruct(data.sections, data.axial, 20, 24) for seed in (0, 0, 1)
    )  # fmt: skip
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def line() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(1, 1)


def test_seconds_become_steps_by_the_pace_of_a_few_and_the_network_starts_untrained():
    network = line()
    begun_with, seen = network.weight.item(), []

    def loss(step: int) -> torch.Tensor:
        seen.append((step, network.weight.item()))
        time.sleep(0.01)
        return (network(torch.ones(1, 1)) - 3).square().mean()

    _, steps = train_within(network, loss, Recipe(0.1, 1, 0.0), 0.5, None)
    assert N_TIMED_STEPS <= steps <= 50
    assert len(seen) == 2 * N_TIMED_STEPS + steps
    assert seen[0] == seen[2 * N_TIMED_STEPS] == (0, begun_with)


def test_a_stall_while_the_pace_is_taken_costs_no_steps():
    def pace(stalls: tuple[int, ...]):
        for step in range(1000):
            time.sleep(0.2 if step in stalls else 0.01)
            yield step

    assert steps_within(10, pace((20, 24, 28))) > 10 / 0.02


def test_the_learning_rate_follows_the_share_of_the_budget():
    recipe = Recipe(1.0, 10, 0.9)
    assert recipe.rate(0, 0.0) == pytest.approx(0.1)
    assert recipe.rate(100, 0.0) == 1.0
    assert recipe.rate(100, 0.5) == pytest.approx(0.5)
    assert recipe.rate(10**6, 1.0) == 0.0


def test_a_loss_that_is_not_finite_is_an_error():
    network = line()
    with pytest.raises(FloatingPointError, match="after 3 steps"):
        train_within(network, lambda step: network(torch.ones(1, 1)).sum() * float("nan"), Recipe(0.1, 1, 0.0), 0.0, 3)
