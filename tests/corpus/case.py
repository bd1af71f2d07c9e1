"""One wrong input: what is made, what is configured, and what the message must say."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from isofield.cli import main

from .volumes import h5

BASE: dict[str, dict[str, Any]] = {
    "run": {"name": "corpus", "threads_per_job": 1, "device": "cpu", "memory_gb": 8},
    "source": {"path": "volume.h5", "voxel_size_nm": [32, 8, 8]},
    "blocks": {"write_vox": 32, "context_vox": 8, "overlap_vox": 4},
    "prior": {"channels": [8, 8], "steps": 4, "batch": 4, "patch_vox": 32, "warmup_steps": 2},
    "field": {"strides_vox": [2, 4], "features": [4, 4], "hidden": 8},
    "fit": {"steps": 4},
    "output": {"chunk_vox": 16, "shard_vox": 32, "pyramid_min_vox": 32},
    "quality": {"n_spectrum_cubes": 1, "spectrum_cube_vox": 32, "seam_reach_vox": 8},
    "report": {"n_slices": 1},
}
"""A configuration that works: sections of 32 nm in volume.h5 that are planned in a fraction of a second."""

CONFIGURATION = "run.yaml"
Maker = Callable[[Path], None]


VOLUME = h5()


def nothing(folder: Path) -> None:
    """No volume at all."""


def at(path: str, **keys: object) -> dict[str, dict[str, object]]:
    return {"source": {"path": path, **keys}}


TIF, ZARR, IMAGE = at("volume.tif"), at("volume.zarr"), at("image.zarr", voxel_size_nm=None)


@dataclass(frozen=True)
class Case:
    """Input in a folder of its own, which is the working directory; a key of `config` replaces BASE's, section by section.

    thing, limit, remedy: how the message starts and what it says (patterns); empty for input that must be accepted.
    commands: what is run, all but the last successfully; `between` is made before the last one. text: the configuration file as
    it stands, instead of BASE and `config`. late: known only to a job, so that Snakemake starts rule plan; unprivileged: has to
    be run by a user who may not do everything.
    """

    name: str
    thing: str = ""
    limit: str = ""
    remedy: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    make: Maker = VOLUME
    text: bytes | None = None
    overrides: tuple[str, ...] = ()
    late: bool = False
    unprivileged: bool = False
    argument: str = CONFIGURATION
    commands: tuple[str, ...] = ("plan",)
    between: Maker = nothing

    @property
    def fine(self) -> bool:
        return not self.thing

    def prepare(self, folder: Path) -> None:
        """Make the input in the empty `folder`."""
        self.make(folder)
        (folder / CONFIGURATION).write_bytes(yaml.safe_dump(self.values()).encode() if self.text is None else self.text)

    def values(self) -> dict[str, Any]:
        values: dict[str, Any] = {name: dict(keys) for name, keys in BASE.items()}
        for name, keys in self.config.items():
            merges = isinstance(keys, dict) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **keys} if merges else keys
        return values

    def arguments(self, command: str) -> list[str]:
        return [command, self.argument, *(["--config", *self.overrides] if self.overrides else [])]

    def prepare_last(self, folder: Path) -> None:
        """Make the input, and run all commands but the last."""
        self.prepare(folder)
        for command in self.commands[:-1]:
            status, said = self.told(folder, command)
            assert status == 0, said
        self.between(folder)

    def told(self, folder: Path, command: str | None = None) -> tuple[int, str]:
        """Exit status and what was printed by a command, the last one if none is given, in this process, run in `folder`."""
        before, said = os.getcwd(), io.StringIO()
        os.chdir(folder)
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                status = main(self.arguments(command or self.commands[-1]))
        finally:
            os.chdir(before)
        return status, said.getvalue()


def wrong_with(case: Case, said: str) -> list[str]:
    """What the message of a case lacks; nothing if it is as it should be."""
    # What plan found on its way, bad sections say, is no message about the input.
    lines = [line for line in said.strip().splitlines() if not line.startswith("plan: ")]
    if len(lines) != 1:
        return [f"{len(lines)} lines instead of one message"]
    message = lines[0].removeprefix(f"isofield {case.commands[-1]}: ")
    lacking = [f"starts with {case.thing!r}"] if not message.startswith(f"{case.thing}: ") else []
    lacking += [f"says {part!r}" for part in (case.limit, case.remedy) if not re.search(part, message)]
    if not message.rstrip().endswith((".", "?", ")", "'")) and not re.search(r"\. [A-Z].+$", message):
        lacking.append("ends with a remedy")
    return lacking


def found(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below `folder` but the lock that commands share: size and time of change."""
    every = [Path(parent, name) for parent, folders, files in os.walk(folder) for name in (*folders, *files)]
    stats = {path: path.lstat() for path in every if path.name != "run.lock"}
    return {
        str(path.relative_to(folder)): (s.st_size if path.is_file() else 0, s.st_mtime_ns if path.is_file() else 0)
        for path, s in stats.items()
    }
