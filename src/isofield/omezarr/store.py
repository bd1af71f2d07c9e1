"""The image: arrays whose shards are each written whole, by one writer, or missing.

Absence means missing, never zero: an all-zero shard is written too, and reading a missing one is an error.
A shard is encoded in memory and each of its files (one in OME-Zarr 0.5) published by one rename or one request. What was there
before is never read, so a shard that a killed writer or a full disk left truncated is healed by writing it again.

`path` is a local path or, as text, the URI of an object store (see `isofield.storage`), or a `ChannelOf` such an image where
that has several channels: regions and shards are z, y, x boxes either way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isofield.geometry import ZYX, Roi
from isofield.omezarr.layout import Level
from isofield.paths import ChannelOf
from isofield.storage.place import Place, place_of
from isofield.storage.uri import is_remote

Store = str | os.PathLike[str]
Location = Store | ChannelOf


class ShardFile(NamedTuple):
    """What was written: sha256 (64 hex digits) and size of a shard's bytes, of all its files in C order.

    chunk: side in voxels of the chunks that are files of their own, in OME-Zarr 0.4.
    """

    sha256: str
    n_bytes: int
    chunk: int | None = None


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


def _there(place: Place, keys: Sequence[str]) -> bool:
    return all(place.size(key) for key in keys)


def open_level(path: Location, level: int, *, kept: bool = False) -> Level:
    """One level of an image, or of one channel of it; kept: see `Level.open`. Raises InputError where there is none."""
    return Level.open(place_at(path), level, path.index if isinstance(path, ChannelOf) else None, kept=kept)


def place_at(path: Location) -> Place:
    """Where the files of an image lie, of all its channels."""
    return place_of(path.image if isinstance(path, ChannelOf) else path, "output.path")
