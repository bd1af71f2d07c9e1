"""Training where sections are missing: conditions are those of a gap, and without one nothing is as it was not before."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from isofield.defects.filling import fill_matrix, planes_of
from isofield.geometry import AxialMap
from isofield.interpolation import GAP_AMPLITUDE, interpolation_matrix
from isofield.measurement import MeasurementModel
from isofield.prior.patches import GAP_SHARE, MAX_GAPS, LateralDegradation, PatchSampler

PATCH = 32


def degradation_of(ratio, gaps=()):
    return LateralDegradation(MeasurementModel(Fraction(ratio)), PATCH, gaps)


def texture(rng_seed=0, shape=(3, 100, 60)):
    return np.random.default_rng(rng_seed).normal(size=shape).astype(np.float32)


def test_without_missing_sections_batches_are_the_same_bytes():
    plain, told = (PatchSampler([texture()], degradation_of(4, gaps), 0, 1) for gaps in ((), ()))
    np.testing.assert_array_equal(plain.batch(3, 16).condition, told.batch(3, 16).condition)
    assert plain.degradation.n_gaps == 0
    with_gaps = PatchSampler([texture()], degradation_of(4, (1,)), 0, 1).batch(3, 16)
    np.testing.assert_array_equal(with_gaps.clean, plain.batch(3, 16).clean)
    assert (with_gaps.condition != plain.batch(3, 16).condition).any()


@pytest.mark.parametrize(("ratio", "gaps"), [(4, (1,)), (8, (1, 3)), ("15/4", (2,)), ("250/23", (1, 2))])
def test_conditions_of_a_gap_are_what_a_volume_with_one_gives(ratio, gaps):
    """Each is compared with the same crop degraded, its missing sections overwritten, and bridged."""
    degradation = degradation_of(ratio, gaps)
    axial, model, margin = AxialMap(Fraction(ratio), 10**6), MeasurementModel(Fraction(ratio)), degradation.margin
    assert 0 < degradation.n_gaps <= MAX_GAPS
    assert {len(gap) for _, gap in degradation.gaps} == set(gaps)
    crop = texture(1, (1, degradation.length, PATCH))
    for index, (start, gap) in enumerate(degradation.gaps, start=degradation.n_phases + 2):
        condition = degradation.condition(crop[None], np.array([index])).condition[0]
        inner = start + margin, start + margin + degradation.depth
        sections = axial.sections_inside(start, start + degradation.length)
        measured = model.matrix(axial, sections, start, start + degradation.length) @ crop[0]
        lost = [section - sections.start for section in gap]
        measured[lost] = 1e6
        filled = fill_matrix(sections, gap) @ measured
        assert (filled[lost] < 100).all()
        np.testing.assert_allclose(condition[0], interpolation_matrix(axial, sections, *inner, "cubic") @ filled, atol=1e-3)
        in_gap = planes_of(axial, gap, *inner)
        assert in_gap.any()
        np.testing.assert_allclose(
            np.hypot(condition[1, :, 0], condition[2, :, 0]), np.where(in_gap, GAP_AMPLITUDE, 1), rtol=1e-5
        )


def test_a_share_of_patches_has_gaps():
    sampler = PatchSampler([texture()], degradation_of(4, (1,)), 0, 1)
    conditions = np.concatenate([sampler.batch(step, 50).condition for step in range(10)])
    amplitude = np.hypot(conditions[:, -2, :, 0], conditions[:, -1, :, 0]).min(axis=1)
    assert abs((amplitude < 0.5).mean() - GAP_SHARE) < 0.05


def test_noise_is_given_to_conditions_with_gaps_too():
    sampler = PatchSampler([0 * texture()], degradation_of(4, (2,)), 0, 1, noise=0.5)
    conditions = np.concatenate([sampler.batch(step, 50).condition for step in range(10)])
    gap = np.hypot(conditions[:, -2, :, 0], conditions[:, -1, :, 0]) < 0.5
    # Between two neighbours noise is averaged: less than in a section, more than none.
    assert 0.15 < conditions[:, 0][gap].std() < conditions[:, 0][~gap].std()
