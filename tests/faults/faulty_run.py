"""A run of eight small blocks over a real Zarr of sections, whose stages can be killed and damaged at will, and put back."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from isofield.config import Config, make_config
from isofield.fieldstore import FieldStore
from isofield.paths import RunPaths
from isofield.phantom import tissue
from isofield.records import PARTIAL, read_json
from isofield.stages import SECTIONS_READ

STAGES = ("plan", "train", "canvas", "fit", "blend", "pyramid", "finish", "measure", "report", "verify", "tidy")
PASSING = ("run.lock", "verify.json", "report/", "logs/", "benchmarks/")
"""What speaks of this attempt alone: who holds the run, how long things took."""
CONFIG: dict[str, Any] = {
    "run": {"name": "faulty", "threads_per_job": 1, "device": "cpu"},
    "source": {"voxel_size_nm": [32, 8, 8]},
    "blocks": {"write_vox": 32, "context_vox": 8, "overlap_vox": 4},
    "prior": {"channels": [8, 8], "steps": 12, "batch": 8, "patch_vox": 32, "warmup_steps": 2, "checkpoint_every_s": 0.001},
    "field": {"strides_vox": [2, 4], "features": [4, 4], "hidden": 8},
    "fit": {"steps": 8, "blocks_per_job": 4},
    "output": {"chunk_vox": 16, "shard_vox": 32, "shards_per_job": 3, "pyramid_min_vox": 32},
    "quality": {"n_spectrum_cubes": 2, "spectrum_cube_vox": 32, "seam_reach_vox": 12},
    "report": {"n_slices": 1},
}


def write_sections(path: Path, shape: tuple[int, int, int] = (48, 64, 64), factor: int = 4) -> None:
    """Sections of the phantom as a Zarr with a file per chunk."""
    truth = tissue(shape, seed=0)
    sections = np.asarray(truth).reshape(shape[0] // factor, factor, *shape[1:]).mean(axis=1).round().astype(np.uint8)
    array = zarr.create_array(str(path), shape=sections.shape, chunks=(4, 32, 32), dtype="uint8")
    array[:] = sections


@dataclass
class Ended:
    """How a process ended: its exit status, or minus the signal; what it printed; seconds."""

    status: int
    text: str
    seconds: float
    n_operations: int = 0

    @property
    def killed(self) -> bool:
        return self.status < 0

    @property
    def clear(self) -> bool:
        """Failed with one line that says what is wrong, and without a traceback."""
        return self.status in (1, 2) and "Traceback" not in self.text and bool(self.text.strip())


class Forker:
    """The process that forks stages; see forker.py."""

    def __init__(self, folder: Path) -> None:
        self.log, self.count = folder / "log.txt", folder / "count.txt"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(Path(__file__).with_name("forker.py"))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def __call__(self, argv: list[str], **fate: Any) -> Ended:
        for file in (self.log, self.count):
            file.unlink(missing_ok=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"argv": argv, "log": str(self.log), "count": str(self.count), **fate}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        text = self.log.read_text() if self.log.exists() else ""
        return Ended(answer["status"], text, answer["seconds"], int(self.count.read_text()) if self.count.exists() else 0)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


@dataclass
class FaultyRun:
    """A run whose results always lie in the same place, so that undisturbed and disturbed ones are comparable to the byte."""

    folder: Path
    forker: Forker
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: Path | None = None

    @property
    def config(self) -> Config:
        values = {name: {**keys, **self.changes.get(name, {})} for name, keys in CONFIG.items()}
        values["run"]["results"] = str(self.results or self.folder / "results")
        values["source"].setdefault("path", str(self.folder / "sections.zarr"))
        return make_config(values)

    @property
    def paths(self) -> RunPaths:
        config = self.config
        return RunPaths(Path(config.run.results) / config.run.name, config.output.path)

    @property
    def root(self) -> Path:
        return self.paths.root

    def argv(self, stage: str, job: int | None = None) -> list[str]:
        given = self.config.section_json(*SECTIONS_READ[stage])
        return [stage, given, *(["--job", str(job)] if job is not None else [])]

    def stage(self, stage: str, job: int | None = None, **fate: Any) -> Ended:
        return self.forker(self.argv(stage, job), root=str(self.root), **fate)

    def whole(self, stages: tuple[str, ...] = STAGES) -> list[Ended]:
        """Run stages one after the other, each to its end, as a person would."""
        return [self.stage(stage) for stage in stages]

    def save(self, to: Path) -> Path:
        shutil.copytree(self.root, to, dirs_exist_ok=True)
        return to

    def restore(self, saved: Path) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(saved, self.root)

    @property
    def store(self) -> FieldStore:
        return FieldStore(self.paths.fields, read_json(self.paths.current_fit)["fingerprint"])

    def digest(self, root: Path | None = None) -> dict[str, str]:
        """sha256 of every file, less what only says how long things took and what killed writers left."""
        root = root or self.root
        found = {}
        for file in sorted(root.rglob("*")):
            name = file.relative_to(root).as_posix()
            if file.is_file() and not name.startswith(PASSING) and PARTIAL not in name:
                try:
                    content = timeless(name)(file)
                except (ValueError, LookupError, TypeError, OSError):
                    content = file.read_bytes()  # damaged
                found[name] = hashlib.sha256(content).hexdigest()
        return found


def timeless(name: str) -> Callable[[Path], bytes]:
    """How to read a file without the seconds that things took."""
    if name.endswith((".pack", ".records")) or (name.startswith("fields/") and name.endswith(".json")):
        return _fields
    if name.startswith("jobs/fit-"):
        return lambda file: json.dumps({**json.loads(file.read_bytes()), "pack": None, "checksum": None}).encode()
    if name == "metrics.parquet":
        return lambda file: pd.read_parquet(io.BytesIO(file.read_bytes())).drop(columns="seconds").to_csv().encode()
    return Path.read_bytes


def _fields(file: Path) -> bytes:
    if file.name == "current.json":
        return file.read_bytes()
    records = [json.loads(file.read_bytes())] if file.suffix == ".json" else []
    rest = b""
    if not records:
        data = file.read_bytes()
        size = int.from_bytes(data[:8], "little")
        records, rest = json.loads(data[8 : 8 + size])["records"], data[8 + size :]
    return json.dumps([{**record, "seconds": 0, "checksum": None} for record in records]).encode() + rest


def difference(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Names that differ between two digests."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def unfinished(root: Path) -> list[Path]:
    return [path for path in root.rglob(f"*{PARTIAL}") if path.exists()]
