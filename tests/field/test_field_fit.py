"""Fitting: what each term does by itself, and what both do together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_example import CPU, FINE, FOURIER, GRID, SIREN, Oracle, fitted, measured_block, plain_block, rms, smooth_volume

from isofield.field.fit import fit_fields
from isofield.field.representation import Y, make_fields
from isofield.field.spec import FitSpec
from isofield.field.targets import DRAW_SIGMAS

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (16, 20, 24)
DISTILL = FitSpec(steps=60, slice_share=0.5, learning_rate=2e-2, stop_below=0.0)


def never(noisy, sigma, condition):
    raise AssertionError("the prior was asked although its weight is zero")


@pytest.fixture(scope="module")
def truths():
    return [smooth_volume(SHAPE, seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def blocks(truths):
    return [measured_block(truth, seed=seed) for seed, truth in enumerate(truths)]


# --- what a field can be ---


@pytest.mark.parametrize("what", ["constant", "plane"])
@pytest.mark.parametrize(
    ("field", "rate"), [(GRID, 2e-2), (FINE, 2e-2), (SIREN, 2e-3), (FOURIER, 1e-2)], ids=["grid", "fine", "siren", "fourier"]
)
def test_a_field_fits_a_constant_and_a_plane(field, rate, what):
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    truth = np.full(SHAPE, 0.3) if what == "constant" else 0.02 * z - 0.03 * y + 0.01 * x
    base = smooth_volume(SHAPE, 9, width=3.0)
    block = plain_block(base)
    spec = FitSpec(steps=150, slice_share=0.5, learning_rate=rate, stop_below=0.0)
    result, values = fitted([block], Oracle([block], [truth]), spec, field)
    assert result.sound.all()
    assert rms(values[0] - truth) < 0.04
    assert rms(base - truth) > 0.4


@pytest.mark.parametrize(("field", "rate"), [(SIREN, 3e-3), (FOURIER, 1e-2)], ids=["siren", "fourier"])
def test_coordinate_fields_fit_a_smooth_volume(field, rate):
    truth = smooth_volume(SHAPE, 3, width=4.0)
    block = measured_block(truth)
    spec = FitSpec(steps=200, slice_share=0.5, learning_rate=rate, stop_below=0.0)
    result, values = fitted([block], Oracle([block], [truth]), spec, field)
    assert result.sound.all()
    assert rms(values[0] - truth) < 0.25 * truth.std()


# --- the two terms ---


@pytest.mark.parametrize("field", [GRID, FINE], ids=["grid", "fine"])
def test_a_fit_begins_at_the_least_squares_fit_to_what_both_directions_want(blocks, field):
    def leaning(noisy, sigma, condition):
        return condition[:, :1] * (1.5 if condition.shape[-1] == SHAPE[2] else 0.7)

    block = blocks[0]
    _, values = fitted([block], leaning, FitSpec(steps=1, learning_rate=1e-12, data_weight=0), field)
    start = make_fields(field, SHAPE, [0]).requires_grad_(False)
    start.start_at(torch.from_numpy(0.1 * block.base)[None])
    expected = block.base + start.slices(Y, torch.arange(SHAPE[1]))[0].movedim(0, 1).numpy()
    np.testing.assert_allclose(values[0], expected, atol=1e-5)
    # The sections do not want that, and have their say where their term weighs something.
    _, drawn = fitted([block], leaning, FitSpec(steps=1, learning_rate=1e-12), field)
    residual, undrawn = (rms(np.tensordot(block.measure, v[0], axes=1) - block.measured) for v in (drawn, values))
    assert residual < 0.5 * undrawn
    # Negative control: without targets there is nothing to start at but the interpolation.
    _, values = fitted([block], never, FitSpec(steps=1, learning_rate=1e-12, prior_weight=0.0), field)
    np.testing.assert_allclose(values[0], block.base, atol=1e-5)
    assert rms(expected - block.base) > 0.03


def test_without_the_prior_only_the_sections_count(blocks, truths):
    spec = DISTILL.model_copy(update={"prior_weight": 0.0, "steps": 150})
    result, values = fitted(blocks[:1], never, spec)
    block = blocks[0]
    residual = np.tensordot(block.measure, values[0], axes=1) - block.measured
    before = np.tensordot(block.measure, block.base, axes=1) - block.measured
    assert rms(residual) < 0.1 * rms(before)
    assert result.data_rms[0] == pytest.approx(rms(residual), rel=0.5)
    assert result.prior_rms[0] == 0.0


def test_without_the_data_term_sections_are_ignored(blocks, truths):
    spec = DISTILL.model_copy(update={"data_weight": 0.0})
    block, oracle = blocks[0], Oracle(blocks[:1], truths[:1])
    lies = replace(block, measured=block.measured + 5.0)
    ignored, believed = (fitted([lies], oracle, s)[1] for s in (spec, DISTILL))
    np.testing.assert_array_equal(ignored, fitted([block], oracle, spec)[1])
    # Negative control: with the term, the same lies do harm.
    assert rms(believed[0] - truths[0]) > 5 * rms(ignored[0] - truths[0])


def test_distilling_a_perfect_denoiser_beats_the_interpolation(blocks, truths):
    oracle = Oracle(blocks, truths)
    result, values = fitted(blocks, oracle, DISTILL)
    assert result.sound.all()
    assert set(oracle.sigmas) == {np.inf}
    assert not any(oracle.noisy)
    for block, truth, own in zip(blocks, truths, values, strict=True):
        assert rms(own - truth) < 0.6 * rms(block.base - truth)
    # Negative control: distilled from the interpolation itself, it stays there.
    unmoved = DISTILL.model_copy(update={"data_weight": 0.0})
    _, values = fitted(blocks, Oracle(blocks, [b.base for b in blocks]), unmoved)
    np.testing.assert_allclose(values[0], blocks[0].base, atol=1e-6)


def test_the_field_of_a_block_that_sees_more_is_fitted_where_it_lies(truths):
    """Sections, targets and base are those of the field: 14 x 17 voxels, 2 and 3 from the edges of what the block sees."""
    block = measured_block(truths[0], field=((2, 3), (14, 17)))
    result, values = fitted([block], Oracle([block], truths[:1]), DISTILL)
    truth, base = truths[0][:, 2:16, 3:20], block.base[:, 2:16, 3:20]
    assert result.sound.all()
    assert values[0].shape == (16, 14, 17)
    assert rms(values[0] - truth) < 0.6 * rms(base - truth)
    residual = np.tensordot(block.measure, values[0], axes=1) - block.measured
    assert rms(residual) < 0.3 * rms(np.tensordot(block.measure, base, axes=1) - block.measured)


def test_a_prior_without_neighbours_can_be_distilled(truths):
    block = measured_block(truths[0], n_neighbours=0)
    seen = set()
    oracle = Oracle([block], truths[:1])

    def denoise(noisy, sigma, condition):
        seen.add(condition.shape[1])
        return oracle(noisy, sigma, condition)

    _, values = fitted([block], denoise, DISTILL)
    assert seen == {3}
    assert rms(values[0] - truths[0]) < 0.6 * rms(block.base - truths[0])


# --- detail ---


def gaussian(noisy, sigma, condition):
    """The denoiser of a posterior that is Gaussian with spread 0.2, independent at every voxel, the base its mean."""
    mean = condition[:, :1]
    if noisy is None:
        return mean
    return mean + 0.04 / (0.04 + sigma[:, None, None, None] ** 2) * (noisy - mean)


def test_detail_asks_for_a_draw_and_fine_grids_hold_its_texture(truths):
    block = measured_block(truths[0], noise_seed=3)
    spec = DISTILL.model_copy(update={"data_weight": 0.0, "detail": 1.0})
    asked = set()

    def denoise(noisy, sigma, condition):
        asked.update(sigma.tolist())
        return gaussian(noisy, sigma, condition)

    _, (fine,) = fitted([block], denoise, spec, FINE)
    assert sorted(asked) == pytest.approx(sorted([*DRAW_SIGMAS, np.inf]))
    assert np.std(fine - block.base) == pytest.approx(0.2, rel=0.2)
    assert np.corrcoef((fine - block.base).ravel(), block.noise.ravel())[0, 1] > 0.95
    # Negative controls: a coarser grid cannot hold it, and without detail there is none.
    _, (coarse,) = fitted([block], gaussian, spec, GRID)
    assert np.std(coarse - block.base) < 0.6 * np.std(fine - block.base)
    _, (mean,) = fitted([block], gaussian, spec.model_copy(update={"detail": 0.0}), FINE)
    np.testing.assert_allclose(mean, block.base, atol=1e-6)


# --- score distillation, and the fit itself ---


def test_score_distillation_moves_towards_what_the_prior_likes():
    """Truth whose ZX and ZY slices are all one wave along z: the unconditional denoiser knows it without a condition."""
    wave = (0.6 * np.sin(np.arange(16) * 2 * np.pi / 11)).astype(np.float32)
    truth = np.broadcast_to(wave[:, None, None], (16, 20, 20)).copy()
    block = measured_block(truth)
    seen = []

    def pull(noisy, sigma, condition):
        seen.extend(sigma.tolist())
        assert condition is None
        return torch.from_numpy(wave)[None, None, :, None].expand_as(noisy)

    spec = FitSpec(mode="sds", steps=80, slice_share=0.5, learning_rate=2e-2)
    result, values = fitted([block], pull, spec)
    assert result.sound.all()
    assert rms(values[0] - truth) < 0.5 * rms(block.base - truth)
    low, high = spec.sds_sigma_range
    assert low <= min(seen) < 2 * low
    assert high / 2 < max(seen) <= high
    assert len(set(seen)) == len(seen)  # fresh noise for every slice of every step


def test_no_gradient_flows_through_the_denoiser(truths):
    block = measured_block(truths[0], noise_seed=0)
    weight = torch.ones(1, requires_grad=True)

    def scaled(noisy, sigma, condition):
        assert not torch.is_grad_enabled()
        return (noisy if condition is None else condition[:, :1]) * weight

    for mode, detail in (("distill", 0.0), ("distill", 1.0), ("sds", 0.0)):
        fit_fields([block], scaled, GRID, FitSpec(steps=2, mode=mode, detail=detail), CPU)
    assert weight.grad is None


def test_progress_counts_every_step(blocks, truths):
    seen = []
    fit_fields(blocks[:1], Oracle(blocks[:1], truths[:1]), GRID, FitSpec(steps=3), CPU, progress=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_retry_takes_smaller_steps(blocks):
    spec = FitSpec(steps=5, prior_weight=0.0)
    moved = [rms(fitted(blocks[:1], never, spec, step_scale=s)[1][0] - blocks[0].base) for s in (1.0, 0.25)]
    assert 0 < moved[1] < 0.6 * moved[0]


def test_blocks_thinner_than_a_section_are_fitted_by_the_prior_alone(truths):
    block = measured_block(truths[0], planes=(5, 8))
    assert (block.measured.shape, block.measure.shape) == ((0, *SHAPE[1:]), (0, 3))
    truth = truths[0][5:8]
    result, values = fitted([block], Oracle([block], [truth]), DISTILL)
    assert result.sound.all()
    assert rms(values[0] - truth) < 0.6 * rms(block.base - truth)
    assert result.data_rms[0] == 0.0
    fitted([block], never, DISTILL.model_copy(update={"prior_weight": 0.0, "steps": 3}))
