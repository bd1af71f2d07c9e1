"""A run so small that every stage takes a second or less, driven through the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isofield.cli import main
from isofield.config import Config, make_config
from isofield.fieldstore import FieldStore
from isofield.paths import RunPaths
from isofield.plan import Layout, Plan, lay_out
from isofield.records import read_json
from isofield.source.probe import probe
from isofield.stages import JOINT_SECTIONS_READ, SECTIONS_READ

TINY: dict[str, Any] = {
    "run": {"name": "tiny", "threads_per_job": 1, "device": "cpu", "keep_fields": True},
    "source": {"path": "phantom:tissue?shape=48,64,64", "simulate": {"factor": 4}},
    "blocks": {"write_vox": 32, "context_vox": 8, "overlap_vox": 4},
    "prior": {"channels": [8, 8], "steps": 10, "batch": 8, "patch_vox": 32, "warmup_steps": 2},
    "field": {"strides_vox": [2, 4], "features": [4, 4], "hidden": 8},
    "fit": {"steps": 8, "blocks_per_job": 4},
    "output": {"chunk_vox": 16, "shard_vox": 32, "shards_per_job": 3, "pyramid_min_vox": 32},
    "quality": {"n_spectrum_cubes": 2, "spectrum_cube_vox": 32, "seam_reach_vox": 12},
    "report": {"n_slices": 1},
}


@dataclass(frozen=True)
class TinyRun:
    """A configuration, and what its stages leave behind."""

    config: Config

    @classmethod
    def at(cls, results: Path, **sections: dict[str, Any]) -> TinyRun:
        """A run below `results`; keys of `sections` replace those of TINY."""
        values = {name: {**keys, **sections.get(name, {})} for name, keys in TINY.items()}
        values |= {name: keys for name, keys in sections.items() if name not in TINY}
        values["run"]["results"] = str(results)
        return cls(make_config(values))

    def changed(self, **sections: dict[str, Any]) -> TinyRun:
        """The same run with some keys of its configuration changed."""
        values = self.config.model_dump(mode="json")
        return TinyRun(make_config({n: {**keys, **sections.get(n, {})} for n, keys in values.items()}))

    def copied_to(self, results: Path) -> TinyRun:
        """This run and all its files, below another folder."""
        copy = self.changed(run={"results": str(results)})
        shutil.copytree(self.paths.root, copy.paths.root)
        return copy

    def stage(self, name: str, job: int | None = None) -> int:
        """Run one stage with exactly the sections it declares, as the workflow's rules do; its exit status."""
        given = self.config.section_json(*(SECTIONS_READ | JOINT_SECTIONS_READ)[name])
        return main([name, given, *(["--job", str(job)] if job is not None else [])])

    def all_stages(self) -> TinyRun:
        for name in [name for name in SECTIONS_READ if name != "preview"]:
            assert self.stage(name) == 0, name
        return self

    @property
    def paths(self) -> RunPaths:
        joint = self.config.output.joint
        root = Path(self.config.run.results) / self.config.run.name
        return RunPaths(root, self.config.output.path, joint.index if joint else None)

    @property
    def layout(self) -> Layout:
        return lay_out(self.config, probe(self.config.source))

    @property
    def plan(self) -> Plan:
        return Plan.load(self.paths.plan)

    @property
    def store(self) -> FieldStore:
        return FieldStore(self.paths.fields, read_json(self.paths.current_fit)["fingerprint"])

    def fields(self) -> dict[int, bytes]:
        """Bytes of every sound field of the current fit, by block."""
        store = self.store
        payloads = {i: store.payload(i) for i in range(self.plan.block_grid.n_blocks)}
        return {i: data for i, data in payloads.items() if data is not None}

    def states(self) -> dict[int, str]:
        store = self.store
        return {i: store.state(i) for i in range(self.plan.block_grid.n_blocks)}

    def shards(self, level: int = 0) -> dict[str, bytes]:
        """Bytes of every shard of one level, by its place in the grid."""
        folder = self.paths.isotropic / str(level) / "c"
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    def metrics(self) -> dict[str, Any]:
        return json.loads(self.paths.metrics.read_bytes())


def times(folder: Path) -> dict[str, int]:
    """When every file below `folder` was last written, in ns."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}
