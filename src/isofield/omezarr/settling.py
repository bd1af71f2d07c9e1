"""What several runs make of each other's parts: of those that make it at once, the last one has seen everything."""

from __future__ import annotations

from collections.abc import Callable

from isofield.geometry import Roi
from isofield.omezarr.store import Location, open_level, place_at, shard_rois


def until_settled(look: Callable[[], object], make: Callable[[], object]) -> None:
    """Call `make` until what `look` sees, namely all that is made from, is the same after as before; needs no lock.

    Several may do so at once with the same thing, in any order, while others still write what it is made from, if whoever has
    written some of that does so afterwards. Then what is published last was made from what was written last: whoever published
    something older notices, and makes it again.
    """
    seen = look()
    while True:
        make()
        now = look()
        if now == seen:
            return
        seen = now


def versions(path: Location, level: int, roi: Roi) -> list[str | None]:
    """Of each file that holds voxels of `roi` of a level, which one it is; see `Place.version`."""
    place, opened = place_at(path), open_level(path, level)
    return [place.version(key) for shard in shard_rois(opened.shape, opened.side, roi) for key in opened.shard(shard)]
