"""prior.init: training goes on from another volume's prior, says so, and refuses what does not fit."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from tiny_run import TinyRun

from isofield.errors import InputError
from isofield.records import read_json


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A prior of one piece of tissue."""
    run = TinyRun.at(tmp_path_factory.mktemp("teacher"), prior={"rounds": 1, "steps": 120, "learning_rate": 5e-3})
    for name in ("plan", "train"):
        assert run.stage(name) == 0
    return run


def student(tmp_path, teacher=None, **prior):
    """A run on another piece, planned."""
    init = {"init": str(teacher.paths.prior)} if teacher else {}
    source = {"path": "phantom:tissue?shape=48,64,64&seed=5", "simulate": {"factor": 4}}
    run = TinyRun.at(tmp_path, source=source, prior={"rounds": 1, "steps": 20, "learning_rate": 1e-3, **init, **prior})
    assert run.stage("plan") == 0
    return run


def last_loss(run):
    return float(run.paths.prior_losses.read_text().splitlines()[-1].split(",")[2])


def test_a_warm_start_is_ahead_of_a_cold_one(teacher, tmp_path):
    warm, cold = student(tmp_path / "warm", teacher), student(tmp_path / "cold")
    assert warm.stage("train") == cold.stage("train") == 0
    assert last_loss(warm) < last_loss(cold)


def test_the_record_names_the_checkpoint_by_its_content(teacher, tmp_path, capsys):
    run = student(tmp_path, teacher)
    assert run.stage("train") == 0
    assert "from" in capsys.readouterr().err
    facts = read_json(run.paths.prior_facts)
    assert facts["init_sha256"] == hashlib.sha256(teacher.paths.prior.read_bytes()).hexdigest()
    assert "init_sha256" not in read_json(teacher.paths.prior_facts)


def test_where_the_checkpoint_lies_does_not_matter_but_what_it_holds_does(teacher, tmp_path):
    first = student(tmp_path / "a", teacher)
    assert first.stage("train") == 0
    moved = tmp_path / "elsewhere.safetensors"
    shutil.copy(teacher.paths.prior, moved)
    second = student(tmp_path / "b", teacher, init=str(moved))
    assert second.stage("train") == 0
    assert second.paths.prior.read_bytes() == first.paths.prior.read_bytes()
    # Negative control: from another checkpoint training ends elsewhere.
    third = student(tmp_path / "c", teacher, init=str(first.paths.prior))
    assert third.stage("train") == 0
    assert third.paths.prior.read_bytes() != first.paths.prior.read_bytes()


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ({"channels": [8, 16]}, ("prior.init", "prior.channels", "(8, 8)")),
        ({"n_residual_blocks": 2}, ("prior.init", "prior.n_residual_blocks")),
        ({"neighbours": 0}, ("prior.init", "prior.neighbours")),
        ({"rounds": 2}, ("prior.init", "prior.rounds 1", "this run has 2")),
        ({"init": "nowhere.safetensors"}, ("prior.init", "nowhere.safetensors", "is not a file")),
    ],
)
def test_what_does_not_fit_is_refused_by_name(teacher, tmp_path, capsys, prior, said):
    run = student(tmp_path, teacher, **prior)
    assert run.stage("train") == 2
    error = capsys.readouterr().err
    assert all(word in error for word in said), error
    assert not run.paths.prior.exists()


def test_a_file_that_is_no_prior_is_refused(teacher, tmp_path, capsys):
    text = tmp_path / "text.safetensors"
    text.write_text(json.dumps({"not": "a prior"}))
    run = student(tmp_path / "run", init=str(text))
    assert run.stage("train") == 2
    assert str(text) in capsys.readouterr().err


@pytest.mark.parametrize("other", [{"rounds": 1, "neighbours": 0}, {"rounds": 2}], ids=str)
def test_a_prior_can_be_used_as_it_is_whatever_its_network_sees(tmp_path, other):
    """What it was trained by counts, not what the configuration that uses it would train."""
    teacher = TinyRun.at(tmp_path / "teacher", prior={"steps": 4, **other})
    assert teacher.stage("plan") == teacher.stage("train") == 0
    run = student(tmp_path / "as_it_is", teacher, steps=0)
    assert run.stage("train") == run.stage("canvas") == run.stage("fit") == 0
    assert set(run.states().values()) == {"done"}


def test_a_prior_can_be_used_as_it_is(teacher, tmp_path):
    """Runs that share a prior share its bytes, so that their fields are the same."""
    run = student(tmp_path / "as_it_is", teacher, steps=0)
    assert run.stage("train") == 0
    assert run.paths.prior.read_bytes() == teacher.paths.prior.read_bytes()
    facts = read_json(run.paths.prior_facts)
    assert (facts["steps"], facts["volume"]) == (120, run.plan.fingerprints["volume"])
    for stage in ("canvas", "fit", "blend", "pyramid", "finish", "measure", "report"):
        assert run.stage(stage) == 0, stage


def test_a_prior_for_another_measurement_is_not_used_as_it_is(teacher, tmp_path, capsys):
    source = {"path": "phantom:tissue?shape=48,64,64", "simulate": {"factor": 4, "operator": "skip"}}
    run = TinyRun.at(tmp_path, source=source, prior={"steps": 0, "init": str(teacher.paths.prior)})
    assert run.stage("plan") == 0
    assert run.stage("train") == 2
    assert "was trained for operator section, this run has skip" in capsys.readouterr().err
    assert not run.paths.prior.exists()


def test_without_a_prior_there_is_nothing_to_use(tmp_path):
    with pytest.raises(InputError, match=r"name the prior to use in prior\.init"):
        TinyRun.at(tmp_path, prior={"steps": 0})
