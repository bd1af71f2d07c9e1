"""The corpus through the command line: one message each, status 2, and nothing left behind; what is fine is planned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from .case import Case, found, wrong_with
from .cases import FINE, WRONG
from .process import in_a_folder, in_a_process
from .volumes import h5

HERE, UNPRIVILEGED = [[c for c in WRONG if c.unprivileged is may_not] for may_not in (False, True)]
PROCESSES = ("section given twice", "prior that is none", "NaN here and there", "results of another volume")
"""Cases that also go through processes of their own, one of every way in."""


def names(case: Case) -> str:
    return case.name


def test_the_corpus_is_as_large_as_promised():
    assert len(WRONG) >= 80
    every = [case.name for case in (*WRONG, *FINE)]
    assert len(every) == len(set(every))
    for case in WRONG:
        assert case.thing, case.name
        assert case.limit, case.name
        assert case.remedy, case.name


@pytest.mark.parametrize("case", HERE, ids=names)
def test_wrong_input_gives_one_message_and_leaves_nothing(case, tmp_path):
    case.prepare_last(tmp_path)
    before = found(tmp_path)
    status, said = case.told(tmp_path)
    assert not wrong_with(case, said), said
    assert status == 2
    assert found(tmp_path) == before


@pytest.mark.parametrize("case", FINE, ids=names)
def test_input_that_only_looks_odd_is_planned(case, tmp_path):
    case.prepare_last(tmp_path)
    status, said = case.told(tmp_path)
    assert status == 0, said
    assert (tmp_path / "results" / "corpus" / "plan.json").exists()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("lacking", ["thing", "limit", "remedy"])
def test_a_message_that_says_something_else_is_noticed(lacking, tmp_path):
    """Negative control: expectations are sharp."""
    case = next(case for case in WRONG if case.name == "black volume")
    case.prepare_last(tmp_path)
    _, said = case.told(tmp_path)
    assert not wrong_with(case, said)
    assert wrong_with(dataclasses.replace(case, **{lacking: "another"}), said)
    assert wrong_with(case, said + "Traceback (most recent call last):\n")


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_says_the_same_and_ends_with_status_2(name, tmp_path):
    case = next(case for case in WRONG if case.name == name)
    case.prepare_last(tmp_path)
    before = found(tmp_path)
    done = in_a_process(case, tmp_path)
    assert done.returncode == 2, done.stderr
    assert not wrong_with(case, done.stderr), done.stderr
    assert done.stdout == ""
    assert found(tmp_path) == before


@pytest.mark.parametrize("case", UNPRIVILEGED, ids=names)
def test_what_may_not_be_read_or_written_is_named(case):
    with in_a_folder() as folder:
        case.prepare_last(folder)
        before = found(folder)
        done = in_a_process(case, folder, plainly=True)
        assert found(folder) == before
    assert done.returncode == 2, done.stderr
    assert not wrong_with(case, done.stderr), done.stderr


def test_a_fine_volume_is_planned_by_a_process_too(tmp_path):
    """Negative control of the above: status 2 is not what this program always ends with."""
    case = Case("fine", make=h5())
    case.prepare_last(tmp_path)
    assert in_a_process(case, tmp_path).returncode == 0


def test_the_page_of_messages_shows_every_case():
    page = (Path(__file__).parents[2] / "docs" / "messages.md").read_text(encoding="utf-8")
    assert [case.name for case in (*WRONG, *FINE) if case.name not in page] == []
    assert "Traceback" not in page
