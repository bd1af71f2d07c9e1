"""One process per run and per job, for as long as it lives and no longer. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isofield.errors import InputError
from isofield.locking import LOCK_FILE, claim_run, job_lock

HOLD = "import sys, time; from isofield.locking import *; from pathlib import Path; root = Path(sys.argv[1]); {}; time.sleep(60)"
CLAIM = HOLD.format("claim_run(root); print('held', flush=True)")
JOB = HOLD.format("lock = job_lock(root, 'fit 0'); lock.__enter__(); print('held', flush=True)")


@pytest.fixture
def holding(tmp_path):
    """Start a process that takes a lock; it is killed at the end."""
    started = []

    def start(script: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", script, str(tmp_path)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_run_that_another_process_works_on_is_refused_until_that_is_gone(tmp_path, holding):
    other = holding(CLAIM)
    with pytest.raises(InputError, match=f"process {other.pid} on .* is working on it. Wait until it ends"):
        claim_run(tmp_path)
    # Jobs of the run are not concerned.
    with job_lock(tmp_path, "fit 0"):
        pass
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    claim_run(tmp_path)
    claim_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_a_job_waits_for_a_process_that_is_at_it_and_not_for_another_job(tmp_path, holding, capsys):
    other = holding(JOB)
    with job_lock(tmp_path, "fit 1"):
        pass
    assert capsys.readouterr().err == ""
    begun = time.monotonic()
    killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {other.pid}"])
    with job_lock(tmp_path, "fit 0"):
        waited = time.monotonic() - begun
    killer.wait()
    assert waited >= 0.9
    assert "fit 0: another process is at it" in capsys.readouterr().err


def test_a_run_in_a_folder_that_may_not_be_written_to_is_an_error_of_the_disk(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        claim_run(Path(tmp_path / "file"))
