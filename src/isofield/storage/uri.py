"""Addresses as a user writes them: local paths, and URIs of stores on the network. Opens nothing, imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Sequence

from isofield.errors import InputError

READABLE = ("s3", "gs", "http", "https")
WRITABLE = ("s3", "gs")


class RefusedError(InputError):
    """A server does not permit what was asked of it, or cannot list."""


def is_remote(location: str | os.PathLike[str]) -> bool:
    """Whether a location is a URI rather than a local path."""
    return isinstance(location, str) and "://" in location


def checked_uri(uri: str, setting: str, schemes: Sequence[str]) -> str:
    """`uri`, the value of the key `setting`, without slashes at its end.

    Raises InputError for other schemes, for a bucket or host alone, and for credentials, which are never repeated.
    """
    scheme, _, rest = uri.partition("://")
    rest = rest.rstrip("/")
    shown = _without_secrets(uri)
    if shown != uri:
        raise InputError(
            setting,
            shown,
            "holds credentials or a query, which would be written into plan and provenance",
            "Leave them out; credentials come from the environment (docs/storage.md)",
        )
    if scheme not in schemes:
        known = ", ".join(f"{name}://" for name in schemes)
        raise InputError(setting, uri, f"is none of a local path, {known}", "Copy or mount it and give its local path")
    bucket, _, inside = rest.partition("/")
    if not bucket or not (inside or scheme.startswith("http")):
        raise InputError(setting, uri, "names no store inside a bucket", f"Write it like {scheme}://bucket/folder/name.zarr")
    return f"{scheme}://{rest}"


def _without_secrets(uri: str) -> str:
    """`uri` with user information and query replaced by ***."""
    scheme, _, rest = uri.partition("://")
    before, at, after = rest.rpartition("@")
    # An access key may hold a slash; a plain @ within a key is no user information.
    if at and (":" in before or "/" not in before):
        rest = f"***@{after}"
    for mark in "?#":
        if mark in rest:
            rest = f"{rest.partition(mark)[0]}{mark}***"
    return f"{scheme}://{rest}"
