"""Stages killed, terminated and interrupted at random moments: run again, they end with the bytes of an undisturbed run."""

from __future__ import annotations

import pytest
from faulty_run import STAGES, FaultyRun, difference
from ledger import OTHER, SAME

AT_OPERATIONS, AT_MOMENTS = 6, 2


def changes(run: FaultyRun, undisturbed, stage: str) -> list[str]:
    """Run a stage once more, to its end: the files that are not those of the undisturbed run."""
    ended = run.stage(stage)
    assert ended.status == 0, ended.text
    return difference(run.digest(), undisturbed.digests[undisturbed.after(stage)])


def killed(run: FaultyRun, stage: str, dice, undisturbed, how: str, share: float = 1.0) -> bool:
    """Kill a stage once, within the first `share` of its usual time; whether it was still alive to be killed."""
    if how == "operation":
        fate = {"kill_at": dice.randrange(max(1, undisturbed.n_operations[stage]))}
    else:
        fate = {"after_s": dice.uniform(0, share * undisturbed.seconds[stage]), "signal": how}
    print(stage, fate)
    return run.stage(stage, **fate).status != 0


@pytest.mark.faults
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_it_ends_with_the_same_bytes(run, undisturbed, dice, ledger, stage):
    wanted = ["operation"] * AT_OPERATIONS + ["SIGKILL"] * AT_MOMENTS
    while wanted:
        run.restore(undisturbed.before[stage])
        # One to three kills in a row, then to the end.
        kinds = []
        for _ in range(dice.randint(1, 3)):
            if wanted and killed(run, stage, dice, undisturbed, wanted[-1]):
                kinds.append(wanted.pop())
        changed = changes(run, undisturbed, stage)
        for kind in kinds:
            what = "SIGKILL at a file operation" if kind == "operation" else "SIGKILL at any time"
            ledger.note(what, stage, OTHER if changed else SAME, changed=bool(changed), kills=1)
        assert changed == []


@pytest.mark.faults
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("stage", STAGES)
def test_asked_to_end_it_ends_with_the_same_bytes(run, undisturbed, dice, ledger, stage, name):
    """As a scheduler and a person do; fit and train then save what they have, which another test looks at."""
    run.restore(undisturbed.before[stage])
    # The machine may be less busy than it was when the stage was timed.
    for attempt in range(20):
        if killed(run, stage, dice, undisturbed, name, share=0.8**attempt):
            break
        run.restore(undisturbed.before[stage])
    else:
        pytest.fail("the stage was never alive when the signal was sent")
    changed = changes(run, undisturbed, stage)
    ledger.note(f"{name} at any time", stage, OTHER if changed else SAME, changed=bool(changed), kills=1)
    assert changed == []


@pytest.mark.parametrize("stage", ["fit", "blend"])
def test_killed_twice_it_ends_with_the_same_bytes(run, undisturbed, dice, stage):
    """The quick one of these tests, in every run of the suite."""
    run.restore(undisturbed.before[stage])
    assert killed(run, stage, dice, undisturbed, "operation")
    assert difference(run.digest(), undisturbed.digests[undisturbed.after(stage)]) != [], "nothing was left to be done"
    killed(run, stage, dice, undisturbed, "SIGKILL")
    assert changes(run, undisturbed, stage) == []
