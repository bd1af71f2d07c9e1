"""What the Snakemake world expects of a workflow: catalog, lint, format, use as a module, environments, containers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).parents[2]
RULES = {
    name: body
    for file in sorted((REPOSITORY / "workflow" / "rules").glob("*.smk"))
    for name, body in re.findall(r"^rule (\w+):\n((?:[ \n].*\n?)*)", file.read_text(), flags=re.MULTILINE)
    # One without a command is a name for what others make.
    if "shell:" in body
}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (REPOSITORY / "envs" / "constraints.txt").read_text()
PINS = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", CONSTRAINTS, flags=re.MULTILINE))
CONDA = REPOSITORY / "envs" / "isofield.yaml"
RECIPES = {name: (REPOSITORY / "envs" / name).read_text() for name in ("Dockerfile", "isofield.def")}


def snakemake(programs: Path, *arguments: str, folder: Path = REPOSITORY):
    path = os.pathsep.join(map(str, (programs, Path(sys.executable).parent, os.environ["PATH"])))
    return subprocess.run(
        [programs / "snakemake", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=400,
    )


# Catalog


def test_the_catalog_finds_what_it_asks_for():
    readme = (REPOSITORY / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    for name in ("workflow/Snakefile", "config/README.md", "config/schema.json", "CITATION.cff", "LICENSE"):
        assert (REPOSITORY / name).is_file(), name
    assert RULES
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    assert usage["software-stack-deployment"]["conda"] is True
    # No rule and no file names a container, so none is promised.
    assert usage["software-stack-deployment"]["apptainer"] is any("container:" in body for body in RULES.values())


def test_every_rule_says_where_it_runs_logs_and_is_timed():
    assert len(RULES) > 8
    for name, body in RULES.items():
        for directive in ("log:", "benchmark:", "conda:", "resources:", "shell:"):
            assert directive in body, f"rule {name} has no {directive}"
        assert '"../../envs/isofield.yaml"' in body, name


def test_the_schema_describes_every_key():
    schema = json.loads((REPOSITORY / "config" / "schema.json").read_text())
    sections = {name: part for name, part in schema["$defs"].items() if "properties" in part}
    keys = [(section, key, part) for section, body in sections.items() for key, part in body["properties"].items()]
    assert len(keys) > 50
    required = {(section, key) for section, body in sections.items() for key in body.get("required", ())}
    assert [(s, k) for s, k, part in keys if not part.get("description")] == []
    assert [(s, k) for s, k, part in keys if "default" not in part and (s, k) not in required] == []


def test_lint_and_format_find_nothing(programs):
    """The repository holds no results, and the volume that its configuration names is synthetic."""
    done = snakemake(programs, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "good condition" in done.stdout + done.stderr
    subprocess.run([Path(sys.executable).parent / "snakefmt", "--check", "Snakefile", "workflow"], cwd=REPOSITORY, check=True)


def test_lint_would_find_something(programs, tmp_path):
    (tmp_path / "Snakefile").write_text("rule bad:\n    output:\n        'x'\n    shell:\n        'touch {output}'\n")
    assert snakemake(programs, "--lint", folder=tmp_path).returncode != 0


def test_without_isofield_the_workflow_says_how_to_install_it():
    """`python -S` with site-packages as mere folders: whatever is installed there is found, the editable isofield is not."""
    environment = {"PYTHONPATH": sysconfig.get_paths()["purelib"]}
    absent = [sys.executable, "-S", "-c", "import isofield"]
    if subprocess.run(absent, env={**os.environ, **environment}, capture_output=True).returncode == 0:
        pytest.skip("isofield is installed here as a copy")
    command = [sys.executable, "-S", "-m", "snakemake", "--lint"]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, timeout=400)
    assert done.returncode != 0
    assert "pip install -c" in done.stdout + done.stderr


# In another workflow


USING = f"""
configfile: "config.yaml"

module isofield:
    snakefile: "{REPOSITORY}/workflow/Snakefile"
    config: config["isofield"]

use rule * from isofield as isofield_*

rule all:
    default_target: True
    input: "shape.txt"

rule shape:
    input: rules.isofield_plan.output.plan
    output: "shape.txt"
    shell: "python -c 'import json, sys; print(*json.load(open(sys.argv[1]))[\\"shape\\"])' {{input}} > {{output}}"
"""
SMALL = {
    "run": {"name": "inner"},
    "source": {"path": "phantom:tissue?shape=32,64,64", "simulate": {"factor": 4}},
    "output": {"chunk_vox": 16, "shard_vox": 32},
}


@pytest.fixture
def outer(tmp_path):
    (tmp_path / "Snakefile").write_text(USING)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"isofield": SMALL}))
    return tmp_path


def test_another_workflow_uses_its_rules_as_a_module(programs, outer):
    done = snakemake(programs, "--cores", "1", folder=outer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (outer / "shape.txt").read_text().split() == ["32", "64", "64"]
    assert (outer / "results" / "inner" / "logs" / "plan.log").is_file()
    rest = snakemake(programs, "--cores", "1", "--dry-run", "isofield_all", folder=outer)
    planned = set(re.findall(r"^isofield_(\w+) +\d+$", rest.stdout + rest.stderr, flags=re.MULTILINE))
    of_several_channels = {"join", "overview"}
    assert planned == set(RULES) - {"plan", "preview_run"} - of_several_channels | {"all"}


def test_a_module_with_a_wrong_configuration_is_refused(programs, outer):
    (outer / "config.yaml").write_text(yaml.safe_dump({"isofield": {**SMALL, "prior": {"stepz": 3}}}))
    done = snakemake(programs, "--cores", "1", "--dry-run", folder=outer)
    assert done.returncode != 0
    assert "prior.stepz" in done.stdout + done.stderr


# Environments and containers


def test_constraints_pin_what_the_project_asks_for():
    """Everything that is installed by default, for tests or for SLURM has one version, within the bounds of pyproject.toml."""
    extras = PROJECT["optional-dependencies"]
    wanted = [Requirement(text) for text in [*PROJECT["dependencies"], *extras["test"], *extras["slurm"], *extras["s3"]]]
    pins = {name.lower().replace("_", "-"): version for name, version in PINS.items()}
    for requirement in wanted:
        pin = pins.get(requirement.name.lower().replace("_", "-"))
        assert pin is not None, f"envs/constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(pin), f"{requirement.name}: {pin} is not in {requirement.specifier}"


def test_pip_installs_the_checkout_from_the_conda_environment(tmp_path):
    """Snakemake copies the file elsewhere before conda reads it, so nothing in it may be relative."""
    conda = yaml.safe_load(CONDA.read_text())
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{conda['dependencies'][0].partition('=')[2]}.0")
    lines = conda["dependencies"][-1]["pip"]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-build-isolation", "-r", "requirements.txt"]
    environment = {name: value for name, value in os.environ.items() if name != "ISOFIELD_CHECKOUT"}
    known = {**environment, "ISOFIELD_CHECKOUT": str(REPOSITORY)}
    done = subprocess.run(pip, cwd=tmp_path, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"isofield-{PROJECT['version']}" in done.stdout
    assert subprocess.run(pip, cwd=tmp_path, env=environment, capture_output=True).returncode != 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_copy_what_is_there_and_install_what_is_pinned(recipe):
    """They cannot be built where there is no container engine; what they name is compared with what is here.

    Cores come from the profile, which snakemake looks for beside the Snakefile that it is given.
    """
    text = RECIPES[recipe]
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", text, flags=re.MULTILINE) for word in line.split()}
    copied |= set(re.findall(r"^    (\S+) /opt/isofield/\S+$", text, flags=re.MULTILINE))
    assert {"src", "workflow", "config", "envs", "pyproject.toml"} <= copied
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []
    snakefile = Path(re.search(r"--snakefile /opt/isofield/(\S+)", text)[1])
    assert snakefile.parts[0] in copied
    assert (REPOSITORY / snakefile).is_file()
    assert (REPOSITORY / snakefile.parent / "profiles" / "default").resolve().is_relative_to(REPOSITORY / snakefile.parts[0])
    python = re.search(r"python:(3\.\d+)-slim", text)[1]
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    extras = re.search(r"--editable '/opt/isofield\[(.+)\]'", text)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_both_recipes_do_the_same():
    found = [
        {re.sub(r"^RUN |^ *(&& )?| *\\$", "", line) for line in text.splitlines() if re.search(r"\b(pip|printf|chmod)\b", line)}
        for text in RECIPES.values()
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 3


# Picture


def test_the_rulegraph_picture_shows_the_rules_and_what_they_wait_for():
    """Against the diagram of the architecture, which another test compares with the workflow. Drawn by `make rulegraph`."""
    svg = ElementTree.parse(REPOSITORY / "docs" / "images" / "rulegraph.svg").getroot()
    name = {"s": "http://www.w3.org/2000/svg"}
    groups = {g.get("class"): [] for g in svg.iter(f"{{{name['s']}}}g")}
    for group in svg.iter(f"{{{name['s']}}}g"):
        groups[group.get("class")].append((group.findtext("s:title", namespaces=name), group.findtext("s:text", namespaces=name)))
    labels = dict(groups["node"])
    drawn = {tuple(labels[end] for end in title.split("->")) for title, _ in groups["edge"]}
    document = (REPOSITORY / "docs" / "architecture.md").read_text()
    assert drawn == set(re.findall(r"^\t(\w+) --> (\w+)$", document, flags=re.MULTILINE))
