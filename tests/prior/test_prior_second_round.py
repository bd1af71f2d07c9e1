"""The second round of training: what its network is shown, in training and of a block, and what it starts from."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from isofield.field.inputs import block_data, sections_needed
from isofield.geometry import AxialMap, Roi
from isofield.measurement import MeasurementModel, neighbour_matrices
from isofield.prior.denoiser import Denoiser
from isofield.prior.patches import LateralDegradation
from isofield.prior.second_round import RestoredSampler, widen
from isofield.prior.spec import SLICE_OFFSETS, PriorSpec

MODEL, PATCH, APART, DEPTH = MeasurementModel(Fraction(4)), 16, 10.0, 40
SPEC = PriorSpec(rounds=2, neighbours=1, channels=(8, 8), patch_vox=PATCH)


@pytest.fixture(scope="module")
def planes() -> np.ndarray:
    """Plane k is a texture plus k * APART: degraded and interpolated it stays just as much brighter."""
    texture = np.random.default_rng(0).random((80, 70), np.float32)
    return texture + np.float32(APART) * np.arange(DEPTH, dtype=np.float32)[:, None, None]


def sampler(planes, noise=0.0, spec=SPEC) -> RestoredSampler:
    return RestoredSampler([planes], LateralDegradation(MODEL, PATCH), 0, MODEL, spec, noise)


def test_channels_are_the_patch_its_neighbouring_sections_and_the_slices_beside_it(planes):
    batch = sampler(planes).batch(0, 2000)
    seen = batch.condition[:, :-2].mean(axis=(2, 3)) / APART
    steps = seen[:, 1:] - seen[:, :1]
    own = np.rint(batch.clean.mean(axis=(1, 2, 3)) / APART - 0.05)
    inside = (own >= 8) & (own < DEPTH - 8)
    expected = np.array([-4, 4, *(sign * k for k in SLICE_OFFSETS for sign in (-1, 1))], float)
    # A section's neighbours are 4 planes away, 4 planes thick: as bright as the plane there.
    order = np.sign(steps[inside, 1])[:, None]
    np.testing.assert_allclose(steps[inside] * order, np.broadcast_to(expected, steps[inside].shape), atol=0.02)
    assert 0.3 < (order > 0).mean() < 0.7, "depth has no direction"
    # Where the stack ends its outermost plane goes on.
    assert np.abs(steps[own == 0][:, 2:]).min(initial=1) < 0.02


@pytest.mark.parametrize(("depth", "share"), [(DEPTH, 0.1 * 8 / 40), (12, 0.1 * 8 / 12), (8, 1.0)])
def test_planes_that_were_restored_from_one_side_are_seldom_learned_from(planes, depth, share):
    """Those of the first and the last section; a stack of two sections has no others."""
    clean = sampler(planes[:depth]).batch(1, 2000).clean
    own = np.rint(clean.mean(axis=(1, 2, 3)) / APART - 0.05)
    assert ((own < 4) | (own >= depth - 4)).mean() == pytest.approx(share, abs=0.02)


def test_a_block_shows_the_same_channels_of_its_slices(planes):
    """In training as in use: slices as many voxels away, in the same order."""
    axial = AxialMap(Fraction(4), 6)
    roi = Roi((0, 0, 0), (24, 30, 40))
    needed = sections_needed(axial, roi)
    sections = np.zeros((6, 30, 40), np.float32) + np.arange(30, dtype=np.float32)[:, None]
    offsets = SPEC.slice_offsets
    data = block_data(axial, MODEL, roi, roi, needed, sections[needed.start : needed.stop], 0, 1, slice_offsets=offsets)
    matrices = data.neighbours[0]
    assert len(matrices) == SPEC.n_beside
    shown = np.tensordot(matrices, data.base, axes=(2, 1))[:, 15, 10, 20]
    np.testing.assert_allclose(shown - 15, [-4, 4, -1, 1, -2, 2, -4, 4], atol=1e-3)
    np.testing.assert_array_equal(neighbour_matrices(MODEL, 30, 1, offsets)[:2], neighbour_matrices(MODEL, 30, 1))
    np.testing.assert_array_equal(matrices[2:].sum(axis=2), 1)


def test_noise_of_a_neighbouring_section_is_that_of_its_mean_and_of_a_slice_its_own(planes):
    flat = np.zeros_like(planes)
    noisy = sampler(flat, noise=1.0).batch(0, 400).condition
    strength = noisy.std(axis=(0, 2, 3))
    np.testing.assert_allclose(strength[3:-2], strength[0], rtol=0.05)
    # Four planes are averaged, each with noise of its own.
    np.testing.assert_allclose(strength[1:3], strength[0] / 2, rtol=0.1)
    # Slices that two channels share have one noise: the section behind holds the slice 4 voxels away, not the one before.
    assert np.abs(np.corrcoef(noisy[:, 0].ravel(), noisy[:, 3].ravel())[0, 1]) < 0.05
    assert sampler(flat).batch(0, 4).condition[:, :-2].std() == 0


def test_the_same_step_gives_the_same_patches_and_another_seed_others(planes):
    one, again = (sampler(planes, 0.1).batch(3, 8) for _ in range(2))
    np.testing.assert_array_equal(one.condition, again.condition)
    assert not np.array_equal(one.condition, sampler(planes, 0.1).batch(4, 8).condition)


def test_a_widened_network_answers_as_the_first_and_heeds_the_slices_once_it_may():
    torch.manual_seed(0)
    first = Denoiser(SPEC.model_copy(update={"rounds": 1}), 0.5, 0.15, Fraction(4))
    for parameter in first.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    second = Denoiser(SPEC, 0.5, 0.15, Fraction(4))
    n_more = second.n_condition - first.n_condition
    assert n_more == 2 * len(SLICE_OFFSETS)
    widen(second, first)
    condition = torch.randn(2, second.n_condition, 8, 16)
    condition[:, -2], condition[:, -1] = -1.0, 0.0
    narrow = torch.cat([condition[:, :3], condition[:, -2:]], dim=1)
    sigma = torch.full((2,), torch.inf)
    torch.testing.assert_close(second(None, sigma, condition), first(None, sigma, narrow))
    with torch.no_grad():
        second.network.stem.weight[:, -4 * (2 + n_more) : -4 * 2] += 0.1
    assert (second(None, sigma, condition) - first(None, sigma, narrow)).abs().max() > 1e-4
