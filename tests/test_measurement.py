"""The measurement operator against an independent integral, its adjoint, and what it must keep."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.geometry import AxialMap
from isofield.measurement import MeasurementModel, measurement_matrix

quick = settings(max_examples=40)
OPERATORS = ("section", "skip", "gaussian")

axials = st.builds(
    AxialMap, st.fractions(min_value=1, max_value=20, max_denominator=1000), st.integers(min_value=1, max_value=12)
)


def whole(axial: AxialMap, operator: str = "section", fwhm_vox: float | None = None) -> np.ndarray:
    return measurement_matrix(axial, range(axial.n_sections), 0, axial.n_planes, operator, fwhm_vox)


@quick
@given(axials, st.sampled_from(OPERATORS))
def test_rows_sum_to_one_so_a_constant_stays(axial, operator):
    matrix = whole(axial, operator)
    assert matrix.shape == (axial.n_sections, axial.n_planes)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(matrix @ np.full(axial.n_planes, 137.0), 137, atol=1e-9)


def test_a_profile_cut_off_keeps_constants_only_because_it_is_renormalised():
    axial = AxialMap(Fraction(8), 6)
    cut, complete = (measurement_matrix(axial, range(3, 4), *planes, "gaussian") for planes in ((26, 30), (0, 48)))
    assert cut.sum() == pytest.approx(1)
    assert complete[:, 26:30].sum() < 0.7


@quick
@given(axials, st.sampled_from(OPERATORS), st.integers(0, 2**31))
def test_the_transpose_is_the_adjoint(axial, operator, seed):
    rng, matrix = np.random.default_rng(seed), whole(axial, operator)
    x, y = rng.normal(size=(axial.n_planes, 3, 2)), rng.normal(size=(axial.n_sections, 3, 2))
    forward, back = np.tensordot(matrix, x, axes=1), np.tensordot(matrix.T, y, axes=1)
    assert np.vdot(forward, y) == pytest.approx(np.vdot(x, back), rel=1e-10, abs=1e-10)


def test_another_operators_transpose_is_not_the_adjoint():
    axial = AxialMap(Fraction(5), 6)
    x, y = np.arange(30.0), np.arange(6.0)
    assert np.vdot(whole(axial, "section") @ x, y) != pytest.approx(np.vdot(x, whole(axial, "gaussian").T @ y), rel=1e-3)


@quick
@given(axials, st.integers(0, 2**31))
def test_a_section_is_the_integral_over_the_depth_it_spans(axial, seed):
    """Oracle: planes are constant between their edges, so the integral up to z is linear between plane edges."""
    x = np.random.default_rng(seed).normal(size=axial.n_planes)
    integral = np.concatenate([[0.0], np.cumsum(x)])
    edges = np.array([float(axial.section_edges(i)[0]) for i in range(axial.n_sections + 1)])
    average = np.diff(np.interp(edges, np.arange(axial.n_planes + 1), integral)) / float(axial.ratio)
    np.testing.assert_allclose(whole(axial) @ x, average, atol=1e-9)


def test_a_section_of_whole_ratio_is_the_plain_mean():
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.testing.assert_allclose(whole(AxialMap(Fraction(8), 5)) @ x, x.reshape(5, 8, 3).mean(axis=1), atol=1e-12)


@quick
@given(axials)
def test_all_sections_together_see_every_plane_alike(axial):
    """No plane counts more than another, except the last one that overhangs what was measured."""
    coverage, ratio = whole(axial).sum(axis=0), float(axial.ratio)
    np.testing.assert_allclose(coverage[:-1], 1 / ratio, atol=1e-12)
    measured_of_last = axial.n_sections * axial.ratio - (axial.n_planes - 1)
    assert coverage[-1] == pytest.approx(float(measured_of_last) / ratio, abs=1e-12)


def test_whole_planes_per_section_would_see_planes_unlike():
    """Assigning each plane to one section, as if edges fell on planes, breaks what the test above asks for."""
    axial = AxialMap(Fraction(7, 2), 6)
    owner = np.minimum((np.arange(axial.n_planes) / float(axial.ratio)).astype(int), 5)
    naive = (owner[None] == np.arange(6)[:, None]).astype(float)
    coverage = (naive / naive.sum(axis=1, keepdims=True)).sum(axis=0)
    assert np.ptp(coverage) > 0.05


@pytest.mark.parametrize(("ratio", "first"), [(5, 2), (8, 3), (Fraction(7, 2), 1)])
def test_skip_picks_the_one_plane_at_the_centre(ratio, first):
    axial = AxialMap(ratio, 6)
    matrix = whole(axial, "skip")
    assert ((matrix == 0) | (matrix == 1)).all()
    assert (matrix.sum(axis=1) == 1).all()
    assert matrix[0].argmax() == first
    for section, plane in enumerate(matrix.argmax(axis=1)):
        lo, hi = axial.section_edges(section)
        assert plane < (lo + hi) / 2 <= plane + 1


@pytest.mark.parametrize(("ratio", "fwhm_vox"), [(5, None), (8, None), (8, 3.0), (4, 11.0)])
def test_a_gaussian_profile_is_symmetric_about_its_sections_centre(ratio, fwhm_vox):
    axial = AxialMap(Fraction(ratio), 21)
    row = whole(axial, "gaussian", fwhm_vox)[10]
    np.testing.assert_allclose(row, row[::-1], atol=1e-12)
    skewed = whole(AxialMap(Fraction(ratio), 22), "gaussian", fwhm_vox)[10]
    assert abs(skewed - skewed[::-1]).max() > 0.01


@quick
@given(st.fractions(min_value=2, max_value=20, max_denominator=1000))
def test_a_gaussian_profile_has_its_mean_at_the_centre_for_any_ratio(ratio):
    axial = AxialMap(ratio, 15)
    mean = whole(axial, "gaussian")[7] @ (np.arange(axial.n_planes) + 0.5)
    assert mean == pytest.approx(float(sum(axial.section_edges(7)) / 2), abs=2e-3)


def test_a_gaussian_profile_has_the_width_it_is_given():
    row = whole(AxialMap(Fraction(20), 9), "gaussian", 40.0)[4]
    at_half = np.flatnonzero(row >= row.max() / 2)
    assert len(at_half) == pytest.approx(40, abs=1)


def test_the_default_width_is_the_section_thickness():
    axial = AxialMap(Fraction(20), 9)
    np.testing.assert_array_equal(whole(axial, "gaussian"), whole(axial, "gaussian", 20.0))


@quick
@given(axials, st.data())
def test_a_window_of_planes_gives_the_same_rows_for_sections_inside(axial, data):
    begin = data.draw(st.integers(0, axial.n_planes))
    end = data.draw(st.integers(begin, axial.n_planes))
    inside = axial.sections_inside(begin, end)
    if len(inside):
        window = MeasurementModel(axial.ratio).matrix(axial, inside, begin, end)
        np.testing.assert_allclose(window, whole(axial)[inside.start : inside.stop, begin:end], atol=1e-12)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_section_out_of_sight_is_refused(operator):
    axial = AxialMap(Fraction(8), 40)
    with pytest.raises(ValueError, match=r"section 30 has no weight in planes \[0, 16\)"):
        measurement_matrix(axial, range(30, 31), 0, 16, operator)


# The profile at any position


@quick
@given(axials, st.sampled_from(OPERATORS), st.data())
def test_a_profile_at_the_centre_of_a_section_is_that_section_s(axial, operator, data):
    section = data.draw(st.integers(0, axial.n_sections - 1))
    model = MeasurementModel(axial.ratio, operator)
    reached = model.planes(axial, range(section, section + 1))
    if reached.start > 0 and reached.stop < axial.n_planes:
        row = model.profile_at(sum(axial.section_edges(section)) / 2, axial.n_planes)
        np.testing.assert_allclose(row, whole(axial, operator)[section], atol=1e-12)


@quick
@given(axials, st.sampled_from(OPERATORS), st.fractions(-50, 80, max_denominator=50), st.integers(1, 40))
def test_a_profile_anywhere_sums_to_one_and_beyond_the_ends_falls_onto_them(axial, operator, centre, n_planes):
    model = MeasurementModel(axial.ratio, operator)
    row = model.profile_at(centre, n_planes)
    assert row.shape == (n_planes,)
    assert row.min() >= 0
    assert row.sum() == pytest.approx(1, abs=1e-12)
    # The same profile further in among more planes, what lies outside added up at the ends.
    wide = model.profile_at(centre + 100, n_planes + 300)
    folded = wide[100 : 100 + n_planes].copy()
    folded[0] += wide[:100].sum()
    folded[-1] += wide[100 + n_planes :].sum()
    np.testing.assert_allclose(row, folded, atol=1e-6)


def test_a_profile_moves_with_its_centre():
    model = MeasurementModel(Fraction(15, 4))
    rows = [model.profile_at(Fraction(21, 2) + step, 30) for step in (0, 1, Fraction(1, 2))]
    np.testing.assert_allclose(rows[1][1:], rows[0][:-1], atol=1e-12)
    assert np.abs(rows[2] - rows[0]).max() > 0.05
