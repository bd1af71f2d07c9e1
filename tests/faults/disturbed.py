"""Snakemake over a run, under random kills of it and its jobs; the soak does the same for longer."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from faulty_run import FaultyRun

REPOSITORY = Path(__file__).parents[2]


@dataclass
class DisturbedRun:
    """A folder in which the workflow of `run` is started as often as it takes."""

    folder: Path
    run: FaultyRun
    cores: int = 2

    def command(self, *arguments: str) -> list[str]:
        config = self.folder / "config.yaml"
        config.write_text(yaml.safe_dump(self.run.config.model_dump(mode="json")))
        base = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", str(self.cores)]
        return [*base, "--directory", str(self.folder), "--configfile", str(config), "--rerun-incomplete", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake in a process group of its own; what it prints goes to snakemake.log."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        with open(self.folder / "snakemake.log", "ab") as log:
            return subprocess.Popen(
                self.command(*arguments),
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                preexec_fn=hear_interrupts,
            )

    def under_fire(self, dice: random.Random, n_kills: int, every_s: tuple[float, float], until: float | None = None) -> int:
        """Kill snakemake, all of it, or one of its jobs, at random moments; start it again when it is gone.

        Ends after `n_kills`, or once the run has ended by itself, or at the time `until` (of the monotonic clock); returns the
        number of kills. Jobs that are killed are started again by snakemake three times.
        """
        killed, process = 0, None
        while killed < n_kills and (until is None or time.monotonic() < until):
            if process is None:
                self.unlock()
                process = self.start("--retries", "3", "--keep-going")
            time.sleep(dice.uniform(*every_s))
            if process.poll() == 0:
                return killed
            if process.poll() is not None:
                process = None
                continue
            jobs = [pid for pid in descendants(process.pid) if b"isofield" in command_of(pid)]
            if jobs and dice.random() < 0.6:
                end([dice.choice(jobs)])
            else:
                end([*descendants(process.pid), process.pid])
                process.wait()
                process = None
            killed += 1
        if process is not None:
            end([*descendants(process.pid), process.pid])
            process.wait()
        return killed

    def to_the_end(self, timeout_s: float = 1800) -> None:
        """Start it once more, undisturbed."""
        self.unlock()
        process = self.start()
        process.wait(timeout=timeout_s)
        assert process.returncode == 0, (self.folder / "snakemake.log").read_text()[-4000:]

    def unlock(self) -> None:
        if (self.folder / ".snakemake" / "locks").is_dir() and any((self.folder / ".snakemake" / "locks").iterdir()):
            assert self.start("--unlock").wait(timeout=600) == 0

    def image(self, root: Path | None = None) -> dict[str, str]:
        """sha256 of every file of the image, less what killed writers left."""
        folder = (root or self.run.root) / "isotropic.ome.zarr"
        files = [file for file in sorted(folder.rglob("*")) if file.is_file() and ".partial" not in str(file)]
        return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def hear_interrupts() -> None:
    """Tests that a shell started in the background ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def descendants(pid: int) -> list[int]:
    """All processes below one, from /proc."""
    above = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                above[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, frontier = [], [pid]
    while frontier:
        parent = frontier.pop()
        children = [child for child, its in above.items() if its == parent]
        found += children
        frontier += children
    return found
