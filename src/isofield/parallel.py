"""Work shared among the cores of a job by dask, with little of it in flight.

With the environment variable ISOFIELD_DASHBOARD set (to 1, or to an address such as 127.0.0.1:8787) a LocalCluster of threads in
this process does the work, and dask's dashboard shows it: the extra `dashboard`.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from isofield.errors import InputError
from isofield.progress import say

Item = TypeVar("Item")
Result = TypeVar("Result")
DASHBOARD = "ISOFIELD_DASHBOARD"
AHEAD = 4
"""Items per thread that are taken ahead: results wait for the slowest of so many."""


def own_cores() -> int:
    """Cores that this process may use: on a cluster those of its job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item], n_threads: int) -> Iterator[Result]:
    """work(item) in the order of `items`, on `n_threads` threads; items are taken as they are needed, here.

    Raises what `work` raises.
    """
    with _threads(n_threads) as compute:
        rest = iter(items)
        while window := list(itertools.islice(rest, AHEAD * n_threads)):
            yield from compute([functools.partial(work, item) for item in window])


@contextmanager
def _threads(n: int) -> Iterator[Callable[[list[functools.partial]], Any]]:
    address = os.environ.get(DASHBOARD, "")
    if address in ("", "0"):
        from dask import threaded

        yield lambda calls: threaded.get({i: (call,) for i, call in enumerate(calls)}, list(range(len(calls))), num_workers=n)
        return
    try:
        import bokeh  # noqa: F401
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError(DASHBOARD, address, f"needs a package ({error})", "pip install 'isofield[dashboard]'") from None
    where = "127.0.0.1:0" if address == "1" else address
    with (
        LocalCluster(n_workers=1, threads_per_worker=n, processes=False, dashboard_address=where, memory_limit=None) as cluster,
        Client(cluster) as client,
    ):
        port = cluster.scheduler.http_server.port
        say(f"dask's dashboard: http://{where.rpartition(':')[0] or '127.0.0.1'}:{port}/status")
        yield lambda calls: _on_cluster(client, calls)


_CALLS: dict[int, functools.partial] = {}
_NUMBERS = itertools.count()


def _on_cluster(client: Any, calls: list[functools.partial]) -> Any:
    # Tasks are sent as pickles even within a process; open files are not pickled, so that numbers of calls are sent instead.
    numbers = [next(_NUMBERS) for _ in calls]
    _CALLS.update(zip(numbers, calls, strict=True))
    try:
        return [future.result() for future in client.map(_called, numbers, pure=False)]
    finally:
        for number in numbers:
            del _CALLS[number]


def _called(number: int) -> Any:
    return _CALLS[number]()
