"""From the text of a path in the configuration to what lies there, and to the reader that understands it."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

from isofield.errors import InputError
from isofield.paths import expand
from isofield.records import sha256_file
from isofield.source.spec import KernelFile
from isofield.storage.local import LocalPlace
from isofield.storage.place import Place, place_of
from isofield.storage.uri import READABLE, RefusedError, checked_uri, is_remote

MAX_KERNEL_BYTES = 2**28
"""Size beyond which a file is neither a profile nor the stack of one spot."""
SLICE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HDF5_START = b"\x89HDF\r\n\x1a\n"
_KNOWN = (
    "Known are OME-TIFF, TIFF, a folder of slices, HDF5, IMS, Zarr, OME-Zarr, N5, neuroglancer precomputed, NRRD, MRC, CZI, LIF, "
    "ND2 and phantom:tissue (docs/formats.md)"
)
_REMOTE_FILES = {(".tif", ".tiff"): "tiff", (".h5", ".hdf5", ".hdf"): "hdf5"}
_LOCAL_FILES = (".ims", ".mrc", ".nrrd", ".nhdr", ".czi", ".lif", ".nd2")
_STARTS = {
    **dict.fromkeys(_TIFF_STARTS, "tiff"),
    b"NRRD000": "nrrd",
    b"ZISRAWFILE": "microscope",  # CZI
    b"\x70\0\0\0": "microscope",  # LIF
    b"\xda\xce\xbe\x0a": "microscope",  # ND2
}
_MRC_START, _MRC_AT = b"MAP", 208
_STORES = {"zarr.json": "zarr_store", ".zarray": "zarr_store", ".zgroup": "zarr_store", "attributes.json": "n5"}
_PREFIX = re.compile(r"^(zarr[23]?|n5|precomputed)://(?=(s3|gs|https?|file)://|/)")


def kernel_path(choice: KernelFile) -> Path:
    """Where the file lies; relative paths start at the working directory. Raises InputError for a variable that is not set."""
    return Path(expand(choice.file, f"{choice.section}.kernel_file"))


def kernel_identity(choice: KernelFile | None) -> dict[str, str]:
    """{"kernel": SHA-256 of the file}: tells its content from any other. Empty without a choice or a file that could be one."""
    path = kernel_path(choice) if choice else None
    likely = path and path.is_file() and path.stat().st_size <= MAX_KERNEL_BYTES
    return {"kernel": sha256_file(path)} if likely else {}  # type: ignore[arg-type]


def reader_for(uri: str) -> tuple[ModuleType, Path | Place]:
    """The reader module (`describe`, `load`) for an expanded `source.path`, and the path or place to give it.

    Files are known by their first bytes, folders by what they hold, files on the network by their names. Raises InputError for
    everything else.
    """
    if uri.startswith("phantom:"):
        return _reader("phantom"), Path(uri)
    uri = _PREFIX.sub("", uri).removeprefix("file://")
    if is_remote(uri):
        uri = checked_uri(uri, "source.path", READABLE)
        if uri.lower().endswith(_LOCAL_FILES):
            limit = "is a file that is read on this machine alone; of files, TIFF and HDF5 may lie on the network"
            raise InputError("source.path", uri, limit, "Copy or mount it and give its local path, or convert it to OME-Zarr")
        place = place_of(uri, "source.path")
        for suffixes, reader in _REMOTE_FILES.items():
            if uri.lower().endswith(suffixes):
                return _reader(reader), place
        return _reader(_store_format(place) or "zarr_store"), place
    path = Path(uri)
    if path.is_file():
        return _reader(_file_format(path)), path
    if path.is_dir():
        return _reader(_folder_format(path)), path
    raise InputError("source.path", uri, f"is not there (looked for {path.absolute()})", "Correct source.path")


def _reader(name: str) -> ModuleType:
    return import_module(f"isofield.source.{name}")


def _file_format(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
        for first, reader in _STARTS.items():
            if start.startswith(first):
                return reader
        file.seek(_MRC_AT)
        if file.read(len(_MRC_START)) == _MRC_START:
            return "mrc"
        # HDF5 allows a user block of 512 bytes before its signature; MATLAB writes one.
        file.seek(512)
        if _HDF5_START in (start[:8], file.read(8)):
            return "ims" if _reader("ims").is_imaris(path) else "hdf5"
    raise InputError("source.path", str(path), "is a file of no known format", _KNOWN)


def _folder_format(path: Path) -> str:
    if known := _store_format(LocalPlace(path)):
        return known
    if any(entry.suffix.lower() in SLICE_SUFFIXES and entry.name[0] != "." for entry in path.iterdir()):
        return "slices"
    raise InputError("source.path", str(path), "is a folder without image slices and without metadata of a store", _KNOWN)


def _store_format(place: Place) -> str | None:
    """The reader of the store, or of the part of a store, at a place; None if nothing there says what it is."""
    for name, reader in _STORES.items():
        try:
            if place.read(name) is not None:
                return reader
        except RefusedError:
            continue
    if _reader("precomputed").store_of(place) is not None:
        return "precomputed"
    return "n5" if _inside_n5(place) else None


def _inside_n5(place: Place | Path) -> bool:
    """Groups of an N5 store need no metadata of their own; the store is known by its name."""
    return any(part.lower().endswith(".n5") for part in str(place).split("/"))
