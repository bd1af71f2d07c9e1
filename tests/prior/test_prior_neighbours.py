"""Neighbours of a patch: the sections beside its own, at the same place, flipped and turned with it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from isofield.measurement import MeasurementModel
from isofield.prior.patches import LateralDegradation, PatchSampler

PATCH, APART = 16, 10.0
"""Side of a patch, and what each section is brighter than the one before."""


@pytest.fixture(scope="module")
def texture():
    """Values within 1 of zero, no two places alike."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(80, 70)), 2.0)
    return (noise / np.abs(noise).max()).astype(np.float32)


@pytest.fixture(scope="module")
def degradation():
    return LateralDegradation(MeasurementModel(Fraction(4)), PATCH)


def stack_of(texture, n):
    """Section k is the texture plus k * APART: degraded and interpolated it stays just as much brighter."""
    return texture + APART * np.arange(n, dtype=np.float32)[:, None, None]


def numbers(batch, n_neighbours):
    """Which section each channel is of, own first: (B, 1 + 2 n). Asserts that all channels differ by a constant."""
    base = batch.condition[:, : 1 + 2 * n_neighbours]
    above = (base - base[:, :1]).reshape(*base.shape[:2], -1)
    assert float(above.std(axis=2).max()) < 1e-4
    own = np.rint(batch.clean.mean(axis=(1, 2, 3)) / APART)
    assert np.abs(batch.clean[:, 0] - own[:, None, None] * APART).max() <= 1.0
    np.testing.assert_allclose(base[:, 0].mean(axis=(1, 2)), own * APART, atol=2.0)
    return (own[:, None] + np.rint(above.mean(axis=2) / APART)).astype(int)


def drawn(sampler, n_neighbours, n_steps=12):
    return np.concatenate([numbers(sampler.batch(step, 32), n_neighbours) for step in range(n_steps)])


@pytest.mark.parametrize("n_neighbours", [1, 2])
def test_neighbours_are_of_the_sections_beside_at_the_same_place_nearest_first(texture, degradation, n_neighbours):
    n = 9
    sections = drawn(PatchSampler([stack_of(texture, n)], degradation, 0, n_neighbours), n_neighbours)
    own = sections[:, 0]
    interior = (own >= n_neighbours) & (own < n - n_neighbours)
    steps = sections[interior, 1:] - own[interior, None]
    upwards = np.array([sign * (k + 1) for k in range(n_neighbours) for sign in (-1, 1)])
    # Depth has no direction: both orders are drawn, about equally often.
    forward = (steps == upwards).all(axis=1)
    assert ((steps == -upwards).all(axis=1) | forward).all()
    assert 0.35 < forward.mean() < 0.65
    assert set(own[interior]) == set(range(n_neighbours, n - n_neighbours))


def test_a_neighbour_from_another_place_would_be_noticed(texture, degradation):
    """Negative control: sections that are each moved a voxel on do not differ by a constant."""
    moved = np.stack([np.roll(section, k, axis=1) for k, section in enumerate(stack_of(texture, 9))])
    with pytest.raises(AssertionError):
        numbers(PatchSampler([moved], degradation, 0, 1).batch(0, 32), 1)


def test_neighbours_are_degraded_like_the_patch(texture, degradation):
    """The same averages and interpolation at the same phase, not the sections as they are."""
    stack = np.stack([texture, texture + APART, -texture])
    batch = PatchSampler([stack], degradation, 0, 1).batch(0, 64)
    middle = np.abs(batch.clean.mean(axis=(1, 2, 3)) - APART) < 1.0
    assert middle.sum() > 32
    base, beside = batch.condition[middle, 0] - APART, batch.condition[middle, 1:3]
    for patch, pair in zip(base, beside, strict=True):
        assert min(np.abs(patch - one).max() for one in pair) < 1e-4
        assert min(np.abs(patch + one).max() for one in pair) < 1e-4
    assert np.abs(base - (batch.clean[middle, 0] - APART)).max() > 0.1


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_at_the_ends_of_a_stack_the_outermost_section_stands_in(texture, degradation, n):
    for n_neighbours in (1, 2):
        sections = drawn(PatchSampler([stack_of(texture, n)], degradation, 1, n_neighbours), n_neighbours, 30)
        own = sections[:, :1]
        assert set(own[:, 0]) == set(range(n))
        upwards = np.array([sign * (k + 1) for k in range(n_neighbours) for sign in (-1, 1)])
        either = [np.clip(own + sign * upwards, 0, n - 1) for sign in (1, -1)]
        assert np.any([(sections[:, 1:] == expected).all(axis=1) for expected in either], axis=0).all()
        if n_neighbours == 1:
            # A section without a neighbour on one side is its own there.
            first = sections[own[:, 0] == 0, 1:]
            assert {tuple(sorted(pair)) for pair in first.tolist()} == {(0, min(1, n - 1))}


def test_ends_are_drawn_now_and_then_but_not_as_often_as_the_rest(texture, degradation):
    own = drawn(PatchSampler([stack_of(texture, 5)], degradation, 0, 1), 1, 60)[:, 0]
    share = np.isin(own, (0, 4)).mean()
    # A twentieth of all patches ask for any of five sections, two of which are ends; a stack of their own would get 2/5.
    assert 0.005 < share < 0.06
    lone = drawn(PatchSampler([stack_of(texture, 5)], degradation, 0, 0), 0, 20)[:, 0]
    assert np.isin(lone, (0, 4)).mean() == pytest.approx(0.4, abs=0.1)


def test_without_neighbours_a_condition_has_three_channels(texture, degradation):
    batch = PatchSampler([stack_of(texture, 5)], degradation, 0, 0).batch(0, 4)
    assert batch.condition.shape == (4, 3, PATCH, PATCH)
    with_two = PatchSampler([stack_of(texture, 5)], degradation, 0, 2).batch(0, 4)
    assert with_two.condition.shape == (4, 7, PATCH, PATCH)
    assert with_two.clean.shape == (4, 1, PATCH, PATCH)
    assert (with_two.condition.dtype, with_two.clean.dtype) == (np.float32, np.float32)
    # The last two are cosine and sine of the place within the section: the same for all patches of a phase.
    np.testing.assert_allclose(np.square(with_two.condition[:, -2:]).sum(axis=1), 1, atol=1e-5)


def test_a_batch_with_neighbours_depends_on_seed_and_step_only(texture, degradation):
    pool = [stack_of(texture, 7), -stack_of(texture, 5)]
    first = PatchSampler(pool, degradation, 5, 1).batch(7, 6)
    other_steps = PatchSampler(pool, degradation, 5, 1)
    for step in (0, 9, 3):
        other_steps.batch(step, 4)
    again = other_steps.batch(7, 6)
    for name in ("clean", "condition"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        for other in (other_steps.batch(8, 6), PatchSampler(pool, degradation, 6, 1).batch(7, 6)):
            assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_larger_stacks_are_drawn_from_more_often(texture, degradation):
    pool = [stack_of(texture, 9), -100.0 - stack_of(texture, 1)]
    sampler = PatchSampler(pool, degradation, 0, 1)
    of_second = np.concatenate([sampler.batch(step, 32).clean.mean(axis=(1, 2, 3)) < -50 for step in range(30)])
    assert of_second.mean() == pytest.approx(0.1, abs=0.04)
