"""Labels beside the image: where each voxel comes from, as NGFF 0.5 has label images.

`labels/origin` has the levels, chunks and shards of the image, in uint8. Values ascend with the distance from what was measured:
a coarser voxel has the highest of those it stands for, and is no better than the worst of them. 0 is what has not been made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from isofield.omezarr.metadata import NGFF_VERSION, multiscale
from isofield.storage.uri import is_remote

NAME = "origin"
FOLDER = "labels"
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


def location(image: str | os.PathLike[str]) -> str:
    """Path or URI of the label image of `image`."""
    where = os.fspath(image)
    return f"{where.rstrip('/')}/{FOLDER}/{NAME}" if is_remote(where) else os.path.join(where, FOLDER, NAME)


def group_attributes(n_levels: int, voxel_size_nm: Sequence[float], origin_nm: Sequence[float]) -> dict[str, Any]:
    """Attributes of the label image; its levels lie where those of the image do."""
    entry = multiscale(NAME, n_levels, voxel_size_nm, origin_nm)
    if n_levels > 1:
        entry["type"] = "maximum"
        entry["metadata"] = {
            "description": "Each voxel is the highest of those of the finer level's 2x2x2 voxels that exist.",
            "method": "isofield.omezarr.pyramid.downsample_shard",
        }
    colours = [{"label-value": value, "rgba": list(origin.rgba)} for value, origin in ORIGINS.items()]
    properties = [{"label-value": value, "name": o.name, "description": o.words} for value, o in ORIGINS.items()]
    about = {"colors": colours, "properties": properties, "source": {"image": "../../"}}
    return {"ome": {"version": NGFF_VERSION, "multiscales": [entry], "image-label": about}}


def folder_attributes() -> dict[str, Any]:
    """Attributes of the folder that lists the label images."""
    return {"ome": {"version": NGFF_VERSION, "labels": [NAME]}}


def highest_2x2x2(fine: np.ndarray) -> np.ndarray:
    """Highest of 2x2x2 voxels of a (z, y, x) array; sides round up, a last odd plane stands alone."""
    for axis in range(3):
        fine = np.maximum.reduceat(fine, np.arange(0, fine.shape[axis], 2), axis=axis)
    return fine


def counted(labels: np.ndarray) -> dict[str, int]:
    """Voxels per value that occurs, by its name."""
    counts: Mapping[int, int] = dict(enumerate(np.bincount(labels.ravel(), minlength=len(ORIGINS) + 1).tolist()))
    return {origin.name: counts[value] for value, origin in ORIGINS.items() if counts[value]}
