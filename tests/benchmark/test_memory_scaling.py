"""What a job holds does not grow with the volume: peaks of processes, at a volume and at one of eight times as many voxels."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "memory.py"
LIMIT = 1.15
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc"),
]


def ratios(folder: Path, *arguments: str) -> dict[str, float]:
    """Stage -> peak at the larger volume as a multiple of that at the smaller one, as the table of the benchmark has it."""
    command = [sys.executable, str(SCRIPT), "--work", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\w+) +\| +(\d+) \| +(\d+) \| +([\d.]+) \|$", done.stdout, flags=re.MULTILINE)
    return {stage: float(ratio) for stage, _, _, ratio in rows}


@pytest.mark.timeout(2000)
def test_eight_times_the_voxels_take_no_more_memory(tmp_path):
    found = ratios(tmp_path, "--side", "256", "--stages", "plan,canvas,pyramid")
    assert list(found) == ["plan", "canvas", "pyramid"]
    assert {stage: ratio for stage, ratio in found.items() if ratio > LIMIT} == {}


def test_a_stage_that_held_the_volume_would_be_noticed(tmp_path):
    """Negative control: a plan that samples all voxels there are."""
    found = ratios(tmp_path, "--side", "256", "--stages", "plan", "--set", "intensity.n_sample_vox=20000000")
    assert found["plan"] > LIMIT
