"""The benchmark of Snakemake's cost per job runs on both executors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_overhead_is_measured_on_this_machine_and_on_slurm(accounted, tmp_path):
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "overhead.py"), "--jobs", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=accounted.environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["local", "1"], ["slurm", "1"]]
    # On this machine it is a difference of two times, which may come out as anything where others compute.
    local, slurm = (float(row[3].removesuffix(" s")) for row in rows)
    assert abs(local) < 300
    assert 0 < slurm < 300
    # A bundle of a large volume's blocks lasts far longer than its job costs; one of few blocks less so.
    small, large = (float(cell.removesuffix("%")) for cell in rows[1][4:])
    assert large < small
