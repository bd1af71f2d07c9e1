"""Atomic publication of small files, fingerprints, and the records that say what became of each block.

A name holds a whole file or does not exist: bytes go to a sibling `<name>.<random>.partial`, reach the disk,
and are then renamed. A killed writer leaves at most such a `.partial`, for `sweep_partials` to remove.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, Field, field_validator

from isofield.errors import InputError
from isofield.spec import Spec

PARTIAL = ".partial"
BlockState = Literal["done", "skipped", "failed", "fallback"]


def to_plain(obj: Any) -> Any:
    """`obj` as dicts, lists, str, int, float, bool and None.

    Fractions become "n/d", paths their text, tuples lists, sets sorted lists, models and dataclasses dicts,
    numpy scalars and arrays numbers and lists. Raises TypeError for anything else.
    """
    if obj is None or isinstance(obj, bool | str):
        return str(obj) if isinstance(obj, str) else obj
    if isinstance(obj, int):
        return int(obj)
    if isinstance(obj, float):
        return float(obj)
    if isinstance(obj, Fraction):
        return f"{obj.numerator}/{obj.denominator}"
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if isinstance(obj, BaseModel):
        return to_plain(dict(obj))
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {field.name: to_plain(getattr(obj, field.name)) for field in dataclasses.fields(obj)}
    if isinstance(obj, Mapping):
        return {_plain_key(key): to_plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple | range):
        return [to_plain(value) for value in obj]
    if isinstance(obj, set | frozenset):
        return sorted((to_plain(value) for value in obj), key=json.dumps)
    if hasattr(obj, "tolist"):
        return to_plain(obj.tolist())
    raise TypeError(f"{type(obj).__name__} has no JSON form: {obj!r}")


def _plain_key(key: Any) -> str:
    plain = to_plain(key)
    if isinstance(plain, str | int) and not isinstance(plain, bool):
        return str(plain)
    raise TypeError(f"a JSON key must be text or an integer, not {key!r}")


def fingerprint(*parts: Any) -> str:
    """sha256 (64 hex digits) of the parts' canonical JSON: same in every process, in any order of keys.

    Lists and tuples count as equal, 1 and 1.0 do not. Raises ValueError for NaN and infinity.
    """
    text = json.dumps(to_plain(parts), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """sha256 (64 hex digits) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_dir(folder: str | os.PathLike[str]) -> None:
    """Make renames and removals in `folder` survive a power cut, where the file system knows how to."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot sync a folder and say so; their renames are synchronous.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def partial_sibling(path: Path) -> Path:
    """A fresh name beside `path` for something that is not finished."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")


@contextmanager
def publishing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that becomes `path`, replacing what is there, once all is on disk; on an error `path` is untouched.

    Makes parents.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_sibling(path)
    # Mode 0666 less the umask, as any other program would; tempfile's 0600 hides results from colleagues.
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            # A write that fails does not say where.
            error.filename = str(path)
        raise
    fsync_dir(path.parent)


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Publish `data` as `path`, replacing what is there; makes parents. On an error `path` is untouched."""
    with publishing(path) as file:
        file.write(data)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Publish `obj` as JSON (see `to_plain`). JSON has no NaN or infinity: they become null."""
    write_bytes_atomic(path, json_bytes(obj))


def sealed(obj: Any) -> dict[str, Any]:
    """`obj`, whose JSON form is an object, with the key `checksum`: the fingerprint of all others."""
    plain = _without_nan(to_plain(obj))
    rest = {key: value for key, value in plain.items() if key != "checksum"}
    return {**rest, "checksum": fingerprint(rest)}


def is_whole(value: Any) -> bool:
    """Whether a value read from JSON is as it was sealed; what bears no checksum counts as whole."""
    return not isinstance(value, dict) or value.get("checksum") is None or value == sealed(value)


def publish_json_if_changed(path: str | os.PathLike[str], obj: Any) -> bool:
    """`write_json`, but a file that already says the same keeps its time. Returns whether it was written."""
    try:
        before = json.loads(Path(path).read_bytes())
    except (FileNotFoundError, ValueError):
        before = None
    after = _without_nan(to_plain(obj))
    if before is not None and json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True):
        return False
    write_json(path, obj)
    return True


def read_json(path: str | os.PathLike[str], remedy: str = "Delete it and run again: it is rewritten") -> Any:
    """Parsed content of a JSON file. Raises InputError with `remedy` if it is absent, not whole, or not as it was sealed."""
    try:
        value = json.loads(Path(path).read_bytes())
        if not is_whole(value):
            raise InputError("file", str(path), "was changed or damaged after it was written", remedy)
        return value
    except FileNotFoundError:
        raise InputError("file", str(path), "does not exist", "Run the step that writes it first") from None
    except ValueError as error:
        raise InputError("file", str(path), f"is not valid JSON ({error})", remedy) from None


def sweep_partials(folder: str | os.PathLike[str], min_age_s: float) -> int:
    """Remove what killed writers left below `folder`: `*.partial` files and folders older than `min_age_s`.

    Returns how many were removed. Younger ones may belong to a writer that is still alive.
    """
    n_removed = 0
    for parent, folders, files in os.walk(folder):
        for name in [n for n in (*folders, *files) if n.endswith(PARTIAL)]:
            path = Path(parent, name)
            with suppress(FileNotFoundError):
                if time.time() - path.lstat().st_mtime >= min_age_s:
                    shutil.rmtree(path) if name in folders else path.unlink()
                    n_removed += 1
        folders[:] = [name for name in folders if not name.endswith(PARTIAL)]
    return n_removed


def json_bytes(obj: Any) -> bytes:
    """`obj` as the JSON text that `write_json` publishes."""
    return (json.dumps(_without_nan(to_plain(obj)), indent=2, allow_nan=False) + "\n").encode("ascii")


def _without_nan(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _without_nan(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_without_nan(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


class BlockRecord(Spec):
    """What became of one block; published after everything it speaks of."""

    block_id: int = Field(ge=0, description="the block, as numbered by the plan")
    state: BlockState = Field(
        description="done: fitted; skipped: nothing to fit; failed: given up; fallback: interpolated instead"
    )
    fingerprint: str = Field(min_length=1, description="fingerprint of all that the result depends on")
    field_file: str | None = Field(None, description="file name of the payload, beside the record; null: none")
    field_bytes: int = Field(0, ge=0, description="size of the payload in bytes")
    field_sha256: str | None = Field(None, description="sha256 of the payload, 64 hex digits")
    attempts: int = Field(1, ge=0, description="number of times this block was tried")
    seconds: float = Field(0.0, ge=0, description="wall-clock time spent on this block in s")
    stats: dict[str, float | None] = Field(default_factory=dict, description="figures of the fit; null: not a finite number")
    message: str | None = Field(None, description="why the block was skipped, failed or filled")

    @property
    def mark(self) -> str:
        """What the values of the block depend on: how they came to be, and the field."""
        return f"{self.state}:{self.field_sha256}"

    @field_validator("stats", mode="before")
    @classmethod
    def _finite_or_null(cls, value: Any) -> Any:
        # A fit that diverged has NaN figures, and its record is the one that must not be lost.
        return _without_nan(to_plain(value))


class RecordStore:
    """Records and payloads of all blocks of one fingerprint, in `folder/<first 16 digits of it>/`.

    A payload is published first, its record last, both atomically: a record that can be read speaks of a
    payload that is there. A writer may be killed at any point: its block is then missing or as it was.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str, payload_suffix: str = ".safetensors") -> None:
        self.fingerprint = fingerprint
        self.folder = Path(folder) / fingerprint[:16]
        self.payload_suffix = payload_suffix

    def record_path(self, block_id: int) -> Path:
        return self.folder / f"block-{block_id:06d}.json"

    def payload_path(self, block_id: int) -> Path:
        return self.folder / f"block-{block_id:06d}{self.payload_suffix}"

    def publish(self, record: BlockRecord, payload: bytes | None) -> BlockRecord:
        """Publish payload, then record; returns the record with the payload's name, size and sha256 set.

        Raises ValueError for a record of another fingerprint, and for a done block without a payload.
        """
        if record.fingerprint != self.fingerprint:
            raise ValueError(f"record of fingerprint {record.fingerprint}, store of {self.fingerprint}")
        if record.state == "done" and payload is None:
            raise ValueError(f"block {record.block_id} is done but has no payload")
        path = self.payload_path(record.block_id)
        record = record.model_copy(
            update={
                "field_file": None if payload is None else path.name,
                "field_bytes": 0 if payload is None else len(payload),
                "field_sha256": None if payload is None else hashlib.sha256(payload).hexdigest(),
            }
        )
        # An earlier record must not vouch, even for a moment, for the new payload.
        self.withdraw(record.block_id)
        if payload is not None:
            write_bytes_atomic(path, payload)
        write_json(self.record_path(record.block_id), sealed(record))
        return record

    def read(self, block_id: int) -> BlockRecord | None:
        """The block's record; None when it is absent, empty, cut off, or of another fingerprint or block."""
        try:
            content = json.loads(self.record_path(block_id).read_bytes())
            if not isinstance(content, dict) or not is_whole(content):
                return None
            content.pop("checksum", None)
            record = BlockRecord.model_validate(content)
        except (FileNotFoundError, ValueError):
            return None
        return record if (record.fingerprint, record.block_id) == (self.fingerprint, block_id) else None

    def state(self, block_id: int) -> BlockState | Literal["missing"]:
        """The record's word, but "missing" when the payload it names is not there at the recorded size."""
        record = self.read(block_id)
        if record is None or (record.state == "done" and record.field_file is None):
            return "missing"
        if record.field_file is None:
            return record.state
        try:
            whole = self.payload_path(block_id).stat().st_size == record.field_bytes
        except FileNotFoundError:
            whole = False
        return record.state if whole else "missing"

    def check(self, block_id: int) -> bool:
        """Whether the block has a state and its payload, if it names one, has the recorded sha256."""
        record = self.read(block_id)
        if record is None or self.state(block_id) == "missing":
            return False
        return record.field_file is None or sha256_file(self.payload_path(block_id)) == record.field_sha256

    def scan(self, block_ids: Iterable[int]) -> dict[int, BlockState | Literal["missing"]]:
        """`state` of many blocks from one listing of the folder; only records that exist are opened."""
        try:
            with os.scandir(self.folder) as entries:
                found = {entry.name for entry in entries}
        except FileNotFoundError:
            found = set()
        return {i: self.state(i) if self.record_path(i).name in found else "missing" for i in block_ids}

    def withdraw(self, block_id: int) -> None:
        """Forget the block: its record first, then its payload. Nothing happens if there is none."""
        for path in (self.record_path(block_id), self.payload_path(block_id)):
            with suppress(FileNotFoundError):
                path.unlink()
                fsync_dir(self.folder)

    def sweep(self, min_age_s: float = 3600.0) -> int:
        """Remove the leftovers of killed writers; see `sweep_partials`."""
        return sweep_partials(self.folder, min_age_s)
