"""What a block is fitted to: which sections it trusts, and what it is built over."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.field.inputs import block_data, interpolated, sections_needed, white_noise
from isofield.geometry import AxialMap, Roi
from isofield.interpolation import SPLINE_REACH, interpolation_matrix
from isofield.measurement import NEGLIGIBLE, Kernel, MeasurementModel

RATIOS = st.sampled_from([Fraction(4), Fraction(15, 4), Fraction(250, 23), Fraction(3, 2), Fraction(1)])


def make_block(axial, begin, end, grey, operator="section", model=None):
    roi = Roi((begin, 0, 0), (end - begin, *grey.shape[1:]))
    needed = sections_needed(axial, roi)
    model = model or MeasurementModel(axial.ratio, operator)
    return block_data(axial, model, roi, roi, needed, grey[needed.start : needed.stop], 0)


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


@settings(max_examples=60)
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


@settings(max_examples=40)
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


# --- what it sees and where its field is ---


READ = Roi((8, 2, 3), (20, 11, 13))


def within(field, n_neighbours=1, noise_seed=None):
    """A block that sees READ of sections no two voxels of which are alike."""
    axial = AxialMap(Fraction(4), 9)
    grey = np.random.default_rng(3).normal(size=(9, 20, 22)).astype(np.float32)
    needed = sections_needed(axial, READ)
    _, y, x = READ.slices
    units = grey[needed.start : needed.stop, y, x]
    model = MeasurementModel(axial.ratio)
    return block_data(axial, model, READ, field, needed, units, 0, n_neighbours, noise_seed), grey


def test_the_data_are_those_of_the_field_and_the_base_is_all_that_is_seen():
    field = Roi((8, 4, 6), (20, 8, 9))
    block, grey = within(field)
    assert block.base.shape == (20, 11, 13)
    assert block.inner == (2, 3)
    assert block.field_shape == (20, 8, 9)
    # Planes 8 to 28 hold sections 2 to 6 whole.
    np.testing.assert_array_equal(block.measured, grey[2:7, 4:12, 6:15])
    assert [m.shape for m in block.neighbours] == [(2, 11, 11), (2, 13, 13)]
    # Negative control: a field one voxel on is held to other data.
    moved, _ = within(field.shifted((0, 1, 0)))
    assert (moved.measured != block.measured).mean() > 0.9
    np.testing.assert_array_equal(moved.base, block.base)


def test_a_block_that_is_all_field_sees_nothing_more():
    block, _ = within(READ)
    assert (block.inner, block.field_shape) == ((0, 0), block.base.shape)


def test_blocks_share_a_batch_only_if_their_fields_lie_alike():
    keys = [within(Roi((8, y, x), (20, 8, 9)))[0].shape_key for y, x in ((4, 6), (4, 6), (3, 6), (4, 5))]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_noise_is_drawn_only_where_it_is_asked_for():
    field = Roi((8, 4, 6), (20, 8, 9))
    assert within(field)[0].noise is None
    noise = within(field, noise_seed=5)[0].noise
    np.testing.assert_array_equal(noise, white_noise(5, READ))


@pytest.mark.parametrize("n_neighbours", [0, 1, 3])
def test_neighbours_are_stacked_per_lateral_axis(n_neighbours):
    block, _ = within(Roi((8, 4, 6), (20, 8, 9)), n_neighbours=n_neighbours)
    assert [m.shape for m in block.neighbours] == [(2 * n_neighbours, 11, 11), (2 * n_neighbours, 13, 13)]


# --- profiles that reach beyond their section ---


def wide_models(ratio):
    """Profiles that reach beyond their section: a Gaussian as wide as it, one much wider, and a lopsided kernel."""
    r = float(ratio)
    kernel = Kernel((-0.6 * r, -0.2 * r, 1.6 * r), (0.0, 1.0, 0.0))
    return [
        MeasurementModel(ratio, "gaussian"),
        MeasurementModel(ratio, "gaussian", 2.5 * r),
        MeasurementModel(ratio, "kernel", kernel_vox=kernel),
    ]


@pytest.mark.parametrize("ratio", [Fraction(5, 2), Fraction(4), Fraction(250, 23)], ids=str)
@pytest.mark.parametrize("which", range(3))
def test_what_a_block_is_held_to_is_true_of_the_volume(ratio, which):
    """The volume that was measured fits its own data; a profile cut off at the block's face would say otherwise."""
    axial, model = AxialMap(ratio, 24), wide_models(ratio)[which]
    truth = np.random.default_rng(0).normal(size=(axial.n_planes, 3, 4))
    truth[: axial.n_planes // 2] += 5
    grey = np.tensordot(model.matrix(axial, range(24), 0, axial.n_planes), truth, axes=1)
    begin, end = int(7.6 * ratio), int(17.3 * ratio)
    for first, last in ((0, end), (begin, end), (begin, axial.n_planes)):
        block = make_block(axial, first, last, grey, model=model)
        assert len(block.measured) == len(model.whole_sections(axial, first, last)) >= 2
        off = np.abs(np.tensordot(block.measure, truth[first:last], axes=1) - block.measured).max()
        assert off < 10 * NEGLIGIBLE
    # Negative control: all sections whose own depth is inside, their profiles cut off and scaled up again.
    inside = axial.sections_inside(begin, end)
    cut = model.matrix(axial, inside, begin, end)
    wrong = np.tensordot(cut, truth[begin:end], axes=1) - grey[inside.start : inside.stop]
    assert len(inside) > len(model.whole_sections(axial, begin, end))
    assert np.abs(wrong).max() > 20 * NEGLIGIBLE


def test_blocks_at_the_volume_s_ends_keep_the_sections_there():
    axial = AxialMap(Fraction(4), 12)
    model = wide_models(Fraction(4))[0]
    grey = np.arange(12, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    assert make_block(axial, 0, 24, grey, model=model).measured[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert make_block(axial, 24, 48, grey, model=model).measured[:, 0, 0].tolist() == [7, 8, 9, 10, 11]
    assert make_block(axial, 0, 48, grey, model=model).measured[:, 0, 0].tolist() == list(range(12))
    assert make_block(axial, 24, 28, grey, model=model).measured.shape == (0, 2, 2)
