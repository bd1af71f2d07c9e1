"""What a benchmark of quality is about: one volume degraded by one factor, and what every method may spend on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from isofield.config import Sections, load_config, load_sections
from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import read_json
from isofield.source import open_source
from isofield.stages import SECTIONS_READ
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.planning import plan_run


@dataclass(frozen=True)
class Setting:
    """One degraded volume. roi_vox: (begin, end) per axis z, y, x in voxels of the isotropic volume, None for all of it.

    teacher: another isotropic volume, which the supervised bound learns from. overrides: KEY=VALUE of isofield's configuration.
    """

    volume: str
    factor: float
    operator: str
    roi_vox: tuple[tuple[int, int], ...] | None
    teacher: str | None
    train_s: float
    out: str
    overrides: tuple[str, ...] = ()
    seed: int = 0
    threads: int = 2
    device: str = "auto"

    @property
    def folder(self) -> Path:
        """Where runs, results and pictures of this factor are kept."""
        return Path(self.out) / f"x{self.factor:g}"

    def text(self, name: str, changes: tuple[str, ...] = ()) -> tuple[str, tuple[str, ...]]:
        """The configuration of a run `name` as JSON, and the overrides that go with it."""
        source: dict[str, object] = {"path": self.volume, "simulate": {"factor": self.factor, "operator": self.operator}}
        if self.roi_vox:
            source["roi_nm"] = [[begin * self.voxel_nm, end * self.voxel_nm] for begin, end in self.roi_vox]
        run = {
            "name": name,
            "results": str(self.folder),
            "seed": self.seed,
            "threads_per_job": self.threads,
            "device": self.device,
        }
        return json.dumps({"run": run, "source": source}), (*self.overrides, *changes)

    @cached_property
    def voxel_nm(self) -> float:
        """Voxel size of the isotropic volume along x."""
        values = {"run": {"name": "look"}, "source": {"path": self.volume}}
        return float(open_source(load_config(json.dumps(values)).source).info.voxel_size_nm[2])

    def sections(self, stage: str, name: str, changes: tuple[str, ...] = ()) -> Sections:
        """What `stage` of the run `name` may see of its configuration."""
        text, overrides = self.text(name, changes)
        return load_sections(text, SECTIONS_READ[stage], overrides)

    def planned(self, name: str, changes: tuple[str, ...] = ()) -> tuple[Plan, RunPaths]:
        """The plan of a run `name`, made if need be."""
        paths, config = RunPaths(self.folder / name), self.sections("plan", name, changes)
        if paths.plan.exists() and read_json(paths.plan).get("made_from") == config.mark:
            return Plan.load(paths.plan), paths
        return plan_run(config, paths), paths

    def same_for(self, method: str) -> dict[str, object]:
        """All that the result of `method`, or the prior of that name, depends on; two equal ones need not be computed twice."""
        shown = {key: getattr(self, key) for key in self.__dataclass_fields__ if key not in ("out", "train_s", "teacher")}
        if method in PRIORS:
            # A prior learns from the whole volume, whatever part is reconstructed and however.
            read = {name.partition(".")[0] for name in SECTIONS_READ["train"]}
            shown |= {"roi_vox": None, "overrides": [o for o in self.overrides if o.partition(".")[0] in read]}
        budget = {} if method in UNTRAINED else {"train_s": self.train_s}
        return shown | budget | ({"teacher": self.teacher} if method == "supervised" else {})


PRIORS = CONDITIONAL, UNCONDITIONAL = "prior", "prior_unconditional"
"""Trainings that methods share."""
UNTRAINED = ("nearest", "linear", "cubic", "ridge", "field_no_prior")
"""Methods that take what time they need, whatever the budget."""


class Measured:
    """The degraded volume in memory, in working units, and the part of it that is reconstructed."""

    def __init__(self, setting: Setting) -> None:
        self.plan, _ = setting.planned("measured")
        config = setting.sections("plan", "measured")
        self.volume = open_source(config.source)
        self.blocks = MeasuredBlocks(self.volume, self.plan)
        self.model, self.contrast = self.plan.model, self.plan.contrast
        depth, height, width = self.volume.info.shape_zyx
        self.all_sections = self.contrast.normalise(self.volume.read(Roi((0, 0, 0), (depth, height, width)))[0])

    @property
    def sections(self) -> np.ndarray:
        """Sections (M, Y, X) of the reconstructed part."""
        return self.all_sections[self.plan.measured_roi.slices]

    def truth(self) -> np.ndarray:
        """Truth (Z, Y, X) of the reconstructed part, as stored."""
        roi = self.plan.measured_roi
        begin = int(roi.offset.z * self.plan.axial.ratio)
        part = Roi((begin, roi.offset.y, roi.offset.x), self.plan.shape)
        if self.volume.isotropic is None:
            raise InputError("--volume", self.plan.source["uri"], "holds no truth", "Give a truly isotropic volume")
        return self.volume.read_truth(part)[0]
