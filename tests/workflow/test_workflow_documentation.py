"""What the documents say is what the program does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from isofield import cli
from isofield.config import Config, doc, load_config, make_config

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
QUICK = (
    # Tests share their cores: more threads than these would wait for each other.
    "run={threads_per_job: 1}",
    "prior={steps: 20, warmup_steps: 5, batch: 4, channels: [8, 8]}",
    "fit={steps: 8}",
    "output={chunk_vox: 32, shard_vox: 64}",
)


def blocks_of(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks_of("bash") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", doc.yaml_text),
        ("schema.json", doc.schema_text),
        ("README.md", doc.table_text),
    ],
)
def test_the_configuration_documents_are_what_make_docs_writes(name, text):
    assert (REPOSITORY / "config" / name).read_text() == text(), "run `make docs`"


def test_a_changed_default_would_be_noticed(monkeypatch):
    monkeypatch.setattr(Config.model_fields["fit"].annotation.model_fields["steps"], "default", 121)
    assert (REPOSITORY / "config" / "config.yaml").read_text() != doc.yaml_text()


def test_the_commented_configuration_holds_the_defaults():
    loaded = load_config(REPOSITORY / "config" / "config.yaml")
    bare = {"run": {"name": "example"}, "source": {"path": "phantom:tissue", "simulate": {"factor": 8}}}
    assert loaded == make_config(bare)


def test_every_key_has_a_description():
    keys = [(s, k, i.description) for s, spec in doc.SECTIONS.items() for k, i in spec.model_fields.items()]
    assert len(keys) > 50
    assert [(s, k) for s, k, text in keys if not text] == []


def test_make_knows_the_targets_that_the_readme_names():
    named = {line.split()[1] for line in commands() if line.startswith("make ")}
    assert named == {"demo", "test"}
    for target in (*named, "lint", "test-all", "docs"):
        subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, check=True, capture_output=True)


def test_the_readme_names_only_files_that_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_isofield_commands_of_the_readme_parse():
    lines = [shlex.split(line) for line in commands() if "isofield " in line and "snakemake" not in line]
    assert len(lines) >= 3
    for words in lines:
        cli.parser().parse_args(words[1:])


def test_the_rulegraph_in_the_architecture_is_the_workflow_s(fresh):
    document = (REPOSITORY / "docs" / "architecture.md").read_text()
    drawn = set(re.findall(r"^\t(\w+) --> (\w+)$", document, flags=re.MULTILINE))
    graph = fresh.snakemake("--forceall", "--rulegraph", "mermaid-js")
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", graph))
    real = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", graph) if names[b] != "all"}
    assert drawn == real


def test_your_own_volume_as_the_readme_has_it(tmp_path, capsys):
    """The README's file and commands, verbatim, on a TIFF; only the training is cut short."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (6, 144, 128), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "my_volume.tif", texture)
    (written,) = blocks_of("yaml")
    (tmp_path / "my_volume.yaml").write_text(written)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = []
    for line in commands():
        words = shlex.split(line)
        if "my_volume" not in line:
            continue
        if words[0] == "snakemake":
            words += ["--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2", "--config", *QUICK]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        ran.append((words[0], done.stdout + done.stderr))
    assert [program for program, _ in ran] == ["isofield", "snakemake", "isofield"]
    assert "60 x 144 x 128 voxels of 4 nm" in ran[0][1]
    assert re.search(r"missing 0", ran[2][1])
    # The plan that was made by hand, from other settings, did not survive into the run.
    plan = yaml.safe_load((tmp_path / "results" / "my_volume" / "plan.json").read_text())
    assert (plan["ratio"], plan["shard_vox"]) == ("10", 64)
    assert (tmp_path / "results" / "my_volume" / "report" / "index.html").stat().st_size > 10_000
