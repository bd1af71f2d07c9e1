"""The image: arrays whose shards are each written whole, by one writer, or missing.

Absence means missing, never zero: an all-zero shard is written too, and reading a missing one is an error.
A shard is encoded in memory and each of its files (one in OME-Zarr 0.5) published by one rename or one request. What was there
before is never read, so a shard that a killed writer or a full disk left truncated is healed by writing it again.

`path` is a local path or, as text, the URI of an object store (see `isofield.storage`), or a `ChannelOf` such an image where
that has several channels: regions and shards are z, y, x boxes either way.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
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
from isofield.paths import ChannelOf
from isofield.records import to_plain
from isofield.storage.place import Place, place_of
from isofield.storage.uri import is_remote

# What both NGFF viewers and this package's rounding can handle.
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")

Store = str | os.PathLike[str]
Location = Store | ChannelOf


class ShardFile(NamedTuple):
    """What was written: sha256 (64 hex digits) and size of a shard's bytes, of all its files in C order.

    chunk: side in voxels of the chunks that are files of their own, in OME-Zarr 0.4.
    """

    sha256: str
    n_bytes: int
    chunk: int | None = None


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


def level_channels(path: Store, level: int) -> int | None:
    """Channels of an image; None where it has no axis of channels. Raises InputError where there is no such level."""
    return Level.array_of(place_at(path), level).n_channels


def level_shape(path: Location, level: int) -> ZYX:
    """Shape (z, y, x) of one level."""
    return open_level(path, level).shape


def shard_rois(shape: Sequence[int], shard_vox: int, within: Roi | None = None) -> list[Roi]:
    """The boxes of all shards of an array, or of those that hold voxels of `within`, in C order, clipped at the array."""
    whole = Roi(ZYX(0, 0, 0), ZYX(*shape))
    box = whole if within is None else within
    corners = product(*(range(o // shard_vox * shard_vox, e, shard_vox) for o, e in zip(box.offset, box.end, strict=True)))
    return [Roi(ZYX(*corner), ZYX(shard_vox, shard_vox, shard_vox)).intersect(whole) for corner in corners]


def shard_path(path: Location, level: int, roi: Roi) -> Path | str:
    """File, or URI, of the shard that is exactly `roi`, the first one of several. Raises ValueError if it is not one whole."""
    where = place_at(path).locate(open_level(path, level).shard(roi)[0])
    return where if is_remote(where) else Path(where)


def missing_shards(path: Location, level: int) -> list[Roi]:
    """Shards of a level that are absent, in part or whole, or empty files, in C order. Damaged ones show when they are read."""
    place = place_at(path)
    opened = open_level(path, level)
    return [roi for roi in shard_rois(opened.shape, opened.side) if not _there(place, opened.shard(roi))]


def is_written(path: Location, level: int, roi: Roi) -> bool:
    """Whether all shards that hold voxels of `roi` are there."""
    place = place_at(path)
    opened = open_level(path, level)
    return all(_there(place, opened.shard(shard)) for shard in shard_rois(opened.shape, opened.side, roi))


def shard_sha256(path: Location, level: int, roi: Roi) -> str | None:
    """sha256 (64 hex digits) of a shard's bytes; None if it has not been written, or not all of it. Reads it."""
    place = place_at(path)
    digest = hashlib.sha256()
    for key in open_level(path, level).shard(roi):
        content = place.read(key)
        if content is None:
            return None
        digest.update(content)
    return digest.hexdigest()


def write_shard(path: Location, level: int, roi: Roi, block: np.ndarray) -> ShardFile:
    """Publish one whole shard, replacing what was there; returns what was written. Equal input gives equal bytes.

    Raises ValueError if `roi` is not one whole shard of the level (clipped at its edge), or if `block` has
    another shape than `roi` or another dtype than the image: nothing is merged, padded or cast here.
    """
    place = place_at(path)
    opened = open_level(path, level)
    keys = opened.shard(roi)
    if block.shape != tuple(roi.shape) or block.dtype != opened.array.dtype:
        raise ValueError(f"shard {roi} takes {tuple(roi.shape)} {opened.array.dtype}, got {block.shape} {block.dtype}")
    digest, n_bytes = hashlib.sha256(), 0
    for key, content in zip(keys, opened.encode(block), strict=True):
        place.write(key, content)
        digest.update(content)
        n_bytes += len(content)
    return ShardFile(digest.hexdigest(), n_bytes, opened.chunk)


def read_region(path: Location, level: int, roi: Roi, *, fill_missing: bool = False) -> np.ndarray:
    """Voxels of `roi` (z, y, x) of one level. With `fill_missing`, shards that were not written read as 0.

    Raises ValueError if `roi` leaves the level, InputError naming the file if a shard is missing or damaged.
    """
    place = place_at(path)
    opened = open_level(path, level)
    if not opened.bounds.contains(roi):
        raise ValueError(f"{roi} leaves level {level} of shape {tuple(opened.shape)}")
    out = np.zeros(roi.shape, opened.array.dtype)
    for shard in shard_rois(opened.shape, opened.side, roi):
        part = shard.intersect(roi)
        sizes = {key: place.size(key) for key in opened.keys(part)}
        missing = [key for key, n_bytes in sizes.items() if n_bytes is None]
        if missing and not fill_missing:
            raise InputError("shard", place.locate(missing[0]), "has not been written", "Run the step that writes this level")
        if len(missing) == len(sizes):
            continue
        # Before zarr takes an empty file for nothing but zeros.
        empty = [key for key, n_bytes in sizes.items() if n_bytes == 0]
        key = next(iter(empty or sizes))
        try:
            if empty:
                raise ValueError("the file is empty")
            with place.reporting(key):
                out[part.relative_to(roi).slices] = opened.values(part)
        except (ValueError, RuntimeError) as error:  # zarr: index checksum; numcodecs: chunk checksum
            raise InputError(
                "shard",
                place.locate(key),
                f"is damaged ({error})",
                "Delete it and run the step that writes this level",
            ) from error
    return out


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


def _there(place: Place, keys: Sequence[str]) -> bool:
    return all(place.size(key) for key in keys)


def open_level(path: Location, level: int) -> Level:
    """One level of an image, or of one channel of it. Raises InputError where there is none."""
    return Level.open(place_at(path), level, path.index if isinstance(path, ChannelOf) else None)


def place_at(path: Location) -> Place:
    """Where the files of an image lie, of all its channels."""
    return place_of(path.image if isinstance(path, ChannelOf) else path, "output.path")
