"""Names of the files that hold a shard; known without opening anything."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product


def shard_keys(level: int, offset: Sequence[int], shape: Sequence[int], side: int, chunk: int | None = None) -> list[str]:
    """Files of the voxels `offset`, `shape` of one shard, below the image, in C order.

    side: of a shard; the one file that holds it (Zarr v3). chunk: side of a chunk where each is a file of its own (Zarr v2).
    """
    if chunk is None:
        return ["/".join((str(level), "c", *(str(o // side) for o in offset)))]
    spans = (range(o // chunk, (o + n - 1) // chunk + 1) for o, n in zip(offset, shape, strict=True))
    return ["/".join(map(str, (level, *index))) for index in product(*spans)]
