"""Slices as PNG pictures: contrast windows, error maps, scale bars, a montage."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from isofield.report.content import Slice

MAP_KEYS = ("error", "residual", "uncertainty")
MAP_COLOURS = "magma"
_BAR_LENGTHS_NM = tuple(digit * 10**power for power in range(0, 8) for digit in (1, 2, 5))


def contrast_window(images: Iterable[np.ndarray], percentiles: tuple[float, float] = (0.5, 99.5)) -> tuple[float, float]:
    """Intensities at two percentiles over all `images`, NaN ignored; widened where they coincide."""
    values = np.concatenate([np.asarray(image, np.float64).ravel() for image in images])
    low, high = np.nanpercentile(values, percentiles)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def map_limit(images: Iterable[np.ndarray], percentile: float = 99.5) -> float:
    """Upper end of the colour scale shared by error maps (their lower end is 0)."""
    return max(contrast_window(images, (0.0, percentile))[1], np.finfo(np.float32).tiny)


def png(image: np.ndarray, window: tuple[float, float], colours: str | None = None) -> bytes:
    """One picture, a pixel per voxel: `window` becomes black..white, or the ends of a matplotlib colour map.

    image (rows, columns) of any real dtype; values outside the window are clipped, NaN becomes the low end.
    """
    low, high = window
    scaled = np.clip((np.nan_to_num(np.asarray(image, np.float64), nan=low) - low) / (high - low), 0, 1)
    picture = Image.fromarray(np.rint(scaled * 255).astype(np.uint8))
    if colours is not None:
        # As indices with a palette: a third of the bytes.
        table = (np.asarray(colormaps[colours](np.arange(256)))[:, :3] * 255).round().astype(np.uint8)
        picture.putpalette(table.tobytes())
    out = BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()


def data_uri(png_bytes: bytes) -> str:
    """PNG bytes as a data: address, for pages that must not load anything."""
    return "data:image/png;base64," + base64.b64encode(png_bytes).decode("ascii")


def spread(n: int, count: int) -> list[int]:
    """At most `count` distinct indices spread evenly over [0, n), the ends left out."""
    return sorted({int((i + 1) * n / (count + 1)) for i in range(count)}) if n > 0 else []


def cropped(images: Mapping[str, np.ndarray], max_vox: int) -> dict[str, np.ndarray]:
    """The same window about the centre of every image, at most `max_vox` on a side."""

    def centre(n: int) -> slice:
        begin = max(0, (n - max_vox) // 2)
        return slice(begin, begin + min(n, max_vox))

    return {key: image[centre(image.shape[0]), centre(image.shape[1])] for key, image in images.items()}


def scale_bar_nm(width_nm: float) -> int:
    """Length of a scale bar: the largest 1, 2 or 5 times a power of ten up to a quarter of the width."""
    fitting = [length for length in _BAR_LENGTHS_NM if length <= width_nm / 4]
    return fitting[-1] if fitting else _BAR_LENGTHS_NM[0]


def length_text(nm: float) -> str:
    """A length with the unit a reader expects: nm, µm or mm."""
    for unit, size in (("mm", 1e6), ("µm", 1e3)):
        if nm >= size:
            return f"{nm / size:.4g} {unit}"
    return f"{nm:.4g} nm"


def comparison_png(
    slices: Sequence[Slice],
    voxel_size_nm: float,
    window: tuple[float, float] | None = None,
    keys: Sequence[str] = ("measured", "isotropic", "truth", "error"),
    dpi: int = 150,
) -> bytes:
    """A montage for documents: a row per slice, a column per key that any slice has, a scale bar per row."""
    shown = [key for key in keys if any(key in s.images for s in slices)]
    window = window or contrast_window(i for s in slices for k, i in s.images.items() if k not in MAP_KEYS)
    maps = [image for s in slices for key, image in s.images.items() if key in MAP_KEYS]
    limit = map_limit(maps) if maps else 1.0
    aspects = [np.shape(next(iter(s.images.values()))) for s in slices]
    heights = [rows / columns for rows, columns in aspects]
    figure = Figure(figsize=(2.4 * len(shown), 2.4 * sum(heights) + 0.3), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(slices), len(shown), squeeze=False, height_ratios=heights)
    for row, item in enumerate(slices):
        for column, key in enumerate(shown):
            axes = grid[row][column]
            axes.set_axis_off()
            if key in item.images:
                is_map = key in MAP_KEYS
                low, high = (0.0, limit) if is_map else window
                colours = MAP_COLOURS if is_map else "gray"
                axes.imshow(item.images[key], cmap=colours, vmin=low, vmax=high, interpolation="nearest")
            if row == 0:
                axes.set_title(key, fontsize=9)
        _draw_scale_bar(grid[row][0], aspects[row], voxel_size_nm, item.plane)
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _draw_scale_bar(axes, shape: tuple[int, int], voxel_size_nm: float, plane: str) -> None:
    rows, columns = shape
    bar_nm = scale_bar_nm(columns * voxel_size_nm)
    begin, level = 0.04 * columns, 0.94 * rows
    axes.plot(
        [begin, begin + bar_nm / voxel_size_nm],
        [level, level],
        color="white",
        linewidth=2.5,
        solid_capstyle="butt",
    )
    axes.text(begin, level - 0.03 * rows, length_text(bar_nm), color="white", fontsize=7, va="bottom")
    axes.text(0.97 * columns, level, plane, color="white", fontsize=8, ha="right", va="bottom", weight="bold")
