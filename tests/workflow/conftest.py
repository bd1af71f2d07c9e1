"""Real Snakemake runs over a small phantom, each in a folder of its own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from isofield.fieldstore import FieldStore
from isofield.paths import RunPaths
from isofield.status import fitted_store

REPOSITORY = Path(__file__).parents[2]
CONFIG = {
    "run": {"name": "small", "keep_fields": True, "threads_per_job": 1},
    "source": {"path": "phantom:tissue?shape=64,64,64", "simulate": {"factor": 4}},
    "blocks": {"write_vox": 32, "context_vox": 8, "overlap_vox": 4},
    "prior": {"steps": 150, "warmup_steps": 10, "batch": 8, "channels": [16, 16], "patch_vox": 32, "checkpoint_every_s": 1},
    "field": {"strides_vox": [2, 4], "features": [4, 4], "hidden": 16},
    "fit": {"blocks_per_job": 4, "steps": 120, "batch_blocks": 1},
    "output": {"chunk_vox": 16, "shard_vox": 32, "shards_per_job": 4, "pyramid_min_vox": 32},
    "quality": {"n_spectrum_cubes": 2, "spectrum_cube_vox": 32, "seam_reach_vox": 12},
    "report": {"n_slices": 1},
}


@dataclass
class Workflow:
    """A folder in which the workflow runs with `config`."""

    folder: Path
    config: dict
    programs: Path = Path(sys.executable).parent

    @property
    def run(self) -> Path:
        return self.folder / "results" / self.config["run"]["name"]

    def command(self, *arguments: str, folder: Path = Path(sys.executable).parent) -> list[str]:
        """Snakemake with `config`. folder: of the `snakemake` that is called; the installed one unless it is said."""
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))
        base = [str(folder / "snakemake"), "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"]
        return [*base, "--directory", str(self.folder), "--configfile", str(path), "--rerun-incomplete", *arguments]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run to the end; returns what was printed. With `check` a failure fails the test, with the output."""
        done = subprocess.run(
            self.command(*arguments, folder=self.programs),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def planned(self, *arguments: str) -> set[str]:
        """The rules that would run."""
        text = self.snakemake("--dry-run", *arguments)
        return {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith(("rule ", "localrule "))} - {"all"}

    def kill_when(self, condition, timeout_s: float = 240.0) -> None:
        """Start a run and SIGKILL all of it as soon as `condition()` holds."""
        process = self._started_until(condition, timeout_s)
        _kill([*_descendants(process.pid), process.pid])
        process.wait()
        # What --unlock does, without reading the workflow.
        shutil.rmtree(self.folder / ".snakemake" / "locks")

    def kill_job_when(self, command: str, condition, timeout_s: float = 240.0) -> None:
        """Start a run and SIGKILL its processes whose command line matches the pattern `command` as soon as `condition()` holds.

        The run itself is left to end by itself, and has to say that it failed.
        """
        process = self._started_until(condition, timeout_s)
        jobs = [pid for pid in _descendants(process.pid) if re.search(command, _command_line(pid))]
        _kill(jobs)
        assert jobs, "the job had ended when it was to be killed"
        assert process.wait(timeout_s) != 0

    def _started_until(self, condition, timeout_s: float) -> subprocess.Popen:
        process = subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        begun = time.monotonic()
        while not condition():
            assert process.poll() is None, "the run ended before the moment it was to be killed at"
            assert time.monotonic() - begun < timeout_s, "the moment to kill at never came"
            time.sleep(0.02)
        return process

    @property
    def store(self) -> FieldStore:
        """What is known of the fields of the fit that ran last."""
        return fitted_store(RunPaths(self.run))

    def packs(self) -> list[Path]:
        return sorted((self.run / "fields").glob("*/blocks-*.pack"))

    def fitted(self) -> dict[int, float]:
        """Blocks that are done, and how long each took: a block that is fitted again takes another time."""
        if not RunPaths(self.run).current_fit.exists():
            return {}
        return {index: record["seconds"] for index, record in self.store.records() if record["state"] == "done"}

    def image(self) -> dict[str, str]:
        """sha256 of every file of the isotropic image."""
        root = self.run / "isotropic.ome.zarr"
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def _kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _descendants(pid: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, frontier = [], [pid]
    while frontier:
        parent = frontier.pop()
        children = [child for child, above in parents.items() if above == parent]
        found += children
        frontier += children
    return found


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Workflow:
    """An undisturbed run, ended. Tests that change it leave it finished."""
    workflow = Workflow(tmp_path_factory.mktemp("finished"), yaml.safe_load(yaml.safe_dump(CONFIG)), programs)
    # Processes that share the tests share this run too: the first that needs it makes it, each has a copy of its own.
    common = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else workflow.folder.parent
    with open(common / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = common / "finished"
        if not made.exists():
            making = Workflow(common / "making", workflow.config, programs)
            making.folder.mkdir(exist_ok=True)
            making.snakemake()
            making.folder.rename(made)
    shutil.copytree(made, workflow.folder, dirs_exist_ok=True)
    return workflow


@pytest.fixture
def fresh(tmp_path: Path, programs: Path) -> Workflow:
    """A folder with the same configuration in which nothing has run."""
    return Workflow(tmp_path, yaml.safe_load(yaml.safe_dump(CONFIG)), programs)
