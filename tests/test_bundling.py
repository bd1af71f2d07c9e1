"""Jobs: small runs have one, none lasts long before there are many, and there are never too many."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isofield.bundling import (
    JOB_S,
    MAX_BLEND_JOBS,
    MAX_FIT_JOBS,
    MAX_PYRAMID_JOBS,
    MOST_BLOCKS,
    blocks_per_job,
    pyramid_span,
    shards_per_job,
)
from isofield.geometry import Roi
from isofield.speed import GPU_SPEED

BLOCK, SHARD = 128**3, 256**3


def n_fit_jobs(n_blocks: int, block_vox: int = BLOCK) -> int:
    return -(-n_blocks // blocks_per_job(n_blocks, block_vox))


@pytest.mark.parametrize(
    ("n_blocks", "n_jobs"), [(1, 1), (64, 1), (65, 2), (2048, 32), (20_000, 32), (10**6, 245), (10**9, 1000)]
)
def test_blocks_are_bundled_into_few_jobs(n_blocks, n_jobs):
    assert n_fit_jobs(n_blocks) == n_jobs


@given(st.integers(1, 10**13), st.integers(16**3, 512**3))
def test_jobs_are_few_and_short_where_both_can_be(n, vox):
    for per_job, rate, most in (
        (blocks_per_job(n, vox), GPU_SPEED.fit_vox_per_s, MAX_FIT_JOBS),
        (shards_per_job(n, vox), GPU_SPEED.blend_vox_per_s, MAX_BLEND_JOBS),
    ):
        assert -(-n // per_job) <= most
        # Longer than it is meant to last is a job only if it has the least size, or if there were too many jobs else.
        if per_job > 64 and n <= (per_job - 1) * most:
            assert per_job * vox / rate <= JOB_S


def test_the_speed_decides_how_much_is_a_job():
    fast, slow, slower = (replace(GPU_SPEED, fit_vox_per_s=times * GPU_SPEED.fit_vox_per_s) for times in (10, 0.5, 0.25))
    assert blocks_per_job(10**6, BLOCK, slow) == pytest.approx(2 * blocks_per_job(10**6, BLOCK, slower), rel=0.01)
    assert blocks_per_job(1000, BLOCK, fast) == blocks_per_job(1000, BLOCK) == 64
    # So many files lie about while a job is under way, however short it is.
    assert blocks_per_job(10**6, BLOCK, fast) == MOST_BLOCKS


def test_shards_are_bundled_too():
    assert [shards_per_job(n, SHARD) for n in (1, 8, 256, 10**4, 10**7)] == [8, 8, 8, 160, 20_000]


@given(st.tuples(*(st.integers(0, 10**4),) * 3), st.tuples(*(st.integers(1, 10**5),) * 3))
def test_cubes_of_shards_are_few(offset, shape):
    def n_jobs(span: int) -> int:
        return prod(-(-(o + n) // span) - o // span for o, n in zip(offset, shape, strict=True))

    span = pyramid_span(Roi(offset, shape))
    assert n_jobs(span) <= MAX_PYRAMID_JOBS
    # The smallest power of two from 8 on that does.
    assert span & (span - 1) == 0
    assert span == 8 or n_jobs(span // 2) > MAX_PYRAMID_JOBS
