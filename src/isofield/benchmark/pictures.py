"""The same axial slice as every method has it, side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping
from math import ceil

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SIDE_VOX = 128
COLUMNS = 5


def method_montage(volumes: Mapping[str, np.ndarray], axis: int, voxel_nm: float) -> bytes:
    """PNG of the middle slice across `axis` (1: ZX, 2: ZY) of each volume (Z, Y, X), truth last, one contrast for all."""
    slices = {name: _middle(volume, axis) for name, volume in volumes.items()}
    low, high = np.percentile(slices["truth"], (0.5, 99.5))
    columns = min(len(slices), COLUMNS)
    rows = ceil(len(slices) / columns)
    figure = Figure(figsize=(3.0 * columns, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis_, (name, image) in zip(axes, slices.items(), strict=False):
        axis_.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axis_.set_title(name, fontsize=11)
    for axis_ in axes:
        axis_.set_axis_off()
    height, width = slices["truth"].shape
    along = "ZX" if axis == 1 else "ZY"
    figure.suptitle(f"{along} slice, {width * voxel_nm:g} nm wide, {height * voxel_nm:g} nm along z (downwards)", fontsize=11)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90, metadata={"Software": None})
    return out.getvalue()


def _middle(volume: np.ndarray, axis: int) -> np.ndarray:
    """The central SIDE_VOX x SIDE_VOX of the middle slice."""
    image = np.take(volume, volume.shape[axis] // 2, axis=axis)
    begin = [max(0, (n - SIDE_VOX) // 2) for n in image.shape]
    return image[begin[0] : begin[0] + SIDE_VOX, begin[1] : begin[1] + SIDE_VOX]
