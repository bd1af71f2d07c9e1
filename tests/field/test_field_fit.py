"""Fitting: what each term does by itself, what both do together, and that both do their own block's work only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fit_example import CPU, FACTOR, Oracle, measured_block, plain_block, rms, smooth_volume

from isofield.field.fit import fit_fields, render_fields
from isofield.field.spec import FieldSpec, FitSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (16, 20, 24)
GRID = FieldSpec(strides_vox=(2, 4), features=(4, 4), hidden=16)
SIREN = FieldSpec(kind="siren", hidden=32, n_hidden_layers=2, frequency=8.0)
FOURIER = FieldSpec(kind="fourier", hidden=32, n_hidden_layers=2, n_frequencies=32, frequency=1.0)
DISTILL = FitSpec(steps=60, slice_share=0.5)


def rendered(result, blocks):
    """All voxels of every block, numpy (N, Z, Y, X)."""
    base = torch.from_numpy(np.stack([b.base for b in blocks]))
    return render_fields(result.fields, base).numpy()


def fitted(blocks, denoise, spec=DISTILL, field=GRID, **kwargs):
    result = fit_fields(blocks, denoise, field, spec, CPU, **kwargs)
    return result, rendered(result, blocks)


def never(noisy, sigma, condition):
    raise AssertionError("the prior was asked although its weight is zero")


@pytest.fixture(scope="module")
def truths():
    return [smooth_volume(SHAPE, seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def blocks(truths):
    return [measured_block(truth, seed) for seed, truth in enumerate(truths)]


# --- what a field can be ---


@pytest.mark.parametrize("what", ["constant", "plane"])
@pytest.mark.parametrize(("field", "rate"), [(GRID, 2e-2), (SIREN, 2e-3), (FOURIER, 1e-2)], ids=["grid", "siren", "fourier"])
def test_a_field_fits_a_constant_and_a_plane(field, rate, what):
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    truth = np.full(SHAPE, 0.3) if what == "constant" else 0.02 * z - 0.03 * y + 0.01 * x
    base = smooth_volume(SHAPE, 9, width=3.0)
    block = plain_block(base)
    spec = FitSpec(steps=150, slice_share=0.5, learning_rate=rate)
    result, values = fitted([block], Oracle([block], [truth]), spec, field)
    assert result.sound.all()
    assert rms(values[0] - truth) < 0.04
    assert rms(base - truth) > 0.4


@pytest.mark.parametrize(("field", "rate"), [(SIREN, 3e-3), (FOURIER, 1e-2)], ids=["siren", "fourier"])
def test_coordinate_fields_fit_a_smooth_volume(field, rate):
    truth = smooth_volume(SHAPE, 3, width=4.0)
    block = measured_block(truth)
    spec = FitSpec(steps=200, slice_share=0.5, learning_rate=rate)
    result, values = fitted([block], Oracle([block], [truth]), spec, field)
    assert result.sound.all()
    assert rms(values[0] - truth) < 0.25 * truth.std()


# --- the two terms ---


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
    lies = type(block)(block.measured + 5.0, block.measure, block.base, block.phase, block.seed)
    ignored, believed = (fitted([lies], oracle, s)[1] for s in (spec, DISTILL))
    np.testing.assert_array_equal(ignored, fitted([block], oracle, spec)[1])
    # Negative control: with the term, the same lies do harm.
    assert rms(believed[0] - truths[0]) > 5 * rms(ignored[0] - truths[0])


def test_distilling_a_perfect_denoiser_beats_the_interpolation(blocks, truths):
    oracle = Oracle(blocks, truths)
    result, values = fitted(blocks, oracle)
    assert result.sound.all()
    assert set(oracle.sigmas) == {80.0}
    for block, truth, own in zip(blocks, truths, values, strict=True):
        assert rms(own - truth) < 0.6 * rms(block.base - truth)
    # Negative control: distilled from the interpolation itself, it stays there.
    _, unmoved = fitted(blocks, Oracle(blocks, [b.base for b in blocks]), DISTILL.model_copy(update={"data_weight": 0.0}))
    assert rms(unmoved[0] - blocks[0].base) < 0.05 * rms(blocks[0].base - truths[0])


def test_targets_are_refreshed_at_every_sigma(blocks, truths):
    oracle = Oracle(blocks[:1], truths[:1])
    spec = FitSpec(steps=2, sigmas=(80.0, 0.5, 0.2))
    fit_fields(blocks[:1], oracle, GRID, spec, CPU)
    n_slices = SHAPE[1] + SHAPE[2]
    assert oracle.sigmas == pytest.approx([80.0] * n_slices + [0.5] * n_slices + [0.2] * n_slices)


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

    spec = FitSpec(mode="sds", steps=80, slice_share=0.5)
    result, values = fitted([block], pull, spec)
    assert result.sound.all()
    assert rms(values[0] - truth) < 0.5 * rms(block.base - truth)
    low, high = spec.sds_sigma_range
    assert low <= min(seen) < 2 * low
    assert high / 2 < max(seen) <= high
    assert len(set(seen)) == len(seen)  # fresh noise for every slice of every step


def test_no_gradient_flows_through_the_denoiser(blocks, truths):
    weight = torch.ones(1, requires_grad=True)

    def scaled(noisy, sigma, condition):
        assert not torch.is_grad_enabled()
        return (noisy if condition is None else condition[:, :1]) * weight

    for mode in ("distill", "sds"):
        fit_fields(blocks[:1], scaled, GRID, FitSpec(steps=2, mode=mode), CPU)
    assert weight.grad is None


def test_progress_counts_every_step(blocks, truths):
    seen = []
    spec = FitSpec(steps=3, sigmas=(80.0, 0.5))
    fit_fields(blocks[:1], Oracle(blocks[:1], truths[:1]), GRID, spec, CPU, progress=lambda *at: seen.append(at))
    assert seen == [(k, 6) for k in range(1, 7)]


# --- a block is nobody's business but its own ---


def shrink(noisy, sigma, condition):
    """A denoiser without memory that reads noise, level and condition alike; every slice by itself."""
    level = sigma[:, None, None, None]
    if condition is None:
        return noisy / (1 + level)
    return 0.9 * condition[:, :1] + 0.05 * condition[:, 1:2] + 0.1 * noisy / (1 + level)


SPECS = {
    "distill": FitSpec(steps=12, sigmas=(80.0, 0.3), slice_share=0.25),
    "sds": FitSpec(steps=12, mode="sds", slice_share=0.25),
    "data": FitSpec(steps=12, prior_weight=0.0, slice_share=0.25),
}


@pytest.mark.parametrize("field", [GRID, SIREN, FOURIER], ids=lambda f: f.kind)
@pytest.mark.parametrize("name", SPECS)
def test_a_block_fitted_alone_or_in_a_batch_is_the_same(blocks, field, name):
    """On one CPU thread bit for bit, at any place in the batch."""
    spec = SPECS[name]
    third = measured_block(smooth_volume(SHAPE, 7), seed=7)
    batch = [blocks[0], blocks[1], third]
    alone = [fitted([block], shrink, spec, field) for block in batch]
    for order in ([0, 1], [1, 0], [2, 0, 1]):
        result, together = fitted([batch[k] for k in order], shrink, spec, field)
        for place, k in enumerate(order):
            np.testing.assert_array_equal(together[place], alone[k][1][0])
            np.testing.assert_array_equal(result.losses[:, place], alone[k][0].losses[:, 0])


@pytest.mark.parametrize("name", SPECS)
def test_the_seed_of_a_block_matters(blocks, name):
    other = type(blocks[0])(blocks[0].measured, blocks[0].measure, blocks[0].base, blocks[0].phase, seed=123)
    first, again, second = (fitted([b], shrink, SPECS[name])[1] for b in (blocks[0], blocks[0], other))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 1e-5


@pytest.mark.parametrize("mode", ["distill", "sds"])
def test_one_broken_block_is_unsound_and_the_others_are_untouched(blocks, mode):
    spec = SPECS[mode]
    calls = {"n": 0}

    def broken_for_second(noisy, sigma, condition):
        """Per axis or step the blocks come one after the other; each takes one call at this size."""
        calls["n"] += 1
        answer = shrink(noisy, sigma, condition)
        return answer * torch.nan if calls["n"] % 2 == 0 else answer

    result, values = fitted(blocks, broken_for_second, spec)
    assert result.sound.tolist() == [True, False]
    assert np.isnan(values[1]).any()
    _, alone = fitted(blocks[:1], shrink, spec)
    np.testing.assert_array_equal(values[0], alone[0])


def test_a_fit_that_runs_away_is_unsound(blocks):
    start = {"n": 0}

    def runs_away(noisy, sigma, condition):
        start["n"] += 1
        return noisy + 10.0 ** start["n"]

    result = fit_fields(blocks[:1], runs_away, GRID, FitSpec(steps=6, mode="sds", data_weight=0.0), CPU)
    assert result.sound.tolist() == [False]


def test_a_retry_takes_smaller_steps(blocks, truths):
    oracle = Oracle(blocks[:1], truths[:1])
    spec = FitSpec(steps=5)
    moved = [rms(fitted(blocks[:1], oracle, spec, step_scale=s)[1][0] - blocks[0].base) for s in (1.0, 0.25)]
    assert 0 < moved[1] < 0.6 * moved[0]


# --- what a block is fitted to ---


def test_blocks_thinner_than_a_section_are_fitted_by_the_prior_alone(truths):
    from fractions import Fraction

    from isofield.field.inputs import block_data, sections_needed
    from isofield.geometry import AxialMap, Roi
    from isofield.measurement import MeasurementModel

    axial, model = AxialMap(Fraction(FACTOR), 4), MeasurementModel(Fraction(FACTOR))
    sections = truths[0].reshape(-1, FACTOR, *SHAPE[1:]).mean(axis=1)
    roi = Roi((5, 0, 0), (3, *SHAPE[1:]))
    needed = sections_needed(axial, roi)
    block = block_data(axial, model, roi, needed, sections[needed.start : needed.stop], seed=0)
    assert (block.measured.shape, block.measure.shape) == ((0, *SHAPE[1:]), (0, 3))
    truth = truths[0][5:8]
    result, values = fitted([block], Oracle([block], [truth]))
    assert result.sound.all()
    assert rms(values[0] - truth) < 0.6 * rms(block.base - truth)
    assert result.data_rms[0] == 0.0
    fitted([block], never, DISTILL.model_copy(update={"prior_weight": 0.0, "steps": 3}))
