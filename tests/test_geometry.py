"""Boxes on the voxel lattice, and the exact map between sections and planes."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.geometry import ZYX, AxialMap, Roi, exact_nm

quick = settings(max_examples=80)
SPACE = (9, 8, 7)
RATIOS = {"50 nm / 4.6 nm": Fraction(250, 23), "4.88599": Fraction(488599, 100000), "30 nm / 8 nm": Fraction(15, 4)}

offsets = st.tuples(*(st.integers(-3, n) for n in SPACE))
shapes = st.tuples(*(st.integers(0, n) for n in SPACE))
rois = st.builds(Roi, offsets, shapes)
ratios = st.fractions(min_value=1, max_value=20, max_denominator=100_000)
axials = st.builds(AxialMap, ratios, st.integers(1, 40))


def voxels(roi: Roi) -> set[tuple[int, int, int]]:
    (z0, y0, x0), (z1, y1, x1) = roi.offset, roi.end
    return {(z, y, x) for z in range(z0, z1) for y in range(y0, y1) for x in range(x0, x1)}


# Boxes


@quick
@given(rois, rois)
def test_the_intersection_holds_exactly_the_common_voxels(a, b):
    assert voxels(a.intersect(b)) == voxels(a) & voxels(b)
    assert a.intersect(b).volume == len(voxels(a) & voxels(b))
    assert a.contains(b) == (voxels(b) <= voxels(a))


@quick
@given(rois, offsets, st.integers(0, 4))
def test_shifting_growing_and_changing_the_origin_are_undone(roi, by, margin):
    back = tuple(-b for b in by)
    assert roi.shifted(by).shifted(back) == roi
    assert roi.grown((margin,) * 3).grown((-margin,) * 3) == roi
    outer = Roi(by, (1, 1, 1))
    assert roi.relative_to(outer).shifted(by) == roi


@quick
@given(rois)
def test_slices_cut_out_the_box(roi):
    inside = roi.intersect(Roi((0, 0, 0), SPACE))
    index = np.stack(np.meshgrid(*map(np.arange, SPACE), indexing="ij"), axis=-1)
    cut = index[inside.slices].reshape(-1, 3)
    assert {tuple(map(int, v)) for v in cut} == voxels(inside)


def test_shrinking_more_than_there_is_leaves_an_empty_box():
    shrunk = Roi((0, 0, 0), (3, 9, 9)).grown((-2, -2, -2))
    assert shrunk.empty
    assert shrunk.shape == (0, 5, 5)
    assert Roi.between((4, 0, 0), (2, 5, 5)) == Roi((4, 0, 0), (0, 5, 5))


def test_a_negative_side_is_refused():
    with pytest.raises(ValueError, match="negative side"):
        Roi((0, 0, 0), (1, -1, 1))


def test_zyx_adds_like_a_vector_and_not_like_a_tuple():
    assert ZYX(1, 2, 3) + ZYX(10, 20, 30) == ZYX(11, 22, 33)
    assert ZYX(1, 2, 3) - (1, 1, 1) == ZYX(0, 1, 2)
    assert ZYX(2, 3, 4).volume == 24


# Lengths


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (4.6, Fraction(23, 5)),
        ("4.6", Fraction(23, 5)),
        (40, Fraction(40)),
        (np.float64(0.1), Fraction(1, 10)),
        (4.88599, Fraction(488599, 100000)),
        (Fraction(1, 3), Fraction(1, 3)),
    ],
)
def test_a_length_is_what_its_decimal_text_says(value, exact):
    assert exact_nm(value) == exact


def test_a_ratio_of_lengths_is_exact_and_that_of_floats_is_not():
    assert exact_nm(50) / exact_nm(4.6) == RATIOS["50 nm / 4.6 nm"]
    assert exact_nm(30) / exact_nm(8) == RATIOS["30 nm / 8 nm"]
    assert Fraction(50 / 4.6) != RATIOS["50 nm / 4.6 nm"]


# Sections and planes


@quick
@given(axials)
def test_sections_tile_the_depth_without_gap_or_drift(axial):
    edges = [axial.section_edges(i) for i in range(axial.n_sections)]
    assert edges[0][0] == 0
    assert edges[-1][1] == axial.n_sections * axial.ratio
    assert all(before[1] == after[0] for before, after in itertools.pairwise(edges))
    assert sum(end - begin for begin, end in edges) == axial.n_sections * axial.ratio


@quick
@given(axials)
def test_planes_cover_all_that_was_measured_and_overhang_by_less_than_one(axial):
    assert 0 <= axial.n_planes - axial.n_sections * axial.ratio < 1


@pytest.mark.parametrize("ratio", RATIOS.values(), ids=RATIOS)
@pytest.mark.parametrize("n_sections", [1, 50, 10_000])
def test_first_and_last_edge(ratio, n_sections):
    axial = AxialMap(ratio, n_sections)
    assert axial.section_edges(0) == (0, ratio)
    assert axial.section_edges(n_sections - 1)[1] == n_sections * ratio
    assert axial.section_edges(-1) == (-ratio, 0)
    assert axial.n_planes == ceil(n_sections * ratio)


def test_a_rounded_ratio_would_drift():
    exact, rounded = (AxialMap(r, 10_000) for r in (RATIOS["50 nm / 4.6 nm"], Fraction("10.87")))
    assert exact.n_planes == 108_696
    assert rounded.n_planes == 108_700


@quick
@given(axials, st.data())
def test_sections_touching_and_inside_are_those_that_overlap_and_fit(axial, data):
    begin = data.draw(st.integers(-5, axial.n_planes + 5))
    end = data.draw(st.integers(begin - 2, axial.n_planes + 5))
    edges = [axial.section_edges(i) for i in range(axial.n_sections)]
    touching = [i for i, (lo, hi) in enumerate(edges) if min(hi, end) > max(lo, begin)]
    inside = [i for i, (lo, hi) in enumerate(edges) if begin <= lo and hi <= end]
    assert list(axial.sections_touching(begin, end)) == touching
    assert list(axial.sections_inside(begin, end)) == inside


def test_planes_at_a_section_edge_touch_one_section_and_not_two():
    axial = AxialMap(Fraction(4), 5)
    assert axial.sections_touching(4, 8) == range(1, 2)
    assert axial.sections_inside(4, 8) == range(1, 2)
    assert axial.sections_touching(3, 9) == range(0, 3)
    assert axial.sections_inside(5, 8) == range(2, 2)


def test_sections_may_be_a_little_thinner_than_planes():
    """As in stacks whose pixels are 512 nm and whose sections 499: the same arithmetic, every section's depth in some plane."""
    axial = AxialMap(Fraction(499, 512), 45)
    assert axial.n_planes == 44
    assert axial.section_edges(1) == (Fraction(499, 512), Fraction(998, 512))
    assert axial.sections_touching(0, 44) == range(45)
    assert axial.sections_inside(0, 44) == range(45)
    assert axial.sections_touching(1, 2) == range(1, 3)


@pytest.mark.parametrize(("ratio", "n_sections"), [(Fraction(0), 5), (Fraction(-1), 5), (2, 0)])
def test_a_map_that_is_none_is_refused(ratio, n_sections):
    with pytest.raises(ValueError, match="ratio > 0"):
        AxialMap(ratio, n_sections)
