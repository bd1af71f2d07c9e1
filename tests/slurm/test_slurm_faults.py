"""Jobs, a node and Snakemake itself are lost in one run; what was done is kept, and the bytes are the same."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cluster import Cluster
from slurm_run import BLOCKS_PER_JOB, GPUS, N_BLOCKS, QUICK, SlurmRun

PROFILE = ("--workflow-profile", "profiles/slurm")
N_JOBS = N_BLOCKS // BLOCKS_PER_JOB


@pytest.fixture
def trained(with_accounting: SlurmRun, tmp_path: Path) -> Iterator[SlurmRun]:
    """A run that is planned and trained; nothing is fitted yet."""
    shutil.copytree(with_accounting.folder, tmp_path / "run", symlinks=True)
    run = SlurmRun(tmp_path / "run", with_accounting.cluster)
    for name in ("fields", "jobs", "shards", "isotropic.ome.zarr", "measured.ome.zarr", "report"):
        shutil.rmtree(run.run / name, ignore_errors=True)
    for path in [*run.run.glob("metrics.*"), run.run / "neuroglancer.json", run.folder / "snakemake.txt"]:
        path.unlink()
    shutil.rmtree(run.folder / ".snakemake" / "slurm_logs")
    yield run
    run.end()


def running_fits(cluster: Cluster) -> dict[int, tuple[str, str]]:
    """Fit job -> its number at SLURM and its node, while it runs."""
    lines = cluster.call("squeue", "--states=running", "--noheader", "--format=%k %i %N").splitlines()
    words = [line.split() for line in lines if line.startswith("rule_fit_wildcards_")]
    return {int(comment.rpartition("_")[2]): (number, node) for comment, number, node in words}


def process_of(cluster: Cluster, job: int) -> int | None:
    """The isofield process that fits the blocks of a job."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")[:-1] if entry.name.isdigit() else []
            called = any(word.endswith(b"/isofield") for word in words[:2]) and words[-2:] == [b"--job", str(job).encode()]
            if called and b"fit" in words and str(cluster.folder).encode() in (entry / "environ").read_bytes():
                return int(entry.name)
    return None


def until(holds: Callable[[], object], what: str, run: SlurmRun, timeout_s: float = 3000.0) -> None:
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < timeout_s, f"{what}: never\n{run.said}"
        time.sleep(0.2)


def test_after_a_cancelled_job_a_killed_one_a_lost_node_and_a_lost_snakemake(trained, accounted, local, capsys):
    def begun_fitting() -> bool:
        done = trained.fits()
        return len(running_fits(accounted)) == N_JOBS and all(done.keys() & set(trained.blocks_of(j)) for j in range(N_JOBS))

    def tried_again() -> bool:
        return all(len(trained.attempts().get(job, [])) >= 2 for job in (cancelled, killed))

    snakemake = trained.start(*PROFILE, *QUICK, *GPUS)
    until(begun_fitting, "all jobs fit", trained)
    fits = running_fits(accounted)
    node = fits[0][1]
    lost = [job for job in fits if fits[job][1] == node]
    cancelled, killed = (job for job in fits if fits[job][1] != node)

    accounted.call("scancel", fits[cancelled][0])
    os.kill(process_of(accounted, killed), signal.SIGKILL)
    accounted.lose(node)
    kept = [trained.fits()]
    accounted.bring_back(node)
    until(tried_again, "the cancelled and the killed job are tried again", trained)
    until(lambda: node in accounted.node_states() and "down" not in accounted.node_states()[node], "the node is back", trained)

    kept.append(trained.fits())
    assert len(kept[-1]) < N_BLOCKS, "nothing was left to lose"
    snakemake.kill()
    snakemake.wait()
    # As docs/slurm.md has it: nobody waits for the jobs of a Snakemake that is gone.
    (name,) = trained.names
    accounted.call("scancel", "--name", name)
    until(lambda: not accounted.call("squeue", "--noheader"), "the jobs end", trained)
    kept.append(trained.fits())
    trained.finish(*PROFILE, "--unlock")
    trained.finish(*PROFILE, *QUICK, *GPUS)

    assert trained.image() == local.image()
    final, attempts = trained.fits(), trained.attempts()
    again = {block for done in kept for block, fit in done.items() if final[block] != fit}
    interrupted = sum(len(done) - 1 for done in attempts.values())
    with capsys.disabled():
        print(
            f"\n{N_BLOCKS} blocks in {N_JOBS} jobs; {len(lost)} jobs lost with a node, 1 cancelled, 1 killed, then Snakemake; "
            f"done before each loss: {[len(done) for done in kept]}; done already at each start of a job: {attempts}; "
            f"blocks done and fitted again: {len(again)}; begun, lost and fitted again: at most {interrupted}"
        )
    assert again == set()
    assert all(done == sorted(done) for done in attempts.values()), "a block that was done was forgotten"
    assert N_JOBS <= interrupted <= 3 * N_JOBS
