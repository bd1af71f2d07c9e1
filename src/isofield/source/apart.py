"""Whether a run's results can lie where they are to lie: where they can be written, and away from what is measured."""

from __future__ import annotations

import os
from pathlib import Path

from isofield.errors import InputError
from isofield.paths import RunPaths, expand
from isofield.source.paths import without_prefix
from isofield.source.spec import SourceSpec
from isofield.storage.uri import is_remote


def require_apart(source: SourceSpec, paths: RunPaths) -> None:
    """Refuses results inside the source, an image over or around it, and folders that cannot be made. Writes nothing.

    What lies in object stores is compared by address.
    """
    uri = without_prefix(expand(source.path))
    image = paths.store
    if uri.startswith("phantom:"):
        uri = ""
    for key, place, around in (("output.path", image, True), ("run.results", paths.root, False)):
        if key == "output.path" and paths.image is None:
            continue
        here, there = _parts(place), _parts(uri) if uri else None
        if there and here[: len(there)] == there:
            limit = "is the source itself" if here == there else f"lies inside the source, {uri}"
            raise InputError(key, str(place), limit, "Give another folder: nothing is ever written to what was measured")
        if there and around and there[: len(here)] == here:
            limit = f"is a folder that the source, {uri}, lies in; an image takes a folder of its own"
            raise InputError(key, str(place), limit, f"Give {place}/isotropic.ome.zarr, say")
        if not is_remote(place):
            _require_writable(key, Path(place))


def _parts(place: str | Path) -> tuple[str, ...]:
    return tuple(str(place).rstrip("/").split("/")) if is_remote(place) else Path(place).resolve().parts


def _require_writable(key: str, folder: Path) -> None:
    """Raises InputError unless `folder` can be made, or written to if it is there."""
    try:
        there = next(above for above in (folder, *folder.absolute().parents) if os.path.lexists(above))
    except OSError as error:
        raise InputError(key, str(folder), f"cannot be a folder ({error.strerror})", "Give another folder") from None
    if not there.is_dir():
        kind = "a link to nowhere" if there.is_symlink() and not there.exists() else "a file"
        raise InputError(key, str(folder), f"cannot be made: {there} is {kind}", "Give another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        limit = f"cannot be written: this user has no permission to write to {there}"
        raise InputError(key, str(folder), limit, "Give another folder, or yourself permission")
