"""Interpolation between sections: scipy as oracle, ramps that must land exactly, values by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from isofield.geometry import AxialMap
from isofield.interpolation import SPLINE_REACH, interpolation_matrix, phase_features, section_positions
from isofield.measurement import measurement_matrix

quick = settings(max_examples=40)
KINDS = ("nearest", "linear", "cubic")
RATIO = Fraction("4.88599")

axials = st.builds(AxialMap, st.fractions(min_value=1, max_value=20, max_denominator=1000), st.integers(1, 30))


def whole(axial: AxialMap, kind: str) -> np.ndarray:
    return interpolation_matrix(axial, range(axial.n_sections), 0, axial.n_planes, kind)


@quick
@given(axials, st.sampled_from(KINDS))
def test_rows_sum_to_one_for_any_stack(axial, kind):
    matrix = whole(axial, kind)
    assert matrix.shape == (axial.n_planes, axial.n_sections)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-9)


# Against scipy


def scipy_cubic(axial: AxialMap, stack: np.ndarray) -> np.ndarray:
    at = np.clip(section_positions(axial, 0, axial.n_planes), 0, axial.n_sections - 1)
    lateral = np.arange(stack.shape[1])
    z, x = np.meshgrid(at, lateral, indexing="ij")
    # Mirrored along x too, which changes nothing: x is asked for only at whole positions.
    return ndimage.map_coordinates(stack, [z, x], order=3, mode="mirror")


@pytest.mark.parametrize("ratio", [RATIO, Fraction(8), Fraction(250, 23)])
def test_cubic_with_all_sections_is_scipys(ratio):
    axial = AxialMap(ratio, 24)
    stack = np.random.default_rng(0).uniform(-1, 1, (24, 5))
    np.testing.assert_allclose(whole(axial, "cubic") @ stack, scipy_cubic(axial, stack), atol=1e-12)


def worst_of_windows(reach: int) -> float:
    """Largest error over short windows of planes, each interpolated from `reach` sections more than it touches."""
    axial = AxialMap(RATIO, 40)
    stack = np.random.default_rng(1).uniform(-1, 1, (40, 20))
    truth, worst = scipy_cubic(axial, stack), 0.0
    for begin in range(0, axial.n_planes, 13):
        end = min(begin + 13, axial.n_planes)
        touching = axial.sections_touching(begin, end)
        sections = range(max(0, touching.start - reach), min(40, touching.stop + reach))
        part = interpolation_matrix(axial, sections, begin, end, "cubic") @ stack[sections.start : sections.stop]
        worst = max(worst, float(abs(part - truth[begin:end]).max()))
    return worst


def test_cubic_needs_no_more_than_its_reach_of_sections():
    assert worst_of_windows(SPLINE_REACH) < 1e-3
    assert worst_of_windows(1) > 1e-2


# Ramps


@pytest.mark.parametrize(("kind", "margin"), [("linear", 1), ("cubic", 14)])
def test_a_ramp_averaged_by_sections_lands_exactly_on_planes(kind, margin):
    """Sections average a continuous ramp: its value at their centres. `margin`: how far mirrored ends are felt."""
    axial = AxialMap(RATIO, 60)
    edges = [axial.section_edges(i) for i in range(60)]
    sections = np.array([float(lo + hi) / 2 for lo, hi in edges])
    planes = np.arange(axial.n_planes) + 0.5
    inside = slice(round(margin * RATIO), axial.n_planes - round(margin * RATIO))
    landed = whole(axial, kind) @ sections
    np.testing.assert_allclose(landed[inside], planes[inside], atol=1e-6)

    rounded = AxialMap(Fraction("4.89"), 60)
    missed = whole(rounded, kind)[: axial.n_planes] @ sections
    at = round(50 * RATIO) - 1 - margin
    assert abs(missed[at] - planes[at]) > 0.1, "a ratio rounded to 4.89 would go unnoticed"


@pytest.mark.parametrize(("kind", "margin"), [("linear", 1), ("cubic", 14)])
@pytest.mark.parametrize(("ratio", "limit"), [(Fraction(5), 1e-6), (RATIO, 1 / (4 * 4.88599))])
def test_a_ramp_of_planes_measured_and_interpolated_comes_back_without_drift(kind, margin, ratio, limit):
    """A staircase of planes is not a ramp: at an edge within a plane their integrals differ by up to 1/8 of the slope."""
    axial = AxialMap(ratio, 60)
    planes = np.arange(axial.n_planes) + 0.5
    measured = measurement_matrix(axial, range(60), 0, axial.n_planes, "section") @ planes
    inside = slice(round(margin * ratio), axial.n_planes - round(margin * ratio))
    error = (whole(axial, kind) @ measured - planes)[inside]
    assert abs(error).max() < limit
    assert abs(error.mean()) < 1e-2 * limit + 1e-6


# Values by hand


def test_values_by_hand():
    axial = AxialMap(Fraction(4), 3)
    stack = np.array([0.0, 8.0, 4.0])
    np.testing.assert_array_equal(whole(axial, "nearest") @ stack, [0] * 4 + [8] * 4 + [4] * 4)
    np.testing.assert_allclose(whole(axial, "linear") @ stack, [0, 0, 1, 3, 5, 7, 7.5, 6.5, 5.5, 4.5, 4, 4])


@quick
@given(axials)
def test_nearest_takes_the_section_a_plane_lies_in(axial):
    matrix = whole(axial, "nearest")
    for plane, section in enumerate(matrix.argmax(axis=1)):
        lo, hi = axial.section_edges(int(section))
        centre = Fraction(2 * plane + 1, 2)
        assert lo <= centre <= hi or (section == axial.n_sections - 1 and centre > hi)


@pytest.mark.parametrize("kind", KINDS)
def test_sections_themselves_are_kept_and_ends_are_held(kind):
    axial, stack = AxialMap(Fraction(5), 9), np.random.default_rng(2).normal(size=9)
    result = whole(axial, kind) @ stack
    np.testing.assert_allclose(result[2::5], stack, atol=1e-12)
    np.testing.assert_allclose(result[[0, 1, -1, -2]], stack[[0, 0, -1, -1]], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_stacks_too_thin_for_a_spline(kind):
    assert np.array_equal(whole(AxialMap(Fraction(3), 1), kind), np.ones((3, 1)))
    two = whole(AxialMap(Fraction(3), 2), kind)
    assert np.array_equal(two[[0, 1, 4, 5]], np.eye(2)[[0, 0, 1, 1]])


def test_positions_count_sections_from_the_centre_of_the_first():
    np.testing.assert_allclose(section_positions(AxialMap(Fraction(5), 3), 0, 8), [-0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 1])


# Phase


@pytest.mark.parametrize(("ratio", "period"), [(Fraction(5), 5), (Fraction(7, 2), 7)])
def test_phase_repeats_with_the_sections_and_is_one_at_their_centre(ratio, period):
    axial = AxialMap(ratio, 8)
    phase = phase_features(axial, 0, axial.n_planes)
    assert phase.shape == (2, axial.n_planes)
    assert phase.dtype == np.float32
    np.testing.assert_allclose((phase**2).sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(phase[:, period:], phase[:, :-period], atol=1e-5)
    assert abs(phase[:, 1:] - phase[:, :-1]).max(axis=0).min() > 0.1
    np.testing.assert_array_equal(phase_features(axial, 3, 9), phase[:, 3:9])
    if ratio == 5:
        np.testing.assert_allclose(phase[:, 2], [1, 0], atol=1e-6)
        assert phase[0].argmin() in (0, 4)
