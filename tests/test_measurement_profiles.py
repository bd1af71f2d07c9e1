"""Every operator at every ratio: what the measurement keeps, what can be had back from it, and what the prior makes of it."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from scipy import integrate, ndimage

from isofield.geometry import AxialMap
from isofield.interpolation import interpolation_matrix
from isofield.measurement import FAINT, NEGLIGIBLE, Kernel, MeasurementModel, Operator
from isofield.prior import patches
from isofield.prior.patches import LateralDegradation

RATIOS = [Fraction(r) for r in ("2", "5/2", "3", "4", "221/50", "8", "10", "250/23", "12")]
OPERATORS: tuple[Operator, ...] = ("section", "skip", "gaussian", "kernel")
N_SECTIONS = 21
each_ratio = pytest.mark.parametrize("ratio", RATIOS, ids=str)
each_operator = pytest.mark.parametrize("operator", OPERATORS)


def triangle(fwhm: float, mean: float = 0.0) -> Kernel:
    return Kernel((mean - fwhm, mean, mean + fwhm), (0.0, 1.0, 0.0))


def box(width: float) -> Kernel:
    return Kernel((-width / 2, width / 2), (1.0, 1.0))


def gaussian(fwhm: float, n: int = 801) -> Kernel:
    at = np.linspace(-3 * fwhm, 3 * fwhm, n)
    return Kernel(tuple(at), tuple(0.5 ** ((2 * at / fwhm) ** 2)))


def model_of(operator: Operator, ratio: Fraction) -> MeasurementModel:
    """The operator in its plainest form; the kernel is a triangle as wide at half maximum as a section."""
    return MeasurementModel(ratio, operator, kernel_vox=triangle(float(ratio)) if operator == "kernel" else None)


def whole(model: MeasurementModel, n_sections: int = N_SECTIONS) -> np.ndarray:
    axial = AxialMap(model.ratio, n_sections)
    return model.matrix(axial, range(n_sections), 0, axial.n_planes)


# What is kept


@each_ratio
@each_operator
def test_rows_sum_to_one_so_constants_stay(ratio, operator):
    matrix = whole(model_of(operator, ratio))
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(matrix @ np.full(matrix.shape[1], 137.0), 137, atol=1e-9)


def ramp_tolerance(operator: Operator, ratio: Fraction) -> float:
    """Planes are constant between their edges, so a profile with jumps misses the centre of mass by a part of a plane."""
    return {"section": 0.125 / float(ratio), "skip": 0.5}.get(operator, 0.01) + 1e-9


@each_ratio
@each_operator
def test_a_ramp_is_met_at_the_section_s_centre(ratio, operator):
    model = model_of(operator, ratio)
    axial = AxialMap(ratio, N_SECTIONS)
    ramp = np.arange(axial.n_planes) + 0.5
    measured = whole(model) @ ramp
    centres = np.array([float(sum(axial.section_edges(s)) / 2) for s in range(N_SECTIONS)])
    inner = slice(3, -3)
    assert np.abs(measured - centres)[inner].max() <= ramp_tolerance(operator, ratio)
    if operator != "skip" and ratio.denominator == 1:
        np.testing.assert_allclose(measured[inner], centres[inner], atol=1e-6)


@each_ratio
def test_a_lopsided_kernel_meets_it_elsewhere(ratio):
    """Negative control: off by its mean, which every operator above would have been found out for."""
    off = 0.4 * float(ratio)
    ramp = np.arange(AxialMap(ratio, N_SECTIONS).n_planes) + 0.5
    lopsided, straight = (
        whole(MeasurementModel(ratio, "kernel", kernel_vox=k)) for k in (triangle(float(ratio), off), triangle(float(ratio)))
    )
    np.testing.assert_allclose(((lopsided - straight) @ ramp)[3:-3], off, atol=0.02)
    assert off > max(ramp_tolerance(o, ratio) for o in OPERATORS)


@each_ratio
@each_operator
def test_the_transpose_is_the_adjoint_and_no_other_operator_s_is(ratio, operator):
    matrix = whole(model_of(operator, ratio))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(matrix.shape[1], 3)), rng.normal(size=(matrix.shape[0], 3))
    assert np.vdot(matrix @ x, y) == pytest.approx(np.vdot(x, matrix.T @ y), rel=1e-10)
    for other in set(OPERATORS) - {operator}:
        assert np.vdot(matrix @ x, y) != pytest.approx(np.vdot(x, whole(model_of(other, ratio)).T @ y), rel=1e-4)


# What can be had back


def wave(n_planes: int, period: float) -> np.ndarray:
    return np.sin(2 * np.pi * (np.arange(n_planes) + 0.5) / period)


@each_ratio
@each_operator
def test_what_is_smooth_comes_back_by_interpolation(ratio, operator):
    axial = AxialMap(ratio, 41)
    matrix = whole(model_of(operator, ratio), 41)
    back = interpolation_matrix(axial, range(41), 0, axial.n_planes)
    inner = slice(int(8 * ratio), int(33 * ratio))

    def lost(sections_per_period: float) -> float:
        x = wave(axial.n_planes, sections_per_period * float(ratio))
        return float(np.abs(back @ (matrix @ x) - x)[inner].max())

    # skip: as far off as half a plane of this wave.
    assert lost(12) < 0.05 + (0.5 * 2 * np.pi / (12 * float(ratio)) if operator == "skip" else 0)
    assert lost(1.5) > 0.5, "negative control: finer than the sections, and it came back"


# Kernels against the operators they imitate


@each_ratio
def test_a_gaussian_from_points_is_the_gaussian(ratio):
    for fwhm in (float(ratio), 2.3 * float(ratio)):
        exact = whole(MeasurementModel(ratio, "gaussian", fwhm))
        np.testing.assert_allclose(whole(MeasurementModel(ratio, "kernel", kernel_vox=gaussian(fwhm))), exact, atol=2e-5)
        wrong = whole(MeasurementModel(ratio, "kernel", kernel_vox=gaussian(1.05 * fwhm)))
        assert np.abs(wrong - exact).max() > 1e-3


@each_ratio
def test_a_box_of_one_section_is_the_section_average(ratio):
    exact = whole(MeasurementModel(ratio))
    np.testing.assert_allclose(whole(MeasurementModel(ratio, "kernel", kernel_vox=box(float(ratio)))), exact, atol=2e-6)
    assert np.abs(whole(MeasurementModel(ratio, "kernel", kernel_vox=box(float(ratio) + 0.1))) - exact).max() > 1e-3


@pytest.mark.parametrize("ratio", [Fraction(5, 2), Fraction(8)], ids=str)
def test_a_kernel_is_integrated_over_each_plane(ratio):
    """Oracle: numerical integration of the piecewise linear profile, one plane at a time."""
    kernel = Kernel((-9.0, -4.5, -4.5, 1.0, 3.7, 6.0), (0.2, 0.5, 0.0, 2.0, 0.3, 0.0))
    axial = AxialMap(ratio, N_SECTIONS)
    row = MeasurementModel(ratio, "kernel", kernel_vox=kernel).matrix(axial, range(10, 11), 0, axial.n_planes)[0]
    centre = float(sum(axial.section_edges(10)) / 2)

    def density(z: float) -> float:
        at = z - centre
        left, right = (
            np.interp(at, kernel.positions[:2], kernel.weights[:2]),
            np.interp(at, *np.array([kernel.positions[2:], kernel.weights[2:]])),
        )
        return float(left if at < -4.5 else right) if -9.0 <= at <= 6.0 else 0.0

    breaks = centre + np.array(kernel.positions)
    areas = [
        integrate.quad(density, p, p + 1, points=[b for b in breaks if p < b < p + 1] or None)[0] for p in range(axial.n_planes)
    ]
    np.testing.assert_allclose(row, np.array(areas) / np.sum(areas), atol=1e-5)


# Which planes a profile reaches


@each_ratio
@each_operator
def test_the_planes_it_reaches_are_all_that_have_weight(ratio, operator):
    model = model_of(operator, ratio)
    axial = AxialMap(ratio, N_SECTIONS)
    matrix = whole(model)
    for section in range(N_SECTIONS):
        reached = model.planes(axial, range(section, section + 1))
        outside = np.delete(matrix[section], np.arange(reached.start, reached.stop))
        assert not outside.any()
        # No more than a plane is added on either side.
        used = np.flatnonzero(matrix[section] > FAINT)
        assert len(reached) - (used[-1] - used[0] + 1) <= (float(ratio) + 2 if operator == "skip" else 4)


@each_ratio
@pytest.mark.parametrize("operator", ["section", "skip", "gaussian"])
def test_only_planes_without_weight_are_passed_over(ratio, operator):
    """Bit for bit what weighing every plane of the volume gives."""
    model = model_of(operator, ratio)
    axial = AxialMap(ratio, 9)
    everywhere = np.zeros((9, axial.n_planes))
    for section in range(9):
        everywhere[section] = model._weights(range(axial.n_planes), *axial.section_edges(section))
        everywhere[section] /= everywhere[section].sum()
    assert whole(model, 9).tobytes() == everywhere.tobytes()


@each_ratio
@pytest.mark.parametrize("width", [1.0, 2.7])
@pytest.mark.parametrize("operator", ["gaussian", "kernel"])
def test_whole_sections_are_those_of_which_nothing_lies_elsewhere(ratio, width, operator):
    fwhm = width * float(ratio)
    model = MeasurementModel(ratio, operator, *((fwhm, None) if operator == "gaussian" else (None, triangle(fwhm))))
    axial, matrix = AxialMap(ratio, N_SECTIONS), whole(model)
    begin, end = int(6.3 * ratio), int(15.2 * ratio)
    share = matrix[:, begin:end].sum(axis=1)
    found = model.whole_sections(axial, begin, end)
    assert len(found) >= 1
    for section in axial.sections_inside(begin, end):
        if section in found:
            assert share[section] >= 1 - 2 * NEGLIGIBLE
        else:
            assert share[section] < 1 - NEGLIGIBLE / 2
    # At the volume's ends nothing is missing.
    assert model.whole_sections(axial, 0, axial.n_planes) == range(N_SECTIONS)
    assert model.whole_sections(axial, 0, end).start == 0
    # Negative control: going by the section's own depth, there would be some that are cut.
    assert min(share[list(axial.sections_inside(begin, end))]) < 1 - 5 * NEGLIGIBLE


@each_ratio
@pytest.mark.parametrize("operator", ["section", "skip"])
def test_a_section_that_ends_where_it_ends_needs_its_own_depth_only(ratio, operator):
    model, axial = MeasurementModel(ratio, operator), AxialMap(ratio, N_SECTIONS)
    assert model.overreach_vox == (0, 0)
    for begin in range(0, axial.n_planes - 20, 3):
        assert model.whole_sections(axial, begin, begin + 20) == axial.sections_inside(begin, begin + 20)


# What the prior is conditioned on


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(400, 300))
    smooth = ndimage.gaussian_filter(noise, 2.0)
    return (smooth / smooth.std()).astype(np.float32) + 10


def conditions(degradation: LateralDegradation, texture: np.ndarray, n: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Patches and their degraded selves, (n, D, P) each."""
    rng = np.random.default_rng(1)
    tops, lefts = (rng.integers(side - need, size=n) for side, need in zip(texture.shape, (degradation.length, 16), strict=True))
    crops = np.stack([texture[t : t + degradation.length, x : x + 16] for t, x in zip(tops, lefts, strict=True)])
    degraded = degradation.matrices[rng.integers(degradation.n_phases, size=n)] @ crops
    return crops[:, degradation.margin : degradation.margin + degradation.depth], degraded


@each_ratio
@each_operator
def test_training_conditions_have_the_brightness_of_their_patches(ratio, operator, texture):
    degradation = LateralDegradation(model_of(operator, ratio), 16)
    np.testing.assert_allclose(degradation.matrices.sum(axis=2), 1, atol=1e-5)
    clean, degraded = conditions(degradation, texture)
    assert abs(degraded.mean() - clean.mean()) < 0.08
    assert degraded.std() < clean.std()
    # Negative control: rows that sum to 0.98.
    degradation.matrices *= 0.98
    assert abs(conditions(degradation, texture)[1].mean() - clean.mean()) > 0.08


@each_ratio
def test_training_conditions_are_those_of_the_operator(ratio, texture):
    found = {operator: conditions(LateralDegradation(model_of(operator, ratio), 16), texture[:, :40]) for operator in OPERATORS}
    for one, other in combinations(OPERATORS, 2):
        matrices = [LateralDegradation(model_of(o, ratio), 16).matrices.sum(axis=1) for o in (one, other)]
        same_shape = matrices[0].shape == matrices[1].shape
        assert not same_shape or np.abs(matrices[0] - matrices[1]).max() > 1e-2, (one, other)
    assert found["gaussian"][1].std() < found["skip"][1].std()


@pytest.mark.parametrize("ratio", [Fraction(5, 2), Fraction(8), Fraction(250, 23)], ids=str)
@pytest.mark.parametrize("operator", ["gaussian", "kernel"])
def test_a_wide_profile_hardly_sees_the_ends_of_the_crop(ratio, operator, texture, monkeypatch):
    fwhm = 2 * float(ratio)
    model = MeasurementModel(ratio, operator, *((fwhm, None) if operator == "gaussian" else (None, gaussian(fwhm))))
    axial, start = AxialMap(ratio, 10**6), ratio.numerator * 40
    middle = start + int(14 * ratio)

    def condition(margin_sections: int) -> np.ndarray:
        """Of the same 16 planes, with so much around them; (16, columns)."""
        monkeypatch.setattr(patches, "MARGIN_SECTIONS", margin_sections)
        degradation = LateralDegradation(model, 16)
        begin = middle - degradation.margin
        matrix, _ = degradation._matrices(model, axial, begin, False, False, range(0))
        return matrix @ texture[begin - start : begin - start + degradation.length].astype(float)

    wide, usual, little = condition(12), condition(3), condition(1)
    off, further_off = (np.sqrt(np.square(one - wide).mean()) for one in (usual, little))
    assert off < 0.05 * wide.std()
    assert further_off > 3 * off, "negative control: with a margin of one section the ends are seen"
