"""Reader for the formats of microscope makers, CZI, LIF and ND2, through the plugins of bioio."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.optional import library
from isofield.source.stored import Stored, axes_of, files_identity
from isofield.source.units import StatedSize, stated_size

if TYPE_CHECKING:
    import numpy as np

FORMATS = {b"ZISRAWFILE": "czi", b"\x70\0\0\0": "lif", b"\xda\xce\xbe\x0a": "nd2"}
"""First bytes of a file -> format; bioio's plugin for it is called like it."""
_AXES = {"s": "c"}


def describe(path: Path, dataset: str | None) -> Stored:
    """Metadata of the only scene, or of the one that `dataset` names or numbers (counted from 0).

    Raises InputError for several scenes without a choice, and for files that the plugin cannot read. Loads dask.
    """
    kind = _kind(path)
    modified = path.stat().st_mtime_ns
    image = _scene(kind, str(path), "", modified, os.getpid())
    scenes = [str(scene) for scene in image.scenes]
    if dataset is None and len(scenes) > 1:
        limit = f"holds {len(scenes)} scenes ({', '.join(scenes[:8])})"
        raise InputError("source.path", str(path), limit, "Set source.dataset to the name or the number of one")
    name = _chosen(dataset, scenes, path)
    image = _scene(kind, str(path), name, modified, os.getpid())
    array = image.xarray_dask_data
    names = [_AXES.get(str(axis).lower(), str(axis).lower()) for axis in array.dims]
    shape = tuple(int(n) for n in array.shape)
    return Stored(
        format=kind,
        path=path,
        dataset=name,
        axes=axes_of(names, shape, path),
        shape=shape,
        dtype=array.dtype.name,
        size=_stated(image),
        identity=files_identity(path, [path]),
    )


def load(stored: Stored) -> SceneArray:
    """The stored array, read when indexed."""
    return SceneArray(Path(str(stored.path)), str(stored.dataset))


class SceneArray:
    """One scene as an array: reads the planes an index touches. Can be pickled."""

    def __init__(self, path: Path, scene: str) -> None:
        self._key = (_kind(path), str(path), scene, path.stat().st_mtime_ns)
        data = self._data()
        self.shape, self.dtype, self.chunks = data.shape, data.dtype, data.chunksize

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        return self._data()[index].compute(scheduler="synchronous")

    def _data(self):
        return _scene(*self._key, os.getpid()).xarray_dask_data.data


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    return next(kind for first, kind in FORMATS.items() if start.startswith(first))


@lru_cache(maxsize=4)
def _scene(kind: str, path: str, scene: str, mtime_ns: int, pid: int):
    """bioio's reader of the file with a scene set, chunked in planes; one per process."""
    reader = library(f"bioio_{kind}", "bioio", path)
    exceptions = library("bioio_base.exceptions", "bioio", path)
    try:
        # The plugin for ND2 reads frames and takes no wish.
        image = reader.Reader(path) if kind == "nd2" else reader.Reader(path, chunk_dims=["Y", "X"])
        if image.scenes and scene:
            image.set_scene(scene)
        return image
    except (exceptions.UnsupportedFileFormatError, OSError, ValueError, RuntimeError) as error:
        raise InputError("source.path", path, f"is a damaged {kind.upper()} ({error})", "Copy it again") from error


def _chosen(dataset: str | None, scenes: list[str], path: Path) -> str:
    if dataset is None:
        return scenes[0]
    if dataset in scenes:
        return dataset
    if dataset.isdecimal() and int(dataset) < len(scenes):
        return scenes[int(dataset)]
    inside = ", ".join(scenes[:8])
    raise InputError("source.dataset", dataset, f"is no scene of {path}, which holds {inside}", "Give a name or a number")


def _stated(image) -> StatedSize:
    """The plugins give µm; twelve digits of them are what was written, in m, into the file."""
    sizes = (getattr(image.physical_pixel_sizes, axis) for axis in "ZYX")
    return stated_size([None if size is None else f"{abs(size):.11g}" for size in sizes], ["µm"] * 3)
