"""Finding results whose claims no longer hold, so that the workflow makes them again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from isofield.errors import InputError
from isofield.fieldstore import RECORDS, FieldStore
from isofield.omezarr.keys import shard_keys
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import read_json, sha256_file
from isofield.status import current_store

LOOKING = frozenset(
    [
        "--dry-run",
        "--dryrun",
        "--lint",
        "--list",
        "--list-rules",
        "--list-target-rules",
        "--list-changes",
        "--list-input-changes",
        "--list-params-changes",
        "--list-untracked",
        "--list-conda-envs",
        "--dag",
        "--rulegraph",
        "--filegraph",
        "--d3dag",
        "--summary",
        "--detailed-summary",
        "--report",
        "--archive",
        "--containerize",
        "--print-compilation",
        "--unlock",
        "--generate-unit-tests",
        "-l",
        "-S",
        "-D",
    ]
)
"""Options with which snakemake looks at a workflow without running it."""


def only_looks(arguments: Sequence[str]) -> bool:
    """Whether a snakemake command line runs no job. Snakemake does not tell while it reads the workflow."""
    short = [a for a in arguments if a.startswith("-") and not a.startswith("--")]
    return any(a.partition("=")[0] in LOOKING for a in arguments) or any("n" in a[1:] and a[1:].isalpha() for a in short)


def withdraw_false_records(
    paths: RunPaths,
    marks: Mapping[str, str] | None = None,
    identity: Mapping[str, object] | None = None,
    remove: bool = True,
) -> list[str]:
    """Names of the results whose claims no longer hold; with `remove` they are gone afterwards.

    Job records: a pack of fields or a shard they name is gone or changed. With `marks` (stage -> mark of its part of the
    configuration) also what was made from another configuration, by hand say, so that the workflow has no note of it; with
    `identity` a plan of another volume or kernel. A prior of another volume than the plan's goes too, and fit jobs whose fields
    were tidied away but are needed to blend again. The workflow asks once, when it starts. Only records go, never a field or a
    shard.
    """
    false = _stale(paths, marks or {}, identity)
    fits = _fitted(paths)
    for path in sorted((paths.root / "jobs").glob("*.json")):
        if path not in false and not _holds(path, paths, fits):
            false.append(path)
    false += [path for path in _needed_again(paths, false) if path not in false]
    if remove:
        for path in false:
            path.unlink(missing_ok=True)
    return [path.name for path in false]


def withdraw_false_joint(paths: RunPaths, mark: str, remove: bool = True) -> list[str]:
    """The same for the record of what several channels have in common; `paths` are of any of these."""
    record = _readable(paths.joined)
    if not paths.joined.exists() or record.get("made_from") == mark:
        return []
    if remove:
        paths.joined.unlink()
    return [paths.joined.name]


def _fitted(paths: RunPaths) -> FieldStore | None:
    try:
        return current_store(paths)
    except InputError:
        return None


def _holds(path: Path, paths: RunPaths, store: FieldStore | None) -> bool:
    record = _readable(path)
    if not record:
        return False
    recorded_ns = path.stat().st_mtime_ns
    if path.name.startswith("fit-"):
        # Without a current fit there is no field at all: the whole folder was deleted.
        return store is not None and (
            record["fingerprint"] != store.fingerprint or _pack_holds(store, record["pack"], recorded_ns)
        )
    if path.name.startswith("blend-"):
        return all(_shard_holds(paths, shard, recorded_ns) for shard in record["shards"])
    return True


def _needed_again(paths: RunPaths, false: list[Path]) -> list[Path]:
    """Records of fit jobs without fields, of which blend jobs that have to run again need some."""
    store, plan = _fitted(paths), _planned(paths)
    if store is None or plan is None:
        return []
    redrawn = paths.canvas in false or not paths.canvas.exists()
    records = {job: paths.blend_job(job) for job in range(plan.n_blend_jobs)}
    again = [job for job, path in records.items() if redrawn or path in false or not path.exists()]
    needed: set[int] = set()
    for job in again:
        needed.update(plan.jobs.fits_before(job))
    lacking = []
    for path in (paths.fit_job(job) for job in sorted(needed)):
        pack = _readable(path).get("pack")
        if pack and not (store.folder / pack["file"]).exists():
            lacking.append(path)
    return lacking


def _planned(paths: RunPaths) -> Plan | None:
    try:
        return Plan.load(paths.plan)
    except InputError:
        return None


def _pack_holds(store: FieldStore, pack: dict, recorded_ns: int) -> bool:
    """Whether a job's fields are as it left them; a file whose time changed since is read and compared.

    What was tidied away is as it should be.
    """
    file = store.folder / pack["file"]
    if not file.exists():
        return file.with_suffix(RECORDS).exists()
    about = file.stat()
    return about.st_size == pack["bytes"] and (about.st_mtime_ns <= recorded_ns or sha256_file(file) == pack["sha256"])


def _stale(paths: RunPaths, marks: Mapping[str, str], identity: Mapping[str, object] | None) -> list[Path]:
    made = {
        "plan": [paths.plan],
        "train": [paths.prior_facts],
        "canvas": [paths.canvas],
        "fit": sorted(paths.root.glob("jobs/fit-*.json")),
        "blend": sorted(paths.root.glob("jobs/blend-*.json")),
        "pyramid": sorted(paths.root.glob("jobs/pyramid-*.json")),
        "finish": [paths.finish],
        "measure": [paths.metrics],
        "verify": [paths.verified],
        "tidy": [paths.tidy],
    }
    stale = []
    for stage, mark in marks.items():
        for path in made.get(stage, []):
            record = _readable(path)
            other_volume = stage == "plan" and identity is not None and record.get("source", {}).get("identity") != identity
            if path.exists() and (record.get("made_from") != mark or other_volume):
                stale.append(path)
    # A prior of another volume or kernel: while plan has to run, the workflow does not look at what train was given.
    planned = _readable(paths.plan).get("fingerprints", {}).get("volume")
    trained = _readable(paths.prior_facts).get("volume")
    if planned and trained and planned != trained and paths.prior_facts not in stale:
        stale.append(paths.prior_facts)
    return stale


def _readable(path: Path) -> dict:
    """What a record says; nothing if it is absent or damaged."""
    try:
        record = read_json(path)
    except InputError:
        return {}
    return record if isinstance(record, dict) else {}


def _sha256(files: Sequence[Path]) -> str:
    """sha256 (64 hex digits) of the bytes of several files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _shard_holds(paths: RunPaths, shard: dict, recorded_ns: int) -> bool:
    """Whether a shard is as its job left it; one whose time changed since the job's record is read and compared.

    One in an object store is believed to be: asking for each would make the workflow wait for the network when it starts. To
    make shards again that were deleted or damaged there, delete the job's record.
    """
    if isinstance(paths.store, str):
        return True
    labels = shard.get("labels")
    keys = shard_keys(0, shard["offset"], shard["shape"], shard["side"], shard.get("chunk"), paths.channel)
    if labels is None or not _files_hold(paths.store / "labels" / "origin", keys, labels, recorded_ns):
        return False
    return _files_hold(paths.store, keys, shard, recorded_ns)


def _files_hold(folder: Path, keys: Sequence[str], about: dict, recorded_ns: int) -> bool:
    files = [folder / key for key in keys]
    if not all(file.exists() for file in files) or sum(file.stat().st_size for file in files) != about["bytes"]:
        return False
    return all(file.stat().st_mtime_ns <= recorded_ns for file in files) or _sha256(files) == about["sha256"]
