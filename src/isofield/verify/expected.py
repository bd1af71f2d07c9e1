"""What a run's records vouch for, gathered once: sha256 and size of every shard of level 0 that the run makes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isofield.geometry import Roi
from isofield.jobs import part_of
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.verify.finding import Repair, record_of


class Vouched:
    """Per shard of level 0, by its rank in the run's own: 44 bytes each, however large the volume."""

    def __init__(self, plan: Plan) -> None:
        self.shards, self.side = plan.jobs.shards, plan.shard_vox
        self._sha256 = np.zeros((len(self.shards), 32), np.uint8)
        self._bytes = np.full(len(self.shards), -1, np.int64)

    def put(self, roi: Roi, shard: Mapping[str, object]) -> None:
        """Note what a shard's record says; raises ValueError for one that says nothing of the kind."""
        sha256, n_bytes = shard.get("sha256"), shard.get("bytes")
        if not isinstance(sha256, str) or not isinstance(n_bytes, int) or len(sha256) != 64:
            raise ValueError(f"no sha256 and size of the shard at {tuple(roi.offset)}")
        rank = self._rank(roi)
        self._sha256[rank] = np.frombuffer(bytes.fromhex(sha256), np.uint8)
        self._bytes[rank] = n_bytes

    def of(self, roi: Roi) -> tuple[str, int] | None:
        """sha256 (64 hex digits) and bytes of a shard; None where no record speaks of it."""
        rank = self._rank(roi)
        if self._bytes[rank] < 0:
            return None
        return self._sha256[rank].tobytes().hex(), int(self._bytes[rank])

    def _rank(self, roi: Roi) -> int:
        return self.shards.rank([o // self.side for o in roi.offset])


def makers(paths: RunPaths, plan: Plan, level: int, roi: Roi) -> tuple[Repair, ...]:
    """Records of the jobs that make a shard again once they are gone."""
    jobs = plan.jobs
    if level == 0:
        rank = jobs.shards.rank([o // plan.shard_vox for o in roi.offset])
        return (record_of(paths.blend_job(part_of(rank, len(jobs.shards), jobs.n_blend))),)
    if level >= plan.pyramid_span.bit_length():
        return (record_of(paths.finish),)
    cube = [(o << level) // (plan.shard_vox * plan.pyramid_span) for o in roi.offset]
    return (record_of(paths.pyramid_job(jobs.pyramid.rank(cube))),)


def fit_jobs(paths: RunPaths, plan: Plan, blocks: tuple[int, ...]) -> tuple[Repair, ...]:
    """Records of the fit jobs that hold some blocks."""
    jobs = plan.jobs
    ranks = [jobs.blocks.rank(jobs.grid.position(index)) for index in blocks if index in jobs.blocks]
    numbers = {part_of(rank, len(jobs.blocks), jobs.n_fit) for rank in ranks}
    return tuple(record_of(paths.fit_job(job)) for job in sorted(numbers))


def blends_over(paths: RunPaths, plan: Plan, block: int) -> tuple[Repair, ...]:
    """Records of the blend jobs that write what a block reaches into."""
    jobs = plan.jobs
    reached = jobs.grid[block].write_roi.grown((plan.overlap_vox,) * 3).intersect(jobs.region or jobs.grid.bounds)
    if reached.empty:
        return ()
    side, box = plan.shard_vox, jobs.shards
    cells = [range(o // side, -(-e // side)) for o, e in zip(reached.offset, reached.end, strict=True)]
    ranks = {box.rank((z, y, x)) for z in cells[0] for y in cells[1] for x in cells[2]}
    return tuple(record_of(paths.blend_job(job)) for job in sorted({part_of(r, len(box), jobs.n_blend) for r in ranks}))
