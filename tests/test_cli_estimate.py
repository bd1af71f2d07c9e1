"""`isofield estimate`: a table and JSON from metadata or from what is said of a volume, within seconds, with clear refusals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest

from isofield.cli import main
from isofield.speed import CPU_SPEED, GPU_SPEED

PAPER = '{"run": {"name": "paper"}, "source": {"path": "/nowhere"}}'
CUBE = ("--shape", "125,1250,1250", "--voxel-size-nm", "40,4,4")


@pytest.fixture
def said(capsys):
    def estimate(*arguments: str, status: int = 0) -> str:
        assert main(["estimate", *arguments]) == status
        captured = capsys.readouterr()
        return captured.err if status else captured.out

    return estimate


def test_the_table_says_what_a_run_costs(said):
    text = said(PAPER, *CUBE, "--gpus", "4", "--cpus", "64")
    assert "paper: 125 x 1250 x 1250 voxels of 40 x 4 x 4 nm, uint8, 195 MB" in text
    assert "1250 x 1250 x 1250 voxels of 4 nm: 1.95 billion voxels" in text
    rules = re.findall(r"^(\w+) +(\d+) .*$", text.partition("rule")[2].partition("wall")[0], flags=re.MULTILINE)
    names = " ".join(rule for rule, _ in rules)
    assert names == "plan train canvas fit blend pyramid finish measure report verify tidy all"
    *each, (_, total) = rules
    assert int(total) == sum(int(n) for _, n in each)
    assert re.search(r"wall time .* on 4 GPUs and 64 CPU cores \(2 per job\)", text)
    assert GPU_SPEED.basis in text


def test_json_says_the_same(said):
    found = json.loads(said(PAPER, *CUBE, "--json"))
    assert (found["n_vox"], found["n_blocks"], found["n_jobs"]) == (1250**3, 1000, 41)
    assert found["rules"]["fit"]["n"] == 16
    assert found["rules"]["fit"]["mem_mb"] * 1e6 > found["rules"]["fit"]["bytes"] > 1e9
    assert found["stored_bytes"] == int(found["image_bytes"] * found["stored_share"])
    assert found["speed"]["basis"] == GPU_SPEED.basis
    assert found["machines"] == {"n_gpus": 1, "n_cpus": 16}


def test_what_is_there_is_looked_at_and_what_is_not_there_is_refused(said):
    phantom = '{"run": {"name": "small"}, "source": {"path": "phantom:tissue", "simulate": {"factor": 8}}}'
    assert json.loads(said(phantom, "--json"))["measured_shape"] == [20, 160, 160]
    assert "source.path" in said(PAPER, status=2)
    # What source.simulate would make of the volume is what would be measured.
    assert json.loads(said(phantom, "--shape", "80,64,64", "--voxel-size-nm", "8,8,8", "--json"))["shape"] == [80, 64, 64]


def test_a_given_speed_counts(said):
    slow, fast = (json.loads(said(PAPER, *CUBE, "--speed", speed, "--json")) for speed in ("1", "10"))
    work = [found["rules"]["fit"]["seconds"] - 30 for found in (slow, fast)]
    assert work[0] == pytest.approx(10 * work[1])
    assert slow["speed"]["fit_vox_per_s"] == 1e6
    assert "given" in slow["speed"]["basis"]


def test_a_run_on_cpu_wants_no_gpu(said):
    for arguments in (("--gpus", "0"), ("--config", "run.device=cpu")):
        found = json.loads(said(PAPER, *CUBE, "--json", *arguments))
        assert (found["gpu_hours"], found["speed"]["basis"]) == (0, CPU_SPEED.basis)


def test_this_machine_can_be_timed(said):
    small = ("prior.channels=[8,8]", "prior.batch=2", "prior.patch_vox=32", "fit.steps=8", "run.threads_per_job=1")
    found = json.loads(said(PAPER, *CUBE, "--gpus", "0", "--measure", "--json", "--config", *small))
    assert found["speed"]["basis"] == "measured on this machine with 1 threads"
    assert found["speed"]["device"] == "cpu"
    assert all(1e3 < found["speed"][rate] < 1e9 for rate in ("fit_vox_per_s", "blend_vox_per_s"))
    assert 1e-4 < found["speed"]["training_step_s"] < 10


def test_a_petavoxel_takes_seconds_and_nothing_heavy():
    begun = time.monotonic()
    code = (
        "import sys; from isofield.cli import main; "
        f"main(['estimate', {PAPER!r}, '--shape', '12500,282843,282843', '--voxel-size-nm', '33,4,4', '--json']); "
        "print(*[m for m in ('torch', 'zarr', 'dask', 'pandas', 'scipy') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["measured_bytes"] == pytest.approx(1e15, rel=1e-3)
    assert found["n_jobs"] < 2000
    assert done.stderr.strip() == ""
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--shape", "125,1250"), "--shape"),
        (("--shape", "125,1250,0", "--voxel-size-nm", "40,4,4"), "--shape"),
        (("--shape", "125,1250,1250.5", "--voxel-size-nm", "40,4,4"), "whole voxels"),
        (("--shape", "125,1250,1250"), "--voxel-size-nm"),
        ((*CUBE, "--dtype", "complex64"), "--dtype"),
        ((*CUBE, "--gpus", "-1"), "--gpus"),
        ((*CUBE, "--cpus", "0"), "--cpus"),
        ((*CUBE, "--speed", "0"), "--speed"),
        (("--voxel-size-nm", "40,4,4"), "Give --shape"),
        (("--shape", "125,1250,1250", "--voxel-size-nm", "400,4,4"), "anisotropy"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(said, arguments, named):
    assert named in said(PAPER, *arguments, status=2)


def test_channels_are_counted_one_by_one_and_together(capsys):
    shape = ["--shape", "60,512,512", "--voxel-size-nm", "40,8,8", "--json"]
    given = json.dumps({"run": {"name": "a"}, "source": {"path": "nowhere.tif", "channel": [0, 2]}, "prior": {"channel": 2}})
    assert main(["estimate", given, *shape]) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["channels"]
    assert (first["name"], second["name"]) == ("channel-0", "channel-2")
    assert found["together"]["n_files"] == first["n_files"] + second["n_files"]
    assert found["together"]["wall_s"] == first["wall_s"] + second["wall_s"]
    assert first["wall_s"] < second["wall_s"], "the second trains the prior that both use"
    assert main(["estimate", given, *shape[:-1]]) == 0
    assert "All 2 channels, one after the other" in capsys.readouterr().out
    assert main(["estimate", given, *shape, "--config", "source.channel=all"]) == 2
    assert "Name the channels, as [0, 1]" in capsys.readouterr().err
    assert main(["estimate", given, *shape, "--config", "source.channel=0", "prior.channel=null"]) == 0
    assert "channels" not in json.loads(capsys.readouterr().out)
