"""What a whole run costs, as numbers and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil

import numpy as np

from isofield.config import Config
from isofield.cost.rules import RuleCost, rule_costs
from isofield.cost.storage import (
    STORED_SHARE,
    fields_bytes,
    image_bytes,
    made_shape,
    n_chunk_files,
    n_files,
    n_files_running,
    n_image_shards,
)
from isofield.geometry import ZYX
from isofield.omezarr.metadata import level_shapes
from isofield.plan import Layout
from isofield.source.volume import VolumeInfo
from isofield.speed import Speed

MAX_JOBS = 2000
"""Jobs beyond which Snakemake itself takes minutes to see what is to be done."""
MAX_JOB_S = 24 * 3600.0
"""Longer jobs than this are not to be had on most clusters."""


@dataclass(frozen=True)
class Machines:
    """What works at the same time: GPUs, and processor cores for jobs without one."""

    n_gpus: int
    n_cpus: int


@dataclass(frozen=True)
class Estimate:
    """The cost of a run. Bytes, voxels and files are exact for the layout but for compression; times are as good as `speed`."""

    name: str
    measured_shape: ZYX
    measured_voxel_nm: tuple[float, float, float]
    dtype: str
    measured_bytes: int
    shape: ZYX
    made_shape: ZYX
    voxel_nm: float
    n_vox: int
    n_blocks: int
    block_shape: ZYX
    blocks_per_job: int
    n_shards: int
    shards_per_job: int
    rules: tuple[RuleCost, ...]
    gpu_hours: float
    cpu_hours: float
    wall_s: float
    machines: Machines
    threads_per_job: int
    fields_bytes: int
    keep_fields: bool
    image_bytes: int
    stored_share: float
    n_image_shards: int
    n_chunk_files: int
    n_files: int
    n_files_running: int
    speed: Speed

    @property
    def n_jobs(self) -> int:
        return sum(rule.n for rule in self.rules)

    @property
    def stored_bytes(self) -> int:
        """Size of the image after compression, as assumed."""
        return int(self.image_bytes * self.stored_share)

    def to_dict(self) -> dict[str, object]:
        """For machines; see the fields' names."""
        plain = asdict(self) | {"n_jobs": self.n_jobs, "stored_bytes": self.stored_bytes, "warnings": self.warnings()}
        plain["rules"] = {one.rule: asdict(one) | {"mem_mb": one.mem_mb, "runtime_min": one.runtime_min} for one in self.rules}
        return plain

    def warnings(self) -> list[str]:
        """What would keep this run from being one run."""
        found = []
        if self.n_jobs > MAX_JOBS:
            found.append(
                f"{self.n_jobs} jobs are more than {MAX_JOBS}: leave fit.blocks_per_job, "
                "output.shards_per_job and output.pyramid_span null"
            )
        long = [f"{one.rule} {duration(one.seconds)}" for one in self.rules if one.seconds > MAX_JOB_S]
        if long:
            found.append(f"jobs of more than a day, too long for most schedulers: {', '.join(long)}; see docs/scaling.md")
        return found


def estimate(config: Config, info: VolumeInfo, layout: Layout, speed: Speed, machines: Machines) -> Estimate:
    """The cost of reconstructing `info` as `layout` has it, by jobs of this `speed` on so many `machines`."""
    costs = rule_costs(config, layout, info.dtype, speed)
    threads, itemsize = config.run.threads_per_job, np.dtype(info.dtype).itemsize
    at_once, jobs, made = parallel(costs, machines, threads), layout.jobs, made_shape(layout)
    return Estimate(
        name=config.run.name,
        measured_shape=layout.roi.shape,
        measured_voxel_nm=tuple(float(side) for side in info.voxel_size_nm),  # type: ignore[arg-type]
        dtype=info.dtype,
        measured_bytes=layout.roi.shape.volume * itemsize,
        shape=layout.shape,
        made_shape=made,
        voxel_nm=float(layout.voxel_size_nm),
        n_vox=made.volume,
        n_blocks=len(jobs.blocks),
        block_shape=layout.grid.core,
        blocks_per_job=ceil(len(jobs.blocks) / jobs.n_fit),
        n_shards=layout.n_shards,
        shards_per_job=ceil(layout.n_shards / jobs.n_blend),
        rules=tuple(costs.values()),
        gpu_hours=sum(one.n * one.seconds for one in costs.values() if one.on_gpu) / 3600,
        cpu_hours=sum(one.n * one.seconds for one in costs.values() if not one.on_gpu) * threads / 3600,
        wall_s=wall_s(costs, at_once),
        machines=machines,
        threads_per_job=threads,
        fields_bytes=fields_bytes(config, layout),
        keep_fields=config.run.keep_fields,
        image_bytes=image_bytes(level_shapes(made, config.output.pyramid_min_vox), itemsize),
        stored_share=STORED_SHARE[np.dtype(info.dtype).str[1:]],
        n_image_shards=n_image_shards(config, layout),
        n_chunk_files=n_chunk_files(config, layout),
        n_files=n_files(config, layout),
        n_files_running=n_files_running(config, layout, at_once["fit"]),
        speed=speed,
    )


def parallel(costs: dict[str, RuleCost], machines: Machines, threads: int) -> dict[str, int]:
    """Jobs of each rule that run at once."""
    on_cpus = max(1, machines.n_cpus // threads)
    return {rule: min(one.n, max(1, machines.n_gpus) if one.on_gpu else on_cpus) for rule, one in costs.items()}


def wall_s(costs: dict[str, RuleCost], at_once: dict[str, int]) -> float:
    """Seconds from the first job's start to the last one's end, without waiting for the machines."""
    lasts = {rule: ceil(one.n / at_once[rule]) * one.seconds for rule, one in costs.items()}
    return sum(lasts[rule] for rule in ("plan", "train", "fit", "blend", "report")) + max(
        lasts["pyramid"] + lasts["finish"] + lasts["verify"], lasts["measure"]
    )


def lines(found: Estimate) -> list[str]:
    """The estimate for a person."""
    z, y, x = found.measured_voxel_nm
    machines = found.machines
    per_chunk = f", {found.n_chunk_files} chunks of OME-Zarr 0.4, which knows no shards" if found.n_chunk_files else ""
    who = f"{machines.n_gpus} GPU{'s' * (machines.n_gpus != 1)} and " if found.gpu_hours else ""
    speed = found.speed
    rows = [("rule", "jobs", "each lasts", "GPU hours", "CPU hours", "memory each")]
    for one in found.rules:
        hours = one.n * one.seconds / 3600
        columns = ("", number(hours * found.threads_per_job)) if not one.on_gpu else (number(hours), "")
        rows.append((one.rule, f"{one.n}", duration(one.seconds), *columns, size(one.bytes)))
    rows.append(("all", f"{found.n_jobs}", "", number(found.gpu_hours), number(found.cpu_hours), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    table = [
        "  ".join(
            [f"{row[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
    return [
        f"{found.name}: {sides(found.measured_shape)} voxels of {z:g} x {y:g} x {x:g} nm, {found.dtype}, "
        f"{size(found.measured_bytes)}",
        f"becomes   {sides(found.shape)} voxels of {found.voxel_nm:g} nm"
        + (f", of which this run makes {sides(found.made_shape)}" if found.made_shape != found.shape else "")
        + f": {count(found.n_vox)} voxels",
        f"blocks    {found.n_blocks} of {sides(found.block_shape)}, {found.blocks_per_job} per job; "
        f"shards {found.n_shards}, {found.shards_per_job} per job",
        "",
        *table,
        "",
        f"wall time {duration(found.wall_s)} on {who}{machines.n_cpus} CPU cores ({found.threads_per_job} per job)",
        f"fields    {size(found.fields_bytes)}, {'kept' if found.keep_fields else 'until the image is complete'}",
        f"image     {size(found.stored_bytes)} with all levels, assuming that it is stored in {found.stored_share:g} of "
        f"{size(found.image_bytes)}",
        f"files     at most {found.n_files} when finished (2 per shard, 10 per job{per_chunk}), "
        f"{found.n_files_running} on the way",
        f"speed     a fit job {speed.fit_vox_per_s / 1e6:.2f} Mvoxel/s on {speed.device}, a blend job "
        f"{speed.blend_vox_per_s / 1e6:.2f}, a training step {speed.training_step_s:.3f} s: {speed.basis}",
        *(f"warning   {text}" for text in found.warnings()),
    ]


def sides(shape: ZYX) -> str:
    return " x ".join(map(str, shape))


def number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def size(n_bytes: float) -> str:
    """Bytes in a unit of 1000 to a power."""
    return _scaled(n_bytes, ("B", "kB", "MB", "GB", "TB", "PB", "EB"))


def count(n: float) -> str:
    """A large count in words that need no zeros counted."""
    return _scaled(n, ("", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion"))


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {units[power]}".rstrip()


def duration(seconds: float) -> str:
    """A time in the largest unit of which there are two or more, up to days."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"
