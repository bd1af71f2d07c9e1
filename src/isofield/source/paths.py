"""From the text of a path in the configuration to what lies there, and to the reader that understands it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from isofield.errors import InputError
from isofield.paths import expand
from isofield.records import sha256_file
from isofield.source.spec import KernelFile
from isofield.storage.place import Place, place_of
from isofield.storage.uri import READABLE, checked_uri, is_remote

MAX_KERNEL_BYTES = 2**28
"""Size beyond which a file is neither a profile nor the stack of one spot."""
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HDF5_START = b"\x89HDF\r\n\x1a\n"
_KNOWN = "Known are OME-TIFF, TIFF, a folder of TIFF slices, HDF5, Zarr, OME-Zarr and phantom:tissue"
_FILES_ONLY = (".tif", ".tiff", ".h5", ".hdf5", ".hdf")


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

    Files are known by their first bytes, folders by what they hold; what is not on a local file system is Zarr. Raises
    InputError for everything else.
    """
    if uri.startswith("phantom:"):
        return _reader("phantom"), Path(uri)
    if is_remote(uri):
        uri = checked_uri(uri, "source.path", READABLE)
        if uri.lower().endswith(_FILES_ONLY):
            limit = "is a single file on the network, where only Zarr and OME-Zarr are read"
            raise InputError("source.path", uri, limit, "Copy or mount it and give its local path, or convert it to OME-Zarr")
        return _reader("zarr_store"), place_of(uri, "source.path")
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
        start = file.read(8)
        if start[:4] in _TIFF_STARTS:
            return "tiff"
        # HDF5 allows a user block of 512 bytes before its signature; MATLAB writes one.
        file.seek(512)
        if _HDF5_START in (start, file.read(8)):
            return "hdf5"
    raise InputError("source.path", str(path), "is a file of no known format", _KNOWN)


def _folder_format(path: Path) -> str:
    if any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")):
        return "zarr_store"
    if any(entry.suffix.lower() in (".tif", ".tiff") and entry.name[0] != "." for entry in path.iterdir()):
        return "slices"
    raise InputError("source.path", str(path), "is a folder without TIFF slices or Zarr metadata", _KNOWN)
