"""NGFF group metadata, 0.5 and 0.4, and where every voxel of every level lies in the world.

The world is in nm. Its origin is the outer *edge* of the measured volume's first voxel. NGFF places a voxel
by its *centre*, so voxel 0 of level k, `scale = voxel_size_nm * 2**k` wide, has `translation = origin_nm +
scale / 2`, where `origin_nm` is the edge at which the image begins (0, or where the region begins)::

    origin
    |     |     |     |     |     |     |     |      level 0: scale s,  centres origin + s/2,  3s/2, ...
    |           |           |           |     |      level 1: scale 2s, centres origin + s,    3s, ...
    |                 |                 |     |      measured: scale dz, centres origin + dz/2, ...

A level's voxel is the mean of the 2x2x2 voxels between the same edges, so all levels, and the measured image
with its own voxel size, lie over each other. The last voxel of an odd side is the mean of what exists of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from isofield.geometry import ZYX
from isofield.omezarr.spec import NgffVersion

AXES = ("z", "y", "x")
CHANNEL_AXIS = "c"
PROVENANCE_KEY = "isofield"


@dataclass(frozen=True)
class DisplayWindow:
    """Grey values that a viewer shows black (`start`) and white (`end`), and the range of its slider."""

    min: float
    max: float
    start: float
    end: float

    def __post_init__(self) -> None:
        if not self.min <= self.start < self.end <= self.max:
            raise ValueError(f"{self} does not satisfy min <= start < end <= max")


class Channel(NamedTuple):
    """One channel of an image of several, as viewers show it: its name, colour (six hexadecimal digits) and grey values."""

    label: str
    colour: str
    window: DisplayWindow


COLOURS = ("00FF00", "FF00FF", "00A0FF", "FFA000", "FF3030", "FFFF00", "00FFFF", "C080FF")
"""Of channels that are shown over each other. The first two add up to white, and people who are colour-blind tell them apart."""


def colour_of(index: int) -> str:
    """Colour of a channel by its place in the image."""
    return COLOURS[index % len(COLOURS)]


def level_shapes(shape: Sequence[int], min_vox: int) -> list[ZYX]:
    """Shapes of all levels: each halves every side, rounded up, until the longest is at most `min_vox`."""
    if min(shape) < 1 or min_vox < 1:
        raise ValueError(f"level_shapes needs sides and min_vox of at least 1, got {tuple(shape)} and {min_vox}")
    levels = [ZYX(*shape)]
    while max(levels[-1]) > min_vox:
        levels.append(ZYX(*(-(-side // 2) for side in levels[-1])))
    return levels


def level_transforms(
    voxel_size_nm: Sequence[float], level: int, origin_nm: Sequence[float] = (0.0, 0.0, 0.0), has_channels: bool = False
) -> list[dict[str, Any]]:
    """NGFF scale and translation of one level; world nm = scale * index + translation, at voxel centres.

    Along an axis of channels, which comes first, nothing is scaled or moved.
    """
    scale = [float(size) * 2**level for size in voxel_size_nm]
    translation = [float(edge) + side / 2 for edge, side in zip(origin_nm, scale, strict=True)]
    if has_channels:
        scale, translation = [1.0, *scale], [0.0, *translation]
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]


def axes(has_channels: bool = False) -> list[dict[str, str]]:
    """NGFF's description of the axes z, y, x, or c, z, y, x."""
    space = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in AXES]
    return [{"name": CHANNEL_AXIS, "type": "channel"}, *space] if has_channels else space


def multiscale(
    name: str,
    n_levels: int,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float] = (0.0, 0.0, 0.0),
    has_channels: bool = False,
) -> dict[str, Any]:
    """One entry of `multiscales`: axes z, y, x in nm, c before them if it `has_channels`, and the arrays "0", "1", ... with
    their transforms."""
    entry: dict[str, Any] = {
        "name": name,
        "axes": axes(has_channels),
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": level_transforms(voxel_size_nm, level, origin_nm, has_channels),
            }
            for level in range(n_levels)
        ],
    }
    if n_levels > 1:
        entry["type"] = "mean"
        entry["metadata"] = {
            "description": "Each voxel is the mean of those of the finer level's 2x2x2 voxels that exist, "
            "rounded to the nearest integer where the data are integers.",
            "method": "isofield.omezarr.pyramid.downsample_shard",
        }
    return entry


def omero(name: str, window: DisplayWindow) -> dict[str, Any]:
    """Display settings of the one channel: white, with the given window."""
    limits = {"min": window.min, "max": window.max, "start": window.start, "end": window.end}
    return {"channels": [{"label": name, "color": "FFFFFF", "active": True, "window": limits}]}


def omero_of_channels(channels: Sequence[Channel]) -> dict[str, Any]:
    """Display settings of an image of several channels, shown over each other."""
    return {"channels": [omero(one.label, one.window)["channels"][0] | {"color": one.colour} for one in channels]}


def group_attributes(
    name: str,
    n_levels: int,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float] = (0.0, 0.0, 0.0),
    window: DisplayWindow | None = None,
    provenance: Mapping[str, Any] | None = None,
    version: NgffVersion = "0.5",
    has_channels: bool = False,
) -> dict[str, Any]:
    """Attributes of an image group: what NGFF wants, in 0.5 below `ome`; `isofield`, how the image was made.

    voxel_size_nm (z, y, x) of level 0; origin_nm (z, y, x) the world position of the image's first edge.
    """
    entry = multiscale(name, n_levels, voxel_size_nm, origin_nm, has_channels)
    made = {PROVENANCE_KEY: dict(provenance or {})}
    display = {} if window is None else {"omero": omero(name, window)}
    if version == "0.4":
        return {"multiscales": [{"version": version, **entry}], **display, **made}
    return {"ome": {"version": version, "multiscales": [entry], **display}, **made}


def ome_of(attributes: dict[str, Any]) -> dict[str, Any]:
    """The part of an image's attributes that holds `multiscales` and `omero`: `ome` in 0.5, in 0.4 all of them."""
    return attributes.get("ome", attributes)
