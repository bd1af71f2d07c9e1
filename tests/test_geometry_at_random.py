"""Ten thousand volumes, ratios and block sizes drawn at random: whatever they are, nothing is left out or done twice."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np

from isofield.blocks import BlockGrid, BlocksSpec
from isofield.geometry import ZYX, AxialMap, Roi
from isofield.jobs import Jobs, part_of, share

N = 10_000


def axes_of(grid: BlockGrid):
    """Per axis its length, and begin and end of what blocks own, have a field over, and read."""
    for axis, length in enumerate(grid.shape):
        yield length, grid.spans(axis), grid.spans(axis, grid.margin[axis]), grid.spans(axis, grid.context[axis])


def tiles(length: int, spans: np.ndarray) -> bool:
    """Whether [begin, end) follow one another from 0 to `length`, none of them empty."""
    begin, end = spans.T
    return begin[0] == 0 and end[-1] == length and bool((begin[1:] == end[:-1]).all()) and bool((end > begin).all())


def holds(outer: np.ndarray, inner: np.ndarray, by: int, length: int) -> bool:
    """Whether every outer span is the inner one grown by `by` and clipped at the volume."""
    grown = np.stack([np.maximum(inner[:, 0] - by, 0), np.minimum(inner[:, 1] + by, length)], axis=1)
    return bool((outer == grown).all())


def test_blocks_own_every_voxel_once_and_see_what_they_should():
    rng = random.Random(1)
    for _ in range(N):
        shape = ZYX(*(int(2 ** rng.uniform(0, 16)) for _ in range(3)))
        context = rng.randrange(0, 80)
        spec = BlocksSpec(write_vox=rng.randrange(16, 400), context_vox=context, overlap_vox=rng.randint(0, context))
        grid = BlockGrid.even(shape, spec)
        for axis, (length, owned, field, read) in enumerate(axes_of(grid)):
            assert tiles(length, owned), (shape, spec)
            assert (owned[:, 1] - owned[:, 0]).max() <= spec.write_vox, (shape, spec)
            assert len(owned) == -(-length // spec.write_vox), "as few blocks as there can be"
            assert holds(field, owned, grid.margin[axis], length), (shape, spec)
            assert holds(read, owned, context, length), (shape, spec)
        index = rng.randrange(grid.n_blocks)
        z, y, x = grid.position(index)
        assert [(z, y, x)] == [tuple(np.unravel_index(index, grid.grid_shape))]
        assert index in grid.touching(grid[index].write_roi)


def test_a_gap_and_a_voxel_owned_twice_are_noticed():
    """Negative control."""
    assert tiles(20, np.array([[0, 12], [12, 20]]))
    for spans in ([[0, 12], [13, 20]], [[0, 12], [11, 20]], [[0, 12], [12, 19]], [[1, 12], [12, 20]], [[0, 20], [20, 20]]):
        assert not tiles(20, np.array(spans))
    assert not holds(np.array([[0, 14]]), np.array([[0, 12]]), 3, 20)


def test_sections_and_planes_cover_each_other_at_any_ratio():
    rng = random.Random(2)
    for _ in range(N):
        ratio = 1 + Fraction(rng.randrange(0, 19 * 997), rng.choice([1, 2, 3, 10, 23, 100, 997]) * 19)
        axial = AxialMap(min(ratio, Fraction(20)), rng.randrange(1, 10**5))
        assert axial.n_planes - 1 < axial.n_sections * axial.ratio <= axial.n_planes
        begin = rng.randrange(axial.n_planes)
        end = min(axial.n_planes, begin + rng.randrange(1, 300))
        touching, inside = axial.sections_touching(begin, end), axial.sections_inside(begin, end)
        assert len(touching), "every plane shares depth with a section"
        assert axial.section_edges(touching[0])[0] < begin + 1
        assert axial.section_edges(touching[-1])[1] > end - 1
        assert set(inside) <= set(touching)
        assert len(touching) - len(inside) <= 2, "all but those at the two ends lie wholly inside"
        # Neighbouring ranges of planes have between them every section, and share at most one.
        below = axial.sections_touching(0, begin)
        assert begin == 0 or below.stop - touching.start in (0, 1)


def test_jobs_share_out_every_block_and_shard_once_and_wait_for_what_they_need():
    rng = random.Random(3)
    for _ in range(100):
        shape = ZYX(*(rng.randrange(1, 500) for _ in range(3)))
        spec = BlocksSpec(write_vox=rng.randrange(32, 200), context_vox=rng.randrange(8, 30), overlap_vox=rng.randrange(0, 8))
        grid, shard = BlockGrid.even(shape, spec), rng.choice([32, 64, 96, 128])
        n_shards = int(np.prod([-(-n // shard) for n in shape]))
        n_fit, n_blend = rng.randint(1, grid.n_blocks), rng.randint(1, n_shards)
        jobs = Jobs(grid, spec.overlap_vox, shard, None, n_fit, n_blend, rng.choice([1, 2, 4, 8]))
        fitted = [index for job in range(n_fit) for index in jobs.fit_blocks(job)]
        assert fitted == list(range(grid.n_blocks))
        written = [roi for job in range(n_blend) for roi in jobs.blend_shards(job)]
        assert len(set(written)) == n_shards == len(written)
        assert sum(roi.volume for roi in written) == shape.volume
        job_of = {index: job for job in range(n_fit) for index in jobs.fit_blocks(job)}
        job = rng.randrange(n_blend)
        needed = {job_of[index] for roi in jobs.blend_shards(job) for index in grid.touching(roi, spec.overlap_vox)}
        assert needed <= set(jobs.fits_before(job)), "a shard would be blended before its blocks are fitted"
        assert {roi for job in range(len(jobs.pyramid)) for roi in [jobs.pyramid_region(job)]}
        covered = sum(jobs.pyramid_region(job).volume for job in range(len(jobs.pyramid)))
        assert covered == shape.volume


def test_shares_are_even_and_know_their_items():
    rng = random.Random(4)
    for _ in range(N):
        n_items = rng.randrange(1, 10**6)
        n_parts = rng.randint(1, n_items)
        part = rng.randrange(n_parts)
        items = share(n_items, n_parts, part)
        assert len(items) in (n_items // n_parts, n_items // n_parts + 1)
        assert items.stop == (share(n_items, n_parts, part + 1).start if part + 1 < n_parts else n_items)
        assert {part_of(items[0], n_items, n_parts), part_of(items[-1], n_items, n_parts)} == {part}


def test_boxes_cut_at_random_planes_make_up_the_whole():
    rng = random.Random(5)
    for _ in range(N // 10):
        whole = Roi(ZYX(*(rng.randrange(-50, 50) for _ in range(3))), ZYX(*(rng.randrange(2, 60) for _ in range(3))))
        axis = rng.randrange(3)
        at = rng.randrange(whole.offset[axis] + 1, whole.end[axis] + 1)
        upper = list(whole.end)
        upper[axis] = at
        lower = list(whole.offset)
        lower[axis] = at
        first, second = Roi.between(whole.offset, upper), Roi.between(lower, whole.end)
        assert first.volume + second.volume == whole.volume
        assert first.intersect(second).empty
        assert whole.contains(first)
        assert whole.contains(second)
