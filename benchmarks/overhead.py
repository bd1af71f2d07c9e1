#!/usr/bin/env python3
"""What Snakemake costs per job, on this machine and on SLURM, and which share of a run that is.

    benchmarks/overhead.py [--jobs 20] [--executors local slurm] [--speed 5.5] [--arrays]

Runs jobs that do nothing. `slot` is how long a job holds what it was given; for a job of SLURM its start and end as SLURM has
them. `wall` is the run's time over its jobs, polling included. Without a cluster: `python tests/slurm/cluster.py
benchmarks/overhead.py`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from isofield.config import make_config
from isofield.plan import lay_out
from isofield.source.probe import probe
from isofield.speed import GPU_SPEED

SNAKEFILE = """\
rule all:
    input:
        expand("out/{job}", job=range(__JOBS__)),


rule nothing:
    output:
        "out/{job}",
    resources:
        mem_mb=200,
        runtime=5,
    shell:
        "touch {output}"
"""
VOLUMES = {"one job, 512³": (512, 512, 512), "a terabyte, 10 000³": (10_000, 10_000, 10_000)}
RATIO = 8


def measure(executor: str, n_jobs: int, options: list[str]) -> tuple[float, float | None]:
    """Seconds per job: wall time of a run of `n_jobs`, less that of a run with nothing to do, and time a job held its slot."""
    with tempfile.TemporaryDirectory(prefix="isofield-overhead-", dir=Path.cwd()) as folder:
        Path(folder, "Snakefile").write_text(SNAKEFILE.replace("__JOBS__", str(n_jobs)))
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "none", "--directory", folder]
        command += ["--snakefile", f"{folder}/Snakefile", "--executor", executor, *options]
        seconds, said = run(command)
        idle, _ = run(command)
        name = re.search(r"SLURM run ID: (\S+)", said)
        return (seconds - idle) / n_jobs, held(name[1]) / n_jobs if name else None


def run(command: list[str]) -> tuple[float, str]:
    begun = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    return time.monotonic() - begun, done.stdout


def held(name: str) -> float:
    """Seconds between start and end, summed over all of SLURM's jobs of this name."""
    command = ["squeue", "--states=all", "--noheader", "--array", "--name", name, "--format=%S %e"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    times = [[datetime.fromisoformat(word) for word in line.split()] for line in lines if line.strip()]
    return sum((end - start).total_seconds() for start, end in times)


def seconds_of_fitting(shape: tuple[int, int, int], mvox_per_s: float) -> float:
    """Mean time of a fit job over a volume of `shape` with the bundles that are the default."""
    nz, ny, nx = shape
    source = {"path": f"phantom:tissue?shape={nz},{ny},{nx}", "simulate": {"factor": RATIO}}
    config = make_config({"run": {"name": "overhead"}, "source": source})
    layout = lay_out(config, probe(config.source))
    return layout.shape.volume / layout.n_fit_jobs / (mvox_per_s * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--executors", nargs="+", choices=("local", "slurm"), default=["local", "slurm"])
    usual = GPU_SPEED.fit_vox_per_s / 1e6
    parser.add_argument("--speed", type=float, default=usual, help=f"million output voxels fitted per second and job ({usual:g})")
    parser.add_argument("--arrays", action="store_true", help="submit one job array instead of single jobs")
    args = parser.parse_args()
    options = {
        "local": ["--cores", str(os.cpu_count())],
        "slurm": ["--jobs", str(args.jobs), "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"],
    }
    if args.arrays:
        options["slurm"] += ["--slurm-array-jobs", "all"]
    print("| executor | jobs | wall per job | slot per job |" + "".join(f" share, {name} |" for name in VOLUMES))
    print("|---|---|---|---|" + "---|" * len(VOLUMES))
    for executor in args.executors:
        wall, slot = measure(executor, args.jobs, options[executor])
        cost = slot if slot is not None else wall * min(os.cpu_count() or 1, args.jobs)
        shares = [cost / (cost + seconds_of_fitting(shape, args.speed)) for shape in VOLUMES.values()]
        print(f"| {executor} | {args.jobs} | {wall:.2f} s | {cost:.2f} s |" + "".join(f" {share:.2%} |" for share in shares))


if __name__ == "__main__":
    main()
