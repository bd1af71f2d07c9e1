"""Real Snakemake runs, killed whole or in part at random moments, terminated and interrupted."""

from __future__ import annotations

import os
import signal
import time

import pytest
from disturbed import DisturbedRun
from ledger import OTHER, SAME

N_KILLS = 8


@pytest.mark.faults
def test_a_workflow_that_is_killed_again_and_again_ends_with_the_same_bytes(run, undisturbed, dice, ledger, tmp_path):
    disturbed = DisturbedRun(tmp_path, run)
    n_kills = disturbed.under_fire(dice, n_kills=N_KILLS, every_s=(4, 15))
    disturbed.to_the_end()
    same = disturbed.image() == disturbed.image(undisturbed.before["end"])
    # Which of them changed it nobody could tell: all of them did.
    outcome, changed = (SAME, 0) if same else (OTHER, n_kills)
    ledger.note("SIGKILL of snakemake or of a job, at any time", "all", outcome, n_kills, changed, n_kills)
    assert same


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_workflow_that_is_asked_to_end_and_started_again_ends_with_the_same_bytes(
    run, undisturbed, dice, ledger, tmp_path, number
):
    """As a person does it with Ctrl-C: the whole process group is told."""
    disturbed = DisturbedRun(tmp_path, run)
    process = disturbed.start()
    time.sleep(dice.uniform(6, 14))
    assert process.poll() is None, "it ended too early to be disturbed"
    os.killpg(process.pid, number)
    process.wait(timeout=300)
    disturbed.to_the_end()
    same = disturbed.image() == disturbed.image(undisturbed.before["end"])
    ledger.note(f"{number.name} to snakemake and its jobs", "all", SAME if same else OTHER, changed=not same, kills=1)
    assert same
