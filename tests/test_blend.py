"""Windows are a partition of unity, and blending depends on nothing but the blocks' values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.blend import Windows, axis_windows, gather, whole_blocks
from isofield.blocks import BlockGrid
from isofield.geometry import ZYX, Roi

quick = settings(max_examples=80)
GRID = BlockGrid(ZYX(21, 17, 10), ZYX(6, 8, 7), ZYX(5, 5, 5), ZYX(5, 3, 2))
OVERLAP = 2


def gathered(roi, windows, render):
    """`gather` with blocks that are rendered whole."""
    return gather(roi, windows, whole_blocks(windows.grid, render))


def total(windows: list[tuple[int, np.ndarray]], length: int) -> np.ndarray:
    summed = np.zeros(length)
    for first, weights in windows:
        summed[first : first + len(weights)] += weights
    return summed


def trapezoids(length: int, core: int, overlap: int) -> list[tuple[int, np.ndarray]]:
    """What windows would be without normalisation: ramps of 2 * overlap voxels about each face."""
    raw = []
    for begin in range(0, length, core):
        end = min(begin + core, length)
        first, last = max(0, begin - overlap), min(length, end + overlap)
        centre = np.arange(first, last) + 0.5
        rise = (centre - begin + overlap) / (2 * overlap) if begin else np.ones_like(centre)
        fall = (end + overlap - centre) / (2 * overlap) if end < length else np.ones_like(centre)
        raw.append((first, np.clip(rise, 0, 1) * np.clip(fall, 0, 1)))
    return raw


# One axis


@quick
@given(st.integers(1, 80), st.integers(1, 30), st.integers(0, 40))
def test_windows_sum_to_one_whatever_the_lengths(length, core, overlap):
    windows = axis_windows(length, core, overlap)
    assert len(windows) == -(-length // core)
    np.testing.assert_allclose(total(windows, length), 1, atol=1e-6)
    for (first, weights), begin in zip(windows, range(0, length, core), strict=True):
        assert first == max(0, begin - overlap)
        assert first + len(weights) == min(length, begin + core + overlap, length)
        assert weights.min() >= 0


def test_ramps_alone_do_not_sum_to_one_where_three_blocks_meet():
    short = {"length": 20, "core": 4, "overlap": 6}
    assert abs(total(trapezoids(**short), 20) - 1).max() > 0.1
    np.testing.assert_allclose(total(axis_windows(**short), 20), 1, atol=1e-6)


def test_ramps_alone_do_sum_to_one_where_only_two_blocks_meet():
    roomy = {"length": 24, "core": 8, "overlap": 4}
    np.testing.assert_allclose(total(trapezoids(**roomy), 24), 1, atol=1e-12)
    for (first, raw), (start, normalised) in zip(trapezoids(**roomy), axis_windows(**roomy), strict=True):
        assert first == start
        np.testing.assert_allclose(raw, normalised, atol=1e-6)


def test_a_window_is_one_where_its_block_alone_owns_and_half_at_a_face():
    first, weights = axis_windows(24, 8, 2)[1]
    assert first == 6
    np.testing.assert_allclose(weights, [0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125])


# The whole grid


triples = st.tuples(*(st.integers(0, 4),) * 3)


@settings(max_examples=25)
@given(st.tuples(*(st.integers(1, 14),) * 3), st.tuples(*(st.integers(1, 6),) * 3), st.integers(0, 5), triples, triples)
def test_windows_of_a_grid_sum_to_one_and_lie_within_the_fields(shape, core, overlap, wider, more):
    margin = [overlap + w for w in wider]
    windows = Windows(BlockGrid(shape, core, [a + b for a, b in zip(margin, more, strict=True)], margin), overlap)
    summed = np.zeros(shape)
    for block in windows.grid:
        support = windows.support(block.index)
        assert block.field_roi.contains(support)
        summed[support.slices] += windows.weights(block.index, support)
    np.testing.assert_allclose(summed, 1, atol=1e-5)


def test_windows_would_reach_beyond_fields_of_a_narrower_margin():
    """Negative control of the above: the fields of the same blocks with a voxel less of margin do not hold the windows."""
    shape, core, context = ZYX(20, 20, 20), ZYX(5, 5, 5), ZYX(4, 4, 4)
    windows = Windows(BlockGrid(shape, core, context, ZYX(3, 3, 3)), 3)
    narrow = BlockGrid(shape, core, context, ZYX(3, 3, 2))
    assert not all(b.field_roi.contains(windows.support(b.index)) for b in narrow)


@pytest.mark.parametrize("margin", [(4, 2, 4), (2, 4, 4), (4, 4, 2)])
def test_an_overlap_beyond_the_margin_of_the_fields_is_refused_however_much_context_there_is(margin):
    grid = BlockGrid(ZYX(20, 20, 20), ZYX(5, 5, 5), ZYX(9, 9, 9), margin)
    with pytest.raises(ValueError, match="overlap 3 exceeds the margin"):
        Windows(grid, 3)
    assert Windows(grid, 2).overlap == 2


# Blending


@pytest.fixture(scope="module")
def windows():
    return Windows(GRID, OVERLAP)


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(3).normal(size=GRID.shape).astype(np.float32)


@pytest.fixture(scope="module")
def rendered():
    """Blocks that disagree with each other."""
    rng = np.random.default_rng(4)
    return [rng.normal(size=block.field_roi.shape).astype(np.float32) for block in GRID]


def pieces(side: int) -> list[Roi]:
    starts = itertools.product(*(range(0, n, side) for n in GRID.shape))
    return [Roi(start, (side,) * 3).intersect(GRID.bounds) for start in starts]


def test_blending_copies_of_one_volume_gives_it_back(windows, volume):
    blended = gathered(GRID.bounds, windows, lambda i: volume[GRID[i].field_roi.slices])
    np.testing.assert_allclose(blended.values, volume, atol=1e-6)
    assert blended.values.dtype == np.float32
    assert blended.n_overlap_vox > 0
    assert blended.overlap_sum_squares / blended.n_overlap_vox < 1e-6


def test_blocks_that_differ_disagree_by_the_weighted_variance(windows):
    blended = gathered(GRID.bounds, windows, lambda i: np.full(GRID[i].field_roi.shape, i % 2, np.float32))
    share = blended.values.astype(np.float64)
    assert blended.overlap_sum_squares == pytest.approx(float((share * (1 - share)).sum()), rel=1e-3)
    assert blended.overlap_sum_squares > 1


def test_a_region_blends_to_the_same_bytes_however_the_volume_is_cut(windows, rendered):
    whole = gathered(GRID.bounds, windows, rendered.__getitem__)
    for side in (3, 5, 16):
        parts = {roi: gathered(roi, windows, rendered.__getitem__) for roi in pieces(side)}
        for roi, part in parts.items():
            assert part.values.tobytes() == whole.values[roi.slices].tobytes()
        assert sum(part.n_overlap_vox for part in parts.values()) == whole.n_overlap_vox
        summed = sum(part.overlap_sum_squares for part in parts.values())
        assert summed == pytest.approx(whole.overlap_sum_squares, rel=1e-9)


def test_a_block_left_out_is_noticed(windows, rendered):
    """The comparison above is sharp: without one of its blocks a region has other bytes."""
    whole = gathered(GRID.bounds, windows, rendered.__getitem__)
    silenced = gathered(GRID.bounds, windows, lambda i: rendered[i] * (i != 5))
    assert whole.values.tobytes() != silenced.values.tobytes()


def test_without_overlap_every_voxel_is_its_owners(rendered):
    blended = gathered(GRID.bounds, Windows(GRID, 0), rendered.__getitem__)
    for block in GRID:
        own = rendered[block.index][block.write_roi.relative_to(block.field_roi).slices]
        assert np.array_equal(blended.values[block.write_roi.slices], own)
    assert (blended.n_overlap_vox, blended.overlap_sum_squares) == (0, 0.0)


def test_only_blocks_that_reach_in_are_rendered(windows, rendered):
    asked = []

    def render(index):
        asked.append(index)
        return rendered[index]

    gathered(Roi((0, 0, 0), (3, 3, 3)), windows, render)
    assert asked == [0]
    asked.clear()
    gathered(Roi((4, 0, 0), (1, 1, 1)), windows, render)
    assert asked == [0, GRID.grid_shape.y * GRID.grid_shape.x]


def test_a_block_that_rendered_all_that_it_sees_is_refused(windows):
    assert GRID[0].read_roi.shape != GRID[0].field_roi.shape
    with pytest.raises(ValueError, match=r"block 0 rendered .* its field_roi is"):
        gathered(GRID.bounds, windows, lambda i: np.zeros(GRID[i].read_roi.shape, np.float32))


def test_a_block_of_another_shape_is_refused(windows, rendered):
    with pytest.raises(ValueError, match=r"block 0 rendered .* its field_roi is"):
        gathered(GRID.bounds, windows, lambda i: rendered[i][:-1])
