"""Names of the files that hold a shard; known without opening anything."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product


def shard_keys(
    level: int,
    offset: Sequence[int],
    shape: Sequence[int],
    side: int,
    chunk: int | None = None,
    channel: int | None = None,
) -> list[str]:
    """Files of the voxels `offset`, `shape` (z, y, x) of one shard, below the image, in C order.

    side: of a shard; the one file that holds it (Zarr v3). chunk: side of a chunk where each is a file of its own (Zarr v2).
    channel: of an image of several; a shard has voxels of one.
    """
    head = () if channel is None else (channel,)
    if chunk is None:
        return ["/".join(map(str, (level, "c", *head, *(o // side for o in offset))))]
    spans = (range(o // chunk, (o + n - 1) // chunk + 1) for o, n in zip(offset, shape, strict=True))
    return ["/".join(map(str, (level, *head, *index))) for index in product(*spans)]
