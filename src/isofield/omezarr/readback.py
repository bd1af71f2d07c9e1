"""Levels of an image read back from their files, by what their metadata should be, not by what is found beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from isofield.geometry import ZYX, Roi
from isofield.omezarr import layout
from isofield.storage.place import Place

_INDEX_ENTRY_BYTES, _INDEX_CHECKSUM_BYTES = 16, 4
_ABSENT = np.uint64(2**64 - 1)


class DamagedShardError(Exception):
    """A shard cannot be decoded. `roi`: the chunk, or chunks, in voxels of the level."""

    def __init__(self, what: str, roi: Roi) -> None:
        self.what, self.roi = what, roi
        super().__init__(f"{what} at {roi}")


class Level:
    """One level, of one channel if the image has several: `files` are its metadata, key -> bytes, as `canvas_files` has them."""

    def __init__(self, place: Place, level: int, files: Mapping[str, bytes], channel: int | None = None) -> None:
        self.place, self.number = place, level
        buffer = default_buffer_prototype().buffer
        own = {key: buffer.from_bytes(content) for key, content in files.items() if key.split("/")[0] == str(level)}
        self._level = layout.Level.of(level, zarr.open_array(MemoryStore(own), path=str(level), mode="r"), channel)
        self.array = self._level.array
        self.shape, self.dtype = self._level.shape, self.array.dtype
        self.shard, self.chunk = ZYX(*(self._level.side,) * 3), ZYX(*self.array.chunks[-3:])

    def key(self, roi: Roi) -> str:
        """Key of the file of one whole shard, of the first of several."""
        return self._level.shard(roi)[0]

    def size(self, roi: Roi) -> int:
        """Bytes of a shard; 0 if it is not there, or not all of it, or an empty file."""
        sizes = [self.place.size(key) or 0 for key in self._level.shard(roi)]
        return sum(sizes) if all(sizes) else 0

    def load(self, roi: Roi) -> StoredShard | None:
        """A shard, read whole and not yet decoded; None if it is not there, or not all of it, or an empty file."""
        contents = [self.place.read(key) for key in self._level.shard(roi)]
        return StoredShard(self, roi, [one for one in contents if one]) if all(contents) else None

    def is_shard_key(self, key: str) -> bool:
        """Whether a key of the image is that of a shard this level has, of whichever channel."""
        side = self.chunk if self._level.chunk else self.shard
        sides, shape = ((1,) * (len(self.array.shape) - 3) + tuple(side)), self.array.shape
        head, _, tail = key.partition("/" if self._level.chunk else "/c/")
        parts = tail.split("/")
        if head != str(self.number) or len(parts) != len(shape):
            return False
        if not all(part.isdigit() and str(int(part)) == part for part in parts):
            return False
        return all(int(part) * one < length for part, one, length in zip(parts, sides, shape, strict=True))


class StoredShard:
    """The bytes of one shard; decoded in parts, so that never more than a part of it is held.

    content: of all its files, one after the other, as its record vouches for it.
    """

    def __init__(self, level: Level, roi: Roi, contents: list[bytes]) -> None:
        self.level, self.roi, self.content = level, roi, b"".join(contents) if len(contents) > 1 else contents[0]
        files: dict[str, Any] = {}
        self._array = layout.alone_array(level.array, roi.shape, files)
        keys = layout.alone_keys(level.array, roi.shape)
        for key, one in zip(keys, contents, strict=True):
            files[key] = default_buffer_prototype().buffer.from_bytes(one)

    def decoded(self, part: Roi) -> np.ndarray:
        """Voxels of `part` (of the level, inside this shard). Raises DamagedShardError naming the first damaged chunk."""
        try:
            return self._array[part.relative_to(self.roi).slices]
        except (ValueError, RuntimeError) as error:  # zarr: index checksum; numcodecs: chunk checksum
            raise self._damage(part, error) from error

    def _damage(self, part: Roi, error: Exception) -> DamagedShardError:
        chunks, damaged = list(self._chunks(part)), []
        for chunk in chunks:
            try:
                self._array[chunk.relative_to(self.roi).slices]
            except (ValueError, RuntimeError):
                damaged.append(chunk)
        if len(damaged) in (0, len(chunks)):
            return DamagedShardError(f"cannot be decoded ({error})", part)
        more = f", and {len(damaged) - 1} more of its chunks" if len(damaged) > 1 else ""
        return DamagedShardError(f"a chunk cannot be decoded ({error}){more}", damaged[0])

    def gaps(self) -> list[str]:
        """What its index, which `decoded` has proved sound, says is missing or superfluous; without one nothing can be."""
        if not self.level.array.shards:
            return []
        n_all = prod(n // c for n, c in zip(self.level.shard, self.level.chunk, strict=True))
        n_index = n_all * _INDEX_ENTRY_BYTES + _INDEX_CHECKSUM_BYTES
        table = np.frombuffer(self.content[-n_index:-_INDEX_CHECKSUM_BYTES], "<u8")
        table = table.reshape(*(n // c for n, c in zip(self.level.shard, self.level.chunk, strict=True)), 2)
        inside = table[tuple(slice(n) for n in self._grid)]
        n_absent = int(np.count_nonzero(inside[..., 1] == _ABSENT))
        found = [f"{n_absent} of its chunks are absent and would read as 0"] if n_absent else []
        present = table[table[..., 1] != _ABSENT]
        n_loose = len(self.content) - n_index - int(present[:, 1].sum())
        return found + ([f"{n_loose} of its bytes belong to no chunk"] if n_loose else [])

    @property
    def _grid(self) -> ZYX:
        return ZYX(*(-(-n // c) for n, c in zip(self.roi.shape, self.level.chunk, strict=True)))

    def _chunks(self, part: Roi) -> Iterator[Roi]:
        local, side = part.relative_to(self.roi), self.level.chunk
        axes = [range(o // c * c, e, c) for o, e, c in zip(local.offset, local.end, side, strict=True)]
        for corner in product(*axes):
            yield Roi(ZYX(*corner) + self.roi.offset, side).intersect(self.roi)


def metadata_differences(found: bytes, wanted: bytes) -> list[str]:
    """Properties in which an array's metadata differ from what they should be; empty where zarr takes both for the same."""
    try:
        document, expected = json.loads(found), json.loads(wanted)
    except ValueError as error:
        return [f"not valid JSON ({error})"]
    if not isinstance(document, dict):
        return ["not a JSON object"]
    names = sorted(name for name in document.keys() | expected.keys() if document.get(name) != expected.get(name))
    said = [f"{name} {_short(document.get(name))} instead of {_short(expected.get(name))}" for name in names]
    if not names or "shape" not in expected:
        return said
    buffer = default_buffer_prototype().buffer
    name = "zarr.json" if expected.get("zarr_format") == 3 else ".zarray"
    try:
        arrays = [zarr.open_array(MemoryStore({name: buffer.from_bytes(one)}), mode="r") for one in (found, wanted)]
        if arrays[0].metadata == arrays[1].metadata:
            return []
    except (ValueError, TypeError, KeyError):
        # What zarr cannot make sense of is named below.
        pass
    return said


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
