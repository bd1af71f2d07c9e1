"""What libraries raise over files that are not what their format prescribes, turned into something a user can act on."""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isofield.errors import InputError
from isofield.storage.place import Place

DAMAGE = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),  # metadata of another structure, kind or range
    *(EOFError, MemoryError, RuntimeError),  # bytes that are not there, do not decode, or promise too much
    *(SyntaxError, struct.error, zlib.error),  # XML, binary tags, compressed pieces
)
"""Besides OSError all that a reader of foreign bytes may meet; tests change bytes at random to see that there is no other."""
_SHOWN = 160


@contextmanager
def readable(path: str | Path | Place) -> Iterator[None]:
    """Turns what goes wrong while the volume at `path` is looked at, inside, into InputError about source.path."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError("source.path", str(path), "is too long to be the name of a file", "Correct source.path") from None
        if not isinstance(error, PermissionError):
            raise _damaged(path, error) from error
        where = error.filename or path
        limit = f"{_named(where, path)}may not be read by this user"
        raise InputError("source.path", str(path), limit, "Give yourself permission to read it") from None
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: object, error: Exception) -> InputError:
    said = " ".join(str(error).split()) or "no reason given"
    limit = f"cannot be read ({type(error).__name__}: {said[:_SHOWN]}{'...' if len(said) > _SHOWN else ''})"
    return InputError("source.path", str(path), limit, "It is damaged or no valid file of its kind: copy or convert it again")


def _named(where: object, path: object) -> str:
    """The file that an error is about, where it is another one than the path."""
    return "" if str(where) == str(path) else f"{where} "
