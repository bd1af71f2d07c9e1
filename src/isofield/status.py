"""What a run has done and what is missing, read from records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from isofield.fieldstore import FieldStore
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import read_json


@dataclass(frozen=True)
class RunStatus:
    """Counts of blocks per state, and what finishing would take. eta_s is None while no block has been timed.

    failed_blocks: those that failed or are interpolated instead, with the reasons in `messages`.
    """

    run: str
    n_blocks: int
    done: int
    failed: int
    skipped: int
    missing: int
    fallback: int
    seconds_per_block: float | None
    eta_s: float | None
    failed_blocks: tuple[int, ...]
    messages: tuple[str, ...]

    def to_dict(self) -> dict:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"{self.run}: {self.n_blocks} blocks",
            f"  done    {self.done}",
            f"  failed  {self.failed}",
            f"  skipped {self.skipped} (no contrast)",
            f"  missing {self.missing}",
        ]
        if self.fallback:
            lines.append(f"  fallback {self.fallback} (could not be fitted, interpolated instead)")
        if self.eta_s is not None and self.missing + self.failed:
            minutes = self.eta_s / 60
            lines.append(f"  about {minutes:.1f} min of fitting left in one job at {self.seconds_per_block:.1f} s per block")
        lines += [f"  block {i}: {m}" for i, m in zip(self.failed_blocks, self.messages, strict=False)]
        return lines


def run_status(paths: RunPaths) -> RunStatus:
    """Status of the run in `paths`. Raises InputError when it has no plan yet."""
    plan = Plan.load(paths.plan)
    store = current_store(paths)
    counts: Counter[str] = Counter()
    seconds, failed = 0.0, {}
    wanted = plan.jobs.blocks
    for index, record in store.records() if store else ():
        if index not in wanted:
            continue
        counts[record["state"]] += 1
        if record["state"] == "done":
            seconds += record.get("seconds", 0.0)
        elif record["state"] in ("failed", "fallback"):
            failed[index] = record.get("message") or ""
    pace = seconds / counts["done"] if counts["done"] else None
    missing = plan.n_blocks - counts["done"] - counts["failed"] - counts["skipped"] - counts["fallback"]
    left = missing + counts["failed"]
    return RunStatus(
        plan.run_name,
        plan.n_blocks,
        counts["done"],
        counts["failed"],
        counts["skipped"],
        missing,
        counts["fallback"],
        pace,
        None if pace is None else pace * left,
        tuple(sorted(failed)),
        tuple(failed[index] for index in sorted(failed)),
    )


def current_store(paths: RunPaths) -> FieldStore | None:
    """The record store of the fit that ran last; None before the first one."""
    return fitted_store(paths) if paths.current_fit.exists() else None


def fitted_store(paths: RunPaths) -> FieldStore:
    """The record store of the fit that ran last. Raises InputError before the first one."""
    return FieldStore(paths.fields, read_json(paths.current_fit)["fingerprint"])


def written_shards(paths: RunPaths, plan: Plan) -> Iterator[dict]:
    """The records of all blend jobs' shards, read job by job."""
    for job in range(plan.n_blend_jobs):
        yield from read_json(paths.blend_job(job))["shards"]
