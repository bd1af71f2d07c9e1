"""Jobs, a node and Snakemake itself are lost in one run; what was done is kept, and the bytes are the same."""

from __future__ import annotations

from disturbance import N_JOBS
from slurm_run import N_BLOCKS


def test_after_a_cancelled_job_a_killed_one_a_lost_node_and_a_lost_snakemake(disturbed, local, capsys):
    run, kept = disturbed.run, disturbed.kept
    assert run.image() == local.image()
    final, attempts = run.fits(), run.attempts()
    again = {block for done in kept for block, fit in done.items() if final[block] != fit}
    interrupted = sum(len(done) - 1 for done in attempts.values())
    with capsys.disabled():
        print(
            f"\n{N_BLOCKS} blocks in {N_JOBS} jobs; {disturbed.n_jobs_of_node} jobs lost with a node, 1 cancelled, 1 killed, "
            f"then Snakemake; done before each loss: {[len(done) for done in kept]}; done already at each start of a job: "
            f"{attempts}; blocks done and fitted again: {len(again)}; begun, lost and fitted again: at most {interrupted}"
        )
    assert again == set()
    assert all(done == sorted(done) for done in attempts.values()), "a block that was done was forgotten"
    assert N_JOBS <= interrupted <= 3 * N_JOBS
