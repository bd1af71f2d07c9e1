"""What tests of the workflow call is, in all that a caller can tell, what is installed, but for how soon it starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from isofield import __version__


def run(program: Path, *arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [program, *arguments], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100
    )
    return done.returncode, done.stdout, done.stderr


def view(programs: Path, finished) -> tuple[subprocess.Popen, int]:
    """A server of the finished run, and its port."""
    process = subprocess.Popen(
        [programs / "isofield", "view", str(finished.run)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    address = next(word for word in said.split() if word.startswith("http://127.0.0.1"))
    return process, urlsplit(address).port


def answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    "arguments", [["--version"], ["status", "nowhere"], ["plan", '{"run": {}}'], ["init", "$HERE"], ["nonsense"]], ids=" ".join
)
def test_it_says_and_exits_as_the_installed_one_does(programs, tmp_path, arguments):
    installed = Path(sys.executable).parent / "isofield"
    warm, cold = (run(program, *arguments, cwd=tmp_path, HERE="no.tif") for program in (programs / "isofield", installed))
    assert warm == cold
    assert (warm[0] == 0) == (warm[1] == f"isofield {__version__}\n")


@pytest.mark.parametrize("arguments", [["--version"], ["--snakefile", "nowhere"]], ids=" ".join)
def test_snakemake_too(programs, tmp_path, arguments):
    installed = Path(sys.executable).parent / "snakemake"
    warm, cold = (run(program, *arguments, cwd=tmp_path) for program in (programs / "snakemake", installed))
    assert warm == cold
    assert (warm[0] == 0) == (arguments == ["--version"])


def test_each_call_has_the_folder_the_environment_and_the_umask_of_its_caller(programs, tmp_path):
    line = f"umask 027; '{programs}/isofield' config >made.yaml; '{programs}/isofield' init '${{WHICH}}.tif'"
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env={**os.environ, "WHICH": "that"}, capture_output=True, text=True, timeout=100
    )
    assert "that.tif" in done.stderr
    made = tmp_path / "made.yaml"
    assert made.stat().st_mode & 0o777 == 0o640
    assert made.read_text().startswith("#")


def test_signals_reach_it(programs, finished):
    process, port = view(programs, finished)
    assert answers(port)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not answers(port)


def test_it_dies_with_its_caller(programs, finished):
    process, port = view(programs, finished)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not answers(port)


def test_a_signal_that_ends_it_ends_its_caller(programs, finished):
    process, _ = view(programs, finished)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == -signal.SIGUSR1
