"""How an image lies in files: NGFF 0.5 in Zarr v3, where a shard is one file, or 0.4 in Zarr v2, where each of its chunks is.

Either way a shard is what one writer writes, whole. In v2 its side is noted with the array, whose format knows no shards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import zarr
from numcodecs import Zstd
from zarr.codecs import ZstdCodec
from zarr.storage import MemoryStore

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.omezarr.keys import shard_keys
from isofield.omezarr.metadata import AXES, CHANNEL_AXIS, PROVENANCE_KEY
from isofield.omezarr.spec import NgffVersion, OutputSpec
from isofield.records import json_bytes
from isofield.storage.place import Place

GROUP_KEY: dict[str, str] = {"0.5": "zarr.json", "0.4": ".zattrs"}
"""The file with the attributes of an image, by NGFF version."""
ARRAY_KEY: dict[str, str] = {"0.5": "zarr.json", "0.4": ".zarray"}


@dataclass(frozen=True)
class Level:
    """One level of an image, or of one channel of it: its array, and the side of what one writer writes."""

    number: int
    array: zarr.Array
    side: int
    channel: int | None = None

    @classmethod
    def open(cls, place: Place, number: int, channel: int | None = None, *, kept: bool = False) -> Level:
        """Raises InputError where there is no such level or channel, or more channels than one and none is named.

        kept: it is read many times, and written by nobody meanwhile; see `Place.zarr_store`.
        """
        return cls.array_of(place, number, channel, kept=kept).having_channel(str(place))

    @classmethod
    def array_of(cls, place: Place, number: int, channel: int | None = None, *, kept: bool = False) -> Level:
        """The level, whatever channels it has. Raises InputError where there is none."""
        folder = place / str(number)
        for version in (3, 2):
            try:
                with folder.reporting("zarr.json"):
                    array = zarr.open_array(folder.zarr_store(kept=kept), mode="r", zarr_format=version)
                return cls.of(number, array, channel)
            except FileNotFoundError:
                continue
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                limit = f"has metadata that were damaged ({type(error).__name__}: {error})"
                remedy = "isofield verify RUN --repair writes them anew, or run the step that creates the image: it is made anew"
                raise InputError("level", str(folder), limit, remedy) from error
        raise InputError("level", str(folder), "does not exist", "Run the step that creates the image")

    @classmethod
    def of(cls, number: int, array: zarr.Array, channel: int | None = None) -> Level:
        side = array.shards[-1] if array.shards else array.attrs[PROVENANCE_KEY]["shard_vox"]  # type: ignore[index,call-overload]
        return cls(number, array, int(side), channel)  # type: ignore[arg-type]

    def having_channel(self, image: str) -> Level:
        """The level itself. Raises InputError unless its channel is one of the image's."""
        n = self.n_channels
        if n is None and self.channel is not None:
            limit = "is asked for of an image without a channel axis"
            raise InputError("channel", self.channel, f"{limit} ({image})", "Leave it out")
        if n is not None and (self.channel is None or not 0 <= self.channel < n):
            limit = f"{image} has {n} channels, counted from 0"
            raise InputError("channel", self.channel, limit, f"Choose one of 0 to {n - 1}")
        return self

    @property
    def n_channels(self) -> int | None:
        """Channels of the image; None where it has no axis of channels."""
        return self.array.shape[0] if len(self.array.shape) == 4 else None

    @property
    def shape(self) -> ZYX:
        return ZYX(*self.array.shape[-3:])

    @property
    def bounds(self) -> Roi:
        return Roi(ZYX(0, 0, 0), self.shape)

    @property
    def chunk(self) -> int | None:
        """Side of a chunk where each is a file of its own."""
        return None if self.array.shards else self.array.chunks[-1]

    def keys(self, roi: Roi) -> list[str]:
        """Files that hold voxels of `roi`, which lies in one shard."""
        return shard_keys(self.number, roi.offset, roi.shape, self.side, self.chunk, self.channel)

    def values(self, roi: Roi) -> np.ndarray:
        """Voxels of `roi` (Z, Y, X); what was not written reads as 0."""
        return self.array[roi.slices] if self.channel is None else self.array[(self.channel, *roi.slices)]

    def shard(self, roi: Roi) -> list[str]:
        """Files of the shard that is exactly `roi`. Raises ValueError if `roi` is not one whole shard."""
        corner = ZYX(*(begin // self.side * self.side for begin in roi.offset))
        if roi != Roi(corner, ZYX(*(self.side,) * 3)).intersect(self.bounds) or roi.empty:
            raise ValueError(f"{roi} is not one whole shard of level {self.number} (shape {self.shape}, side {self.side})")
        return self.keys(roi)

    def encode(self, block: np.ndarray) -> list[bytes]:
        """The bytes of the files of one shard, in the order of `shard`."""
        return [_encoded_shard(self.array, block)] if self.array.shards else _encoded_chunks(self.array, block)


def empty_arrays(shapes: Sequence[ZYX], dtype: np.dtype, spec: OutputSpec, n_channels: int | None = None) -> dict[str, bytes]:
    """The files that describe the arrays "0", "1", ... of an image without voxels.

    n_channels: length of an axis of channels before z, y, x, None: there is none. Chunks and shards are of one channel each.
    """
    files: dict[str, Any] = {}
    channels, one = ((), ()) if n_channels is None else ((n_channels,), (1,))
    common: dict[str, Any] = {"dtype": dtype, "chunks": (*one, *(spec.chunk_vox,) * 3), "fill_value": 0}
    axes = AXES if n_channels is None else (CHANNEL_AXIS, *AXES)
    for level, shape in enumerate(shapes):
        common |= {"store": MemoryStore(files), "name": str(level), "shape": (*channels, *shape)}
        if spec.ome_zarr == "0.5":
            # The frame checksum makes a flipped bit an error instead of a wrong voxel.
            codec = ZstdCodec(level=spec.compression_level, checksum=True)
            zarr.create_array(**common, shards=(*one, *(spec.shard_vox,) * 3), compressors=codec, dimension_names=axes)
            continue
        zarr.create_array(
            **common,
            zarr_format=2,
            compressors=Zstd(level=spec.compression_level),
            chunk_key_encoding={"name": "v2", "separator": "/"},
            attributes={"_ARRAY_DIMENSIONS": list(axes), PROVENANCE_KEY: {"shard_vox": spec.shard_vox}},
        )
        document = json.loads(files[f"{level}/.zarray"].to_bytes())
        # Not every reader knows this key, and none needs it: a frame says itself whether it has a checksum.
        document["compressor"].pop("checksum", None)
        files[f"{level}/.zarray"] = files[f"{level}/.zarray"].from_bytes(json_bytes(document))
    return {key: files[key].to_bytes() for key in sorted(files) if key.count("/") == 1}


def n_levels(files: Iterable[str]) -> int:
    """How many arrays an image has, by the names of the files that describe it."""
    return sum(1 for key in files if key.count("/") == 1 and key.endswith(tuple(set(ARRAY_KEY.values()))))


def group_files(version: NgffVersion, attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """The files that make a folder an image with these attributes, the one with the attributes first."""
    if version == "0.5":
        return {GROUP_KEY[version]: json_bytes({"attributes": attributes, "zarr_format": 3, "node_type": "group"})}
    return {GROUP_KEY[version]: json_bytes(attributes), ".zgroup": json_bytes({"zarr_format": 2})}


def read_group(place: Place, remedy: str) -> tuple[NgffVersion, dict[str, Any]] | None:
    """Version and attributes of the image at `place`; None if there is neither. Raises InputError for damaged ones."""
    for version, key in GROUP_KEY.items():
        try:
            content = place.read(key)
            if content is not None:
                document = json.loads(content)
                return version, document.get("attributes", {}) if version == "0.5" else document  # type: ignore[return-value]
        except ValueError as error:
            raise InputError("file", place.locate(key), f"is not valid JSON ({error})", remedy) from None
    return None


ALONE_KEY = "c/0/0/0"


def alone_array(array: zarr.Array, shape: Sequence[int], files: dict[str, Any]) -> zarr.Array:
    """An array in memory, kept in `files`, of one shard of `array`: `shape` (z, y, x) is the shard's, its files `alone_keys`.

    Without an axis of channels, of which a shard has one: the same voxels are the same bytes in any image.
    """
    older: dict[str, Any] = {}
    if not array.shards:
        older = {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    return zarr.create_array(
        MemoryStore(files),
        **older,
        shape=tuple(shape),
        dtype=array.dtype,
        chunks=array.chunks[-3:],
        shards=array.shards and array.shards[-3:],
        compressors=array.compressors,
        fill_value=array.fill_value,
        config={"write_empty_chunks": True},
    )


def alone_keys(array: zarr.Array, shape: Sequence[int]) -> list[str]:
    """Names of the files of one shard of `array` in an array of its own, in C order."""
    if array.shards:
        return [ALONE_KEY]
    spans = (range(-(-n // c)) for n, c in zip(shape, array.chunks[-3:], strict=True))
    return ["/".join(map(str, index)) for index in product(*spans)]


def _encoded_shard(array: zarr.Array, block: np.ndarray) -> bytes:
    files: dict[str, Any] = {}
    alone = alone_array(array, block.shape, files)
    alone[...] = block
    return files[ALONE_KEY].to_bytes()


def _encoded_chunks(array: zarr.Array, block: np.ndarray) -> list[bytes]:
    """The chunks of a shard in C order; those at the end of the volume are filled up with zeros, as Zarr v2 wants them."""
    codec, side = Zstd(level=array.compressors[0].level, checksum=True), array.chunks[-3:]
    files = []
    for corner in product(*(range(0, n, c) for n, c in zip(block.shape, side, strict=True))):
        part = block[tuple(slice(b, b + c) for b, c in zip(corner, side, strict=True))]
        chunk = np.zeros(side, array.dtype)
        chunk[tuple(map(slice, part.shape))] = part
        files.append(bytes(codec.encode(chunk)))
    return files
