"""Jobs: every block and shard has one, and a job waits for all it needs and for few others."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.blocks import BlockGrid, BlocksSpec
from isofield.geometry import ZYX, Roi
from isofield.jobs import CellBox, Jobs, part_of, share

quick = settings(max_examples=40)


@quick
@given(st.integers(0, 500), st.integers(1, 40))
def test_shares_are_even_runs_in_order_and_part_of_is_their_inverse(n_items, n_parts):
    parts = [share(n_items, n_parts, part) for part in range(n_parts)]
    assert [item for part in parts for item in part] == list(range(n_items))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)
    assert all(part_of(item, n_items, n_parts) == part for part, items in enumerate(parts) for item in items)


@st.composite
def jobs(draw) -> Jobs:
    """Small volumes cut into blocks and shards of any size, in whole or in a region of whole shards."""
    shape = ZYX(*(draw(st.integers(8, 44)) for _ in range(3)))
    core, shard, overlap = draw(st.integers(6, 24)), draw(st.integers(6, 24)), draw(st.integers(0, 4))
    grid = BlockGrid(shape, ZYX(core, core, core), ZYX(4, 4, 4))
    region = None
    if draw(st.booleans()):
        begin = [draw(st.integers(0, (n - 1) // shard)) for n in shape]
        end = [draw(st.integers(b, (n - 1) // shard)) + 1 for b, n in zip(begin, shape, strict=True)]
        region = Roi.between((b * shard for b in begin), (e * shard for e in end)).intersect(grid.bounds)
    span = draw(st.sampled_from([1, 2, 4]))
    whole = Jobs(grid, overlap, shard, region, 1, 1, span)
    n_fit = draw(st.integers(1, len(whole.blocks)))
    n_blend = draw(st.integers(1, len(whole.shards)))
    return Jobs(grid, overlap, shard, region, n_fit, n_blend, span)


@quick
@given(jobs())
def test_shards_of_all_jobs_tile_the_region(jobs):
    shards = [roi for job in range(jobs.n_blend) for roi in jobs.blend_shards(job)]
    region = jobs.region or jobs.grid.bounds
    assert sum(roi.volume for roi in shards) == region.volume
    assert all(region.contains(roi) for roi in shards)
    assert len({roi.offset for roi in shards}) == len(shards) == len(jobs.shards)


@quick
@given(jobs())
def test_blocks_of_all_jobs_are_those_that_reach_into_the_region(jobs):
    blocks = [i for job in range(jobs.n_fit) for i in jobs.fit_blocks(job)]
    assert blocks == jobs.grid.touching(jobs.region or jobs.grid.bounds, jobs.overlap_vox)
    assert all((i in jobs.blocks) == (i in set(blocks)) for i in range(jobs.grid.n_blocks))


@quick
@given(jobs())
def test_a_blend_job_waits_for_every_block_it_gathers(jobs):
    job_of = {i: job for job in range(jobs.n_fit) for i in jobs.fit_blocks(job)}
    for job in range(jobs.n_blend):
        needed = {job_of[i] for roi in jobs.blend_shards(job) for i in jobs.grid.touching(roi, jobs.overlap_vox)}
        assert needed <= set(jobs.fits_before(job))


@quick
@given(jobs())
def test_a_pyramid_job_waits_for_every_shard_below_it(jobs):
    job_of = {roi.offset: job for job in range(jobs.n_blend) for roi in jobs.blend_shards(job)}
    seen = set()
    for job in range(len(jobs.pyramid)):
        region = jobs.pyramid_region(job)
        below = [offset for offset in job_of if region.contains(Roi(offset, ZYX(1, 1, 1)))]
        assert {job_of[offset] for offset in below} <= set(jobs.blends_before(job))
        assert below
        seen.update(below)
    assert seen == job_of.keys()


def test_in_a_large_volume_a_blend_job_waits_for_few_fit_jobs_and_asking_is_quick():
    grid = BlockGrid.even(ZYX(12800, 12800, 12800), BlocksSpec())
    jobs = Jobs(grid, 8, 256, None, 1000, 500, 8)
    started = time.process_time()
    waits = [len(jobs.fits_before(job)) for job in range(500)] + [len(jobs.blends_before(j)) for j in range(len(jobs.pyramid))]
    assert time.process_time() - started < 1.0
    assert max(waits[:500]) <= 60, "a blend job that waited for all fit jobs would hold up the cluster"
    assert len(jobs.fit_blocks(999)) == 1000


def test_cells_count_in_c_order_within_their_box():
    cells = CellBox(ZYX(4, 5, 6), Roi((1, 2, 3), (2, 2, 2)))
    assert cells.numbers(range(8)) == [45, 46, 51, 52, 75, 76, 81, 82]
    assert [cells.rank(cells.position(k)) for k in range(8)] == list(range(8))
    assert cells.around(range(1, 3)) == Roi((1, 2, 3), (1, 2, 2)), "from the end of one row to the begin of the next: both rows"
    assert cells.around(range(2, 3)) == Roi((1, 3, 3), (1, 1, 1))


@pytest.mark.parametrize("number", [44, 47, 53, 0, 119])
def test_cells_outside_the_box_are_not_in_it(number):
    assert number not in CellBox(ZYX(4, 5, 6), Roi((1, 2, 3), (2, 2, 2)))
