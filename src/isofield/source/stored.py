"""One array as a file holds it: what every reader says before any choice of the user is applied."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.units import StatedSize
from isofield.storage.local import LocalPlace
from isofield.storage.place import Place

if TYPE_CHECKING:
    from isofield.storage.remote import RemotePlace

_AXIS_NAMES = {"z": "z", "y": "y", "x": "x", "c": "c", "channel": "c", "t": "t", "time": "t"}
_DEFAULT_AXES = {3: "zyx", 4: "czyx", 5: "tczyx"}


@dataclass(frozen=True)
class Stored:
    """Metadata of one stored array.

    path: the file, folder or place of the array that the reader opens. axes: one letter per axis of the stored
    array, of z, y, x, c, and `_` for an axis of length 1 that is dropped. shape, dtype (numpy name): as
    stored. size: what the file says about its voxels. identity: see `files_identity`.
    """

    format: str
    path: Path | Place
    dataset: str | None
    axes: str
    shape: tuple[int, ...]
    dtype: str
    size: StatedSize
    identity: dict[str, str | int]

    def __post_init__(self) -> None:
        for axis in "zyx":
            if self.axes.count(axis) != 1:
                raise InputError(
                    "source.path",
                    str(self.path),
                    f"has axes {self.axes!r} of shape {self.shape}; each of z, y, x is needed once",
                    "Give a volume of several sections",
                )

    def length(self, axis: str) -> int:
        """Number of voxels along one of c, z, y, x; 1 for an absent channel axis."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


def axes_of(names: Sequence[str] | None, shape: Sequence[int], where: Path | str) -> str:
    """Axis letters for `Stored.axes` from the names in the metadata; without names, zyx, czyx or tczyx.

    Raises InputError for more than one time point, for an axis it does not know that is longer than 1, for
    two axes of one kind, and for names that do not fit the shape; without names, for arrays not 3-D to 5-D.
    """
    if names is None:
        if len(shape) not in _DEFAULT_AXES:
            raise InputError(
                "source.path",
                str(where),
                f"is {len(shape)}-D and names no axes",
                "Give a 3-D (ZYX) or 4-D (CZYX) array",
            )
        names = _DEFAULT_AXES[len(shape)]
    if len(names) != len(shape):
        raise InputError(
            "source.path",
            str(where),
            f"names {len(names)} axes for shape {tuple(shape)}",
            "Repair its metadata",
        )
    letters = ""
    for name, length in zip(names, shape, strict=True):
        letter = _AXIS_NAMES.get(name.lower(), "")
        if letter in ("t", "") and length == 1:
            letter = "_"
        if letter == "t":
            raise InputError("source.path", str(where), f"has {length} time points, one is needed", "Export one time point")
        if not letter:
            raise InputError(
                "source.path",
                str(where),
                f"has an axis {name!r} of length {length}; known are t, c, z, y, x",
                "Store the volume as ZYX or CZYX",
            )
        letters += letter
    if letters.count("c") > 1:
        raise InputError("source.path", str(where), f"has two channel axes ({names})", "Store the volume as CZYX")
    return letters


def files_identity(path: Path, files: Iterable[Path]) -> dict[str, str | int]:
    """Tells the state of a set of files from any other by names, sizes and times of change.

    `listing` is a hash, so the identity is as small for ten thousand slices as for one file.
    """
    listing = hashlib.sha256()
    n_files = n_bytes = mtime_ns = 0
    for file in files:
        status = file.stat()
        listing.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        n_files, n_bytes, mtime_ns = n_files + 1, n_bytes + status.st_size, max(mtime_ns, status.st_mtime_ns)
    return {
        "path": str(path.resolve()),
        "n_files": n_files,
        "n_bytes": n_bytes,
        "mtime_ns": mtime_ns,
        "listing": listing.hexdigest(),
    }


def contents_identity(uri: str, contents: Iterable[tuple[str, bytes]]) -> dict[str, str | int]:
    """`files_identity` of files on the network: by names and contents, because times there are those of copies."""
    listing = hashlib.sha256()
    n_files = n_bytes = 0
    for name, content in contents:
        listing.update(f"{name}\0{len(content)}\n".encode() + content)
        n_files, n_bytes = n_files + 1, n_bytes + len(content)
    return {"path": uri, "n_files": n_files, "n_bytes": n_bytes, "listing": listing.hexdigest()}


def remote_file_identity(place: RemotePlace) -> dict[str, str | int]:
    """`files_identity` of one file on the network, by its size and by what the server calls its content."""
    n_bytes, mark = place.state()
    return {"path": str(place), "n_files": 1, "n_bytes": n_bytes, "listing": mark}


def place_identity(place: Place, files: Mapping[str, bytes]) -> dict[str, str | int]:
    """Identity of a store by the metadata files in it: by times in a folder, by contents on the network."""
    if isinstance(place, LocalPlace):
        return files_identity(place.path, [place.path / name for name in files])
    return contents_identity(str(place), files.items())
