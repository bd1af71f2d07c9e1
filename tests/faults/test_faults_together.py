"""Two at once, and clocks that were set back: nothing is done twice at the same place, and no time is believed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from faulty_run import STAGES, FaultyRun, difference
from ledger import CLEAR, SAME

from isofield.config import section_mark
from isofield.plan import Plan
from isofield.recovery import withdraw_false_records
from isofield.stages import SECTIONS_READ

REPOSITORY = Path(__file__).parents[2]
DAY_S = 86_400
HOLD_THE_RUN = """
import sys, time
from isofield.locking import claim_run
claim_run(sys.argv[1])
print(flush=True)
time.sleep(999)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


@pytest.mark.faults
def test_two_processes_of_one_job_fit_its_blocks_once(run, undisturbed, ledger):
    """As when a job outlives a snakemake that was killed, and the next one starts it again."""
    run.restore(undisturbed.before["fit"])
    command = [sys.executable, "-m", "isofield.cli", *run.argv("fit", 0)]
    both = [subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [process.communicate(timeout=500)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert sorted("4 blocks, 4 already done" in text for text in texts) == [False, True], texts
    assert run.stage("fit").status == 0
    assert difference(run.digest(), undisturbed.digests["blend"]) == []
    ledger.note("two processes of one job at once", "fit", SAME)


@pytest.mark.faults
def test_a_second_snakemake_on_the_same_results_is_refused_whatever_its_directory(run, undisturbed, ledger, tmp_path):
    run.restore(undisturbed.before["blend"])
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_RUN, str(run.root)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout.readline() == "\n"
        before = run.digest()
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(run.config.model_dump(mode="json")))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1"]
        command += ["--directory", str(tmp_path), "--configfile", str(config)]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(command, env={**ENVIRONMENT, "PATH": path}, capture_output=True, text=True, timeout=500)
        assert done.returncode != 0
        assert f"process {first.pid} on" in done.stderr, done.stderr
        assert "is working on it. Wait until it ends" in done.stderr
        assert run.digest() == before
    finally:
        first.kill()
        first.wait()
    ledger.note("two snakemakes on one results folder", "all", CLEAR)


@pytest.mark.faults
def test_two_runs_that_would_fill_one_image_are_refused(run, undisturbed, ledger, tmp_path):
    image = str(tmp_path / "image.ome.zarr")
    one, two = (
        FaultyRun(run.folder, run.forker, {"output": {"path": image}}, results=tmp_path / name) for name in ("one", "two")
    )
    for stage in ("plan", "canvas"):
        assert one.stage(stage).status == 0
    assert two.stage("plan").status == 0
    before = {f: f.read_bytes() for f in Path(image).rglob("*") if f.is_file()}
    ended = two.stage("canvas")
    assert ended.clear, ended.text
    assert f"which the run in {one.root} makes" in ended.text
    assert {f: f.read_bytes() for f in Path(image).rglob("*") if f.is_file()} == before
    ledger.note("two runs with one output.path", "canvas", CLEAR)


@pytest.mark.faults
@pytest.mark.parametrize("days", [10, -10], ids=["set back", "set ahead"])
@pytest.mark.parametrize("stage", ["train", "fit", "blend", "finish", "tidy"])
def test_a_clock_that_was_set_in_the_middle_changes_nothing(run, undisturbed, ledger, stage, days):
    """What is there bears times of the future, as if the clock had been set back since; or of long ago."""
    run.restore(undisturbed.before[stage])
    moved = time.time() + days * DAY_S
    for path in run.root.rglob("*"):
        os.utime(path, (moved, moved))
    config, paths = run.config, run.paths
    marks = {name: section_mark(config.section_json(*read)) for name, read in SECTIONS_READ.items()}
    assert withdraw_false_records(paths, marks, Plan.load(paths.plan).source["identity"], remove=False) == []
    for name in STAGES[STAGES.index(stage) :]:
        ended = run.stage(name)
        assert ended.status == 0, ended.text
    assert withdraw_false_records(paths, marks, Plan.load(paths.plan).source["identity"], remove=False) == []
    assert difference(run.digest(), undisturbed.digests["end"]) == []
    ledger.note("clock set in the middle", stage, SAME)
