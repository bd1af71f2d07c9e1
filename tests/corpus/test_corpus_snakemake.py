"""The corpus through Snakemake: refused while the workflow is read, or by rule plan; no other job starts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import isofield

from .case import BASE, CONFIGURATION, Case, found
from .cases import FINE, WRONG

REPOSITORY = Path(__file__).parents[2]
SEEN = [case for case in WRONG if case.text is None and case.argument == CONFIGURATION and not case.overrides]
SEEN = [case for case in SEEN if not case.unprivileged and case.commands == ("plan",)]
# Of a file that a rule needs Snakemake says by itself that it is missing.
SEEN = [case for case in SEEN if case.name != "profile that is not there"]
EARLY = [case for case in SEEN if not case.late]
LATE = [case for case in SEEN if case.late]
QUICK = ("NaN here and there",)
"""Of the cases that a job finds, those that the default tests try: each takes seconds."""

MANY = """
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from snakemake.cli import main

snakefile, *folders = sys.argv[1:]
for folder in folders:
    os.chdir(folder)
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(said):
        try:
            status = main(["plan", "--snakefile", snakefile, "--cores", "1", "--configfile", "run.yaml"])
        except SystemExit as ended:
            status = ended.code
    print(json.dumps([folder, status, said.getvalue()]), file=sys.__stdout__, flush=True)
"""


def snakemake_in(folders: list[Path]) -> dict[Path, tuple[int, str]]:
    """Exit status and output of Snakemake in each folder, all from one process: starting costs more than reading a workflow."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(Path(isofield.__file__).parents[1]), "PATH": path}
    command = [sys.executable, "-c", MANY, str(REPOSITORY / "Snakefile"), *map(str, folders)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=580)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == len(folders), done.stdout + done.stderr
    return {Path(folder): (status, said) for folder, status, said in lines}


def lacking(case: Case, said: str) -> list[str]:
    """Parts of the message that Snakemake does not show. It breaks no lines, but prints more than the message."""
    return [part for part in (f"{case.thing}: ", case.limit, case.remedy) if not re.search(part, said)]


def left(folder: Path) -> set[str]:
    """What lies in a folder besides what was given, Snakemake's own notes and logs."""
    noted = re.compile(r"\.snakemake|run\.yaml|results(/corpus(/logs(/plan.log)?|/benchmarks)?)?$")
    return {name for name in found(folder) if not noted.match(name)}


def walked(cases: list[Case], tmp_path: Path) -> None:
    folders = {tmp_path / str(number): case for number, case in enumerate(cases)}
    before = {}
    for folder, case in folders.items():
        folder.mkdir()
        case.prepare_last(folder)
        before[folder] = left(folder)
    wrong = {}
    for folder, (status, printed) in snakemake_in(list(folders)).items():
        case, log = folders[folder], folder / "results" / "corpus" / "logs" / "plan.log"
        said = printed + (log.read_text() if log.exists() else "")
        problems = [f"does not say {part!r}" for part in lacking(case, said)]
        problems += [f"ended with {status}"] if status != 1 else []
        problems += ["shows a traceback"] if "Traceback" in said else []
        problems += [f"left {sorted(left(folder) ^ before[folder])}"] if left(folder) != before[folder] else []
        if problems:
            wrong[case.name] = [*problems, said]
    assert not wrong, "\n".join(f"{name}: {problems}" for name, problems in wrong.items())


@pytest.mark.parametrize("cases", [pytest.param(EARLY[::5], id="some"), pytest.param(EARLY, id="all", marks=pytest.mark.slow)])
def test_wrong_input_is_refused_while_the_workflow_is_read(cases, tmp_path):
    assert len(EARLY) > 80
    walked(cases, tmp_path)
    assert not list(tmp_path.glob("*/results/corpus/logs")), "a job was started"


@pytest.mark.parametrize("case", [c for c in LATE if c.name in QUICK], ids=lambda c: c.name)
def test_what_only_the_voxels_tell_is_refused_by_rule_plan(case, tmp_path):
    walked([case], tmp_path)


@pytest.mark.slow
def test_all_that_only_the_voxels_tell_is_refused_by_rule_plan(tmp_path):
    walked(LATE, tmp_path)


@pytest.mark.slow
def test_input_that_only_looks_odd_is_planned_by_rule_plan(tmp_path):
    folders = {tmp_path / str(number): case for number, case in enumerate(FINE)}
    for folder, case in folders.items():
        folder.mkdir()
        case.prepare_last(folder)
    for folder, (status, said) in snakemake_in(list(folders)).items():
        assert status == 0, (folders[folder].name, said)
        assert (folder / "results" / BASE["run"]["name"] / "plan.json").exists()
        assert not (folder / "owned").exists()
