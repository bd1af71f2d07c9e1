"""The image: Zarr v3 arrays in which a shard is one file or object, written whole, or missing.

Absence means missing, never zero: an all-zero shard is written too, and reading a missing one is an error.
A shard is encoded in memory and published by one rename or one request. What was there before is never read, so a shard
that a killed writer or a full disk left truncated is healed by writing it again.

`path` is a local path or, as text, the URI of an object store; see `isofield.storage`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.storage import MemoryStore

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.omezarr.metadata import (
    AXES,
    PROVENANCE_KEY,
    DisplayWindow,
    group_attributes,
    level_shapes,
    omero,
)
from isofield.omezarr.spec import OutputSpec
from isofield.records import json_bytes, to_plain
from isofield.storage.place import Place, place_of
from isofield.storage.uri import is_remote

# What both NGFF viewers and this package's rounding can handle.
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")

Location = str | os.PathLike[str]


class ShardFile(NamedTuple):
    """What was written: sha256 (64 hex digits) and size of a shard's bytes."""

    sha256: str
    n_bytes: int


def create_canvas(
    path: Location,
    shape: Sequence[int],
    dtype: np.dtype | str,
    spec: OutputSpec,
    *,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float] = (0.0, 0.0, 0.0),
    name: str = "isotropic",
    n_levels: int | None = None,
    replace: bool = True,
) -> bool:
    """Make the image at `path`, all levels empty. Returns whether it is a new one.

    shape (z, y, x) of level 0; voxel_size_nm and origin_nm as in `metadata`; n_levels None: down to
    `spec.pyramid_min_vox`. An image whose arrays have the same metadata keeps its shards (and only has its
    world position corrected if that changed); any other image made by this function is replaced. A local image appears whole;
    in an object store its levels appear one by one, and an image that lacks some is made again. With `replace` False another
    image made by this function is not replaced either.

    Raises InputError for a dtype that viewers cannot read, and if `path` holds something that is not to be replaced.
    """
    place = _place(path)
    group, arrays = _canvas(shape, dtype, spec, voxel_size_nm, origin_nm, name, n_levels)
    attributes = group["attributes"]
    if _keeps(place, attributes, arrays):
        return False
    if not replace and not place.empty():
        limit = "holds an image of another size, type or storage, parts of which other runs have made"
        raise InputError("output.path", str(place), limit, "Give all runs the same output settings, or another output.path")
    try:
        place.replace(_files(group, arrays))
    except OSError as error:
        # Another creator was faster: its canvas will do if it is the same.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not _keeps(place, attributes, arrays):
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
) -> dict[str, bytes]:
    """What `create_canvas` writes: key -> bytes of the group's metadata, then of every level's."""
    return _files(*_canvas(shape, dtype, spec, voxel_size_nm, origin_nm, name, n_levels))


def set_provenance(path: Location, provenance: Mapping[str, Any], window: DisplayWindow | None = None) -> None:
    """Replace the group's `isofield` attribute, and its display window if one is given, atomically."""
    place = _place(path)
    document = _group(place, "Run the step that creates the image again")
    if not document:
        limit = "does not exist"
        raise InputError("file", place.locate("zarr.json"), limit, "Run the step that creates the image first")
    attributes = document["attributes"]
    attributes[PROVENANCE_KEY] = to_plain(provenance)
    if window is not None:
        attributes["ome"]["omero"] = omero(attributes["ome"]["multiscales"][0]["name"], window)
    place.write("zarr.json", json_bytes(document))


def level_shape(path: Location, level: int) -> ZYX:
    """Shape (z, y, x) of one level."""
    return ZYX(*_open(_place(path), level).shape)


def shard_rois(shape: Sequence[int], shard_vox: int, within: Roi | None = None) -> list[Roi]:
    """The boxes of all shards of an array, or of those that hold voxels of `within`, in C order, clipped at the array."""
    whole = Roi(ZYX(0, 0, 0), ZYX(*shape))
    box = whole if within is None else within
    corners = product(*(range(o // shard_vox * shard_vox, e, shard_vox) for o, e in zip(box.offset, box.end, strict=True)))
    return [Roi(ZYX(*corner), ZYX(shard_vox, shard_vox, shard_vox)).intersect(whole) for corner in corners]


def shard_path(path: Location, level: int, roi: Roi) -> Path | str:
    """File, or URI, of the shard that is exactly `roi`. Raises ValueError if `roi` is not one whole shard."""
    place = _place(path)
    where = place.locate(_shard_key(level, _open(place, level), roi))
    return where if is_remote(where) else Path(where)


def missing_shards(path: Location, level: int) -> list[Roi]:
    """Shards of a level that are absent or empty files, in C order. Damaged ones show when they are read."""
    place = _place(path)
    array = _open(place, level)
    rois = shard_rois(array.shape, array.shards[0])
    return [roi for roi in rois if not place.size(_shard_key(level, array, roi))]


def is_written(path: Location, level: int, roi: Roi) -> bool:
    """Whether all shards that hold voxels of `roi` are there."""
    place = _place(path)
    array = _open(place, level)
    return all(place.size(_shard_key(level, array, shard)) for shard in shard_rois(array.shape, array.shards[0], roi))


def shard_sha256(path: Location, level: int, roi: Roi) -> str | None:
    """sha256 (64 hex digits) of a shard's bytes; None if it has not been written. Reads it."""
    place = _place(path)
    content = place.read(_shard_key(level, _open(place, level), roi))
    return None if content is None else hashlib.sha256(content).hexdigest()


def write_shard(path: Location, level: int, roi: Roi, block: np.ndarray) -> ShardFile:
    """Publish one whole shard, replacing what was there; returns what was written. Equal input gives equal bytes.

    Raises ValueError if `roi` is not one whole shard of the level (clipped at its edge), or if `block` has
    another shape than `roi` or another dtype than the image: nothing is merged, padded or cast here.
    """
    place = _place(path)
    array = _open(place, level)
    key = _shard_key(level, array, roi)
    if block.shape != tuple(roi.shape) or block.dtype != array.dtype:
        raise ValueError(f"shard {roi} takes {tuple(roi.shape)} {array.dtype}, got {block.shape} {block.dtype}")
    content = _encode(array, block)
    place.write(key, content)
    return ShardFile(hashlib.sha256(content).hexdigest(), len(content))


def read_region(path: Location, level: int, roi: Roi, *, fill_missing: bool = False) -> np.ndarray:
    """Voxels of `roi` (z, y, x) of one level. With `fill_missing`, shards that were not written read as 0.

    Raises ValueError if `roi` leaves the level, InputError naming the file if a shard is missing or damaged.
    """
    place = _place(path)
    array = _open(place, level)
    if not Roi(ZYX(0, 0, 0), ZYX(*array.shape)).contains(roi):
        raise ValueError(f"{roi} leaves level {level} of shape {array.shape}")
    out = np.zeros(roi.shape, array.dtype)
    for shard in shard_rois(array.shape, array.shards[0], roi):
        part = shard.intersect(roi)
        key = _shard_key(level, array, shard)
        n_bytes = place.size(key)
        if n_bytes is None:
            if fill_missing:
                continue
            raise InputError("shard", place.locate(key), "has not been written", "Run the step that writes this level")
        try:
            if n_bytes == 0:  # which zarr takes for a shard of nothing but zeros
                raise ValueError("the file is empty")
            with place.reporting(key):
                out[part.relative_to(roi).slices] = array[part.slices]
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
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The group's document, and the arrays' as `_empty_arrays` has them."""
    shapes = level_shapes(shape, spec.pyramid_min_vox if n_levels is None else 1)[:n_levels]
    attributes = group_attributes(name, len(shapes), voxel_size_nm, origin_nm)
    return {"attributes": attributes, "zarr_format": 3, "node_type": "group"}, _empty_arrays(shapes, dtype, spec)


def _files(group: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, bytes]:
    return {"zarr.json": json_bytes(group), **{key: document.to_bytes() for key, document in arrays.items()}}


def _empty_arrays(shapes: Sequence[ZYX], dtype: np.dtype | str, spec: OutputSpec) -> dict[str, Any]:
    """A store in memory that holds the arrays "0", "1", ... and no voxels: key -> buffer."""
    dtype = np.dtype(dtype)
    if dtype.name not in DTYPES:
        limit = f"is none of {', '.join(DTYPES)}"
        raise InputError("output dtype", dtype.name, limit, "Convert the source to one of these")
    files: dict[str, Any] = {}
    for level, shape in enumerate(shapes):
        zarr.create_array(
            MemoryStore(files),
            name=str(level),
            shape=shape,
            dtype=dtype,
            chunks=(spec.chunk_vox,) * 3,
            shards=(spec.shard_vox,) * 3,
            # The frame checksum makes a flipped bit an error instead of a wrong voxel.
            compressors=ZstdCodec(level=spec.compression_level, checksum=True),
            fill_value=0,
            dimension_names=AXES,
        )
    return {key: files[key] for key in sorted(files) if key.count("/") == 1}


def _keeps(place: Place, attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> bool:
    """Whether `place` already holds this image; brings its world position up to date if so."""
    if place.empty():
        return False
    group = _group(place, "Move it away")
    if PROVENANCE_KEY not in group.get("attributes", {}):
        raise InputError("output", str(place), "exists and is not an image made by isofield", "Move it away")
    if {
        key for name in place.folders() if name != "labels" and place.size(key := f"{name}/zarr.json") is not None
    } != arrays.keys():
        return False
    for level in range(len(arrays)):
        # Compared as zarr understands them: another version may spell the same array differently.
        wanted = zarr.open_array(MemoryStore(dict(arrays)), path=str(level), mode="r")
        if _open(place, level).metadata != wanted.metadata:
            return False
    ome = group["attributes"]["ome"]
    if ome["multiscales"] != attributes["ome"]["multiscales"]:
        ome["multiscales"] = attributes["ome"]["multiscales"]
        place.write("zarr.json", json_bytes(group))
    return True


def _place(path: Location) -> Place:
    return place_of(path, "output.path")


def _group(place: Place, remedy: str) -> dict[str, Any]:
    """The group's document; empty if there is none."""
    try:
        return json.loads(place.read("zarr.json") or b"{}")
    except ValueError as error:
        raise InputError("file", place.locate("zarr.json"), f"is not valid JSON ({error})", remedy) from None


def _open(place: Place, level: int) -> zarr.Array:
    folder = place / str(level)
    try:
        with folder.reporting("zarr.json"):
            return zarr.open_array(folder.zarr_store(), mode="r", zarr_format=3)
    except FileNotFoundError:
        raise InputError("level", str(folder), "does not exist", "Run the step that creates the image") from None


def _shard_key(level: int, array: zarr.Array, roi: Roi) -> str:
    """Key of the shard that is exactly `roi`. Raises ValueError if `roi` is not one whole shard."""
    index = [begin // side for begin, side in zip(roi.offset, array.shards, strict=True)]
    corner = ZYX(*(i * side for i, side in zip(index, array.shards, strict=True)))
    whole = Roi(corner, ZYX(*array.shards)).intersect(Roi(ZYX(0, 0, 0), ZYX(*array.shape)))
    if roi != whole or roi.empty:
        raise ValueError(f"{roi} is not one whole shard of level {level} (shape {array.shape}, shards {array.shards})")
    return "/".join((str(level), "c", *map(str, index)))


def _encode(array: zarr.Array, block: np.ndarray) -> bytes:
    """The bytes of one shard of `array`, encoded in an array in memory that is this shard and no more."""
    files: dict[str, Any] = {}
    alone = alone_array(array, block.shape, files)
    alone[...] = block
    return files[ALONE_KEY].to_bytes()


ALONE_KEY = "c/0/0/0"


def alone_array(array: zarr.Array, shape: Sequence[int], files: dict[str, Any]) -> zarr.Array:
    """An array in memory, kept in `files`, of one shard of `array`: `shape` is the shard's, its content goes to ALONE_KEY."""
    return zarr.create_array(
        MemoryStore(files),
        shape=tuple(shape),
        dtype=array.dtype,
        chunks=array.chunks,
        shards=array.shards,
        compressors=array.compressors,
        fill_value=array.fill_value,
        config={"write_empty_chunks": True},
    )
