"""Runs of two channels that have nothing in common."""

from __future__ import annotations

from pathlib import Path

from tiny_run import TinyRun

from isofield.units import units_of

NAMES = ("DNA", "lamin")
UNIT_STAGES = ("plan", "train", "canvas", "fit", "blend", "pyramid", "finish", "measure", "report")


def several(results: Path, stack: Path, **sections) -> TinyRun:
    source = {"path": str(stack), "channel": "all", "simulate": None} | sections.pop("source", {})
    return TinyRun.at(results, source=source, **sections)


def units(run: TinyRun) -> list[TinyRun]:
    return [TinyRun(unit.config) for unit in units_of(run.config)]


def finish(run: TinyRun) -> TinyRun:
    """All stages of all channels, then what they have in common."""
    made = units(run)
    for unit in made:
        for stage in UNIT_STAGES:
            assert unit.stage(stage) == 0, stage
    for stage in ("join", "overview"):
        assert made[0].stage(stage) == 0, stage
    for unit in made:
        for stage in ("verify", "tidy"):
            assert unit.stage(stage) == 0, stage
    return run
