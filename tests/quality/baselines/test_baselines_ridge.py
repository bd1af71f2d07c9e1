"""Ridge regression: it learns what tissue looks like between sections, from XY sections alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from baseline_example import measured

from isofield.geometry import AxialMap
from isofield.interpolation import section_positions
from isofield.quality.baselines import ridge
from isofield.quality.baselines.interpolation import Interpolation
from isofield.quality.baselines.ridge import NormalEquations, Ridge, phase_bins


@pytest.fixture(autouse=True)
def fewer_crops(monkeypatch):
    monkeypatch.setattr(ridge, "N_CROPS", 512)


def trained(data, width=5, seed=0):
    method = Ridge(width)
    method.train(data.sections, data.model, 0.0, seed)
    return method


@pytest.mark.parametrize(("ratio", "n_sections", "side"), [(Fraction(4), 16, 96), (Fraction(250, 23), 9, 112)], ids=str)
def test_it_beats_cubic_on_tissue(ratio, n_sections, side):
    data = measured(ratio, n_sections, side)
    cubic = data.score(Interpolation("cubic"))
    for width in (1, 5):
        method = trained(data, width)
        planes = method.reconstruct(data.sections, data.axial, 0, data.axial.n_planes)
        assert (planes.shape, planes.dtype) == (data.truth.shape, np.float32)
        assert data.psnr(planes) > cubic + 0.1
        np.testing.assert_allclose(
            method.reconstruct(data.sections, data.axial, 30, 41), planes[30:41], atol=2e-3
        )  # fmt: skip


def test_with_shuffled_targets_it_does_not(monkeypatch):
    """Negative control: nothing comes from the arithmetic, all of it from what is learned."""
    data = measured(Fraction(4), 16, 96)
    add = NormalEquations.add
    rng = np.random.default_rng(0)
    monkeypatch.setattr(NormalEquations, "add", lambda self, i, x, t: add(self, i, x, rng.permutation(t)))
    assert data.score(trained(data)) < data.score(Interpolation("cubic")) + 0.02


def test_sections_without_structure_teach_nothing():
    """Negative control: the same grey values, shuffled within each section."""
    data = measured(Fraction(4), 16, 96)
    shuffled = np.random.default_rng(0).permuted(data.sections.reshape(16, -1), axis=1).reshape(data.sections.shape)
    method = Ridge()
    method.train(shuffled, data.model, 0.0, 0)
    assert data.score(method) < data.score(Interpolation("cubic"))


def test_constants_are_kept():
    method = trained(measured(Fraction(4), 16, 96))
    planes = method.reconstruct(np.full((6, 9, 10), 0.3, np.float32), AxialMap(Fraction(4), 6), 0, 24)
    np.testing.assert_allclose(planes, 0.3, atol=1e-5)


def test_it_depends_on_the_seed_only():
    data = measured(Fraction(4), 16, 96)
    first, again, other = (trained(data, seed=seed).weights for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_normal_equations_are_least_squares():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(200, 3)), rng.normal(size=200)
    sums = NormalEquations.empty(2, 3)
    sums.add(1, x[:50], t[:50])
    sums.add(1, x[50:], t[50:])
    weights = sums.solve(1e-12)
    np.testing.assert_allclose(weights[1], np.linalg.lstsq(x, t, rcond=None)[0], atol=1e-8)
    np.testing.assert_array_equal(weights[0], 0)
    assert sums.squared_error(weights) == pytest.approx(np.square(x @ weights[1] - t).sum())
    # More penalty, smaller weights, larger error on what was learned from.
    assert abs(sums.solve(1.0)[1]).sum() < abs(weights[1]).sum()
    assert sums.squared_error(sums.solve(1.0)) > sums.squared_error(weights)


@pytest.mark.parametrize("ratio", [Fraction(4), Fraction(15, 4), Fraction(63, 8), Fraction(250, 23)], ids=str)
def test_every_plane_has_one_section_and_bin(ratio):
    axial = AxialMap(ratio, 40)
    n_bins = min(ratio.numerator, 64)
    positions = section_positions(axial, 0, axial.n_planes)
    section, bins = phase_bins(positions, 40, n_bins)
    assert section.min() == bins.min() == 0
    assert (section.max(), bins.max()) == (39, n_bins - 1)
    within = positions - section + 0.5
    # The last plane may overhang the last section.
    assert np.all(np.abs(within * n_bins - bins - 0.5)[:-1] <= 0.5 + 1e-6)
    # Up to 64 phases, all planes of a bin lie at the same place within their section.
    if ratio.numerator <= 64:
        assert all(np.ptp(within[:-1][bins[:-1] == b]) < 1e-9 for b in set(bins[:-1].tolist()))


def test_one_section_is_not_enough():
    data = measured(Fraction(4), 16, 96)
    with pytest.raises(ValueError, match="two sections"):
        Ridge().train(data.sections[:1], data.model, 0.0, 0)
