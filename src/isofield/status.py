"""What a run has done and what is missing, read from records alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import RecordStore, read_json


@dataclass(frozen=True)
class RunStatus:
    """Counts of blocks per state, and what finishing would take. eta_s is None while no block has been timed."""

    run: str
    n_blocks: int
    done: int
    failed: int
    skipped: int
    missing: int
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
        if self.eta_s is not None and self.missing + self.failed:
            minutes = self.eta_s / 60
            lines.append(f"  about {minutes:.1f} min of fitting left in one job at {self.seconds_per_block:.1f} s per block")
        lines += [f"  block {i}: {m}" for i, m in zip(self.failed_blocks, self.messages, strict=False)]
        return lines


def run_status(paths: RunPaths) -> RunStatus:
    """Status of the run in `paths`. Raises InputError when it has no plan yet."""
    plan = Plan.load(paths.plan)
    store = current_store(paths)
    states = store.scan(range(plan.n_blocks)) if store else dict.fromkeys(range(plan.n_blocks), "missing")
    counts = Counter(states.values())
    seconds, failed, messages = [], [], []
    for index, state in states.items():
        if state in ("done", "failed") and store:
            record = store.read(index)
            if record is not None and state == "done":
                seconds.append(record.seconds)
            elif record is not None:
                failed.append(index)
                messages.append(record.message or "")
    pace = sum(seconds) / len(seconds) if seconds else None
    left = counts["missing"] + counts["failed"]
    return RunStatus(
        plan.run_name,
        plan.n_blocks,
        counts["done"],
        counts["failed"],
        counts["skipped"],
        counts["missing"],
        pace,
        None if pace is None else pace * left,
        tuple(failed),
        tuple(messages),
    )


def current_store(paths: RunPaths) -> RecordStore | None:
    """The record store of the fit that ran last; None before the first one."""
    if not paths.current_fit.exists():
        return None
    return RecordStore(paths.fields, read_json(paths.current_fit)["fingerprint"])


def withdraw_false_records(paths: RunPaths) -> list[str]:
    """Remove job records whose claims no longer hold: a field or shard they name is gone or has another size.

    The workflow does this when it starts, so that deleting or damaging one file makes just its job run again.
    Returns what was withdrawn.
    """
    withdrawn = []
    store = current_store(paths)
    for path in sorted((paths.root / "jobs").glob("*.json")):
        record = read_json(path)
        if path.name.startswith("fit-"):
            # Without a current fit there is no field at all: the whole folder was deleted.
            sound = store is not None and (record["fingerprint"] != store.fingerprint or _blocks_hold(store, record["blocks"]))
        elif path.name.startswith("blend-"):
            sound = all(_shard_holds(paths, shard) for shard in record["shards"])
        else:
            continue
        if not sound:
            path.unlink()
            withdrawn.append(path.name)
    return withdrawn


def _blocks_hold(store: RecordStore, blocks: dict[str, dict]) -> bool:
    """Whether every block is as the job left it; a file whose time changed since its record is read and compared."""
    for key, block in blocks.items():
        index = int(key)
        if store.state(index) != block["state"]:
            return False
        payload, record = store.payload_path(index), store.record_path(index)
        touched = block["state"] == "done" and payload.stat().st_mtime_ns > record.stat().st_mtime_ns
        if touched and not store.check(index):
            return False
    return True


def _shard_holds(paths: RunPaths, shard: dict) -> bool:
    side = shard["side"]
    file = paths.isotropic.joinpath("0", "c", *(str(o // side) for o in shard["offset"]))
    return file.exists() and file.stat().st_size == shard["bytes"]
