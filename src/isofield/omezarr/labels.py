"""Labels beside the image: where each voxel comes from, as NGFF has label images.

`labels/origin` has the levels, chunks and shards of the image, in uint8. Values ascend with the distance from what was measured:
a coarser voxel has the highest of those it stands for, and is no better than the worst of them. 0 is what has not been made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from isofield.omezarr.canvas import canvas_files, create_canvas
from isofield.omezarr.layout import GROUP_KEY, group_files, read_group
from isofield.omezarr.metadata import ome_of
from isofield.omezarr.spec import NgffVersion, OutputSpec
from isofield.omezarr.store import Location, Store
from isofield.paths import ChannelOf
from isofield.storage.place import Place, place_of
from isofield.storage.uri import is_remote

NAME = "origin"
FOLDER = "labels"
HOW = {
    "description": "Each voxel is the highest of those of the finer level's 2x2x2 voxels that exist.",
    "method": "isofield.omezarr.pyramid.downsample_shard",
}
MEASURED, INFERRED, BAD, EMPTY, FALLBACK = range(1, 6)


class Origin(NamedTuple):
    """A value of the label image: what it is called, its colour, and what it says."""

    name: str
    rgba: tuple[int, int, int, int]
    words: str


ORIGINS: dict[int, Origin] = {
    MEASURED: Origin("measured plane", (0, 158, 115, 255), "the plane at the centre of a section, nearest to what was measured"),
    INFERRED: Origin("inferred", (0, 0, 0, 0), "between the centres of sections"),
    BAD: Origin("bad section", (230, 159, 0, 255), "the section here is bad: reconstructed from its neighbours and the prior"),
    EMPTY: Origin("empty block", (86, 180, 233, 255), "nothing to see here: the sections are interpolated, no field was fitted"),
    FALLBACK: Origin("fallback block", (213, 94, 0, 255), "no field could be fitted here: the sections are interpolated"),
}
"""Colours of Okabe & Ito, which people who are colour-blind can tell apart; what is inferred is not coloured."""


def location(image: Location) -> Location:
    """The label image of `image`: path or URI, or the same channel of it."""
    if isinstance(image, ChannelOf):
        return ChannelOf(label_store(image.image), image.index)
    return label_store(image)


def label_store(image: Store) -> str:
    """Path or URI of the label image of the image whose files lie at `image`."""
    where = os.fspath(image)
    return f"{where.rstrip('/')}/{FOLDER}/{NAME}" if is_remote(where) else os.path.join(where, FOLDER, NAME)


def create_labels(
    image: Store,
    shape: Sequence[int],
    spec: OutputSpec,
    *,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float] = (0.0, 0.0, 0.0),
    n_channels: int | None = None,
    replace: bool = True,
) -> None:
    """Make the label image of an image that is there, all levels empty, or keep it; arguments as of `create_canvas`."""
    where = label_store(image)
    sizes = {"voxel_size_nm": voxel_size_nm, "origin_nm": origin_nm, "n_channels": n_channels, "replace": replace}
    create_canvas(where, shape, "uint8", spec, name=NAME, **sizes)
    _write_attributes(place_of(where, "output.path"), spec.ome_zarr, _described)
    _write_attributes(place_of(image, "output.path") / FOLDER, spec.ome_zarr, lambda attributes: _listed(spec.ome_zarr))


def label_files(
    shape: Sequence[int],
    spec: OutputSpec,
    *,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float] = (0.0, 0.0, 0.0),
    n_channels: int | None = None,
) -> dict[str, bytes]:
    """What `create_labels` writes: key, within the image -> bytes of the metadata of all groups and levels."""
    version = spec.ome_zarr
    where = {"voxel_size_nm": voxel_size_nm, "origin_nm": origin_nm, "n_channels": n_channels}
    files = canvas_files(shape, "uint8", spec, name=NAME, **where)
    document = json.loads(files[GROUP_KEY[version]])
    described = group_files(version, _described(document["attributes"] if version == "0.5" else document))
    own = {f"{FOLDER}/{NAME}/{key}": data for key, data in (files | described).items()}
    return {f"{FOLDER}/{key}": data for key, data in group_files(version, _listed(version)).items()} | own


def _listed(version: NgffVersion) -> dict[str, Any]:
    """Attributes of the folder of labels."""
    return {"labels": [NAME]} if version == "0.4" else {"ome": {"version": version, "labels": [NAME]}}


def _described(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of an image as those of a label image."""
    ome = ome_of(attributes)
    for entry in ome["multiscales"]:
        if "type" in entry:
            entry |= {"type": "maximum", "metadata": HOW}
    colours = [{"label-value": value, "rgba": list(origin.rgba)} for value, origin in ORIGINS.items()]
    properties = [{"label-value": value, "name": o.name, "description": o.words} for value, o in ORIGINS.items()]
    # In 0.4 every part of the metadata says its version.
    version = {} if "ome" in attributes else {"version": "0.4"}
    ome["image-label"] = {**version, "colors": colours, "properties": properties, "source": {"image": "../../"}}
    return attributes


def _write_attributes(place: Place, version: NgffVersion, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Give the group at `place` what `change` makes of its attributes; written only if that is something else."""
    _, attributes = read_group(place, "Delete it and run the canvas stage again") or (version, {})
    for key, content in group_files(version, change(attributes)).items():
        if place.read(key) != content:
            place.write(key, content)


def highest_2x2x2(fine: np.ndarray) -> np.ndarray:
    """Highest of 2x2x2 voxels of a (z, y, x) array; sides round up, a last odd plane stands alone."""
    for axis in range(3):
        fine = np.maximum.reduceat(fine, np.arange(0, fine.shape[axis], 2), axis=axis)
    return fine


def counted(labels: np.ndarray) -> dict[str, int]:
    """Voxels per value that occurs, by its name."""
    counts: Mapping[int, int] = dict(enumerate(np.bincount(labels.ravel(), minlength=len(ORIGINS) + 1).tolist()))
    return {origin.name: counts[value] for value, origin in ORIGINS.items() if counts[value]}
