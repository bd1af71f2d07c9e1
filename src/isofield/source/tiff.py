"""Reader for one TIFF file: OME-TIFF (with the files of its set), ImageJ, plain; classic or BigTIFF."""

from __future__ import annotations

import logging
import os
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.stored import Stored, axes_of, files_identity, remote_file_identity
from isofield.source.tiff_sizes import size_in_tiff
from isofield.storage.place import Place

if TYPE_CHECKING:
    import numpy as np
    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

    from isofield.storage.remote import RemotePlace

# What tifffile logs ends in a message of ours or does not matter; without a handler Python would print it as well.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
_FORMATS = {"ome": "ome-tiff", "imagej": "imagej-tiff"}


def describe(path: Path | Place, dataset: str | None) -> Stored:
    """Metadata of the only series of a file, local or on the network, or of series number `dataset` (counted from 0).

    Raises InputError for several series without a choice, missing planes, and axes that are no volume.
    """
    with _complete(path), _opened(path) as tiff:
        index = _series_index(tiff, path, dataset)
        series = tiff.series[index]
        _refuse_missing_planes(tiff, series, path)
        refuse_cut_off(path, [page for page in (series[0], series[-1]) if page is not None])
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


@contextmanager
def _complete(path: Path | Place) -> Iterator[None]:
    """Refuses a file of which tifffile finds, inside, that its chain of pages is broken: it would go on with those before."""
    said: list[str] = []
    listener = logging.Handler(logging.ERROR)
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("tifffile")
    log.addHandler(listener)
    refusal = None
    try:
        yield
    except InputError as error:
        refusal = error
    finally:
        log.removeHandler(listener)
    broken = [text for text in said if "page" in text and "offset" in text]
    if refusal and not broken:
        raise refusal
    if broken:
        limit = f"is a damaged TIFF ({broken[0].rpartition('> ')[2]}; it may be cut off)"
        raise InputError("source.path", str(path), limit, "Copy it again")


def refuse_cut_off(path: Path | Place, pages: Sequence[TiffPage | TiffFrame]) -> None:
    """Raises InputError if the voxels of one of `pages` would lie beyond the end of its file."""
    for page in pages:
        ends = [offset + size for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False)]
        size = page.parent.filehandle.size
        if ends and max(ends) > size:
            limit = f"is a damaged TIFF (cut off: a page ends at byte {max(ends)}, its file at {size})"
            raise InputError("source.path", str(path), limit, "Copy it again")


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
