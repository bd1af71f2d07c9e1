"""Names that a shell would take for commands, and Snakemake for wildcards, through every rule of a real run."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import ndimage

from conftest import REPOSITORY, Workflow

COMMANDS = "$(touch owned) `touch owned`; touch owned | touch owned & touch owned > owned"
NAME = f'it\'s "mine" {COMMANDS} *?[a-z] ~ %s #1 ! \\ häm 脳 \u202e'
BRACED = f"-rf {{job}} {{output.plan}} {{{{x}}}} \n touch owned\n {NAME}"
"""Of the source and the image. Files that rules depend on may not have braces, the results folder no line break either."""
SMALL = {
    "run": {"name": "small", "results": NAME, "threads_per_job": 1, "device": "cpu"},
    "source": {"path": f"{BRACED}.h5", "dataset": f"a {{job}} {COMMANDS}", "voxel_size_nm": [32, 8, 8]},
    "measurement": {"operator": "kernel", "kernel_file": f"{NAME}.csv"},
    "blocks": {"write_vox": 32, "context_vox": 16, "overlap_vox": 4},
    "prior": {"channels": [8, 8], "steps": 2, "batch": 4, "patch_vox": 32, "warmup_steps": 2},
    "field": {"strides_vox": [2, 4], "features": [4, 4], "hidden": 8},
    "fit": {"steps": 2, "blocks_per_job": 4},
    "output": {"path": f"{{job}} {NAME}.zarr", "chunk_vox": 16, "shard_vox": 32, "pyramid_min_vox": 32},
    "quality": {"n_spectrum_cubes": 1, "spectrum_cube_vox": 32, "seam_reach_vox": 8},
    "report": {"n_slices": 1, "title": f"<script>alert(1)</script> {{job}} {COMMANDS}"},
}
RULES = sorted((REPOSITORY / "workflow" / "rules").glob("*.smk"))


@pytest.fixture
def hostile(tmp_path: Path, programs: Path) -> Workflow:
    """A small volume under hostile names."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(12, 64, 64)), (0.5, 1.5, 1.5))
    source = SMALL["source"]
    with h5py.File(tmp_path / source["path"], "w") as file:
        file[source["dataset"]] = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
    (tmp_path / SMALL["measurement"]["kernel_file"]).write_text("1\n2\n2\n1\n")
    return Workflow(tmp_path, SMALL, programs)


def results(workflow: Workflow) -> Path:
    return workflow.folder / NAME / "small"


def owned(workflow: Workflow) -> list[Path]:
    return [path for path in workflow.folder.rglob("*") if path.name == "owned"]


def unquoted(rule: str) -> list[str]:
    """Placeholders in a rule's commands that reach the shell without quotes. Wildcards are numbers of jobs."""
    shells = re.findall(r'shell:\s+((?:"[^\n]*"\s+)+)', rule)
    used = [name for shell in shells for name in re.findall(r"\{([^{}]+)\}", shell)]
    return [name for name in used if not name.endswith(":q") and name != "wildcards.job"]


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_every_command_quotes_what_it_is_given(file):
    text = file.read_text(encoding="utf-8")
    assert unquoted(text) == []
    assert text.count("shell:") == len(re.findall(r'shell:\s+"', text))
    assert not re.search(r"^\s+(script|notebook|wrapper|run):", text, flags=re.MULTILINE)


def test_a_command_without_quotes_is_noticed():
    """Negative control."""
    assert unquoted('rule a:\n    shell:\n        "isofield plan {params.config} | tee {log:q}"\n') == ["params.config"]


def test_hostile_names_are_planned(hostile):
    text = hostile.snakemake("plan", "canvas")
    assert (results(hostile) / "plan.json").exists(), text
    assert owned(hostile) == []


@pytest.mark.slow
def test_hostile_names_run_to_the_end_and_nothing_is_executed(hostile):
    hostile.snakemake()
    assert (results(hostile) / "report" / "index.html").exists()
    assert (hostile.folder / SMALL["output"]["path"] / "zarr.json").exists()
    assert "<script>alert(1)" not in (results(hostile) / "report" / "index.html").read_text(encoding="utf-8")
    assert owned(hostile) == []
    assert "Nothing to be done" in hostile.snakemake()
