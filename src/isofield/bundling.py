"""How many blocks and shards one job gets where the configuration leaves it open."""

from __future__ import annotations

from math import prod

from isofield.geometry import Roi
from isofield.speed import GPU_SPEED, Speed

JOB_S = 45 * 60.0
"""How long a job is meant to last: a scheduler costs some 10 s per job, a lost node all of one that was not kept."""
SPREAD_JOBS = 32
"""Jobs that a run is spread over before they grow beyond the least size."""
LEAST_BLOCKS, MOST_BLOCKS, MAX_FIT_JOBS = 64, 4096, 1000
"""Most, unless that makes too many jobs."""
PORTION_BLOCKS = 256
"""Blocks of a job under way that lie loose, two files each, until they are packed together."""
LEAST_SHARDS, MAX_BLEND_JOBS = 8, 500
LEAST_SPAN, MAX_PYRAMID_JOBS = 8, 400


def blocks_per_job(n_blocks: int, block_vox: int, speed: Speed = GPU_SPEED) -> int:
    """Blocks of one fit job, for blocks that own `block_vox` voxels."""
    item_s = max(block_vox / speed.fit_vox_per_s, JOB_S / MOST_BLOCKS)
    return _per_job(n_blocks, item_s, LEAST_BLOCKS, MAX_FIT_JOBS)


def shards_per_job(n_shards: int, shard_vox: int, speed: Speed = GPU_SPEED) -> int:
    """Shards of one blend job, for shards of `shard_vox` voxels."""
    return _per_job(n_shards, shard_vox / speed.blend_vox_per_s, LEAST_SHARDS, MAX_BLEND_JOBS)


def pyramid_span(shards: Roi) -> int:
    """Shards along each side of what one pyramid job owns, a power of two, for a box of shards."""
    span = LEAST_SPAN
    while prod(-(-end // span) - begin // span for begin, end in zip(shards.offset, shards.end, strict=True)) > MAX_PYRAMID_JOBS:
        span *= 2
    return span


def _per_job(n: int, item_s: float, least: int, most_jobs: int) -> int:
    """At least `least`, at most what lasts JOB_S, unless that makes more than `most_jobs` jobs."""
    lasting = int(JOB_S / item_s)
    return max(least, min(lasting, -(-n // SPREAD_JOBS)), -(-n // most_jobs))
