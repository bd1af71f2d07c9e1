"""One forking process and one undisturbed run for all tests of a session; what they find goes into a table."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_run import STAGES, FaultyRun, Forker, write_sections
from ledger import Ledger

LEDGER = Ledger()
CACHED = "isofield/faults"


@pytest.fixture(scope="session")
def forker(tmp_path_factory) -> Iterator[Forker]:
    forker = Forker(tmp_path_factory.mktemp("forker"))
    yield forker
    forker.close()


@dataclass(frozen=True)
class Undisturbed:
    """The files of a run before every stage, and at its end ("end"); how long each stage took, and its file operations."""

    run: FaultyRun
    before: dict[str, Path]
    digests: dict[str, dict[str, str]]
    seconds: dict[str, float]
    n_operations: dict[str, int]

    def after(self, stage: str) -> str:
        """The moment that follows a stage."""
        return [*STAGES, "end"][STAGES.index(stage) + 1]


@pytest.fixture(scope="session")
def undisturbed(forker, tmp_path_factory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_sections(folder / "sections.zarr")
    run = FaultyRun(folder, forker)
    run.root.mkdir(parents=True)
    before, digests, seconds, counts = {}, {}, {}, {}
    for stage in STAGES:
        before[stage], digests[stage] = run.save(folder / "saved" / stage), run.digest()
        ended = run.stage(stage)
        assert ended.status == 0, ended.text
        seconds[stage], counts[stage] = ended.seconds, ended.n_operations
    before["end"], digests["end"] = run.save(folder / "saved" / "end"), run.digest()
    return Undisturbed(run, before, digests, seconds, counts)


@pytest.fixture
def run(undisturbed, tmp_path) -> FaultyRun:
    """The run, with nothing done yet."""
    undisturbed.run.restore(undisturbed.before["plan"])
    return undisturbed.run


@pytest.fixture
def dice() -> random.Random:
    """Random numbers of this test; its seed is printed and can be given as ISOFIELD_FAULT_SEED."""
    seed = int(os.environ.get("ISOFIELD_FAULT_SEED", random.SystemRandom().randrange(2**32)))
    print(f"ISOFIELD_FAULT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def ledger() -> Ledger:
    return LEDGER


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Print the table, and write it where ISOFIELD_FAULT_MATRIX says if no test failed.

    A test that fails notes nothing. What the others noted is kept, so that `pytest --last-failed` completes the table.
    """
    cache, config = session.config.cache, session.config
    if not LEDGER.rows or cache is None:
        return
    if config.getoption("lf", False):
        LEDGER.add_json(cache.get(CACHED, {}))
    cache.set(CACHED, LEDGER.to_json())
    print("\n" + "\n".join(LEDGER.lines()))
    if document := os.environ.get("ISOFIELD_FAULT_MATRIX"):
        if exitstatus == pytest.ExitCode.OK:
            LEDGER.write(Path(document))
            cache.set(CACHED, {})
        else:
            print(f"{document} is not written: not all passed. The same with --last-failed completes the table")
