"""The image on disk: Zarr v3 arrays in which a shard is one file, written whole, or missing.

Absence means missing, never zero: an all-zero shard is written too, and reading a missing one is an error.
A shard is encoded in memory and published by one rename. What was there before is never read, so a shard that
a killed writer or a full disk left truncated is healed by writing it again.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

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
from isofield.records import fsync_dir, partial_sibling, read_json, to_plain, write_bytes_atomic, write_json

# What both NGFF viewers and this package's rounding can handle.
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")


def create_canvas(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    dtype: np.dtype | str,
    spec: OutputSpec,
    *,
    voxel_size_nm: Sequence[float],
    origin_nm: Sequence[float] = (0.0, 0.0, 0.0),
    name: str = "isotropic",
    n_levels: int | None = None,
) -> bool:
    """Make the image at `path`, all levels empty; it appears whole. Returns whether it is a new one.

    shape (z, y, x) of level 0; voxel_size_nm and origin_nm as in `metadata`; n_levels None: down to
    `spec.pyramid_min_vox`. An image whose arrays have the same metadata keeps its shards (and only has its
    world position corrected if that changed); any other image made by this function is replaced.

    Raises InputError for a dtype that viewers cannot read, and if `path` holds something else.
    """
    path = Path(path)
    shapes = level_shapes(shape, spec.pyramid_min_vox if n_levels is None else 1)[:n_levels]
    attributes = group_attributes(name, len(shapes), voxel_size_nm, origin_nm)
    arrays = _empty_arrays(shapes, dtype, spec)
    if _keeps(path, attributes, arrays):
        return False
    partial, old = partial_sibling(path), partial_sibling(path)
    try:
        write_json(partial / "zarr.json", {"attributes": attributes, "zarr_format": 3, "node_type": "group"})
        for key, document in arrays.items():
            write_bytes_atomic(partial / key, document.to_bytes())
        if path.exists():
            os.rename(path, old)
        os.rename(partial, path)
    except OSError as error:
        # Another creator was faster: its canvas will do if it is the same.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not _keeps(path, attributes, arrays):
            raise
        return False
    finally:
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)
    fsync_dir(path.parent)
    return True


def set_provenance(path: str | os.PathLike[str], provenance: Mapping[str, Any], window: DisplayWindow | None = None) -> None:
    """Replace the group's `isofield` attribute, and its display window if one is given, atomically."""
    document = read_json(Path(path, "zarr.json"), remedy="Run the step that creates the image again")
    attributes = document["attributes"]
    attributes[PROVENANCE_KEY] = to_plain(provenance)
    if window is not None:
        attributes["ome"]["omero"] = omero(attributes["ome"]["multiscales"][0]["name"], window)
    write_json(Path(path, "zarr.json"), document)


def level_shape(path: str | os.PathLike[str], level: int) -> ZYX:
    """Shape (z, y, x) of one level."""
    return ZYX(*_open(path, level).shape)


def shard_rois(shape: Sequence[int], shard_vox: int) -> list[Roi]:
    """The boxes of all shards of an array, in C order (x fastest), clipped at the array."""
    whole = Roi(ZYX(0, 0, 0), ZYX(*shape))
    corners = product(*(range(0, side, shard_vox) for side in shape))
    return [Roi(ZYX(*corner), ZYX(shard_vox, shard_vox, shard_vox)).intersect(whole) for corner in corners]


def shard_path(path: str | os.PathLike[str], level: int, roi: Roi) -> Path:
    """File of the shard that is exactly `roi`. Raises ValueError if `roi` is not one whole shard."""
    return _shard_file(path, level, _open(path, level), roi)


def missing_shards(path: str | os.PathLike[str], level: int) -> list[Roi]:
    """Shards of a level that are absent or empty files, in C order. Damaged ones show when they are read."""
    array = _open(path, level)
    files = {roi: _shard_file(path, level, array, roi) for roi in shard_rois(array.shape, array.shards[0])}
    return [roi for roi, file in files.items() if not (file.exists() and file.stat().st_size)]


def write_shard(path: str | os.PathLike[str], level: int, roi: Roi, block: np.ndarray) -> None:
    """Publish one whole shard, replacing what was there. Equal input gives equal bytes.

    Raises ValueError if `roi` is not one whole shard of the level (clipped at its edge), or if `block` has
    another shape than `roi` or another dtype than the image: nothing is merged, padded or cast here.
    """
    array = _open(path, level)
    file = _shard_file(path, level, array, roi)
    if block.shape != tuple(roi.shape) or block.dtype != array.dtype:
        raise ValueError(f"shard {roi} takes {tuple(roi.shape)} {array.dtype}, got {block.shape} {block.dtype}")
    write_bytes_atomic(file, _encode(array, block))


def read_region(path: str | os.PathLike[str], level: int, roi: Roi, *, fill_missing: bool = False) -> np.ndarray:
    """Voxels of `roi` (z, y, x) of one level. With `fill_missing`, shards that were not written read as 0.

    Raises ValueError if `roi` leaves the level, InputError naming the file if a shard is missing or damaged.
    """
    array = _open(path, level)
    if not Roi(ZYX(0, 0, 0), ZYX(*array.shape)).contains(roi):
        raise ValueError(f"{roi} leaves level {level} of shape {array.shape}")
    out = np.zeros(roi.shape, array.dtype)
    for shard in _shards_touching(array, roi):
        part = shard.intersect(roi)
        file = _shard_file(path, level, array, shard)
        if not file.exists():
            if fill_missing:
                continue
            raise InputError("shard", str(file), "has not been written", "Run the step that writes this level")
        try:
            if file.stat().st_size == 0:  # which zarr takes for a shard of nothing but zeros
                raise ValueError("the file is empty")
            out[part.relative_to(roi).slices] = array[part.slices]
        except (ValueError, RuntimeError) as error:  # zarr: index checksum; numcodecs: chunk checksum
            raise InputError(
                "shard",
                str(file),
                f"is damaged ({error})",
                "Delete it and run the step that writes this level",
            ) from error
    return out


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


def _keeps(path: Path, attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> bool:
    """Whether `path` already is this image; brings its world position up to date if so."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    group_file = path / "zarr.json"
    group = read_json(group_file, remedy="Move it away") if group_file.exists() else {}
    if PROVENANCE_KEY not in group.get("attributes", {}):
        raise InputError("output", str(path), "exists and is not an image made by isofield", "Move it away")
    if {f"{file.parent.name}/zarr.json" for file in path.glob("*/zarr.json")} != arrays.keys():
        return False
    for level in range(len(arrays)):
        # Compared as zarr understands them: another version may spell the same array differently.
        wanted = zarr.open_array(MemoryStore(dict(arrays)), path=str(level), mode="r")
        if _open(path, level).metadata != wanted.metadata:
            return False
    ome = group["attributes"]["ome"]
    if ome["multiscales"] != attributes["ome"]["multiscales"]:
        ome["multiscales"] = attributes["ome"]["multiscales"]
        write_json(group_file, group)
    return True


def _open(path: str | os.PathLike[str], level: int) -> zarr.Array:
    folder = Path(path, str(level))
    if not (folder / "zarr.json").exists():
        raise InputError("level", str(folder), "does not exist", "Run the step that creates the image")
    return zarr.open_array(str(folder), mode="r", zarr_format=3)


def _shard_file(path: str | os.PathLike[str], level: int, array: zarr.Array, roi: Roi) -> Path:
    index = [begin // side for begin, side in zip(roi.offset, array.shards, strict=True)]
    corner = ZYX(*(i * side for i, side in zip(index, array.shards, strict=True)))
    whole = Roi(corner, ZYX(*array.shards)).intersect(Roi(ZYX(0, 0, 0), ZYX(*array.shape)))
    if roi != whole or roi.empty:
        raise ValueError(f"{roi} is not one whole shard of level {level} (shape {array.shape}, shards {array.shards})")
    return Path(path, str(level), "c", *map(str, index))


def _shards_touching(array: zarr.Array, roi: Roi) -> Iterator[Roi]:
    whole = Roi(ZYX(0, 0, 0), ZYX(*array.shape))
    axes = zip(roi.offset, roi.end, array.shards, strict=True)
    for corner in product(*(range(begin // side * side, end, side) for begin, end, side in axes)):
        yield Roi(ZYX(*corner), ZYX(*array.shards)).intersect(whole)


def _encode(array: zarr.Array, block: np.ndarray) -> bytes:
    """The bytes of one shard of `array`, encoded in an array in memory that is this shard and no more."""
    files: dict[str, Any] = {}
    alone = zarr.create_array(
        MemoryStore(files),
        shape=block.shape,
        dtype=array.dtype,
        chunks=array.chunks,
        shards=array.shards,
        compressors=array.compressors,
        fill_value=array.fill_value,
        config={"write_empty_chunks": True},
    )
    alone[...] = block
    return files["c/0/0/0"].to_bytes()
