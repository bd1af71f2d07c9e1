"""Blocks tile the volume exactly, see their context, and are found by what they touch."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.blocks import BlockGrid, BlocksSpec
from isofield.geometry import ZYX, Roi

quick = settings(max_examples=60)


def triples(low: int, high: int) -> st.SearchStrategy[tuple[int, int, int]]:
    return st.tuples(*(st.integers(low, high),) * 3)


@st.composite
def grids_with_margins(draw):
    """Grids of any shape; a margin never exceeds its context."""
    margin, more = draw(triples(0, 4)), draw(triples(0, 4))
    context = tuple(m + n for m, n in zip(margin, more, strict=True))
    return BlockGrid(draw(triples(1, 16)), draw(triples(2, 9)), context, margin)


grids = grids_with_margins()


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
            return replace(block, write_roi=block.write_roi.grown((1, 0, 0)).intersect(self.bounds))

    assert not (times_owned(Overlapping(ZYX(9, 4, 4), ZYX(3, 4, 4), ZYX(0, 0, 0))) == 1).all()


def grown_and_clipped(roi: Roi, by: ZYX, within: ZYX) -> Roi:
    """`roi` with `by` more voxels on both sides, axis by axis, and no voxel outside [0, within)."""
    begin = [max(0, o - m) for o, m in zip(roi.offset, by, strict=True)]
    end = [min(n, e + m) for e, m, n in zip(roi.end, by, within, strict=True)]
    return Roi.between(begin, end)


@quick
@given(grids)
def test_a_field_adds_the_margin_and_reading_the_context_both_clipped_at_the_volume(grid):
    for block in grid:
        assert not block.write_roi.empty
        assert block.field_roi == grown_and_clipped(block.write_roi, grid.margin, grid.shape)
        assert block.read_roi == grown_and_clipped(block.write_roi, grid.context, grid.shape)


def nested(grid: BlockGrid) -> bool:
    """Whether every block owns part of its field, has its field within what it sees, and sees nothing beyond the volume."""
    return all(
        grid.bounds.contains(b.read_roi) and b.read_roi.contains(b.field_roi) and b.field_roi.contains(b.write_roi) for b in grid
    )


@quick
@given(grids)
def test_what_is_owned_lies_within_the_field_and_the_field_within_what_is_seen(grid):
    assert nested(grid)


def test_nesting_notices_a_field_that_reaches_beyond_what_its_block_sees():
    class Reaching(BlockGrid):
        def __getitem__(self, index):
            block = super().__getitem__(index)
            return replace(block, field_roi=block.write_roi.grown(self.context).grown((0, 0, 1)).intersect(self.bounds))

    assert nested(BlockGrid(ZYX(9, 9, 9), ZYX(3, 3, 3), ZYX(1, 1, 1)))
    assert not nested(Reaching(ZYX(9, 9, 9), ZYX(3, 3, 3), ZYX(1, 1, 1)))


def test_without_a_margin_a_field_spans_all_that_its_block_sees():
    grid = BlockGrid(ZYX(12, 12, 12), ZYX(6, 6, 6), ZYX(2, 3, 1))
    assert grid.margin == grid.context == (2, 3, 1)
    assert all(b.field_roi == b.read_roi for b in grid)
    narrower = BlockGrid(ZYX(12, 12, 12), ZYX(6, 6, 6), ZYX(2, 3, 1), ZYX(2, 1, 1))
    assert all(b.field_roi != b.read_roi for b in narrower)


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
        read, field, write = block.read_roi, block.field_roi, block.write_roi
        letters = [" "] * read.end.z
        for roi, letter in ((read, "r"), (field, "f"), (write, "w")):
            letters[roi.offset.z : roi.end.z] = letter * roi.shape.z
        lines.append("".join(letters))
    return lines


def test_the_drawing_in_the_docstring_is_true():
    def along_z(length: int, core: int, context: int, margin: int) -> BlockGrid:
        return BlockGrid(ZYX(length, 1, 1), ZYX(core, 1, 1), ZYX(context, 0, 0), ZYX(margin, 0, 0))

    found = re.findall(r"^ {8}( *[wfr]+) +block \d", BlockGrid.__doc__, flags=re.MULTILINE)
    assert found == drawn(along_z(21, 6, 2, 1))
    for other in (along_z(21, 6, 1, 1), along_z(22, 6, 2, 1), along_z(21, 6, 2, 2), along_z(21, 6, 2, 0)):
        assert found != drawn(other)


# Even blocks


@settings(max_examples=300)
@given(st.integers(1, 5000), st.integers(16, 200))
def test_even_blocks_are_few_and_no_longer_than_allowed(length, longest):
    grid = BlockGrid.even(ZYX(length, 1, 1), BlocksSpec(write_vox=longest))
    sides = [b.write_roi.shape.z for b in grid]
    assert max(sides) <= longest
    assert len(sides) == -(-length // longest), "more blocks than write_vox asks for"
    assert sum(sides) == length
    assert len(set(sides[:-1])) <= 1


@settings(max_examples=300)
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


@quick
@given(triples(1, 80), st.integers(16, 40), st.integers(0, 12), st.integers(0, 8))
def test_even_fields_reach_as_far_as_they_are_blended_and_all_the_way_along_z(shape, longest, more, overlap):
    """The sections that a field is fitted to have to lie within it whole, so along z it spans all that its block sees."""
    spec = BlocksSpec(write_vox=longest, context_vox=overlap + more, overlap_vox=overlap)
    grid = BlockGrid.even(ZYX(*shape), spec)
    assert grid.context == (overlap + more,) * 3
    assert grid.margin == (overlap + more, overlap, overlap)
    for block in (grid[0], grid[grid.n_blocks - 1]):
        assert (block.field_roi.offset.z, block.field_roi.end.z) == (block.read_roi.offset.z, block.read_roi.end.z)
    assert nested(grid)


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


@pytest.mark.parametrize("margin", [(3, 2, 2), (2, 2, 3), (-1, 0, 0)])
def test_a_margin_that_is_negative_or_beyond_the_context_is_refused(margin):
    with pytest.raises(ValueError, match="margin between 0 and the context"):
        BlockGrid(ZYX(8, 8, 8), ZYX(4, 4, 4), ZYX(2, 2, 2), margin)
    assert BlockGrid(ZYX(8, 8, 8), ZYX(4, 4, 4), ZYX(2, 2, 2), (2, 0, 2)).margin == ZYX(2, 0, 2)


@quick
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5))
def test_spans_along_an_axis_are_those_of_the_blocks(length, core, margin):
    grid = BlockGrid(ZYX(3, length, 5), ZYX(3, core, 5), ZYX(5, 5, 5))
    blocks = [grid[i] for i in range(grid.n_blocks)]
    grown = [block.write_roi.grown((0, margin, 0)).intersect(grid.bounds) for block in blocks]
    assert grid.spans(1, margin).tolist() == [[roi.offset.y, roi.end.y] for roi in grown]
