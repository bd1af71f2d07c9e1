"""Voxels of an image, read once or many times over."""

from __future__ import annotations

import numpy as np

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.store import Location, open_level, place_at, shard_rois


class ImageReader:
    """One level of an image that nobody writes meanwhile; many threads may read.

    The level is opened once. Of one on the network the latest answers are kept (`storage.kept`), and which shards are there is
    asked once: regions that lie beside one another share shards, and each shard's index is a request of its own.
    """

    def __init__(self, path: Location, level: int = 0) -> None:
        """Raises InputError where there is no such level."""
        self._place = place_at(path)
        self.level = open_level(path, level, kept=True)
        self._sizes: dict[str, int] = {}

    def region(self, roi: Roi, *, fill_missing: bool = False) -> np.ndarray:
        """Voxels of `roi` (z, y, x). With `fill_missing`, shards that were not written read as 0.

        Raises ValueError if `roi` leaves the level, InputError naming the file if a shard is missing or damaged.
        """
        level = self.level
        if not level.bounds.contains(roi):
            raise ValueError(f"{roi} leaves level {level.number} of shape {tuple(level.shape)}")
        out = np.zeros(roi.shape, level.array.dtype)
        for shard in shard_rois(level.shape, level.side, roi):
            part = shard.intersect(roi)
            sizes = {key: self._size(key) for key in level.keys(part)}
            missing = [key for key, n_bytes in sizes.items() if n_bytes is None]
            if missing and not fill_missing:
                where = self._place.locate(missing[0])
                raise InputError("shard", where, "has not been written", "Run the step that writes this level")
            if len(missing) == len(sizes):
                continue
            # Before zarr takes an empty file for nothing but zeros.
            empty = [key for key, n_bytes in sizes.items() if n_bytes == 0]
            key = next(iter(empty or sizes))
            try:
                if empty:
                    raise ValueError("the file is empty")
                with self._place.reporting(key):
                    out[part.relative_to(roi).slices] = level.values(part)
            except (ValueError, RuntimeError) as error:  # zarr: index checksum; numcodecs: chunk checksum
                where = self._place.locate(key)
                remedy = "Delete it and run the step that writes this level"
                raise InputError("shard", where, f"is damaged ({error})", remedy) from error
        return out

    def is_written(self, roi: Roi) -> bool:
        """Whether all shards that hold voxels of `roi` are there."""
        shards = shard_rois(self.level.shape, self.level.side, roi)
        return all(self._size(key) for shard in shards for key in self.level.shard(shard))

    def _size(self, key: str) -> int | None:
        if key not in self._sizes:
            found = self._place.size(key)
            if not found:
                return found
            self._sizes[key] = found
        return self._sizes[key]


def read_region(path: Location, level: int, roi: Roi, *, fill_missing: bool = False) -> np.ndarray:
    """What `ImageReader.region` gives, for one region."""
    return ImageReader(path, level).region(roi, fill_missing=fill_missing)


def is_written(path: Location, level: int, roi: Roi) -> bool:
    """What `ImageReader.is_written` gives, for one region as it is now."""
    return ImageReader(path, level).is_written(roi)
