"""The jobs of a run, rule by rule: how many, how long each takes, how much memory it needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from isofield.config import Config
from isofield.cost import memory
from isofield.cost.effort import adapted, n_reached, n_restored
from isofield.cost.storage import made_shape
from isofield.plan import Layout
from isofield.speed import CPU_SPEED, GPU_SPEED, Speed

START_S = 30.0
"""What every job takes beside its work: a scheduler's turn, starting Python, opening files."""
PLAN_BLOCK_S, VERIFY_BLOCK_S, TIDY_BLOCK_S = 2e-5, 3e-4, 1e-4
PLAN_LOOK_VOX = 2e9
"""Measured voxels that plan looks at, at most: of a larger volume blocks are looked at when they are fitted."""
READ_VOX_PER_S, PYRAMID_VOX_PER_S, VERIFY_VOX_PER_S = 50e6, 30e6, 50e6
MEASURE_VOX_PER_S, MEASURE_TRUTH_VOX_PER_S = 10e6, 0.4e6
"""Voxels per second and job: of sections read and stored, of output halved, read back, measured, and measured with truth."""
REPORT_S = 60.0
MEMORY_MARGIN, RUNTIME_MARGIN = 1.25, 2.0
"""What a job asks for beyond what is promised, and expected: other processors, file systems and neighbours."""
LEAST_RUNTIME_MIN = 20


@dataclass(frozen=True)
class RuleCost:
    """What the jobs of one rule cost: their number, and seconds and peak resident bytes of each; whether they want a GPU."""

    rule: str
    n: int
    seconds: float
    bytes: int
    on_gpu: bool = False

    @property
    def mem_mb(self) -> int:
        """Memory to ask a scheduler for, in 10^6 bytes."""
        return ceil(self.bytes * MEMORY_MARGIN / 1e6)

    @property
    def runtime_min(self) -> int:
        """Wall time to ask a scheduler for, in minutes."""
        return max(LEAST_RUNTIME_MIN, ceil(self.seconds * RUNTIME_MARGIN / 60))


def rule_costs(config: Config, layout: Layout, dtype: str, speed: Speed) -> dict[str, RuleCost]:
    """Jobs per rule; `speed` is that of this run's settings, on the device it names."""
    grid, jobs, itemsize = layout.grid, layout.jobs, np.dtype(dtype).itemsize
    on_gpu = speed.device.startswith("cuda")
    seen, made = memory.largest_shape(grid, grid.context), made_shape(layout)
    n_blocks, n_vox, shard_vox, has_truth = len(jobs.blocks), made.volume, jobs.shard_vox, config.source.simulate is not None
    spec = config.field.decided(config.fit.detail, layout.axial.ratio)
    measured_vox = layout.roi.shape.volume
    if on_gpu:
        fit_bytes = memory.cuda_fit_job_bytes(seen, config.fit.batch_blocks)
    else:
        fit_bytes = memory.fit_job_bytes(seen, config.fit.batch_blocks or 1, spec, layout.axial.ratio, config.fit.slice_share)
    # The last job of a rule may have less to do; what each takes is what the first one does.
    fitted = min(n_reached(jobs, (0, 0, 0)), ceil(n_blocks / jobs.n_fit) * grid.core.volume)
    blended = min(n_vox, ceil(layout.n_shards / jobs.n_blend) * prod(min(shard_vox, side) for side in made))
    halved = prod(min(shard_vox * jobs.pyramid_span, side) for side in made)
    n_measured = min(n_blocks, config.quality.max_blocks)
    measured_s = n_measured * grid.core.volume / (MEASURE_TRUTH_VOX_PER_S if has_truth else MEASURE_VOX_PER_S)
    plan_s = n_blocks * PLAN_BLOCK_S + min(measured_vox, PLAN_LOOK_VOX) / READ_VOX_PER_S
    train_s = config.prior.steps * speed.training_step_s + min(config.prior.pool_bytes // 4, measured_vox) / READ_VOX_PER_S
    if config.prior.steps:
        # Restoring takes no longer than fitting, which restores too.
        train_s += float(n_restored(config.prior, measured_vox, layout.axial.ratio)) / speed.fit_vox_per_s
    copied = min(measured_vox, config.report.max_measured_vox)
    mapped_s = min(n_vox, config.report.max_map_vox) / MEASURE_VOX_PER_S
    # A share of the image is read back, and of the blocks some are fitted once more.
    verified = 1.0 if config.verify.max_vox is None else min(1.0, config.verify.max_vox / (n_vox * 8 / 7))
    again_vox = config.verify.recompute_blocks * grid.core.volume
    verify_s = verified * n_vox * 8 / 7 / VERIFY_VOX_PER_S + n_blocks * VERIFY_BLOCK_S + again_vox / speed.fit_vox_per_s
    if on_gpu:
        again_bytes = memory.cuda_fit_job_bytes(seen, config.verify.recompute_blocks)
    else:
        again_bytes = memory.fit_job_bytes(seen, 1, spec, layout.axial.ratio, config.fit.slice_share)
    verify_bytes = memory.verify_job_bytes(
        shard_vox, config.output.chunk_vox, layout.shape, itemsize, config.run.threads_per_job, n_blocks
    )
    if config.verify.recompute_blocks:
        verify_bytes = max(verify_bytes, again_bytes)
    plan_bytes = memory.plan_job_bytes(config.intensity.n_sample_vox, n_blocks, itemsize)
    blend_bytes = memory.blend_job_bytes(seen, shard_vox, layout.shape, itemsize)
    pyramid_bytes = memory.pyramid_job_bytes(shard_vox, layout.shape, itemsize)
    measure_bytes = memory.measure_job_bytes(grid.core, n_measured, has_truth, config.run.threads_per_job)
    report_bytes = memory.report_job_bytes(
        memory.measure_job_bytes(grid.core, n_measured, has_truth, 1), shard_vox, made, itemsize
    )
    rows = (
        ("plan", 1, plan_s, plan_bytes),
        ("train", 1, train_s, memory.train_job_bytes(config.prior, measured_vox, itemsize, layout.axial.ratio)),
        ("canvas", 1, 0.0, memory.LIGHT_INTERPRETER_BYTES),
        ("fit", jobs.n_fit, fitted / speed.fit_vox_per_s, fit_bytes),
        ("blend", jobs.n_blend, blended / speed.blend_vox_per_s, blend_bytes),
        ("pyramid", len(jobs.pyramid), halved / PYRAMID_VOX_PER_S, pyramid_bytes),
        ("finish", 1, 8 * n_vox / jobs.pyramid_span**3 / PYRAMID_VOX_PER_S, pyramid_bytes),
        ("measure", 1, measured_s, measure_bytes),
        ("report", 1, REPORT_S + copied / READ_VOX_PER_S + mapped_s, report_bytes),
        ("verify", 1, verify_s, verify_bytes),
        ("tidy", 1, n_blocks * TIDY_BLOCK_S, memory.tidy_job_bytes(ceil(n_blocks / jobs.n_fit))),
    )
    kept = {rule: memory.kept_reads_bytes(rule, config) for rule, *_ in rows}
    return {
        rule: RuleCost(rule, n, START_S + seconds, n_bytes + kept[rule], on_gpu and rule in ("train", "fit"))
        for rule, n, seconds, n_bytes in rows
    }


def expected_speed(config: Config, layout: Layout, on_gpu: bool) -> Speed:
    """The speed of this run's settings where none was measured."""
    return adapted(GPU_SPEED if on_gpu else CPU_SPEED, config, layout)


def asked_for(config: Config, layout: Layout, dtype: str) -> dict[str, RuleCost]:
    """Jobs per rule as the workflow asks for them: on a GPU if run.device says so, as slow as a CPU if it leaves it open."""
    return rule_costs(config, layout, dtype, expected_speed(config, layout, config.run.device.startswith("cuda")))
