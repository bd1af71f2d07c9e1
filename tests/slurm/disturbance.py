"""A run on SLURM in which a job is cancelled, one killed, a node lost and brought back, and Snakemake itself killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster
from slurm_run import BLOCKS_PER_JOB, GPUS, N_BLOCKS, QUICK, SlurmRun

PROFILE = ("--profile", "workflow/profiles/slurm")
N_JOBS = N_BLOCKS // BLOCKS_PER_JOB


@dataclass(frozen=True)
class Disturbed:
    """The run, ended well. kept: the fits (block -> its own number) that were done before each loss."""

    run: SlurmRun
    n_jobs_of_node: int
    kept: list[dict[int, float]]


def disturb(run: SlurmRun, cluster: Cluster) -> Disturbed:
    """From nothing to the end, with all that is lost on the way."""

    def begun_fitting() -> bool:
        done = run.fits()
        return len(running_fits(cluster)) == N_JOBS and all(done.keys() & set(run.blocks_of(j)) for j in range(N_JOBS))

    def tried_again() -> bool:
        return all(len(run.attempts().get(job, [])) >= 2 for job in (cancelled, killed))

    snakemake = run.start(*PROFILE, *QUICK, *GPUS)
    until(begun_fitting, "all jobs fit", run)
    fits = running_fits(cluster)
    node = fits[0][1]
    lost = [job for job in fits if fits[job][1] == node]
    cancelled, killed = (job for job in fits if fits[job][1] != node)

    cluster.call("scancel", fits[cancelled][0])
    os.kill(process_of(cluster, killed), signal.SIGKILL)
    cluster.lose(node)
    kept = [run.fits()]
    cluster.bring_back(node)
    until(tried_again, "the cancelled and the killed job are tried again", run)
    until(lambda: node in cluster.node_states() and "down" not in cluster.node_states()[node], "the node is back", run)

    kept.append(run.fits())
    assert len(kept[-1]) < N_BLOCKS, "nothing was left to lose"
    snakemake.kill()
    snakemake.wait()
    # As docs/slurm.md has it: nobody waits for the jobs of a Snakemake that is gone.
    (name,) = run.names
    cluster.call("scancel", "--name", name)
    until(lambda: not cluster.call("squeue", "--noheader"), "the jobs end", run)
    kept.append(run.fits())
    run.finish(*PROFILE, "--unlock")
    run.finish(*PROFILE, *QUICK, *GPUS)
    return Disturbed(run, len(lost), kept)


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
