"""The empty image before its shards: group and levels, made once, kept while they are the same, described at the end.

`path` is a local path or, as text, the URI of an object store; see `isofield.storage`.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from isofield.errors import InputError
from isofield.omezarr.layout import ARRAY_KEY, GROUP_KEY, Level, empty_arrays, group_files, read_group
from isofield.omezarr.metadata import (
    PROVENANCE_KEY,
    Channel,
    DisplayWindow,
    group_attributes,
    level_shapes,
    ome_of,
    omero,
    omero_of_channels,
)
from isofield.omezarr.spec import NgffVersion, OutputSpec
from isofield.omezarr.store import Store, place_at
from isofield.records import to_plain
from isofield.storage.place import Place

# What both NGFF viewers and this package's rounding can handle.
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")


def create_canvas(
    path: Store,
    shape: Sequence[int],
    dtype: np.dtype | str,
    spec: OutputSpec,
    *,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float] = (0.0, 0.0, 0.0),
    name: str = "isotropic",
    n_levels: int | None = None,
    n_channels: int | None = None,
    replace: bool = True,
) -> bool:
    """Make the image at `path`, all levels empty. Returns whether it is a new one.

    shape (z, y, x) of level 0; voxel_size_nm and origin_nm as in `metadata`; n_levels None: down to `spec.pyramid_min_vox`;
    n_channels: length of an axis c before these, None: without. An image whose arrays have the same metadata keeps its shards
    (and only has its world position corrected if that changed); any other image made by this function is replaced. A local image
    appears whole; in an object store its levels appear one by one, and an image that lacks some is made again. With `replace`
    False another image made by this function is not replaced either.

    Raises InputError for a dtype that viewers cannot read, and if `path` holds something that is not to be replaced.
    """
    place = place_at(path)
    attributes, arrays = _canvas(shape, dtype, spec, voxel_size_nm, origin_nm, name, n_levels, n_channels)
    if _keeps(place, attributes, arrays, spec):
        return False
    if not replace and not place.empty():
        limit = "holds an image of another size, type or storage, parts of which other runs have made"
        raise InputError("output.path", str(place), limit, "Give all runs the same output settings, or another output.path")
    try:
        place.replace({**group_files(spec.ome_zarr, attributes), **arrays})
    except OSError as error:
        # Another creator was faster: its canvas will do if it is the same.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not _keeps(place, attributes, arrays, spec):
            raise
        return False
    return True


def canvas_files(
    shape: Sequence[int],
    dtype: np.dtype | str,
    spec: OutputSpec,
    *,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float] = (0.0, 0.0, 0.0),
    name: str = "isotropic",
    n_levels: int | None = None,
    n_channels: int | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """What `create_canvas` writes: key -> bytes of the group's metadata, then of every level's."""
    attributes, arrays = _canvas(shape, dtype, spec, voxel_size_nm, origin_nm, name, n_levels, n_channels)
    attributes[PROVENANCE_KEY] = to_plain(provenance or {})
    return {**group_files(spec.ome_zarr, attributes), **arrays}


def set_provenance(path: Store, provenance: Mapping[str, Any], window: DisplayWindow | Sequence[Channel] | None = None) -> None:
    """Replace the group's `isofield` attribute, and its display window, or how its channels are shown, if given, atomically."""
    place = place_at(path)
    found = read_group(place, "Run the step that creates the image again")
    if not found:
        limit = "does not exist"
        raise InputError("file", place.locate(GROUP_KEY["0.5"]), limit, "Run the step that creates the image first")
    version, attributes = found
    attributes[PROVENANCE_KEY] = to_plain(provenance)
    if window is not None:
        ome = ome_of(attributes)
        name = ome["multiscales"][0]["name"]
        ome["omero"] = omero(name, window) if isinstance(window, DisplayWindow) else omero_of_channels(window)
    _write_attributes(place, version, attributes)


def image_attributes(path: Store) -> dict[str, Any]:
    """Attributes of an image: `ome_of` them is what NGFF says, `isofield` how it was made. Raises InputError if it is none."""
    place = place_at(path)
    found = read_group(place, "Make the image again")
    if not found:
        raise InputError("image", str(place), "is no OME-Zarr", "Give the folder of one, or the results folder of a run")
    return found[1]


def level_documents(path: Store) -> dict[str, str]:
    """sha256 (64 hex digits) of the file that describes each level, by its key."""
    place = place_at(path)
    keys = [f"{name}/{document}" for name in place.folders() if name.isdecimal() for document in set(ARRAY_KEY.values())]
    contents = {key: place.read(key) for key in sorted(keys)}
    return {key: hashlib.sha256(content).hexdigest() for key, content in contents.items() if content is not None}


def _canvas(
    shape: Sequence[int],
    dtype: np.dtype | str,
    spec: OutputSpec,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float],
    name: str,
    n_levels: int | None,
    n_channels: int | None,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The group's attributes, and the files of its arrays."""
    shapes = level_shapes(shape, spec.pyramid_min_vox if n_levels is None else 1)[:n_levels]
    has_channels = n_channels is not None
    attributes = group_attributes(name, len(shapes), voxel_size_nm, origin_nm, version=spec.ome_zarr, has_channels=has_channels)
    return attributes, empty_arrays(shapes, _checked(dtype), spec, n_channels)


def _checked(dtype: np.dtype | str) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype.name not in DTYPES:
        limit = f"is none of {', '.join(DTYPES)}"
        raise InputError("output dtype", dtype.name, limit, "Convert the source to one of these")
    return dtype


def _keeps(place: Place, attributes: Mapping[str, Any], arrays: Mapping[str, bytes], spec: OutputSpec) -> bool:
    """Whether `place` already holds this image; brings its world position up to date if so."""
    if place.empty():
        return False
    version, found = read_group(place, "Move it away") or (spec.ome_zarr, {})
    if PROVENANCE_KEY not in found:
        raise InputError("output", str(place), "exists and is not an image made by isofield", "Move it away")
    document = ARRAY_KEY[spec.ome_zarr]
    wanted_keys = {key for key in arrays if key.endswith(document)}
    there = {key for name in place.folders() if name != "labels" and place.size(key := f"{name}/{document}") is not None}
    if version != spec.ome_zarr or there != wanted_keys:
        return False
    buffer = default_buffer_prototype().buffer
    wanted_store = MemoryStore({key: buffer.from_bytes(content) for key, content in arrays.items()})
    for level in range(len(wanted_keys)):
        # Compared as zarr understands them: another version may spell the same array differently.
        wanted = zarr.open_array(wanted_store, path=str(level), mode="r")
        try:
            there_is = Level.open(place, level, 0 if len(wanted.shape) > 3 else None).array
        except InputError:
            return False
        if there_is.metadata != wanted.metadata:
            return False
    ome, ome_wanted = ome_of(found), ome_of(dict(attributes))
    if ome["multiscales"] != ome_wanted["multiscales"]:
        ome["multiscales"] = ome_wanted["multiscales"]
        _write_attributes(place, version, found)
    return True


def _write_attributes(place: Place, version: NgffVersion, attributes: Mapping[str, Any]) -> None:
    key = GROUP_KEY[version]
    place.write(key, group_files(version, attributes)[key])
