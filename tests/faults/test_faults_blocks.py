"""Blocks that cannot be fitted: named, kept apart from the others, and interpolated if that is what was asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from faulty_run import STAGES, Ended, FaultyRun, difference, write_sections
from ledger import CLEAR, SAME

from isofield.cli import main
from isofield.intensity import to_dtype
from isofield.omezarr.reading import read_region
from isofield.plan import Plan
from isofield.source import open_source
from isofield.stages.blocks_io import MeasuredBlocks

BROKEN = 5
FALLBACK = {"run": {"on_failed_block": "fallback"}}


@pytest.fixture
def before_fit(run, undisturbed) -> FaultyRun:
    run.restore(undisturbed.before["fit"])
    return run


def filled_in(run: FaultyRun) -> FaultyRun:
    return FaultyRun(run.folder, run.forker, {**run.changes, **FALLBACK})


def states(run: FaultyRun) -> dict[int, str]:
    return {i: run.store.state(i) for i in range(8)}


def test_a_block_that_always_fails_is_interpolated_where_that_was_asked_for(before_fit, undisturbed, ledger, capsys):
    run = filled_in(before_fit)
    ended = run.stage("fit", nan_blocks=[BROKEN])
    assert ended.status == 0, ended.text
    assert "block 5 is given up, its place will be interpolated: diverged in 2 attempts: loss nan" in ended.text
    assert states(run) == {i: "fallback" if i == BROKEN else "done" for i in range(8)}
    # It is not tried again.
    seconds = {i: run.store.read(i).seconds for i in range(8)}
    assert run.stage("fit").status == 0
    assert {i: run.store.read(i).seconds for i in range(8)} == seconds
    for stage in STAGES[STAGES.index("blend") :]:
        ended = run.stage(stage)
        assert ended.status == 0, ended.text
    # Where only this block reaches, the image is the interpolation; where only another one does, it is not.
    plan = Plan.load(run.paths.plan)
    measured = MeasuredBlocks(open_source(run.config.source), plan)
    for index, equal in ((BROKEN, True), (BROKEN - 1, False)):
        inner = plan.block_grid[index].write_roi.grown((-4, -4, -4))
        cubic = to_dtype(plan.contrast.restore(measured.base(inner)), plan.dtype)
        off = np.abs(read_region(run.paths.isotropic, 0, inner).astype(int) - cubic)
        # Single precision, over another region: a value may fall on the other side of a half.
        assert (off.max() <= 1 and (off > 0).mean() < 1e-3) == equal
    capsys.readouterr()
    assert main(["status", str(run.root)]) == 0
    said = capsys.readouterr().out
    assert "fallback 1 (could not be fitted, interpolated instead)" in said
    assert "block 5: diverged in 2 attempts" in said
    assert json.loads(run.paths.metrics.read_bytes())["n_blocks"] == {"done": 7, "fallback": 1}
    assert "1 blocks could not be fitted; they were interpolated, not reconstructed: 5." in run.paths.report.read_text()
    # Asked to stop instead, the run tries the block again; its cause being gone, all is as ever.
    run = before_fit
    run.restore(undisturbed.before["fit"])
    filled_in(run).stage("fit", nan_blocks=[BROKEN])
    assert run.stage("fit").status == 0
    assert difference(run.digest(), undisturbed.digests["blend"]) == []
    ledger.note("block that fails every time, on_failed_block: fallback", "fit", "interpolated, marked and counted")


@pytest.mark.faults
def test_a_block_that_always_fails_stops_the_run_otherwise(before_fit, undisturbed, ledger):
    run = before_fit
    ended = run.stage("fit", nan_blocks=[BROKEN])
    assert ended.clear, ended.text
    assert "1 of 4 blocks failed (5); the others are kept" in ended.text
    assert "run.on_failed_block: fallback" in ended.text
    assert states(run) == {i: "failed" if i == BROKEN else "done" for i in range(8)}
    assert not run.paths.fit_job(1).exists()
    ended = run.stage("blend")
    assert ended.clear, ended.text
    ended = run.stage("fit")
    assert ended.status == 0, ended.text
    assert difference(run.digest(), undisturbed.digests["blend"]) == []
    ledger.note("NaN in one block's fit", "fit", CLEAR)


@pytest.mark.faults
@pytest.mark.parametrize("policy", ["stop", "fallback"])
def test_more_than_half_failing_stops_early(before_fit, undisturbed, ledger, policy):
    run = filled_in(before_fit) if policy == "fallback" else before_fit
    ended = run.stage("fit", 1, nan_blocks=[4, 5, 6])
    assert ended.clear, ended.text
    assert "stopped early, 3 of 3 blocks failed (4, 5, 6), more than half of the job" in ended.text
    assert "fit.learning_rate" in ended.text
    assert "needs mending" not in ended.text
    assert {i: run.store.state(i) for i in range(4, 8)} == {4: "failed", 5: "failed", 6: "failed", 7: "missing"}
    assert not run.paths.fit_job(1).exists()
    assert before_fit.stage("fit").status == 0
    assert difference(before_fit.digest(), undisturbed.digests["blend"]) == []
    ledger.note("more than half of a job's blocks failing", "fit", CLEAR)


@pytest.mark.faults
def test_just_half_failing_does_not(before_fit):
    run = filled_in(before_fit)
    ended = run.stage("fit", 1, nan_blocks=[4, 5])
    assert ended.status == 0, ended.text
    assert {i: run.store.state(i) for i in range(4, 8)} == {4: "fallback", 5: "fallback", 6: "done", 7: "done"}


@pytest.mark.faults
def test_a_job_that_runs_out_of_memory_goes_on_with_fewer_blocks_at_once(forker, tmp_path, ledger):
    """The error is that of torch's allocator; it has no memory for more than one block, then for none at all."""
    # Six blocks in a row: the four that are no ends are of one shape and can be fitted together.
    write_sections(tmp_path / "sections.zarr", shape=(32, 32, 192))
    run = FaultyRun(tmp_path, forker, {"fit": {"batch_blocks": 4, "blocks_per_job": 6}})
    for stage in ("plan", "train", "fit"):
        ended = run.stage(stage)
        assert ended.status == 0, ended.text
    assert "out of memory" not in ended.text
    fields = {i: run.store.payload(i) for i in range(6)}

    def again(**fate) -> Ended:
        for path in [*run.store.folder.iterdir(), run.paths.fit_job(0)]:
            path.unlink(missing_ok=True)
        return run.stage("fit", **fate)

    ended = again(memory_blocks=1)
    assert ended.status == 0, ended.text
    assert ended.text.count("out of memory with 4 blocks at once, going on with 2") == 1
    assert ended.text.count("out of memory with 2 blocks at once, going on with 1") == 1, "once is enough for the whole job"
    assert {i: run.store.payload(i) for i in range(6)} == fields
    ended = again(memory_blocks=0)
    assert ended.clear, ended.text
    assert "memory ran out over a single block. Give the job more memory, or lower blocks.write_vox" in ended.text
    ledger.note("worker out of memory", "fit", f"{SAME}, with fewer blocks at once; clear message where one is too many")


@pytest.mark.faults
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_fit_that_is_told_to_stop_keeps_every_finished_block(before_fit, undisturbed, ledger, name):
    run = before_fit
    ended = run.stage("fit", 0, files=["fields/*/block-*.json", 2], signal=name)
    assert ended.clear, ended.text
    n = sum(state == "done" for state in states(run).values())
    assert 2 <= n < 4
    assert f"fit: {name} after {n} of 4 blocks, which are kept; run again to go on" in ended.text
    kept = {i: run.store.read(i).seconds for i, state in states(run).items() if state == "done"}
    ended = run.stage("fit")
    assert f"fit job 0: 4 blocks, {n} already done" in ended.text
    assert {i: run.store.read(i).seconds for i in kept} == kept, "a block that was done was fitted again"
    assert difference(run.digest(), undisturbed.digests["blend"]) == []
    ledger.note(f"{name} to a job that saves what it has", "fit", SAME, kills=1)


@pytest.mark.faults
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_training_that_is_told_to_stop_goes_on_from_its_checkpoint_to_the_same_bytes(run, undisturbed, ledger, name):
    run = FaultyRun(run.folder, run.forker, {"prior": {"steps": 60, "checkpoint_every_s": 3600.0}})
    run.restore(undisturbed.before["train"])
    assert run.stage("train").status == 0
    once = {path: path.read_bytes() for path in (run.paths.prior, run.paths.prior_losses, run.paths.prior_facts)}
    run.restore(undisturbed.before["train"])
    for _ in range(5):
        ended = run.stage("train", text="from scratch", signal=name)
        if not ended.killed:
            break
        # It was told before it began to listen.
        run.restore(undisturbed.before["train"])
    assert ended.clear, ended.text
    assert f"train: {name} at step " in ended.text
    n = int(ended.text.partition("at step ")[2].partition(",")[0])
    assert 0 < n < 60
    assert not run.paths.prior.exists()
    ended = run.stage("train")
    assert f"train: goes on from step {n}" in ended.text
    assert {path: path.read_bytes() for path in once} == once
    ledger.note(f"{name} to a job that saves what it has", "train", SAME, kills=1)
