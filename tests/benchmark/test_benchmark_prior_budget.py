"""The time that methods are compared at: of the prior it covers both rounds and what is restored between them."""

from __future__ import annotations

import pytest

from isofield.benchmark import prior_budget
from isofield.benchmark.prior_budget import Pace, prior_steps, training_pace
from isofield.benchmark.setting import CONDITIONAL, Setting
from isofield.quality.baselines.budget import N_TIMED_STEPS

SMALL = ("prior.channels=[8,8]", "prior.batch=4", "prior.patch_vox=32")


def planned(tmp_path, *overrides: str):
    volume = "phantom:tissue?shape=64,96,96"
    setting = Setting(volume, 4.0, "section", None, None, 0.0, str(tmp_path), (*SMALL, *overrides), threads=1, device="cpu")
    return setting.sections("train", CONDITIONAL), setting.planned(CONDITIONAL)[0]


def test_both_rounds_and_what_lies_between_them_fit_into_the_time(monkeypatch):
    monkeypatch.setattr(prior_budget, "training_pace", lambda *_: Pace(0.02, 30.0))
    assert prior_steps(None, None, 90.0) * 0.02 + 30 == pytest.approx(90)
    # A time that holds nothing is exceeded a little: there is no row without a prior.
    assert prior_steps(None, None, 20.0) == N_TIMED_STEPS


@pytest.mark.parametrize("rounds", [1, 2])
def test_restoring_takes_its_time_where_there_are_two_rounds(tmp_path, rounds):
    measured = training_pace(*planned(tmp_path, f"prior.rounds={rounds}"))
    assert measured.step_s > 0
    assert (measured.between_s > 0) == (rounds == 2)
