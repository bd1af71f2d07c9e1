"""Cubes of the volume as the page's viewer reads them: every plane in one picture, and where it lies."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps

from isofield.report import pictures
from isofield.report.content import Cube

LABELS = {
    "measured": "measured",
    "linear": "linear interpolation",
    "cubic": "cubic spline",
    "isotropic": "isotropic",
    "truth": "truth",
    "error": "|error|",
    "residual": "|residual|",
    "uncertainty": "uncertainty",
}
"""What pictures are called, in the order in which they are shown."""


def cube_view(cubes: Sequence[Cube], voxel_size_nm: float, window: tuple[float, float], max_vox: int) -> dict[str, Any] | None:
    """What the page's viewer is told; None without cubes. Larger cubes are cut to `max_vox` on a side, about their centre.

    Pictures hold levels 0 to 255 of `window`, maps those of 0 to their `limits`. linear and error are not stored: the viewer
    makes them from measured, and from isotropic and truth.
    """
    if not cubes:
        return None
    cubes = [cut(cube, max_vox) for cube in cubes]
    maps = {"residual": [c.sections["residual"] for c in cubes if "residual" in c.sections]}
    maps["error"] = [_error(c) for c in cubes if "truth" in c.planes]
    limits = {key: pictures.map_limit(found) for key, found in maps.items() if found}
    table = (np.asarray(colormaps[pictures.MAP_COLOURS](np.arange(256)))[:, :3] * 255).round().astype(np.uint8)
    return {
        "cubes": [_one(cube, voxel_size_nm, window, limits) for cube in cubes],
        "labels": LABELS,
        "limits": {key: float(f"{limit:.4g}") for key, limit in limits.items()},
        "contrast": window[1] - window[0],
        "colours": base64.b64encode(table.tobytes()).decode(),
    }


def cut(cube: Cube, max_vox: int) -> Cube:
    """The middle of a cube, at most `max_vox` on a side, with the sections that its planes lie in."""
    begin = [max(0, (side - max_vox) // 2) for side in cube.shape]
    z, y, x = (slice(b, b + min(side, max_vox)) for b, side in zip(begin, cube.shape, strict=True))
    first, last = cube.section_of(z.start), cube.section_of(z.stop - 1)
    # One more on either side, for the interpolation between them.
    first = max(0, first - 1)
    return Cube(
        cube.label,
        tuple(o + b for o, b in zip(cube.offset, begin, strict=True)),  # type: ignore[arg-type]
        cube.ratio,
        cube.first_section + first,
        {key: values[z, y, x] for key, values in cube.planes.items()},
        {key: values[first : last + 2, y, x] for key, values in cube.sections.items()},
    )


def atlas(planes: np.ndarray) -> tuple[np.ndarray, int]:
    """All planes of (Z, Y, X) side by side in one picture, row by row, and how many are in a row."""
    n, rows, columns = planes.shape
    across = max(1, min(n, round(math.sqrt(n * rows / columns))))
    down = -(-n // across)
    sheet = np.zeros((down * across, rows, columns), planes.dtype)
    sheet[:n] = planes
    return sheet.reshape(down, across, rows, columns).swapaxes(1, 2).reshape(down * rows, across * columns), across


def _one(cube: Cube, voxel_size_nm: float, window: tuple[float, float], limits: Mapping[str, float]) -> dict[str, Any]:
    stored = {}
    for key, values in {**cube.planes, **cube.sections}.items():
        sheet, across = atlas(np.asarray(values))
        encoded = pictures.png(sheet, (0.0, limits[key]) if key in limits else window)
        stored[key] = {"uri": pictures.data_uri(encoded), "across": across, "n": len(values)}
    keys = {"measured": "measured", "linear": "measured", "isotropic": "isotropic", "truth": "truth", "error": "truth"}
    shown = [key for key, needs in {**keys, "residual": "residual"}.items() if needs in stored]
    bars = {}
    for plane, side in zip(("XY", "ZX", "ZY"), (cube.shape[2], cube.shape[2], cube.shape[1]), strict=True):
        bar_nm = pictures.scale_bar_nm(side * voxel_size_nm)
        bars[plane] = {"percent": round(100 * bar_nm / (side * voxel_size_nm), 3), "text": pictures.length_text(bar_nm)}
    return {
        "label": cube.label,
        "offset": list(cube.offset),
        "shape": list(cube.shape),
        "ratio": cube.ratio,
        "first_section": cube.first_section,
        "stored": stored,
        "keys": shown,
        "bars": bars,
    }


def _error(cube: Cube) -> np.ndarray:
    return np.abs(np.asarray(cube.planes["truth"], np.float32) - np.asarray(cube.planes["isotropic"], np.float32))
