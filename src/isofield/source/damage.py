"""What libraries raise over files that are not what their format prescribes, turned into something a user can act on."""

from __future__ import annotations

import errno
import lzma
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isofield.errors import InputError, UnreadableError
from isofield.storage.place import Place

DAMAGE = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),  # metadata of another structure, kind or range
    *(EOFError, MemoryError, RuntimeError),  # bytes that are not there, do not decode, or promise too much
    *(SyntaxError, struct.error, zlib.error, lzma.LZMAError),  # XML, binary tags, compressed pieces
)
"""Besides OSError all that a reader of foreign bytes may meet; tests change bytes at random to see that there is no other."""
_SHOWN = 160


@contextmanager
def readable(path: str | Path | Place, place: str | None = None) -> Iterator[None]:
    """Turns what goes wrong while the volume at `path` is looked at, inside, into UnreadableError about source.path.

    place: the voxels that are read, if any are. An InputError of a reader, about what it was asked for, stays as it is.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError("source.path", str(path), "is too long to be the name of a file", "Correct source.path") from None
        if not isinstance(error, PermissionError):
            raise _damaged(path, error, place) from error
        where = error.filename or path
        limit = f"{_named(where, path)}may not be read by this user"
        raise UnreadableError("source.path", str(path), limit, "Give yourself permission to read it") from error
    except DAMAGE as error:
        raise _damaged(path, error, place) from error


@contextmanager
def reading(uri: str, file: Path | None, place: str) -> Iterator[None]:
    """`readable` for the voxels at `place` of a volume that was opened: whatever is in their way is an UnreadableError.

    file: its file or folder on this machine, where it has one. A folder that is gone, with the disk it was on perhaps, would
    read as if none of its chunks had ever been written: so this is looked at after every read.
    """
    try:
        with readable(uri, place):
            yield
    except InputError as error:
        if _gone(file):
            raise _vanished(uri) from error
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(error.thing, error.value, error.limit, error.remedy) from error
    if _gone(file):
        raise _vanished(uri)


def _damaged(path: object, error: Exception, place: str | None) -> UnreadableError:
    said = " ".join(str(error).split()) or "no reason given"
    at = f" at {place}" if place else ""
    limit = f"cannot be read{at} ({type(error).__name__}: {said[:_SHOWN]}{'...' if len(said) > _SHOWN else ''})"
    remedy = "It is damaged or no valid file of its kind: copy or convert it again"
    return UnreadableError("source.path", str(path), limit, remedy, place)


def _gone(file: Path | None) -> bool:
    if file is None:
        return False
    try:
        os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        # It is there, out of reach: the read itself tells.
        return False
    return False


def _vanished(uri: str) -> UnreadableError:
    return UnreadableError("source.path", uri, "is not there any more", "Bring it back; then run again: what is done is kept")


def _named(where: object, path: object) -> str:
    """The file that an error is about, where it is another one than the path."""
    return "" if str(where) == str(path) else f"{where} "
