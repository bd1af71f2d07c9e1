"""Interpolation as a baseline: planes of any window are those of the whole, constants and ramps stay what they are."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from baseline_example import measured

from isofield.geometry import AxialMap
from isofield.interpolation import section_positions
from isofield.measurement import MeasurementModel
from isofield.quality.baselines.baseline import cubic_planes
from isofield.quality.baselines.interpolation import Interpolation

KINDS = ("nearest", "linear", "cubic")
RATIOS = [Fraction(4), Fraction(250, 23)]


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_constants_are_kept_and_shapes_are_right(kind, ratio):
    axial = AxialMap(ratio, 9)
    column = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    planes = Interpolation(kind).reconstruct(np.broadcast_to(column, (9, 5, 7)), axial, 3, axial.n_planes)
    assert (planes.shape, planes.dtype) == ((axial.n_planes - 3, 5, 7), np.float32)
    np.testing.assert_allclose(planes, np.broadcast_to(column, planes.shape), atol=1e-5)


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
def test_ramps_are_kept_by_linear_and_cubic_only(ratio):
    axial = AxialMap(ratio, 30)
    sections = np.broadcast_to(np.arange(30, dtype=np.float32)[:, None, None], (30, 4, 4))
    begin, end = round(10 * ratio), round(20 * ratio)
    expected = section_positions(axial, begin, end)
    errors = {kind: abs(Interpolation(kind).reconstruct(sections, axial, begin, end)[:, 0, 0] - expected).max() for kind in KINDS}
    assert errors["linear"] < 1e-4
    assert errors["cubic"] < 1e-2
    assert errors["nearest"] > 0.3


def test_a_window_is_cut_from_the_whole():
    data = measured(Fraction(4), 16, 96)
    for kind in KINDS:
        method = Interpolation(kind)
        method.train(data.sections, MeasurementModel(Fraction(4)), 0.0, 0)
        whole = method.reconstruct(data.sections, data.axial, 0, data.axial.n_planes)
        part = method.reconstruct(data.sections, data.axial, 21, 34)
        # cubic forgets what is far: 4e-4 at SPLINE_REACH.
        np.testing.assert_allclose(part, whole[21:34], atol=2e-3)
        if kind == "cubic":
            np.testing.assert_array_equal(part, cubic_planes(data.sections, data.axial, 21, 34))


def test_on_tissue_cubic_is_best_and_nearest_worst():
    data = measured(Fraction(4), 16, 96)
    scores = [data.score(Interpolation(kind)) for kind in KINDS]
    assert scores == sorted(scores)
