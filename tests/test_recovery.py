"""Stale results are told from sound ones, and looking never removes anything."""

from __future__ import annotations

import json

import pytest

from isofield.paths import RunPaths
from isofield.records import write_json
from isofield.recovery import only_looks, withdraw_false_records

MARKS = {"plan": "p", "train": "t", "canvas": "c", "pyramid": "y", "measure": "m"}
IDENTITY = {"path": "volume.tif", "size": 7}


@pytest.fixture
def made(tmp_path):
    """Records of a run that was made from MARKS and IDENTITY."""
    paths = RunPaths(tmp_path)
    write_json(paths.plan, {"made_from": "p", "source": {"identity": IDENTITY}})
    for stage, path in {"t": paths.prior_facts, "c": paths.canvas, "y": paths.pyramid_job(0), "m": paths.metrics}.items():
        write_json(path, {"made_from": stage})
    return paths


def test_what_was_made_from_this_configuration_stays(made):
    assert withdraw_false_records(made, MARKS, IDENTITY) == []


@pytest.mark.parametrize(
    ("stage", "name"),
    [("plan", "plan.json"), ("train", "prior.json"), ("canvas", "canvas.json"), ("measure", "metrics.json")],
)
def test_what_was_made_from_another_configuration_goes(made, stage, name):
    changed = {**MARKS, stage: "another"}
    assert withdraw_false_records(made, changed, IDENTITY, remove=False) == [name]
    assert withdraw_false_records(made, changed, IDENTITY) == [name]
    assert withdraw_false_records(made, changed, IDENTITY) == []


def test_a_plan_of_another_volume_goes(made):
    assert withdraw_false_records(made, MARKS, {**IDENTITY, "size": 8}) == ["plan.json"]
    assert not made.plan.exists()


def test_a_prior_of_another_volume_than_the_plan_s_goes(made):
    for planned, gone in (("v", []), ("another", ["prior.json"])):
        write_json(made.plan, {"made_from": "p", "source": {"identity": IDENTITY}, "fingerprints": {"volume": planned}})
        write_json(made.prior_facts, {"made_from": "t", "volume": "v"})
        assert withdraw_false_records(made, MARKS, IDENTITY) == gone
        assert made.plan.exists()


@pytest.mark.parametrize("content", [b"", b'{"made_from": "p", "sou', b"[1, 2]"])
def test_a_damaged_record_goes(made, content):
    made.plan.write_bytes(content)
    assert withdraw_false_records(made, MARKS, IDENTITY) == ["plan.json"]


def test_looking_removes_nothing(made):
    before = {p: p.read_bytes() for p in made.root.rglob("*.json")}
    assert withdraw_false_records(made, dict.fromkeys(MARKS, "another"), IDENTITY, remove=False)
    assert {p: p.read_bytes() for p in made.root.rglob("*.json")} == before
    assert json.loads(made.plan.read_text())["made_from"] == "p"


@pytest.mark.parametrize(
    "line", ["-n", "--dry-run", "--cores 2 -np", "--lint", "-l", "--rulegraph dot", "--report=r.zip", "all -kn", "--unlock"]
)
def test_command_lines_that_only_look(line):
    assert only_looks(line.split())


@pytest.mark.parametrize("line", ["--cores 2", "-c2", "-j 4 --configfile n.yaml", "-k -p report", "--config run={name: n}"])
def test_command_lines_that_run(line):
    assert not only_looks(line.split())
