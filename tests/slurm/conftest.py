"""Private SLURMs, with and without accounting, and what a run on this machine alone gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, missing_programs
from disturbance import Disturbed, disturb
from slurm_run import SlurmRun


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            # Chains of jobs, each of which starts Python three times.
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def accounted() -> Iterator[Cluster]:
    yield from _cluster(accounting=True)


@pytest.fixture(scope="module")
def unaccounted() -> Iterator[Cluster]:
    yield from _cluster(accounting=False)


def _cluster(accounting: bool) -> Iterator[Cluster]:
    if lacking := missing_programs(accounting):
        pytest.skip(f"no SLURM here: {', '.join(lacking)} not installed")
    with Cluster(accounting=accounting) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> SlurmRun:
    """An undisturbed run on this machine alone, to the end of its image."""
    run = SlurmRun(tmp_path_factory.mktemp("local"), programs=programs)
    run.finish("--cores", "2", "results/small/jobs/finish.json")
    return run


@pytest.fixture(scope="session")
def disturbed(tmp_path_factory: pytest.TempPathFactory, accounted: Cluster) -> Iterator[Disturbed]:
    """A run on two nodes, as docs/slurm.md has it, in which much is lost. Look, do not touch."""
    run = SlurmRun(tmp_path_factory.mktemp("disturbed"), accounted)
    try:
        yield disturb(run, accounted)
    finally:
        run.end()
