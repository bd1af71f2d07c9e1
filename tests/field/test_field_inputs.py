"""What a block is fitted to: which sections it trusts, and what it is built over."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.field.inputs import block_data, interpolated, sections_needed
from isofield.geometry import AxialMap, Roi
from isofield.interpolation import SPLINE_REACH, interpolation_matrix
from isofield.measurement import MeasurementModel

RATIOS = st.sampled_from([Fraction(4), Fraction(15, 4), Fraction(250, 23), Fraction(3, 2), Fraction(1)])


def make_block(axial, begin, end, grey, operator="section"):
    roi = Roi((begin, 0, 0), (end - begin, *grey.shape[1:]))
    needed = sections_needed(axial, roi)
    return block_data(axial, MeasurementModel(axial.ratio, operator), roi, needed, grey[needed.start : needed.stop], 0)


def test_sections_that_are_seen_in_part_are_left_out_of_the_data_term():
    axial = AxialMap(Fraction(4), 8)
    grey = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((1, 3, 5), np.float32)
    block = make_block(axial, 6, 21, grey)
    # Planes 6 to 21 cut sections 1 (4 to 8) and 5 (20 to 24).
    np.testing.assert_array_equal(block.measured[:, 0, 0], [2, 3, 4])
    expected = np.zeros((3, 15))
    for row, first in enumerate((2, 6, 10)):
        expected[row, first : first + 4] = 0.25
    np.testing.assert_allclose(block.measure, expected)
    # They do shape the interpolation: planes 6 and 7 lie between sections 1 and 2.
    changed = grey.copy()
    changed[1] += 10
    np.testing.assert_array_equal(make_block(axial, 6, 21, changed).measured, block.measured)
    assert np.abs(make_block(axial, 6, 21, changed).base[:2] - block.base[:2]).min() > 1


@settings(max_examples=60, deadline=None)
@given(RATIOS, st.integers(2, 12), st.data())
def test_every_row_of_the_data_term_is_a_whole_section(ratio, n_sections, data):
    axial = AxialMap(ratio, n_sections)
    begin = data.draw(st.integers(0, axial.n_planes - 1))
    end = data.draw(st.integers(begin + 1, axial.n_planes))
    grey = np.random.default_rng(0).normal(size=(n_sections, 2, 3)).astype(np.float32)
    block = make_block(axial, begin, end, grey)
    inside = [k for k in range(n_sections) if k * ratio >= begin and (k + 1) * ratio <= end]
    np.testing.assert_array_equal(block.measured, grey[inside])
    assert block.measure.shape == (len(inside), end - begin)
    np.testing.assert_allclose(block.measure.sum(axis=1), 1.0)
    assert block.base.shape == (end - begin, 2, 3)
    assert block.base.dtype == np.float32
    assert block.phase.shape == (2, end - begin)


@settings(max_examples=40, deadline=None)
@given(RATIOS, st.integers(20, 40), st.data())
def test_the_base_is_the_one_of_the_whole_volume(ratio, n_sections, data):
    """What a block interpolates from the sections it reads is what the whole volume would give it."""
    axial = AxialMap(ratio, n_sections)
    begin = data.draw(st.integers(0, axial.n_planes - 1))
    end = data.draw(st.integers(begin + 1, min(axial.n_planes, begin + 20)))
    grey = np.random.default_rng(1).normal(size=(n_sections, 2, 2)).astype(np.float32)
    whole = np.tensordot(interpolation_matrix(axial, range(n_sections), 0, axial.n_planes), grey, axes=1)
    base = make_block(axial, begin, end, grey).base
    np.testing.assert_allclose(base, whole[begin:end], atol=5e-3)


def test_too_little_reach_would_be_seen():
    """Negative control: without sections beyond the block's own, its interpolation is another."""
    axial, roi = AxialMap(Fraction(4), 30), Roi((40, 0, 0), (20, 2, 2))
    grey = np.random.default_rng(1).normal(size=(30, 2, 2)).astype(np.float32)
    needed = sections_needed(axial, roi)
    assert (needed.start, needed.stop) == (10 - SPLINE_REACH, 15 + SPLINE_REACH)
    good = interpolated(axial, roi, needed, grey[needed.start : needed.stop])
    poor = interpolated(axial, roi, range(10, 15), grey[10:15])
    assert np.abs(good - poor).max() > 0.05


@pytest.mark.parametrize("operator", ["section", "skip"])
def test_blocks_of_equal_shape_can_share_a_batch(operator):
    axial = AxialMap(Fraction(4), 12)
    grey = np.zeros((12, 4, 4), np.float32)
    keys = [make_block(axial, b, b + 16, grey, operator).shape_key for b in (0, 8, 16)]
    assert len(set(keys)) == 1
    # One plane further, one section fewer is whole: another batch.
    assert make_block(axial, 9, 25, grey, operator).shape_key != keys[0]
