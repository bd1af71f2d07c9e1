"""Progress lines: redrawn on a real terminal, few and whole in a log."""

from __future__ import annotations

import os
import pty
import re
import select
from contextlib import contextmanager, redirect_stderr

import pytest

from isofield.progress import Progress, say


@contextmanager
def on_a_terminal():
    """Standard error is a terminal; yields a function that reads what has appeared on it."""
    outer, inner = pty.openpty()
    with os.fdopen(outer, "rb", buffering=0) as shown, os.fdopen(inner, "w") as screen, redirect_stderr(screen):

        def appeared() -> str:
            # What was written gets through in pieces, and later on a busy machine.
            pieces = []
            while select.select([shown], [], [], 0.5)[0]:
                pieces.append(shown.read(65536))
            return b"".join(pieces).decode()

        yield appeared


def test_a_log_gets_one_whole_line_at_the_end(capsys):
    progress = Progress("fit", 200, "blocks")
    for done in range(1, 201):
        progress.update(done)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"fit: 200/200 blocks in 0:0\d \(\S+ blocks/s\)\n", err)


def test_a_log_gets_a_line_whenever_the_interval_has_passed(capsys):
    progress = Progress("fit", 10, "blocks", log_every_s=0)
    for done in range(1, 4):
        progress.update(done)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [f"fit: {done}/10 blocks" for done in range(1, 4)]
    patient = Progress("fit", 10, "blocks", log_every_s=3600)
    patient.update(1)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_one_line_redrawn():
    with on_a_terminal() as shown:
        progress = Progress("blend", 3, "shards")
        progress.update(1, note="loss 0.5")
        progress.update(2)  # within half a second: not drawn
        progress.update(3)
        lines = shown().split("\r\x1b[2K")
    assert len(lines) == 3
    assert lines[1].startswith("blend: 1/3 shards (")
    assert lines[1].endswith("left)  loss 0.5")
    assert re.fullmatch(r"blend: 3/3 shards in 0:00 \(\S+ shards/s\)\r\n", lines[2])


def test_speed_and_time_left_follow_from_what_was_done_here(capsys):
    progress = Progress("train", 1000, "steps", done=600, log_every_s=0)
    progress.started -= 100
    progress.update(700)
    assert capsys.readouterr().err == "train: 700/1000 steps (1 steps/s, 5:00 left)\n"
    counted_from_zero = Progress("train", 1000, "steps", log_every_s=0)
    counted_from_zero.started -= 100
    counted_from_zero.update(700)
    assert "(7 steps/s, 0:43 left)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("elapsed_s", "text"), [(59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"), (36061, "10:01:01")]
)
def test_times_read_like_a_clock(capsys, elapsed_s, text):
    progress = Progress("fit", 1, "blocks")
    progress.started -= elapsed_s
    progress.update(1)
    assert f" in {text} (" in capsys.readouterr().err


def test_nothing_done_yet_or_nothing_to_do_has_no_speed(capsys):
    Progress("fit", 4, "blocks", done=2, log_every_s=0).update(2)
    Progress("fit", 0, "blocks").update(0)
    assert capsys.readouterr().err == "fit: 2/4 blocks\nfit: 0/0 blocks\n"


def test_say_writes_a_line_to_standard_error(capsys):
    say("hello")
    assert capsys.readouterr() == ("", "hello\n")
