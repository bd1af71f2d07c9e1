"""Reader for HDF5: one 3-D or 4-D dataset, with the voxel size attributes of CREMI and the ImageJ plugin."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.stored import Stored, axes_of, files_identity, remote_file_identity
from isofield.source.units import StatedSize, nothing_stated, stated_size
from isofield.storage.place import Place

if TYPE_CHECKING:
    import h5py
    import numpy as np

    from isofield.storage.remote import RemotePlace


def describe(path: Path | Place, dataset: str | None) -> Stored:
    """Metadata of the dataset named `dataset`, or of the only 3-D to 5-D one.

    Axes come from dimension labels or an `axistags` attribute; without them a dataset is ZYX or CZYX. Raises
    InputError if the dataset is not there or not the only one.
    """
    with _opened(path) as file:
        found = _only_volume(file, path) if dataset is None else _named(file, path, dataset)
        axes = axes_of(_axis_names(found), found.shape, path)
        return Stored(
            format="hdf5",
            path=path,
            dataset=found.name.lstrip("/"),
            axes=axes,
            shape=tuple(int(n) for n in found.shape),
            dtype=found.dtype.name,
            size=_stated(dict(found.attrs), axes),
            identity=files_identity(path, [path]) if isinstance(path, Path) else remote_file_identity(path),
        )


def load(stored: Stored) -> Hdf5Array:
    """The stored array, read when indexed."""
    return Hdf5Array(stored.path, str(stored.dataset))


class Hdf5Array:
    """A dataset as an array that opens its file for each read: it can be pickled and holds nothing open."""

    def __init__(self, path: Path | RemotePlace, dataset: str) -> None:
        self._path, self._dataset = path, dataset
        self._state = None if isinstance(path, Path) else path.state()
        with _opened(path) as file:
            found = file[dataset]
            self.shape, self.dtype = found.shape, found.dtype
            self.chunks = found.chunks or (1,) * (found.ndim - 1) + found.shape[-1:]

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        if isinstance(self._path, Path):
            with _opened(self._path) as file:
                return file[self._dataset][index]
        with self._path.reporting(""):
            return _kept_open(self._path, self._state, os.getpid())[self._dataset][index]


@lru_cache(maxsize=4)
def _kept_open(place: RemotePlace, state: object, pid: int) -> h5py.File:
    """On the network opening a file takes as many requests as reading from it."""
    return _opened(place)


def _opened(path: Path | Place) -> h5py.File:
    import h5py

    try:
        return h5py.File(path if isinstance(path, Path) else path.open(), "r")
    except FileNotFoundError as error:
        raise InputError("source.path", str(path), "is not there", "Correct source.path") from error
    except OSError as error:
        raise InputError("source.path", str(path), f"cannot be opened ({error})", "Copy it again") from error


def _only_volume(file: h5py.File, path: Path) -> h5py.Dataset:
    import h5py

    volumes: list[h5py.Dataset] = []

    def collect(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and 3 <= node.ndim <= 5 and node.dtype.kind in "iufb":
            volumes.append(node)

    file.visititems(collect)
    if len(volumes) == 1:
        return volumes[0]
    names = ", ".join(f"{v.name.lstrip('/')} {v.dtype.name} {v.shape}" for v in volumes[:8])
    limit = f"holds {len(volumes)} datasets of 3 or more dimensions ({names})" if volumes else "holds no volume"
    raise InputError("source.path", str(path), limit, "Set source.dataset to the name of one")


def _named(file: h5py.File, path: Path, dataset: str) -> h5py.Dataset:
    import h5py

    found = file.get(dataset)
    if not isinstance(found, h5py.Dataset):
        inside = ", ".join(sorted(file)[:8])
        raise InputError("source.dataset", dataset, f"is no dataset of {path}, which holds {inside}", "Name a dataset")
    return found


def _axis_names(dataset: h5py.Dataset) -> list[str] | None:
    """Dimension labels, or the `axistags` JSON; None where there are none."""
    labels = [dim.label for dim in dataset.dims]
    if all(labels):
        return labels
    if "axistags" in dataset.attrs:
        return [axis["key"] for axis in json.loads(dataset.attrs["axistags"])["axes"]]
    return None


def _stated(attributes: Mapping[str, object], axes: str) -> StatedSize:
    """`resolution` (z, y, x; nm or its `units`) and `element_size_um` (z, y, x; µm); they must agree."""
    if [axis for axis in axes if axis in "zyx"] != ["z", "y", "x"]:
        return nothing_stated("its voxel size attributes are z, y, x by convention but its axes are not")
    sizes = []
    for name, default in (("resolution", "nm"), ("element_size_um", "µm")):
        if name not in attributes:
            continue
        values = _as_list(attributes[name])
        units = [_text(u) for u in _as_list(attributes["units"])] if name == "resolution" and "units" in attributes else []
        units = (units * 3 if len(units) == 1 else units) or [default] * 3
        if len(values) != 3 or len(units) != 3:
            return nothing_stated(f"its attribute {name} has {len(values)} numbers and {len(units)} units, not 3")
        sizes.append(stated_size(values, units))
    if len(sizes) == 2 and None not in (sizes[0].nm, sizes[1].nm) and sizes[0].nm != sizes[1].nm:
        return nothing_stated("its attributes resolution and element_size_um differ")
    return sizes[0] if sizes else nothing_stated()


def _as_list(value: object) -> list:
    import numpy as np

    return np.atleast_1d(np.asarray(value)).tolist()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
