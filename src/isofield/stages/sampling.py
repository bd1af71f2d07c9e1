"""Looking at a volume without reading it whole: grey values for the normalisation, contrast per block."""

from __future__ import annotations

import dask.array as da
import numpy as np

from isofield.blocks import BlockGrid
from isofield.errors import InputError
from isofield.geometry import AxialMap, Roi

N_SECTIONS_PER_BLOCK = 4
LATERAL_STRIDE = 4
CROP_VOX = 512


def sample_crops(data: da.Array, n_vox: int, seed: int, crop_vox: int = CROP_VOX) -> list[np.ndarray]:
    """XY crops spread over the sections of `data` (Z, Y, X), about `n_vox` voxels in all, as stored.

    Sections are visited in an order that spreads evenly from the first crop on; places within them are random in `seed`.
    A volume that is smaller than `n_vox` is returned whole, section by section.
    """
    n_sections, height, width = data.shape
    crop_y, crop_x = min(crop_vox, height), min(crop_vox, width)
    if n_sections * height * width <= n_vox:
        return [np.asarray(data[z]) for z in range(n_sections)]
    n_crops = max(1, n_vox // (crop_y * crop_x))
    rng = np.random.default_rng([seed, n_crops])
    golden = 0.6180339887498949
    crops = []
    for k in range(n_crops):
        z = int((k * golden + 0.5) % 1.0 * n_sections)
        y, x = int(rng.integers(height - crop_y + 1)), int(rng.integers(width - crop_x + 1))
        crops.append(np.asarray(data[z, y : y + crop_y, x : x + crop_x]))
    return crops


def require_contrast(crops: list[np.ndarray], name: str) -> np.ndarray:
    """All sampled voxels in one array; refuses samples that hold NaN, infinity or a single value."""
    grey = np.concatenate([crop.ravel() for crop in crops])
    if not np.isfinite(grey).all():
        raise InputError(
            "source", name, "holds NaN or infinite voxels", "Replace them, or choose a region without them"
        )
    if grey.min() == grey.max():
        raise InputError(
            "source",
            name,
            f"has no contrast: every sampled voxel is {grey.flat[0]}",
            "Check source.path and source.dataset",
        )
    return grey


def empty_blocks(data: da.Array, roi: Roi, axial: AxialMap, grid: BlockGrid, empty_below: float | None) -> list[int]:
    """Blocks without contrast (or, with `empty_below`, whose brightest voxel does not exceed it), in ascending order.

    A sparse sample decides most blocks; only those whose sample looks empty are read whole.
    """
    empty = []
    for block in grid:
        touched = axial.sections_touching(block.read_roi.offset.z, block.read_roi.end.z)
        z0, y0, x0 = (
            roi.offset.z + touched.start,
            *(o + r for o, r in zip(block.read_roi.offset[1:], roi.offset[1:], strict=True)),
        )
        region = data[z0 : z0 + len(touched), y0 : y0 + block.read_roi.shape.y, x0 : x0 + block.read_roi.shape.x]
        step = max(1, len(touched) // N_SECTIONS_PER_BLOCK)
        sparse = np.asarray(region[::step])[:, ::LATERAL_STRIDE, ::LATERAL_STRIDE]
        if _is_empty(sparse, empty_below) and _is_empty(np.asarray(region), empty_below):
            empty.append(block.index)
    return empty


def _is_empty(grey: np.ndarray, empty_below: float | None) -> bool:
    return bool(grey.max() <= empty_below) if empty_below is not None else bool(grey.min() == grey.max())
