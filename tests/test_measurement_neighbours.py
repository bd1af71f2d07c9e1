"""What stands beside a slice, as neighbouring sections stand beside a section."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.geometry import AxialMap
from isofield.measurement import Kernel, MeasurementModel, neighbour_matrices

RATIOS = [Fraction(1), Fraction(3, 2), Fraction(4), Fraction(15, 4), Fraction(250, 23)]


def models(ratio):
    """One of each operator; the kernel is lopsided."""
    r = float(ratio)
    return [
        MeasurementModel(ratio),
        MeasurementModel(ratio, "skip"),
        MeasurementModel(ratio, "gaussian"),
        MeasurementModel(ratio, "kernel", kernel_vox=Kernel((-0.6 * r, -0.2 * r, 1.6 * r), (0.0, 1.0, 0.0))),
    ]


def test_a_neighbour_of_ratio_4_is_the_box_of_4_voxels_one_thickness_away():
    before, behind = neighbour_matrices(MeasurementModel(Fraction(4)), 24, 1)
    box = [0.125, 0.25, 0.25, 0.25, 0.125]
    for i in range(6, 18):
        # The slice's centre lies at i + 1/2, so the box from i - 5 1/2 to i - 1 1/2 cuts the voxels at its ends in half.
        expected = np.zeros((2, 24))
        expected[0, i - 6 : i - 1] = box
        expected[1, i + 2 : i + 7] = box
        np.testing.assert_allclose([before[i], behind[i]], expected, atol=1e-7)


@settings(max_examples=60)
@given(st.sampled_from(RATIOS), st.integers(0, 3), st.integers(1, 30), st.integers(0, 3))
def test_rows_sum_to_one_and_a_constant_stays(ratio, which, n_vox, n_neighbours):
    matrices = neighbour_matrices(models(ratio)[which], n_vox, n_neighbours)
    assert matrices.shape == (2 * n_neighbours, n_vox, n_vox)
    assert matrices.dtype == np.float32
    assert (matrices >= 0).all()
    np.testing.assert_allclose(matrices.sum(axis=2), 1.0, atol=1e-6)
    np.testing.assert_allclose(matrices @ np.full((n_vox, 3), 0.7, np.float32), 0.7, atol=1e-6)


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
@pytest.mark.parametrize("operator", ["section", "gaussian"])
def test_a_ramp_tells_how_far_away_each_neighbour_is(ratio, operator):
    """Neighbour k of a slice stands k + 1 thicknesses before or behind it, whole or not: the nearest pair comes first."""
    n = ceil(12 * ratio)
    ramp = np.arange(n, dtype=np.float64)
    reach = ceil(5 * ratio) + 1
    # A voxel that a profile cuts counts at its centre, which moves the mean by no more than this.
    cut = 1 / (8 * float(ratio))
    for k, (before, behind) in enumerate(neighbour_matrices(MeasurementModel(ratio, operator), n, 2).reshape(2, 2, n, n)):
        away = (k + 1) * float(ratio)
        inner = slice(reach, n - reach)
        np.testing.assert_allclose((before @ ramp)[inner], (ramp - away)[inner], rtol=0, atol=cut)
        np.testing.assert_allclose((behind @ ramp)[inner], (ramp + away)[inner], rtol=0, atol=cut)


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("ratio", [Fraction(3), Fraction(5), Fraction(7, 3)], ids=str)
def test_slices_see_beside_them_what_sections_have_beside_them(ratio, which):
    """Where the centre of a section falls on the centre of a slice, the neighbours of both are the same averages."""
    model, n = models(ratio)[which], ceil(16 * ratio)
    axial = AxialMap(ratio, 16)
    beside = neighbour_matrices(model, n, 2)
    volume = np.random.default_rng(0).normal(size=n)
    sections = model.matrix(axial, range(16), 0, n) @ volume
    together = 0
    for section in range(6, 10):
        lo, hi = axial.section_edges(section)
        slice_ = (lo + hi) / 2 - Fraction(1, 2)
        if slice_.denominator == 1:
            seen = (beside @ volume)[:, int(slice_)]
            np.testing.assert_allclose(seen, sections[[section - 1, section + 1, section - 2, section + 2]], atol=1e-5)
            # Negative control: before and behind are not the same.
            assert np.abs(seen[::2] - seen[1::2]).min() > 1e-3
            together += 1
    assert together >= 1


def test_only_the_axis_they_are_laid_across_counts():
    """On a volume that is constant along all other axes they act as on a line, and along those they change nothing."""
    n = 20
    matrices = neighbour_matrices(MeasurementModel(Fraction(4)), n, 1)
    line = np.random.default_rng(0).normal(size=n).astype(np.float32)
    along = np.broadcast_to(line[:, None, None], (n, 6, 5))
    np.testing.assert_allclose(np.tensordot(matrices, along, axes=1)[..., 2, 3], matrices @ line, atol=1e-6)
    across = np.broadcast_to(line, (n, 6, n))
    np.testing.assert_allclose(np.tensordot(matrices, across, axes=1), np.broadcast_to(line, (2, n, 6, n)), atol=1e-6)


def test_beyond_the_block_the_outermost_slice_goes_on():
    before, behind = neighbour_matrices(MeasurementModel(Fraction(4)), 12, 1)
    first, last = np.eye(12, dtype=np.float32)[[0, -1]]
    for i in range(3):
        np.testing.assert_allclose(before[i], first, atol=1e-7)
        np.testing.assert_allclose(behind[-1 - i], last, atol=1e-7)
    # Four voxels in, part of the box lies inside.
    assert 0 < before[3, 1] < before[3, 0] < 1
    # A block far wider than its neighbours are away and one far narrower both have whole profiles.
    narrow = neighbour_matrices(MeasurementModel(Fraction(4)), 2, 3)
    np.testing.assert_allclose(narrow[::2], np.broadcast_to([1.0, 0.0], (3, 2, 2)), atol=1e-7)


def test_no_neighbours_are_an_empty_stack():
    assert neighbour_matrices(MeasurementModel(Fraction(4)), 7, 0).shape == (0, 7, 7)
