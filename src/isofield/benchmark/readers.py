"""What others make of an image: readers and validators of OME-Zarr, each asked for voxels, voxel size and position."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.omezarr.canvas import image_attributes
from isofield.omezarr.metadata import ome_of
from isofield.omezarr.reading import read_region
from isofield.omezarr.store import Store, level_channels, level_shape
from isofield.paths import ChannelOf
from isofield.storage.uri import is_remote

LOOK_VOX = 64
"""Side of the part of each level that is compared, voxel by voxel: around its middle."""


@dataclass(frozen=True)
class ReadLevel:
    """A level as a reader has it. scale and translation (z, y, x) in `unit`; None where it knows nothing of them."""

    data: Any
    scale: tuple[float, ...] | None = None
    translation: tuple[float, ...] | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Check:
    """What one reader or validator made of the image; agrees None: it is not installed."""

    name: str
    version: str
    role: str
    agrees: bool | None
    said: str

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def with_ome_zarr_py(path: str) -> list[ReadLevel]:
    """ome-zarr-py, the reference implementation; napari-ome-zarr reads through it."""
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    node = next(iter(Reader(parse_url(path))()))
    levels = []
    for data, transforms in zip(node.data, node.metadata["coordinateTransformations"], strict=True):
        scale, translation = _transforms(transforms)
        levels.append(ReadLevel(data, scale, translation, node.metadata["axes"][-1]["unit"]))
    return levels


def with_ngff_zarr(path: str) -> list[ReadLevel]:
    """ngff-zarr, which ITK and its viewers use."""
    import ngff_zarr

    images = ngff_zarr.from_ngff_zarr(path).images
    return [
        ReadLevel(
            one.data,
            _in_order(one.scale, len(one.dims), 1.0),
            _in_order(one.translation, len(one.dims), 0.0),
            one.axes_units["x"] if one.axes_units else None,
        )
        for one in images
    ]


def with_dask(path: str) -> list[ReadLevel]:
    """dask over zarr-python; world positions as a script reads them, from the attributes of the group."""
    import dask.array as da
    import zarr

    attributes = zarr.open_group(path, mode="r").attrs.asdict()
    return [
        _placed(da.from_zarr(path, component=d["path"]), attributes, d) for d in ome_of(attributes)["multiscales"][0]["datasets"]
    ]


def with_tensorstore(path: str) -> list[ReadLevel]:
    """tensorstore, which many pipelines use; it reads the group's attributes too, as JSON."""
    import tensorstore as ts

    kvstore = ts.KvStore.open(f"file://{path}/").result()
    if kvstore.read("zarr.json").result().state == "value":
        driver, attributes = "zarr3", _json(ts, path, "zarr.json")["attributes"]
    else:
        driver, attributes = "zarr", _json(ts, path, ".zattrs")
    levels = []
    for dataset in ome_of(attributes)["multiscales"][0]["datasets"]:
        kvstore = {"driver": "file", "path": f"{path}/{dataset['path']}/"}
        array = ts.open({"driver": driver, "kvstore": kvstore}, read=True, open=True).result()
        levels.append(_placed(array, attributes, dataset))
    return levels


def validate_yaozarrs(path: str) -> None:
    """yaozarrs: metadata and storage against the specification."""
    import yaozarrs

    yaozarrs.validate_zarr_store(path)


def validate_ome_zarr_models(path: str) -> None:
    """ome-zarr-models: metadata and arrays against the specification."""
    import ome_zarr_models.v04
    import ome_zarr_models.v05
    import zarr

    group = zarr.open_group(path, mode="r")
    models = ome_zarr_models.v05 if "ome" in group.attrs else ome_zarr_models.v04
    models.Image.from_zarr(group)


READERS: dict[str, Callable[[str], list[ReadLevel]]] = {
    "ome-zarr": with_ome_zarr_py,
    "ngff-zarr": with_ngff_zarr,
    "dask": with_dask,
    "tensorstore": with_tensorstore,
}
"""By the name of the package."""
VALIDATORS: dict[str, Callable[[str], None]] = {"yaozarrs": validate_yaozarrs, "ome-zarr-models": validate_ome_zarr_models}


def check_readers(image: Store) -> list[Check]:
    """Ask all readers and validators. Raises InputError for an image that is not on this machine, or none at all."""
    if is_remote(image):
        raise InputError("RUN", str(image), "lies in an object store", "Copy it here; readers differ in how they reach one")
    # Some of them take addresses, which know of no working directory.
    path = os.path.abspath(image)
    wanted = _written(path)
    checks = [_asked(name, "reader", lambda read=read: _compare(read(path), wanted)) for name, read in READERS.items()]
    return checks + [_asked(name, "validator", lambda one=one: _accepts(one, path)) for name, one in VALIDATORS.items()]


def table(checks: list[Check]) -> str:
    """Markdown."""
    words = {True: "yes", False: "NO", None: "not installed"}
    rows = [("", "version", "role", "agrees", "what it found")]
    rows += [(one.name, one.version, one.role, words[one.agrees], one.said) for one in checks]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _asked(name: str, role: str, ask: Callable[[], str]) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name, "", role, None, "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return Check(name, found, role, True, ask())
    except (DisagreementError, ValueError, TypeError, KeyError, OSError, RuntimeError, UserWarning) as error:
        return Check(name, found, role, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


class DisagreementError(Exception):
    """A reader has something else than what was written."""


def _accepts(validate: Callable[[str], None], path: str) -> str:
    validate(path)
    return "valid"


def _written(path: str) -> list[tuple[Roi, np.ndarray, ReadLevel]]:
    """Per level: the part around its middle, its voxels by our own reader, of all channels, and what the metadata say."""
    attributes, found = image_attributes(path), []
    n = level_channels(path, 0)
    for number, dataset in enumerate(ome_of(attributes)["multiscales"][0]["datasets"]):
        shape = level_shape(path if n is None else ChannelOf(path, 0), number)
        side = ZYX(*(min(LOOK_VOX, n) for n in shape))
        part = Roi(ZYX(*((n - s) // 2 for n, s in zip(shape, side, strict=True))), side)
        if n is None:
            voxels = read_region(path, number, part)
        else:
            voxels = np.stack([read_region(ChannelOf(path, channel), number, part) for channel in range(n)])
        found.append((part, voxels, _placed(tuple(shape) if n is None else (n, *shape), attributes, dataset)))
    return found


def _compare(read: list[ReadLevel], wanted: list[tuple[Roi, np.ndarray, ReadLevel]]) -> str:
    if len(read) != len(wanted):
        raise DisagreementError(f"{len(read)} levels instead of {len(wanted)}")
    for number, (one, (part, voxels, written)) in enumerate(zip(read, wanted, strict=True)):
        if tuple(one.data.shape) != tuple(written.data):
            raise DisagreementError(f"level {number} has shape {tuple(one.data.shape)} instead of {tuple(written.data)}")
        if not np.array_equal(np.asarray(one.data[(..., *part.slices)]), voxels):
            raise DisagreementError(f"level {number} has other voxels")
        for what in ("scale", "translation", "unit"):
            if getattr(one, what) != getattr(written, what):
                raise DisagreementError(f"level {number} has {what} {getattr(one, what)} instead of {getattr(written, what)}")
    first = wanted[0][2]
    edge = [t - s / 2 for t, s in zip(first.translation or (), first.scale or (), strict=True)]
    sides, corner = (", ".join(f"{value:g}" for value in values[-3:]) for values in (first.scale or (), edge))
    return f"{len(read)} levels, voxel {sides} {first.unit}, first edge at {corner}"


def _placed(data: Any, attributes: dict[str, Any], dataset: dict[str, Any]) -> ReadLevel:
    scale, translation = _transforms(dataset["coordinateTransformations"])
    return ReadLevel(data, scale, translation, ome_of(attributes)["multiscales"][0]["axes"][-1]["unit"])


def _transforms(transforms: list[dict[str, Any]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    parts = {t["type"]: tuple(map(float, t[t["type"]])) for t in transforms}
    return parts["scale"], parts["translation"]


def _in_order(by_name: dict[str, float], n_axes: int, of_channels: float) -> tuple[float, ...]:
    """Values by axis, in the order in which images are written; ngff-zarr has none for channels: they are `of_channels`."""
    return tuple(float(({"c": of_channels} | by_name)[name]) for name in "czyx"[-n_axes:])


def _json(ts: Any, path: str, name: str) -> dict[str, Any]:
    return ts.open({"driver": "json", "kvstore": {"driver": "file", "path": f"{path}/{name}"}}).result().read().result().item()
