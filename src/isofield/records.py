"""Atomic publication of small files, fingerprints, and JSON that shows when it was changed: what every record is made of.

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

from isofield.errors import InputError

PARTIAL = ".partial"


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
    plain = without_nan(to_plain(obj))
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
    after = without_nan(to_plain(obj))
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
    return (json.dumps(without_nan(to_plain(obj)), indent=2, allow_nan=False) + "\n").encode("ascii")


def without_nan(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: without_nan(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [without_nan(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
