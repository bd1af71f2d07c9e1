"""Work on threads of a job: in order, little in flight, errors as they are, and dask's dashboard for whoever wants it."""

from __future__ import annotations

import re
import threading
import time
import urllib.request

import pytest

from isofield.errors import InputError
from isofield.parallel import AHEAD, DASHBOARD, in_parallel, own_cores


def test_results_come_in_order_whatever_ends_first():
    assert list(in_parallel(lambda n: time.sleep(0.02 * (n % 3 == 0)) or n * n, range(30), 4)) == [n * n for n in range(30)]


def test_as_many_at_once_as_there_are_threads_and_no_more():
    running, most, lock = set(), [], threading.Lock()

    def work(n: int) -> None:
        with lock:
            running.add(n)
            most.append(len(running))
        time.sleep(0.02)
        with lock:
            running.discard(n)

    for threads in (1, 3):
        most.clear()
        list(in_parallel(work, range(12), threads))
        assert max(most) == threads


def test_items_are_taken_as_they_are_needed():
    taken = []
    items = (taken.append(n) or n for n in range(1000))
    assert next(in_parallel(lambda n: n, items, 2)) == 0
    assert len(taken) == 2 * AHEAD


@pytest.mark.parametrize("dashboard", ["", "1"])
def test_an_error_is_what_it_was(monkeypatch, dashboard):
    monkeypatch.setenv(DASHBOARD, dashboard)

    def work(n: int) -> int:
        if n == 5:
            raise InputError("block", n, "is wrong", "Mend it")
        return n

    with pytest.raises(InputError, match="block: 5: is wrong"):
        list(in_parallel(work, range(9), 2))


def test_the_dashboard_shows_the_same_work(monkeypatch, capfd):
    monkeypatch.setenv(DASHBOARD, "1")
    unpicklable, seen = threading.Lock(), []

    def work(n: int) -> int:
        with unpicklable:
            return n + 1

    for result in in_parallel(work, range(3), 2):
        if not seen:
            (link,) = re.findall(r"dask's dashboard: (\S+)", capfd.readouterr().err)
            seen.append(urllib.request.urlopen(link, timeout=30).read())
        assert result
    assert b"Dask" in seen[0]


def test_a_job_has_at_least_one_core():
    assert own_cores() >= 1
