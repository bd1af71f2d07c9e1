"""What a run says of itself: records of jobs, blocks and shards, the fields they vouch for, and that nothing was left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isofield.blend import Windows
from isofield.errors import InputError
from isofield.fieldstore import RECORDS, FieldStore, Pack
from isofield.geometry import Roi
from isofield.omezarr.metadata import level_shapes
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import read_json, sha256_file, to_plain
from isofield.shardrecords import ShardRecords, shard_key
from isofield.verify.expected import Vouched, blends_over
from isofield.verify.finding import Finding, Repair, files_of, in_words, record_of

FINISHED = ("done", "skipped", "fallback")
"""States of a block after which its part of the image may be made."""
UNITY_TOLERANCE = 1e-6
MARK_BYTES = 80
"""Room for a block's mark: its state, and 64 hexadecimal digits."""


class RecordCheck:
    """Checks all records of a run, with or without its fields; `vouched` is filled with what they say of shards.

    chosen: fit job -> whether its fields are read and compared with the records; exact: whether a block that is fitted again
    is the same to the byte, so that its neighbours, of which the fields may be gone, are not needed to blend again.
    """

    def __init__(self, plan: Plan, paths: RunPaths, store: FieldStore | None, chosen: Callable[[int], bool], exact: bool) -> None:
        self.plan, self.paths, self.store, self.chosen, self.exact = plan, paths, store, chosen, exact
        self.vouched = Vouched(plan)
        self.n_field_bytes = 0
        self.n_tidied = 0
        """Jobs whose fields were removed after the image was made, as run.keep_fields has it."""
        self.n_states: dict[str, int] = {}
        self._marks = np.zeros(len(plan.jobs.blocks), f"S{MARK_BYTES}")

    def run(self) -> Iterator[Finding]:
        yield from self._windows()
        if self.store is None:
            what = "does not say which fit is the run's: absent or damaged"
            fits = tuple(record_of(self.paths.fit_job(job)) for job in range(self.plan.n_fit_jobs))
            yield Finding("fit", what, str(self.paths.current_fit), repairs=(*fits, *files_of(self.paths.current_fit)))
        else:
            for job in range(self.plan.n_fit_jobs):
                yield from self._fit_job(job)
        for job in range(self.plan.n_blend_jobs):
            yield from self._blend_job(job)
        yield from self._image_jobs()

    def _windows(self) -> Iterator[Finding]:
        """Windows are products along the axes, so they sum to one everywhere if they do along each."""
        grid = self.plan.block_grid
        for axis, windows, length in zip("zyx", Windows(grid, self.plan.overlap_vox).axes, grid.shape, strict=True):
            total = np.zeros(length)
            for first, weights in windows:
                total[first : first + len(weights)] += weights
            off = np.flatnonzero(np.abs(total - 1) > UNITY_TOLERANCE)
            if len(off):
                yield Finding("coverage", f"windows sum to {total[off[0]]:.6g} instead of 1 at {axis} {off[0]}")

    def _fit_job(self, job: int) -> Iterator[Finding]:
        assert self.store is not None
        path, blocks = self.paths.fit_job(job), self.plan.jobs.fit_blocks(job)
        record = _read(path)
        redo = (record_of(path),)
        if not isinstance(record, dict):
            yield Finding("record", record, str(path), repairs=redo)
            record = {}
        elif record.get("fingerprint") != self.store.fingerprint:
            what = f"is of the fit {str(record.get('fingerprint'))[:12]}, the run's is {self.store.fingerprint[:12]}"
            yield Finding("record", what, str(path), repairs=redo)
        of_pack = list(self._pack(job, record.get("pack"), redo))
        yield from of_pack
        named = {index for finding in of_pack for index in finding.blocks}
        states = {index: self.store.state(index) for index in blocks}
        for index in blocks:
            block = self.store.read(index) if states[index] in FINISHED else None
            self._marks[self._rank(index)] = block.mark.encode() if block else b""
        for state in states.values():
            self.n_states[state] = self.n_states.get(state, 0) + 1
        lacking = tuple(index for index, state in states.items() if state not in FINISHED and index not in named)
        if lacking:
            kinds = in_words(sorted({states[index] for index in lacking}))
            about = tuple(Repair("block", str(index)) for index in lacking)
            what = f"{len(lacking)} of the job's {len(blocks)} blocks are {kinds}: what they cover is not vouched for"
            yield Finding("coverage", what, str(self.store.folder), blocks=lacking, repairs=(*redo, *self._over(lacking), *about))

    def _pack(self, job: int, said: Any, redo: tuple[Repair, ...]) -> Iterator[Finding]:
        """The file with a job's fields: there, or tidied away; as it was written, or which fields are not."""
        assert self.store is not None
        blocks = self.plan.jobs.fit_blocks(job)
        path = self.store.pack_path(blocks)
        if not path.exists():
            kept = path.with_suffix(RECORDS)
            if kept.exists():
                self.n_tidied += 1
                if Pack.open(kept, self.store.fingerprint) is None:
                    about = (*redo, *files_of(kept), *self._over(blocks))
                    what = "is damaged: what it says of these blocks cannot be read"
                    yield Finding("field", what, str(kept), blocks=tuple(blocks), repairs=about)
            else:
                lost = tuple(index for index in blocks if self.store.state(index) == "missing")
                yield Finding("field", "is gone, the records of these blocks with it", str(path), blocks=lost, repairs=redo)
            return
        pack = Pack.open(path, self.store.fingerprint)
        if pack is None:
            what = "is damaged: its table of contents cannot be read"
            yield Finding("field", what, str(path), blocks=tuple(blocks), repairs=(*redo, *files_of(path)))
            return
        if not self.chosen(job):
            return
        self.n_field_bytes += path.stat().st_size
        if isinstance(said, dict) and sha256_file(path) == said.get("sha256"):
            return
        damaged = tuple(index for index in blocks if self._damaged(pack, index))
        if damaged:
            about = tuple(Repair("block", str(index)) for index in damaged)
            yield Finding("field", "the field is not what its record says", str(path), blocks=damaged, repairs=(*redo, *about))
        elif isinstance(said, dict):
            what = "is not what the job's record says, though each of its fields is what its own record says"
            yield Finding("field", what, str(path), repairs=redo)

    def _over(self, blocks: Sequence[int]) -> tuple[Repair, ...]:
        """What is blended again from blocks that are fitted again; nothing where these are the same to the byte."""
        again = () if self.exact else blocks
        return tuple({one for index in again for one in blends_over(self.paths, self.plan, index)})

    def _damaged(self, pack: Pack, index: int) -> bool:
        assert self.store is not None
        record = pack.record(index, self.store.fingerprint)
        if record is None or record.state != "done":
            return False
        return hashlib.sha256(pack.payload(index) or b"").hexdigest() != record.field_sha256

    def _blend_job(self, job: int) -> Iterator[Finding]:
        path, wanted = self.paths.blend_job(job), self.plan.jobs.blend_shards(job)
        record = _read(path)
        redo = (record_of(path),)
        shards = record.get("shards") if isinstance(record, dict) else record
        if not isinstance(shards, list):
            yield Finding("record", shards if isinstance(shards, str) else "says nothing of shards", str(path), repairs=redo)
            return
        try:
            said = [Roi(shard["offset"], shard["shape"]) for shard in shards]
        except (KeyError, TypeError, ValueError):
            yield Finding("record", "has shards without offset and shape", str(path), repairs=redo)
            return
        if said != wanted:
            lacking = [tuple(roi.offset) for roi in wanted if roi not in said]
            what = f"speaks of {len(said)} shards, the job has {len(wanted)}; without those at {in_words(lacking)}"
            yield Finding("coverage", what, str(path), repairs=redo)
        kept = ShardRecords(self.paths.shards, job)
        for roi, shard in zip(said, shards, strict=True):
            if roi in wanted:
                yield from self._shard(roi, shard, path, kept)

    def _shard(self, roi: Roi, shard: dict[str, Any], path: Path, kept: ShardRecords) -> Iterator[Finding]:
        blocks = tuple(self.plan.block_grid.touching(roi, self.plan.overlap_vox))
        key = shard_key(roi, self.plan.shard_vox)
        redo = (record_of(path), *(record_of(file) for file in kept.files(key) if file.exists()))
        try:
            self.vouched.put(roi, shard)
        except ValueError as error:
            yield Finding("record", str(error), str(path), 0, roi, blocks, redo)
        beside = kept.read(key)
        if beside is None:
            yield Finding("record", "the shard's own record is gone or damaged", str(path), 0, roi, blocks, redo)
        elif to_plain(beside) != to_plain(shard):
            yield Finding("record", "the shard's own record is not what its job's record says", str(path), 0, roi, blocks, redo)
        if self.store is None:
            return
        marks = [self._marks[self._rank(index)].decode() for index in blocks]
        if all(marks) and shard.get("fingerprint") != self.plan.shard_mark(roi, marks):
            what = "was made from other fields, grey values or blocks than the run has"
            yield Finding("record", what, str(path), 0, roi, blocks, redo)

    def _rank(self, index: int) -> int:
        return self.plan.jobs.blocks.rank(self.plan.block_grid.position(index))

    def _image_jobs(self) -> Iterator[Finding]:
        jobs = self.plan.jobs
        for path in [self.paths.canvas, *(self.paths.pyramid_job(job) for job in range(len(jobs.pyramid))), self.paths.finish]:
            record = _read(path)
            if not isinstance(record, dict):
                yield Finding("record", record, str(path), repairs=(record_of(path),))
        canvas, finish = _read(self.paths.canvas), _read(self.paths.finish)
        if not (isinstance(canvas, dict) and isinstance(finish, dict)):
            return
        if canvas.get("shape") != list(self.plan.shape) or canvas.get("dtype") != self.plan.dtype:
            planned = f"{list(self.plan.shape)} {self.plan.dtype}"
            what = f"is of an image of {canvas.get('shape')} {canvas.get('dtype')}, the plan's is {planned}"
            yield Finding("record", what, str(self.paths.canvas), repairs=(record_of(self.paths.canvas),))
        smallest = (canvas.get("output") or {}).get("pyramid_min_vox")
        if isinstance(smallest, int) and finish.get("levels") != to_plain(level_shapes(self.plan.shape, smallest)):
            what = f"has levels {finish.get('levels')}, which are not what the plan's shape gives"
            yield Finding("record", what, str(self.paths.finish), repairs=(record_of(self.paths.finish),))


def check_files(plan: Plan, paths: RunPaths) -> Iterator[Finding]:
    """Files of a run beside its image that hold what cannot be checked otherwise: each can be read, or is not there yet."""
    facts = _read(paths.prior_facts)
    prior = (record_of(paths.prior_facts), *files_of(paths.prior))
    if not isinstance(facts, dict):
        yield Finding("prior", facts, str(paths.prior_facts), repairs=prior)
    elif not paths.prior.exists():
        yield Finding("prior", "is missing", str(paths.prior), repairs=prior)
    elif "sha256" in facts and sha256_file(paths.prior) != facts["sha256"]:
        yield Finding("prior", "is not the prior that was trained: other bytes", str(paths.prior), repairs=prior)
    tables = [(paths.blocks, plan.n_blocks)]
    if paths.block_metrics.exists():
        tables.append((paths.block_metrics, None))  # type: ignore[arg-type]
    for path, n_rows in tables:
        if what := _table_fault(path, n_rows):
            yield Finding("file", what, str(path), repairs=files_of(path))
    for path in (paths.metrics, paths.neuroglancer):
        what = _read(path) if path.exists() else {}
        if not isinstance(what, dict):
            yield Finding("file", what, str(path), repairs=files_of(path))


def _table_fault(path: Path, n_rows: int | None) -> str | None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # All of it, column by column: a page that was cut off or changed shows only then.
        n_found = sum(batch.num_rows for batch in parquet.ParquetFile(path).iter_batches())
    except FileNotFoundError:
        return "is missing"
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read ({str(error).splitlines()[0]})"
    return f"has {n_found} rows instead of {n_rows}" if n_rows not in (None, n_found) else None


def _read(path: Path) -> dict[str, Any] | str:
    """What a record says, or what is wrong with it."""
    try:
        record = read_json(path)
    except InputError as error:
        return error.limit
    return record if isinstance(record, dict) else "is not a JSON object"
