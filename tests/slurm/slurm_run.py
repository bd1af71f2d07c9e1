"""A run of the whole workflow over a small phantom, on a private SLURM or on this machine alone."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml
from cluster import Cluster

from isofield.paths import RunPaths
from isofield.status import current_store

REPOSITORY = Path(__file__).parents[2]
N_BLOCKS, BLOCKS_PER_JOB = 24, 6
AT_THE_END = ("pyramid", "finish", "measure", "report", "verify", "tidy")
CONFIG = {
    "run": {"name": "small", "threads_per_job": 1},
    "source": {"path": "phantom:tissue?shape=48,96,128", "simulate": {"factor": 4}},
    "blocks": {"write_vox": 32, "context_vox": 8, "overlap_vox": 4},
    "prior": {"steps": 40, "warmup_steps": 5, "batch": 4, "channels": [8, 16]},
    # A mode that takes all its steps: blocks are to be caught while they are fitted.
    "fit": {"blocks_per_job": BLOCKS_PER_JOB, "mode": "sds", "steps": 120},
    "output": {"chunk_vox": 16, "shard_vox": 48, "shards_per_job": 3, "pyramid_min_vox": 32},
    "quality": {"n_spectrum_cubes": 2, "spectrum_cube_vox": 32, "seam_reach_vox": 12},
    "report": {"n_slices": 1},
}
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "20", "--slurm-keep-successful-logs")
"""What a test changes in the profile: it asks more often, and its nodes share a disk."""
GPUS = ("--set-resources", "fit:gpu=1", "train:gpu=1")
"""What `run.device: cuda` asks for; there is no CUDA behind the nodes' GPUs."""
GROUPS = ("--groups", "plan=begin", "canvas=begin", "train=begin", *(f"{rule}=end" for rule in AT_THE_END))
"""One job for all that comes before fitting, and one for all that comes after blending, as docs/slurm.md has it."""


@dataclass
class SlurmRun:
    """A folder in which the workflow runs; on `cluster`, or with two cores of this machine if that is None.

    programs: folder of the `isofield` that its jobs call.
    """

    folder: Path
    cluster: Cluster | None = None
    programs: Path = Path(sys.executable).parent
    started: list[subprocess.Popen] = field(default_factory=list, repr=False)

    @property
    def run(self) -> Path:
        return self.folder / "results" / CONFIG["run"]["name"]

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake, as it is typed in the repository root; what it prints is added to `said`."""
        config = self.folder / "config.yaml"
        config.write_text(yaml.safe_dump(CONFIG))
        command = [sys.executable, "-m", "snakemake", "--directory", str(self.folder), "--configfile", str(config), *arguments]
        environment = dict(self.cluster.environment if self.cluster else os.environ)
        environment["PATH"] = os.pathsep.join(map(str, (self.programs, Path(sys.executable).parent, environment["PATH"])))
        with open(self.folder / "snakemake.txt", "ab") as out:
            process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what was started and still runs."""
        for process in self.started:
            process.kill()
            process.wait()

    def finish(self, *arguments: str) -> None:
        """Run to the end, which must be a good one."""
        try:
            status = self.start(*arguments).wait(3000)
        finally:
            self.end()
        assert status == 0, self.said

    @property
    def said(self) -> str:
        return (self.folder / "snakemake.txt").read_text()

    @property
    def names(self) -> list[str]:
        """What SLURM calls all jobs of each start of Snakemake, in their order."""
        return re.findall(r"SLURM run ID: (\S+)", self.said)

    def image(self) -> dict[str, str]:
        """sha256 of every file of the isotropic image."""
        root = self.run / "isotropic.ome.zarr"
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}

    def fits(self) -> dict[int, float]:
        """Block -> a number that each fit of it has of its own: the time it took, as its record says. Blocks that are done."""
        store = current_store(RunPaths(self.run))
        records = {i: store.read(i) for i in range(N_BLOCKS)} if store else {}
        return {i: record.seconds for i, record in records.items() if record is not None and record.state == "done"}

    def blocks_of(self, job: int) -> list[int]:
        table = pd.read_parquet(RunPaths(self.run).blocks, columns=["block_id", "job"])
        return table[table["job"] == job]["block_id"].tolist()

    def attempts(self) -> dict[int, list[int]]:
        """Fit job -> how many blocks were done already each time that it began, in this order."""
        found: dict[int, list[int]] = {}
        logs = (self.folder / ".snakemake" / "slurm_logs").rglob("*.log")
        for log in sorted(logs, key=lambda path: int(path.stem.partition("_")[0])):
            for job, done in re.findall(r"fit job (\d+): \d+ blocks, (\d+) already done", log.read_text()):
                found.setdefault(int(job), []).append(int(done))
        return found
