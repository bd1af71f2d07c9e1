"""Reader for one TIFF file: OME-TIFF (with the files of its set), ImageJ, plain; classic or BigTIFF."""

from __future__ import annotations

import os
import posixpath
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.stored import Stored, axes_of, files_identity, remote_file_identity
from isofield.source.tiff_sizes import size_in_tiff
from isofield.storage.place import Place

if TYPE_CHECKING:
    import numpy as np
    from tifffile import TiffFile, TiffPageSeries

    from isofield.storage.remote import RemotePlace

_FORMATS = {"ome": "ome-tiff", "imagej": "imagej-tiff"}


def describe(path: Path | Place, dataset: str | None) -> Stored:
    """Metadata of the only series of a file, local or on the network, or of series number `dataset` (counted from 0).

    Raises InputError for several series without a choice, missing planes, and axes that are no volume.
    """
    with _opened(path) as tiff:
        index = _series_index(tiff, path, dataset)
        series = tiff.series[index]
        _refuse_missing_planes(tiff, series, path)
        return Stored(
            format=_FORMATS.get(series.kind, "tiff"),
            path=path,
            dataset=dataset,
            axes=axes_of(_axis_names(series.axes), series.shape, path),
            shape=tuple(int(n) for n in series.shape),
            dtype=series.dtype.name,
            size=size_in_tiff(tiff, index),
            identity=files_identity(path, _files(series)) if isinstance(path, Path) else remote_file_identity(path),
        )


def load(stored: Stored) -> TiffArray:
    """The stored array, read when indexed."""
    path: Path | RemotePlace = stored.path  # type: ignore[assignment]
    state = path.stat().st_mtime_ns if isinstance(path, Path) else path.state()
    return TiffArray(path, int(stored.dataset or 0), state)


def _opened(path: Path | Place) -> TiffFile:
    from tifffile import TiffFile, TiffFileError

    try:
        return TiffFile(path) if isinstance(path, Path) else TiffFile(path.open(), name=posixpath.basename(str(path)))
    except FileNotFoundError as error:
        raise InputError("source.path", str(path), "is not there", "Correct source.path") from error
    except TiffFileError as error:
        raise InputError("source.path", str(path), f"is a damaged TIFF ({error})", "Copy it again") from error


class TiffArray:
    """One series of a TIFF file as an array: reads the strips or tiles an index touches. Can be pickled."""

    def __init__(self, path: Path | RemotePlace, series: int, state: object) -> None:
        self._key = (path, series, state)
        opened = self._series()
        self.shape, self.dtype, self.chunks = opened.shape, opened.dtype, opened.chunks

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        path = self._key[0]
        with nullcontext() if isinstance(path, Path) else path.reporting(""):
            return self._series()[index]

    def _series(self):
        return _open_series(*self._key, os.getpid())


@lru_cache(maxsize=4)
def _open_series(path: Path | RemotePlace, series: int, state: object, pid: int):
    """The series as a zarr array over its open file; one per process: forks share a file position."""
    import zarr

    return zarr.open_array(store=_opened(path).series[series].aszarr(level=0), mode="r")


def _series_index(tiff: TiffFile, path: Path, dataset: str | None) -> int:
    n_series = len(tiff.series)
    if n_series == 0:
        raise InputError("source.path", str(path), "is a damaged TIFF (no image found)", "Copy it again")
    choices = f"it holds {n_series} series, counted from 0"
    if dataset is None:
        if n_series == 1:
            return 0
        raise InputError("source.path", str(path), choices, "Set source.dataset to the number of the wanted series")
    if not dataset.isdecimal() or int(dataset) >= n_series:
        raise InputError("source.dataset", dataset, f"is no series of {path}; {choices}", "Give a number within that range")
    return int(dataset)


def _axis_names(axes: str) -> list[str]:
    """Names for axes_of: pages of a file that names no z are its sections, colour samples are channels."""
    names = list(axes.lower())
    unnamed = [i for i, name in enumerate(names) if name in "iq"]
    if "z" not in names and len(unnamed) == 1:
        names[unnamed[0]] = "z"
    return ["c" if name == "s" else name for name in names]


def _refuse_missing_planes(tiff: TiffFile, series: TiffPageSeries, path: Path) -> None:
    """Planes that the metadata promise but no file holds would silently read as zero."""
    missing = [str(i) for i, page in enumerate(series) if page is None]
    if missing:
        raise InputError(
            "source.path",
            str(path),
            f"its OME-XML names {len(missing)} planes that are not there ({', '.join(missing[:8])})",
            "Bring the missing files of the set back beside it",
        )
    if tiff.is_ome and series.kind != "ome":
        raise InputError(
            "source.path",
            str(path),
            "its OME-XML is in another file or cannot be read",
            "Give the file of the set that holds the OME-XML",
        )


def _files(series: TiffPageSeries) -> list[Path]:
    parents = (page.parent.filehandle for page in series if page is not None)
    return sorted({Path(handle.dirname) / handle.name for handle in parents})
