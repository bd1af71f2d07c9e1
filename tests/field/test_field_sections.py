"""How far fields are drawn to the sections: all the way where these have little noise, hardly where they have much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_example import CPU, Oracle, measured_block, rms, smooth_volume, stacked
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.field.fit import drawn_to_sections, fit_fields, render_fields
from isofield.field.spec import LITTLE_NOISE, MAX_DATA_WEIGHT, FieldSpec, FitSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (16, 24, 28)


def block_of(seed, shape=SHAPE, noise=0.0):
    block = measured_block(smooth_volume(shape, seed, width=2.5), seed)
    added = noise * np.random.default_rng(seed + 1).standard_normal(block.measured.shape).astype(np.float32)
    return replace(block, measured=block.measured + added)


def slope(values, wanted, block, weight):
    """Gradient of the sum of both terms by the voxels of one block."""
    values = values.clone().double().requires_grad_()
    error = torch.tensordot(torch.from_numpy(block.measure).double(), values, dims=1) - torch.from_numpy(block.measured)
    believed = torch.from_numpy(block.weight)[:, None, None]
    data = (error.square() * believed).sum() / (believed.sum() * error[0].numel())
    (weight * data + (values - wanted).square().mean()).backward()
    return values.grad


@settings(max_examples=25)
@given(st.integers(0, 99), st.floats(0.01, 100), st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=4, max_size=4).filter(any))
def test_there_is_no_way_down_from_there(seed, weight, believed):
    """The least of a convex function is where its gradient is zero."""
    block = replace(block_of(seed, (16, 5, 6), 0.2), weight=np.array(believed, np.float32))
    wanted = torch.randn(1, 16, 5, 6, generator=torch.Generator().manual_seed(seed))
    drawn = drawn_to_sections(wanted, stacked(block), weight)
    before = slope(wanted[0], wanted[0], block, weight).abs().max()
    assert slope(drawn[0], wanted[0], block, weight).abs().max() < 1e-5 * before


def test_a_block_is_drawn_alike_in_any_batch():
    blocks = [block_of(seed, noise=0.1) for seed in range(3)]
    wanted = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    together = drawn_to_sections(wanted, stacked(*blocks), 4.0)
    for n, block in enumerate(blocks):
        assert torch.equal(together[n], drawn_to_sections(wanted[n : n + 1], stacked(block), 4.0)[0])


def test_without_weight_or_sections_that_are_believed_nothing_is_drawn():
    block = block_of(0, noise=0.1)
    wanted = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    doubted = replace(block, weight=np.zeros_like(block.weight))
    assert torch.equal(drawn_to_sections(wanted, stacked(block), 0.0), wanted)
    assert torch.equal(drawn_to_sections(wanted, stacked(doubted), 4.0), wanted)
    # Negative control.
    assert not torch.equal(drawn_to_sections(wanted, stacked(block), 4.0), wanted)


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_the_share_of_the_way_is_that_of_the_weight(noise):
    """Sections of whole planes, none of which another section shares: what the weight is for can be said in one line."""
    block = block_of(0, noise=noise)
    wanted = torch.from_numpy(smooth_volume(SHAPE, 0, width=2.5))[None]
    drawn = drawn_to_sections(wanted, stacked(block), FitSpec().data_weight_at(noise))
    left, before = (np.tensordot(block.measure, v[0].numpy(), axes=1) - block.measured for v in (drawn, wanted))
    weight = min(MAX_DATA_WEIGHT, (LITTLE_NOISE / noise) ** 4)
    np.testing.assert_allclose(left, before / (1 + weight), atol=1e-5)


def test_a_weight_that_is_given_holds_whatever_the_noise():
    assert [FitSpec(data_weight=3.0).data_weight_at(noise) for noise in (0.0, 0.01, 1.0)] == [3.0] * 3
    assert FitSpec().data_weight_at(0.0) == MAX_DATA_WEIGHT
    assert FitSpec().data_weight_at(1.0) < 0.01
    assert {FitSpec(**how).data_weight_at(1.0) for how in ({"mode": "sds"}, {"prior_weight": 0.0})} == {4.0}


@pytest.mark.parametrize(("noise", "kept"), [(0.01, (0.9, 1.0)), (0.2, (0.0, 0.15))])
def test_little_noise_is_reproduced_and_much_is_not(noise, kept):
    """A whole fit towards the truth, which lacks the noise; a field with a node per voxel could reproduce all of it."""
    truth = smooth_volume(SHAPE, 0, width=2.5)
    block = block_of(0, noise=noise)
    clean = measured_block(truth).measured
    fine = FieldSpec(strides_vox=(1, 4), features=(1, 4))
    result = fit_fields([block], Oracle([block], [truth]), fine, FitSpec(), CPU, noise=noise)
    values = render_fields(result.fields, torch.from_numpy(block.base)[None])[0].numpy()
    added, found = block.measured - clean, np.tensordot(block.measure, values, axes=1) - clean
    assert kept[0] < float((added * found).mean() / (added * added).mean()) < kept[1]


def test_the_noise_of_the_sections_can_be_taken_away_again():
    """The base carries it in every voxel of a section; a field that is coarser across z than the noise keeps it."""
    noise, truth = 0.2, smooth_volume(SHAPE, 0, width=2.5)
    noisy = truth.reshape(-1, 4, *SHAPE[1:]).mean(axis=1)
    noisy = noisy + noise * np.random.default_rng(2).standard_normal(noisy.shape).astype(np.float32)
    block = measured_block(np.repeat(noisy, 4, axis=0))
    errors = {}
    for name, field in (("default", FieldSpec()), ("coarse", FieldSpec(strides_vox=(2, 4), features=(4, 4)))):
        fitted = fit_fields([block], Oracle([block], [truth]), field, FitSpec(), CPU, noise=noise)
        values = render_fields(fitted.fields, torch.from_numpy(block.base)[None])[0].numpy()
        errors[name] = rms(values - truth)
    assert errors["default"] < 0.25 * noise
    assert errors["coarse"] > 2 * errors["default"]
