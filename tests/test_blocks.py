"""Blocks tile the volume exactly, see their context, and are found by what they touch."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.blocks import BlockGrid, BlocksSpec, split_evenly
from isofield.geometry import ZYX, Roi

quick = settings(max_examples=60, deadline=None)


def triples(low: int, high: int) -> st.SearchStrategy[tuple[int, int, int]]:
    return st.tuples(*(st.integers(low, high),) * 3)


grids = st.builds(BlockGrid, triples(1, 16), triples(2, 9), triples(0, 6))


def times_owned(grid: BlockGrid) -> np.ndarray:
    count = np.zeros(grid.shape, int)
    for block in grid:
        count[block.write_roi.slices] += 1
    return count


@quick
@given(grids)
def test_every_voxel_is_owned_once(grid):
    assert (times_owned(grid) == 1).all()
    assert sum(block.write_roi.volume for block in grid) == grid.shape.volume


def test_counting_notices_blocks_that_overhang_or_overlap():
    class Overlapping(BlockGrid):
        def __getitem__(self, index):
            block = super().__getitem__(index)
            return type(block)(index, block.write_roi.grown((1, 0, 0)).intersect(self.bounds), block.read_roi)

    assert not (times_owned(Overlapping(ZYX(9, 4, 4), ZYX(3, 4, 4), ZYX(0, 0, 0))) == 1).all()


@quick
@given(grids)
def test_a_block_reads_what_it_owns_plus_context_within_the_volume(grid):
    for block in grid:
        assert not block.write_roi.empty
        for axis in range(3):
            begin, end = block.write_roi.offset[axis], block.write_roi.end[axis]
            assert block.read_roi.offset[axis] == max(0, begin - grid.context[axis])
            assert block.read_roi.end[axis] == min(grid.shape[axis], end + grid.context[axis])


@quick
@given(grids)
def test_blocks_are_numbered_in_c_order(grid):
    numbers = np.arange(grid.n_blocks).reshape(grid.grid_shape)
    assert len(grid) == grid.n_blocks == numbers.size
    for block in grid:
        assert numbers[grid.position(block.index)] == block.index
    with pytest.raises(IndexError):
        grid[grid.n_blocks]
    with pytest.raises(IndexError):
        grid[-1]


def drawn(grid: BlockGrid) -> list[str]:
    """One line per block along z, as in the docstring of BlockGrid."""
    lines = []
    for block in grid:
        read, write = block.read_roi, block.write_roi
        before, after = write.offset.z - read.offset.z, read.end.z - write.end.z
        lines.append(" " * read.offset.z + "r" * before + "w" * write.shape.z + "r" * after)
    return lines


def test_the_drawing_in_the_docstring_is_true():
    found = re.findall(r"^ {8}( *[wr]+) +block \d", BlockGrid.__doc__, flags=re.MULTILINE)
    assert found == drawn(BlockGrid(ZYX(21, 1, 1), ZYX(6, 1, 1), ZYX(2, 0, 0)))
    assert found != drawn(BlockGrid(ZYX(21, 1, 1), ZYX(6, 1, 1), ZYX(1, 0, 0)))
    assert found != drawn(BlockGrid(ZYX(22, 1, 1), ZYX(6, 1, 1), ZYX(2, 0, 0)))


# Even blocks


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 5000), st.integers(16, 200))
def test_even_blocks_are_few_and_no_longer_than_allowed(length, longest):
    grid = BlockGrid.even(ZYX(length, 1, 1), BlocksSpec(write_vox=longest))
    sides = [b.write_roi.shape.z for b in grid]
    assert max(sides) <= longest
    assert len(sides) == -(-length // longest), "more blocks than write_vox asks for"
    assert sum(sides) == length
    assert len(set(sides[:-1])) <= 1


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 5000), st.integers(16, 200))
def test_even_blocks_leave_no_sliver(length, longest):
    """Blocks along an axis all have one length but the last: n of them can leave it up to n - 1 voxels shorter."""
    sides = [b.write_roi.shape.z for b in BlockGrid.even(ZYX(length, 1, 1), BlocksSpec(write_vox=longest))]
    assert sides[-1] >= sides[0] / 2 or sides[-1] > sides[0] - len(sides)
    if 2 * len(sides) <= sides[0]:
        assert sides[-1] >= sides[0] / 2


def test_blocks_of_just_write_vox_would_leave_a_sliver():
    sides = [b.write_roi.shape.z for b in BlockGrid(ZYX(129, 1, 1), ZYX(128, 1, 1), ZYX(0, 0, 0))]
    assert sides == [128, 1]
    sides = [b.write_roi.shape.z for b in BlockGrid.even(ZYX(129, 1, 1), BlocksSpec(write_vox=128))]
    assert sides == [68, 61]


# What touches what


@quick
@given(grids, triples(-4, 22), triples(0, 12), st.integers(0, 5))
def test_touching_finds_what_looking_at_every_block_finds(grid, offset, shape, margin):
    roi = Roi(offset, shape)
    grown = {b.index: b.write_roi.grown((margin,) * 3) for b in grid}
    expected = [i for i, box in grown.items() if not box.intersect(roi).intersect(roi).empty]
    assert grid.touching(roi, margin) == expected


def test_an_empty_region_touches_nothing_whatever_the_margin():
    grid = BlockGrid(ZYX(12, 12, 12), ZYX(6, 6, 6), ZYX(2, 2, 2))
    assert grid.touching(Roi((5, 5, 5), (0, 3, 3)), margin=2) == []
    assert len(grid.touching(Roi((5, 5, 5), (1, 1, 1)), margin=2)) == 8


@pytest.mark.parametrize(
    ("shape", "core", "context"),
    [((0, 4, 4), (2, 2, 2), (0, 0, 0)), ((4, 4, 4), (2, 0, 2), (0, 0, 0)), ((4, 4, 4), (2, 2, 2), (0, -1, 0))],
)
def test_a_grid_that_is_none_is_refused(shape, core, context):
    with pytest.raises(ValueError, match="BlockGrid needs"):
        BlockGrid(shape, core, context)


# Jobs


@quick
@given(st.lists(st.integers(), max_size=60), st.integers(1, 20))
def test_splitting_keeps_order_and_shares_evenly(items, n_parts):
    parts = split_evenly(items, n_parts)
    lengths = [len(part) for part in parts]
    assert len(parts) == n_parts
    assert [item for part in parts for item in part] == items
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)
