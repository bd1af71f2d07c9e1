"""The discrepancy principle: sections are reproduced as well as they were measured, and no better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fit_example import CPU, Oracle, measured_block, rms, smooth_volume

from isofield.field.fit import fit_fields, render_fields
from isofield.field.spec import FieldSpec, FitSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE, NOISE = (16, 24, 28), 0.2
FIELD = FieldSpec(strides_vox=(1, 4), features=(1, 4))
"""A node per voxel: a field that could reproduce all noise."""


def residual_and_error(spec, noise, with_prior=True):
    """Rms of A f - y and of f - truth, for a block whose sections have white noise of standard deviation NOISE."""
    truth = smooth_volume(SHAPE, 0, width=2.5)
    clean = measured_block(truth)
    added = NOISE * np.random.default_rng(1).standard_normal(clean.measured.shape).astype(np.float32)
    block = type(clean)(**{**clean.__dict__, "measured": clean.measured + added})
    denoise = Oracle([block], [truth]) if with_prior else None
    fitted = fit_fields([block], denoise, FIELD, spec, CPU, noise=noise)
    values = render_fields(fitted.fields, torch.from_numpy(block.base)[None])[0].numpy()
    return rms(np.tensordot(block.measure, values, axes=1) - block.measured), rms(values - truth)


def test_noise_is_not_fitted():
    spec = FitSpec(steps=200, stop_below=0, learning_rate=2e-2, data_weight=4.0, noise_tolerance=1.0)
    tolerant, exact = residual_and_error(spec, NOISE), residual_and_error(spec, 0.0)
    assert tolerant[0] == pytest.approx(NOISE, rel=0.25)
    assert exact[0] < 0.6 * NOISE
    assert tolerant[1] < 0.6 * exact[1]


def test_tolerance_counts_in_standard_deviations_and_zero_turns_it_off():
    spec = FitSpec(steps=60, stop_below=0, learning_rate=2e-2, noise_tolerance=1.0)
    off = spec.model_copy(update={"noise_tolerance": 0.0})
    assert residual_and_error(off, NOISE) == residual_and_error(spec, 0.0)
    half = spec.model_copy(update={"noise_tolerance": 0.5})
    assert residual_and_error(half, NOISE) == residual_and_error(spec, NOISE / 2)


def test_what_exceeds_the_noise_is_still_corrected():
    """Without a prior the field is drawn to the sections until they are a noise away."""
    spec = FitSpec(prior_weight=0.0, steps=200, learning_rate=2e-2, noise_tolerance=1.0)
    small = residual_and_error(spec, 0.01, with_prior=False)[0]
    large = residual_and_error(spec, 0.1, with_prior=False)[0]
    assert small < 0.06
    assert small < large < 0.2


def test_the_noise_of_the_sections_can_be_taken_away_again():
    """The base carries it in every voxel of a section; a field that is coarser across z than the noise keeps it."""
    truth = smooth_volume(SHAPE, 0, width=2.5)
    noisy = truth.reshape(-1, 4, *SHAPE[1:]).mean(axis=1)
    noisy = noisy + NOISE * np.random.default_rng(2).standard_normal(noisy.shape).astype(np.float32)
    block = measured_block(np.repeat(noisy, 4, axis=0))
    errors = {}
    for name, field in (("default", FieldSpec()), ("coarse", FieldSpec(strides_vox=(2, 4), features=(4, 4)))):
        fitted = fit_fields([block], Oracle([block], [truth]), field, FitSpec(), CPU, noise=NOISE)
        values = render_fields(fitted.fields, torch.from_numpy(block.base)[None])[0].numpy()
        errors[name] = rms(values - truth)
    assert errors["default"] < 0.25 * NOISE
    assert errors["coarse"] > 2 * errors["default"]
