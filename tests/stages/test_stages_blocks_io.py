"""What a block of a planned run is fitted to: read where the plan says, and the same wherever blocks overlap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from isofield.source import open_source
from isofield.stages.blocks_io import MeasuredBlocks, block_seed


@pytest.fixture(scope="module")
def measured(finished):
    return MeasuredBlocks(open_source(finished.config.source), finished.plan)


@pytest.fixture(scope="module")
def noisy(finished, measured):
    """Every block of the run as a draw from the posterior needs it."""
    return [measured.block(i, seed=0, n_neighbours=1, noisy=True) for i in range(finished.plan.n_blocks)]


def test_a_block_sees_what_it_reads_and_is_fitted_where_its_field_is(finished, noisy, measured):
    grey = open_source(finished.config.source).data[0].compute()
    for block, data in zip(finished.plan.block_grid, noisy, strict=True):
        read, field = block.read_roi, block.field_roi
        assert data.base.shape == tuple(read.shape)
        assert data.field_shape == tuple(field.shape)
        assert data.inner == tuple(field.relative_to(read).offset[1:])
        # All blocks begin and end at the edge of a section of 4 planes.
        _, y, x = field.slices
        sections = grey[read.offset.z // 4 : read.end.z // 4, y, x]
        np.testing.assert_allclose(finished.plan.contrast.restore(data.measured), sections, atol=1e-3)
        # What it is rendered over when it is blended is what it was fitted over.
        _, y, x = field.relative_to(read).slices
        np.testing.assert_allclose(measured.base(field), data.base[:, y, x], atol=1e-5)


@pytest.mark.parametrize("what", ["base", "noise"])
def test_blocks_that_overlap_see_the_same(finished, noisy, what):
    """Noise to the last bit. The interpolation as nearly as sections beyond a block's reach matter to it."""
    grid, n_shared = finished.plan.block_grid, 0
    for a, b in itertools.combinations(grid, 2):
        shared = a.read_roi.intersect(b.read_roi)
        one, other = (getattr(noisy[block.index], what)[shared.relative_to(block.read_roi).slices] for block in (a, b))
        if what == "noise":
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, atol=5e-3)
        n_shared += shared.volume
    assert n_shared > 10**5
    # Negative control: at the same place within another block they are not.
    assert np.abs(getattr(noisy[0], what)[:8, :8, :8] - getattr(noisy[1], what)[:8, :8, :8]).max() > 0.1


def test_noise_is_there_only_for_a_draw_and_is_the_run_s(measured, noisy):
    assert measured.block(3, seed=0, n_neighbours=1, noisy=False).noise is None
    again, other = (measured.block(3, seed, 1, noisy=True).noise for seed in (0, 1))
    np.testing.assert_array_equal(again, noisy[3].noise)
    assert np.abs(other - again).mean() > 0.5


def test_seeds_are_a_block_s_own_and_neighbours_as_many_as_the_prior_has(measured):
    for index, n_neighbours in ((0, 0), (5, 2)):
        block = measured.block(index, seed=9, n_neighbours=n_neighbours, noisy=False)
        assert block.seed == block_seed(9, index)
        assert [len(m) for m in block.neighbours] == [2 * n_neighbours] * 2
