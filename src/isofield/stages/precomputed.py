"""An image as neuroglancer precomputed: the level and the coarser ones as scales, written box by box."""

from __future__ import annotations

from math import ceil, log2
from pathlib import Path
from types import ModuleType
from typing import Any

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.omezarr.canvas import image_attributes
from isofield.omezarr.layout import Level
from isofield.omezarr.metadata import ome_of
from isofield.omezarr.reading import ImageReader
from isofield.stages.exporting import Selection, aligned
from isofield.storage.place import place_of

CHUNK = 64
BOX = 256
"""Voxels along each side that are read and written together, without shards."""
SHARD_BITS = 9
"""Chunks of a shard, as a power of two: 8 along each axis of a volume that has as many."""


def write_precomputed(selection: Selection, path: Path, sharded: bool) -> dict[str, Any]:
    """Scales of a selection, and of the coarser levels under it as long as these begin at whole voxels.

    In precomputed an image lies a whole number of voxels from the origin of the world. Where it does not it is moved to the
    nearest, which `notes` and `shift_nm` say. Memory: a box of BOX along each side, or a shard. Raises InputError.
    """
    ts = _tensorstore()
    begin = [b / v for b, v in zip(selection.begin_nm, selection.voxel_nm, strict=True)]
    first = ZYX(*(round(b) for b in begin))
    shift = [(f - b) * v for f, b, v in zip(first, begin, selection.voxel_nm, strict=True)]
    notes = []
    if max(map(abs, shift)) > 1e-3:
        moved = ", ".join(f"{s:g}" for s in shift)
        notes.append(f"moved by {moved} nm along z, y, x: precomputed places images at whole voxels")
    n_levels, n_scales = len(ome_of(image_attributes(selection.image))["multiscales"][0]["datasets"]), 0
    for level in range(selection.level, n_levels):
        down = 2 ** (level - selection.level)
        if any(b % down for b in (*selection.roi.offset, *first)):
            notes.append(f"{n_scales} scales: at coarser ones the region does not begin with a voxel")
            break
        bounds = Level.open(place_of(selection.image, "RUN"), level).bounds
        region = Roi.between((b // down for b in selection.roi.offset), (ceil(e / down) for e in selection.roi.end))
        offset = ZYX(*(f // down for f in first))
        _write_scale(ts, selection, path, level, region.intersect(bounds), offset, down, sharded)
        n_scales += 1
    return {"format": "precomputed", "n_scales": n_scales, "shift_nm": shift, "notes": notes}


def _write_scale(
    ts: ModuleType, selection: Selection, path: Path, level: int, region: Roi, offset: ZYX, down: int, sharded: bool
) -> None:
    scale = {
        "size": list(reversed(region.shape)),
        "voxel_offset": list(reversed(offset)),
        "resolution": [v * down for v in reversed(selection.voxel_nm)],
        "chunk_size": [CHUNK] * 3,
        "encoding": "raw",
    }
    box = ZYX(BOX, BOX, BOX)
    if sharded:
        bits, box = _shards(region.shape)
        scale["sharding"] = {
            "@type": "neuroglancer_uint64_sharded_v1",
            "preshift_bits": min(bits, SHARD_BITS),
            "hash": "identity",
            "minishard_bits": 0,
            "shard_bits": max(0, bits - SHARD_BITS),
            "minishard_index_encoding": "gzip",
            "data_encoding": "gzip",
        }
    store = ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{path}/"},
            "multiscale_metadata": {"type": "image", "data_type": selection.dtype.name, "num_channels": 1},
            "scale_metadata": scale,
        },
        create=True,
        open=True,
    ).result()
    image = ImageReader(selection.image, level)
    for part in aligned(region, box, region.offset):
        values = image.region(part)
        at = part.shifted(offset - region.offset)
        z, y, x = at.slices
        # A transaction writes each shard once; without shards it only bounds what is on the way.
        with ts.Transaction() as transaction:
            store.with_transaction(transaction)[x, y, z, 0] = values.transpose(2, 1, 0)


def _shards(shape: ZYX) -> tuple[int, ZYX]:
    """Bits of a chunk's number, and the box of a shard: chunks are numbered along a Morton curve, x before y before z."""
    wanted = [max(0, ceil(log2(ceil(n / CHUNK)))) if n > CHUNK else 0 for n in reversed(shape)]
    inside = [0, 0, 0]
    for level in range(max(wanted, default=0)):
        for axis in range(3):
            if level < wanted[axis] and sum(inside) < SHARD_BITS:
                inside[axis] += 1
    x, y, z = (CHUNK * 2**bits for bits in inside)
    return sum(wanted), ZYX(z, y, x)


def _tensorstore() -> ModuleType:
    try:
        import tensorstore
    except ImportError as error:
        limit = f"needs a package that is not installed ({error.name})"
        raise InputError("--format", "precomputed", limit, "pip install 'isofield[formats]'") from None
    return tensorstore
