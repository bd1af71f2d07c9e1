"""Looking at a volume without reading it whole: grey values for the normalisation, contrast per block."""

from __future__ import annotations

import numpy as np

from isofield.blocks import BlockGrid
from isofield.errors import InputError
from isofield.geometry import ZYX, AxialMap, Roi
from isofield.source.volume import Volume

N_SECTIONS_PER_BLOCK = 4
CROP_VOX = 512


def sample_crops(volume: Volume, n_vox: int, seed: int, crop_vox: int = CROP_VOX, n_sections: int = 1) -> list[np.ndarray]:
    """XY crops spread over the measured volume (its first channel), about `n_vox` voxels in all, as stored.

    Each is a stack (sections, Y, X) of `n_sections` consecutive sections. Sections are visited in an order that spreads
    evenly from the first crop on; places within them are random in `seed`. A volume that is smaller than `n_vox` is returned
    whole, as one stack.
    """
    depth, height, width = volume.info.shape_zyx
    if depth * height * width <= n_vox:
        return [volume.read(Roi(ZYX(0, 0, 0), ZYX(depth, height, width)))[0]]
    deep, crop_y, crop_x = min(n_sections, depth), min(crop_vox, height), min(crop_vox, width)
    n_crops = max(1, n_vox // (deep * crop_y * crop_x))
    rng = np.random.default_rng([seed, n_crops])
    golden = 0.6180339887498949
    crops = []
    for k in range(n_crops):
        z = int((k * golden + 0.5) % 1.0 * (depth - deep + 1))
        y, x = int(rng.integers(height - crop_y + 1)), int(rng.integers(width - crop_x + 1))
        crops.append(volume.read(Roi(ZYX(z, y, x), ZYX(deep, crop_y, crop_x)))[0])
    return crops


def require_contrast(crops: list[np.ndarray], name: str) -> np.ndarray:
    """All sampled voxels in one array; refuses samples that hold NaN, infinity or a single value."""
    grey = np.concatenate([crop.ravel() for crop in crops])
    if not np.isfinite(grey).all():
        raise InputError("source", name, "holds NaN or infinite voxels", "Replace them, or choose a region without them")
    if grey.min() == grey.max():
        raise InputError(
            "source",
            name,
            f"has no contrast: every sampled voxel is {grey.flat[0]}",
            "Check source.path and source.dataset",
        )
    return grey


def empty_blocks(volume: Volume, roi: Roi, axial: AxialMap, grid: BlockGrid, empty_below: float | None) -> list[int]:
    """Blocks without contrast (or, with `empty_below`, whose brightest voxel does not exceed it), in ascending order.

    A few sections decide most blocks; only those in which these look empty are read whole.
    """
    empty = []
    for block in grid:
        read = block.read_roi
        touched = axial.sections_touching(read.offset.z, read.end.z)
        step = max(1, len(touched) // N_SECTIONS_PER_BLOCK)

        def section(z: int, lateral: Roi = read) -> np.ndarray:
            one = Roi(ZYX(z, lateral.offset.y, lateral.offset.x), ZYX(1, lateral.shape.y, lateral.shape.x))
            return volume.read(one.shifted(roi.offset))[0]

        if all(_is_empty(section(z), empty_below) for z in touched[::step]):
            whole = np.concatenate([section(z) for z in touched])
            if _is_empty(whole, empty_below):
                empty.append(block.index)
    return empty


def _is_empty(grey: np.ndarray, empty_below: float | None) -> bool:
    return bool(grey.max() <= empty_below) if empty_below is not None else bool(grey.min() == grey.max())
