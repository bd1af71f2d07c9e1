"""A folder of files, wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from isofield.storage.local import LocalPlace
from isofield.storage.uri import is_remote

if TYPE_CHECKING:
    from zarr.abc.store import Store

KEPT_BYTES = 128 * 2**20
"""What is kept at most of the answers of an array on the network that is read many times."""


class Place(Protocol):
    """A folder whose files have keys, names below it separated by slashes; `str()` is its path or URI.

    A file is written whole and at once: whoever reads sees the former one or the new one. Nothing is cached. A place on the
    network raises InputError, naming the key of the configuration it comes from, where it cannot do what is asked.
    """

    def read(self, key: str) -> bytes | None:
        """Content of a file; None if there is none."""

    def size(self, key: str) -> int | None:
        """Size of a file in bytes; None if there is none."""

    def version(self, key: str) -> str | None:
        """What tells the file that is there from those that were, or will be, of the same key; None if there is none."""

    def write(self, key: str, data: bytes) -> None:
        """Publish a file, replacing what was there. On an error that is untouched."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files; those that are not there do not matter."""

    def keys(self) -> list[str]:
        """Keys of all files at any depth, sorted."""

    def folders(self) -> list[str]:
        """Names of the folders directly inside, sorted. Raises RefusedError where a server does not list."""

    def empty(self) -> bool:
        """Whether nothing is there."""

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Make `files` all that is there. The first one says what the place is, the others what is in it."""

    def sweep(self, min_age_s: float) -> None:
        """Remove what killed writers left, unless it is younger than `min_age_s`."""

    def locate(self, key: str) -> str:
        """Path or URI of a file, for messages."""

    def zarr_store(self, *, kept: bool = False) -> str | Store:
        """What zarr opens, read-only. kept: nobody writes meanwhile, so that the network's latest answers may be kept."""

    def reporting(self, key: str) -> AbstractContextManager[None]:
        """Turns what goes wrong on the way to `key`, inside, into InputError."""

    @property
    def parent(self) -> Place | None:
        """The folder it lies in; None at the top."""

    def __truediv__(self, name: str) -> Place: ...

    def relative_to(self, above: Place) -> str:
        """Key of this folder within another one that holds it."""


def place_of(location: str | os.PathLike[str], setting: str) -> Place:
    """The place at a local path, or at a URI that `checked_uri` has passed. `setting`: the key it comes from."""
    if is_remote(location):
        from isofield.storage.remote import RemotePlace

        return RemotePlace(str(location), setting)
    return LocalPlace.at(location)
