"""The noise of sections: measured from themselves, and given back to training conditions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from isofield.measurement import MeasurementModel
from isofield.phantom import tissue_clean
from isofield.prior.noise import section_noise
from isofield.prior.patches import LateralDegradation, PatchSampler

RATIOS = [Fraction(2), Fraction(8), Fraction(250, 23)]


def flat_noise(std, shape=(4, 160, 200), seed=0):
    return (std * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


# --- how much there is ---


@settings(max_examples=20)
@given(st.floats(0.001, 10.0), st.integers(0, 100))
def test_the_noise_of_noise_is_found(std, seed):
    assert section_noise([flat_noise(std, seed=seed)]) == pytest.approx(std, rel=0.05)


def test_structure_is_not_taken_for_noise():
    tissue = tissue_clean((16, 200, 200), seed=2)[None, 8].astype(np.float32)
    noisy = tissue + flat_noise(12.0, tissue.shape)
    clean, with_noise = section_noise([tissue]), section_noise([noisy])
    assert clean < 3
    assert with_noise == pytest.approx(12.0, rel=0.15)
    # Negative control: the plain standard deviation knows nothing of it.
    assert tissue.std() > 20


def test_planes_and_edges_have_no_noise():
    y, x = np.mgrid[:60, :80].astype(np.float32)
    assert section_noise([(3 * y - 2 * x)[None]]) == pytest.approx(0, abs=1e-4)
    assert section_noise([np.where(x > 40, 1.0, 0.0).astype(np.float32)[None]]) == 0


def test_sections_too_small_to_tell_count_nothing():
    assert section_noise([np.ones((3, 2, 50), np.float32)]) == 0
    assert section_noise([]) == 0


# --- what conditions are given of it ---


def noise_of_conditions(ratio, matched, operator="section", n=24):
    """Standard deviation of conditions at the centre of sections, from sections of pure noise with standard deviation 1."""
    model = MeasurementModel(ratio, operator)
    degradation = LateralDegradation(model, 32)
    pool = [flat_noise(1.0, (12, degradation.length + 30, degradation.length + 30))]
    sampler = PatchSampler(pool, degradation, 0, n_neighbours=1, noise=matched)
    batch = sampler.batch(0, n)
    centres = batch.condition[:, -2] > np.cos(1.1 * np.pi / float(ratio))
    channels = [batch.condition[:, channel][centres].std() for channel in range(3)]
    return np.array(channels)


@pytest.mark.parametrize("ratio", RATIOS)
def test_matched_conditions_are_as_noisy_as_measured_sections(ratio):
    """The interpolation passes through the sections; between them it is smoother. A section's noise is 1 here."""
    matched, plain = noise_of_conditions(ratio, 1.0), noise_of_conditions(ratio, 0.0)
    tolerance = 0.25 if ratio == 2 else 0.12  # at ratio 2 no plane lies at a section's centre
    np.testing.assert_allclose(matched, 1.0, atol=tolerance)
    # Negative control: degrading averages the noise out.
    assert (plain < 1.2 / np.sqrt(float(ratio))).all()


def test_skipped_planes_keep_their_noise_and_need_none():
    np.testing.assert_allclose(
        noise_of_conditions(Fraction(8), 1.0, "skip"), noise_of_conditions(Fraction(8), 0.0, "skip"), rtol=1e-5
    )


def test_targets_are_left_alone():
    degradation = LateralDegradation(MeasurementModel(Fraction(4)), 32)
    section = ndimage.gaussian_filter(flat_noise(1.0, (6, 90, 90)), (0, 2, 2))
    plain, matched = (PatchSampler([section], degradation, 0, 1, noise).batch(5, 4) for noise in (0.0, 0.5))
    np.testing.assert_array_equal(plain.clean, matched.clean)
    np.testing.assert_array_equal(plain.condition[:, 3:], matched.condition[:, 3:])
    assert np.abs(plain.condition[:, :3] - matched.condition[:, :3]).std() > 0.05


def test_noise_is_drawn_anew_for_every_step_and_the_same_for_the_same():
    degradation = LateralDegradation(MeasurementModel(Fraction(4)), 32)
    sampler = PatchSampler([flat_noise(0.1, (6, 90, 90))], degradation, 0, 1, noise=0.5)
    first, again, other = sampler.batch(1, 4), sampler.batch(1, 4), sampler.batch(2, 4)
    np.testing.assert_array_equal(first.condition, again.condition)
    assert not np.array_equal(first.condition, other.condition)
