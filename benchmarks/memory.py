#!/usr/bin/env python3
"""Peak memory of each stage's job at a volume and at one of eight times as many voxels.

    python benchmarks/memory.py [--side 128] [--stages plan,...] [--work FOLDER] [--set KEY=VALUE ...]

Both runs have blocks, jobs and settings alike; the larger one has more jobs. Fields are fitted for one step: what a step holds
does not depend on how many there are. Every job runs in a process of its own; the peak of a stage is the largest of its jobs'.
The volumes are Zarr arrays on disk. What stages show or sample is bounded below what the smaller volume has, or it would grow
until it is. Without the stage blend among them, stages that need voxels find noise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import zarr

from isofield.config import Config, load_config
from isofield.omezarr import labels
from isofield.omezarr.store import shard_rois, write_shard
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.stages import SECTIONS_READ

RATIO = 8
CONFIG = {
    "run": {"results": "results", "threads_per_job": 1, "device": "cpu", "keep_fields": True},
    "source": {"voxel_size_nm": [64, 8, 8]},
    "intensity": {"n_sample_vox": 100_000},
    "blocks": {"write_vox": 32, "context_vox": 8, "overlap_vox": 4},
    "prior": {"channels": [16, 16], "steps": 2, "batch": 4, "patch_vox": 32, "pool_bytes": 4_000_000},
    "fit": {"steps": 1, "blocks_per_job": 64},
    "output": {"chunk_vox": 32, "shard_vox": 64, "shards_per_job": 8, "pyramid_min_vox": 64},
    "quality": {"max_blocks": 64, "n_spectrum_cubes": 4, "spectrum_cube_vox": 32},
    "report": {"cube_vox": 64, "max_picture_vox": 96},
}
STAGES = ("plan", "train", "canvas", "fit", "blend", "pyramid", "finish", "measure", "report", "verify", "tidy")

# VmHWM belongs to this process alone; ru_maxrss would also count the parent that started it.
CHILD = """
import sys
from isofield.cli import main
status = main(sys.argv[1:])
print("peak", next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
sys.exit(status)
"""


def config_at(folder: Path, side: int, changes: list[str]) -> Config:
    """The run over a cube of `side` output voxels, its sections written below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shape, chunk = (side // RATIO, side, side), 96
    array = zarr.create_array(str(folder / "sections.zarr"), shape=shape, dtype="uint8", chunks=(4, chunk, chunk))
    rng = np.random.default_rng(0)
    for z in range(0, shape[0], 4):
        array[z : z + 4] = rng.integers(0, 255, (4, side, side), dtype=np.uint8)
    run = {**CONFIG["run"], "name": f"cube{side}", "results": str(folder / "results")}
    source = {**CONFIG["source"], "path": str(folder / "sections.zarr")}
    return load_config(json.dumps({**CONFIG, "run": run, "source": source}), changes)


def peak_mb(config: Config, stage: str, job: int | None) -> float:
    """Peak resident memory of one job in MB."""
    command = [sys.executable, "-c", CHILD, stage, config.section_json(*SECTIONS_READ[stage])]
    command += [] if job is None else ["--job", str(job)]
    # One arena per thread would make the peak depend on which thread happened to allocate.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    return int(done.stdout.rsplit("peak ", 1)[1]) / 1024


def fill(paths: RunPaths) -> None:
    """Noise where the stage blend would have written the image and its labels."""
    rng, plan = np.random.default_rng(0), Plan.load(paths.plan)
    for roi in shard_rois(plan.shape, plan.shard_vox):
        write_shard(labels.location(paths.isotropic), 0, roi, rng.integers(1, 3, tuple(roi.shape), dtype=np.uint8))
        write_shard(paths.isotropic, 0, roi, rng.integers(0, 255, tuple(roi.shape), dtype=np.uint8))


def peaks(config: Config, stages: list[str]) -> dict[str, float]:
    """Peak of each stage in MB, the stages run in turn."""
    found = {}
    for stage in stages:
        if stage == "pyramid" and "blend" not in stages:
            fill(RunPaths(Path(config.run.results) / config.run.name))
        if stage in ("fit", "blend", "pyramid"):
            plan = Plan.load(RunPaths(Path(config.run.results) / config.run.name).plan)
            n_jobs = {"fit": plan.n_fit_jobs, "blend": plan.n_blend_jobs, "pyramid": len(plan.jobs.pyramid)}[stage]
            per_job = [peak_mb(config, stage, job) for job in range(n_jobs)]
            found[stage] = max(per_job)
        else:
            found[stage] = peak_mb(config, stage, None)
        print(f"{config.run.name} {stage}: {found[stage]:.0f} MB", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="side of the smaller cube in output voxels, a multiple of 64")
    parser.add_argument("--stages", default=",".join(STAGES), help="which, in their order, separated by commas (default: all)")
    parser.add_argument("--work", type=Path, help="folder to work in (default: a new temporary one)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the configuration")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="isofield-memory-"))
    stages = given.stages.split(",")
    small, large = (peaks(config_at(work / f"{side}", side, given.set), stages) for side in (given.side, 2 * given.side))
    print(f"| stage   | {given.side}^3, MB | {2 * given.side}^3, MB | ratio |\n|---------|-----------|-----------|-------|")
    for stage in stages:
        print(f"| {stage:7} | {small[stage]:9.0f} | {large[stage]:9.0f} | {large[stage] / small[stage]:5.2f} |")


if __name__ == "__main__":
    main()
