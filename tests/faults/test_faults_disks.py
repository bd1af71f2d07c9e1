"""Disks that are full or may not be written to, and sources that cannot be read: one clear message, nothing half-written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_run import STAGES, FaultyRun, difference, unfinished, write_sections
from ledger import CLEAR

READERS = ("plan", "train", "fit", "blend", "measure", "report")
"""Stages that read the voxels of the source."""
READ_ONLY = dict.fromkeys(STAGES, "Read-only file system. Mount it for writing") | {
    "plan": "cannot be written: this user has no permission to write to"
}
"""What each stage says of a disk that may not be written to: the plan asks before it does anything."""
DAMAGED = "cannot be read at z {} (RuntimeError: Zstd decompression error: invalid input data). It is damaged"


@pytest.fixture
def disk(run, undisturbed) -> Iterator[Path]:
    """A small file system where the results lie; skipped where none may be mounted."""
    folder = run.folder / "results"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill a file system but for `leave` bytes."""
    filler, about = disk / "filler", os.statvfs(disk)
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_frsize - leave // 4096 * 4096)
    return filler


def grown(undisturbed, stage: str) -> int:
    """Bytes that a stage adds to a run."""
    sizes = [
        sum(f.stat().st_size for f in undisturbed.before[moment].rglob("*") if f.is_file())
        for moment in (stage, undisturbed.after(stage))
    ]
    return max(0, sizes[1] - sizes[0])


def once_more(run: FaultyRun, undisturbed, stage: str) -> None:
    """The cause being gone, the stage ends with the bytes of the undisturbed run."""
    ended = run.stage(stage)
    assert ended.status == 0, ended.text
    assert difference(run.digest(), undisturbed.digests[undisturbed.after(stage)]) == []


def nothing_is_half_written(run: FaultyRun, undisturbed, stage: str) -> None:
    """What was there before the stage is as it was, and nothing lies about under a passing name."""
    assert unfinished(run.root) == []
    now, before = run.digest(), undisturbed.digests[stage]
    # Which fit is the current one is written anew, to the same end, by whoever fits.
    assert [n for n in difference(now, before) if n in before and n in now and n != "fields/current.json"] == []


@pytest.mark.faults
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_named_and_leaves_nothing_half_written(run, undisturbed, ledger, disk, stage):
    run.restore(undisturbed.before[stage])
    filler = fill(disk, leave=0)
    ended = run.stage(stage)
    assert ended.clear, ended.text
    assert "No space left on device. Free some space" in ended.text
    assert str(disk) in ended.text
    nothing_is_half_written(run, undisturbed, stage)
    filler.unlink()
    once_more(run, undisturbed, stage)
    ledger.note("disk full", stage, CLEAR)


@pytest.mark.faults
@pytest.mark.parametrize("stage", ["train", "fit", "blend", "pyramid", "report"])
def test_a_disk_that_fills_up_half_way_leaves_nothing_half_written(run, undisturbed, ledger, disk, stage):
    """Of the stages that write most: half of what they write finds room."""
    run.restore(undisturbed.before[stage])
    filler = fill(disk, leave=grown(undisturbed, stage) // 2)
    ended = run.stage(stage)
    assert ended.clear, ended.text
    assert "No space left on device. Free some space" in ended.text
    nothing_is_half_written(run, undisturbed, stage)
    filler.unlink()
    once_more(run, undisturbed, stage)
    ledger.note("disk full half-way", stage, CLEAR)


@pytest.mark.faults
@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_may_not_be_written_to_is_named(run, undisturbed, ledger, disk, stage):
    run.restore(undisturbed.before[stage])
    before = run.digest()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    ended = run.stage(stage)
    assert ended.clear, ended.text
    assert READ_ONLY[stage] in ended.text
    assert str(disk) in ended.text
    assert run.digest() == before
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    once_more(run, undisturbed, stage)
    ledger.note("disk not to be written to", stage, CLEAR)


@pytest.mark.faults
@pytest.mark.parametrize("stage", READERS)
def test_a_damaged_chunk_of_the_source_is_named(run, undisturbed, ledger, stage):
    run.restore(undisturbed.before[stage])
    chunk = run.folder / "sections.zarr" / "c" / "1" / "0" / "1"
    whole = chunk.read_bytes()
    try:
        chunk.write_bytes(whole[: len(whole) // 2])
        ended = run.stage(stage)
    finally:
        chunk.write_bytes(whole)
    assert ended.clear, ended.text
    assert f"source.path: '{run.folder / 'sections.zarr'}'" in ended.text
    assert DAMAGED.partition("{}")[0] in ended.text
    assert DAMAGED.partition("{}")[2] in ended.text
    assert "fit.learning_rate" not in ended.text
    once_more(run, undisturbed, stage)
    ledger.note("chunk of the source cut off", stage, CLEAR)


@pytest.mark.faults
@pytest.mark.parametrize("stage", READERS)
def test_a_source_that_vanishes_while_it_is_read_is_named(run, undisturbed, dice, ledger, stage):
    """As when its disk is taken away: chunks that are not there would read as zeros, and nobody would know."""
    run.restore(undisturbed.before[stage])
    source = run.folder / "sections.zarr"
    away = source.with_name("sections.zarr.away")
    try:
        ended = run.stage(stage, vanish=[str(source), dice.randrange(3)])
        assert away.exists(), "it was never read"
    finally:
        if away.exists():
            away.rename(source)
    assert ended.clear, ended.text
    assert f"source.path: '{source}': is not there any more. Bring it back; then run again" in ended.text
    nothing_is_half_written(run, undisturbed, stage)
    once_more(run, undisturbed, stage)
    ledger.note("source gone while it is read", stage, CLEAR)


@pytest.mark.faults
def test_a_damaged_chunk_costs_the_blocks_that_need_it_and_no_others(forker, tmp_path, ledger):
    write_sections(tmp_path / "sections.zarr", shape=(48, 64, 224))
    run = FaultyRun(tmp_path, forker, {"fit": {"blocks_per_job": 100}})
    for stage in ("plan", "train", "fit"):
        assert run.stage(stage).status == 0
    fields = {i: run.store.payload(i) for i in range(28)}
    for path in [*run.store.folder.iterdir(), run.paths.fit_job(0)]:
        path.unlink()
    chunk = tmp_path / "sections.zarr" / "c" / "0" / "0" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    ended = run.stage("fit")
    assert ended.clear, ended.text
    assert "cannot be read at z" in ended.text
    assert "cannot be fitted, all others are kept" in ended.text
    states = {i: run.store.state(i) for i in range(28)}
    lost = {i for i, state in states.items() if state == "missing"}
    assert 0 < len(lost) <= 14
    assert {states[i] for i in set(states) - lost} == {"done"}
    chunk.write_bytes(whole)
    kept = {i: run.store.read(i).seconds for i in set(states) - lost}
    assert run.stage("fit").status == 0
    assert {i: run.store.read(i).seconds for i in kept} == kept, "a block that was done was fitted again"
    assert {i: run.store.payload(i) for i in range(28)} == fields
    ledger.note("chunk of the source cut off: blocks that do not need it", "fit", "done all the same")
