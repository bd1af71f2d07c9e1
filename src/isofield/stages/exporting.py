"""Regions of an image as the files that other programs take: TIFF and neuroglancer precomputed, streamed, all or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.omezarr.canvas import image_attributes
from isofield.omezarr.metadata import DisplayWindow, ome_of
from isofield.omezarr.reading import ImageReader
from isofield.omezarr.store import Location, open_level
from isofield.paths import ChannelOf
from isofield.records import fsync_dir, partial_sibling

Region = tuple[tuple[Fraction, Fraction], ...]
SLAB_BYTES = 2**27
"""Bytes of the planes that are read together; one plane at least."""
IMAGEJ_DTYPES, IMAGEJ_BYTES = ("uint8", "uint16", "float32"), 2**32 - 2**20
"""What ImageJ's own TIFF dialect can say: its offsets have 32 bits."""


@dataclass(frozen=True)
class ExportRequest:
    """What to write and where to. roi in voxels of the level, or roi_nm in nm of the world, begin and end along z, y, x."""

    to: str
    level: int = 0
    roi: Region | None = None
    roi_nm: Region | None = None
    format: str | None = None
    sharded: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Selection:
    """A region of one level: `roi` in its voxels of `voxel_nm`; origin_nm is the world position of the level's first edge."""

    image: Location
    level: int
    roi: Roi
    voxel_nm: tuple[float, float, float]
    origin_nm: tuple[float, float, float]
    dtype: np.dtype
    window: DisplayWindow | None

    @property
    def begin_nm(self) -> list[float]:
        """World position of the region's first edge."""
        return [o + b * v for o, b, v in zip(self.origin_nm, self.roi.offset, self.voxel_nm, strict=True)]

    def slabs(self) -> Iterator[np.ndarray]:
        """The region's planes in order, as many together as SLAB_BYTES hold."""
        plane = self.roi.shape.y * self.roi.shape.x * self.dtype.itemsize
        depth = max(1, SLAB_BYTES // plane)
        image = ImageReader(self.image, self.level)
        for z in range(self.roi.offset.z, self.roi.end.z, depth):
            end = (min(z + depth, self.roi.end.z), *self.roi.end[1:])
            yield image.region(Roi.between((z, *self.roi.offset[1:]), end))


def export_image(image: Location, request: ExportRequest) -> dict[str, Any]:
    """Write a region of `image`; returns what was written, with `notes` on what the format cannot say.

    Whoever looks at `request.to` sees nothing, or what was there, until all of it is written. Raises InputError.
    """
    target, kind = Path(request.to), request.format or _format_of(request.to)
    if os.path.lexists(target) and not request.overwrite:
        raise InputError("--to", request.to, "is there already", "Give another name, or --overwrite")
    if request.sharded and kind != "precomputed":
        raise InputError("--sharded", kind, "is for precomputed alone", "Leave it out")
    selection = select(image, request)
    partial = partial_sibling(target.absolute())
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    try:
        if kind == "precomputed":
            from isofield.stages.precomputed import write_precomputed

            about = write_precomputed(selection, partial, request.sharded)
        else:
            about = write_tiff(selection, partial, kind)
        _publish(partial, target.absolute())
    finally:
        _remove(partial)
    facts = {"file": str(target), "shape": list(selection.roi.shape), "dtype": selection.dtype.name, "level": selection.level}
    return {**facts, "voxel_size_nm": list(selection.voxel_nm), "begin_nm": selection.begin_nm, "notes": [], **about}


def select(image: Location, request: ExportRequest) -> Selection:
    """The region that is asked for, in whole voxels. Raises InputError for levels and regions that are not there."""
    of_one = isinstance(image, ChannelOf)
    attributes = image_attributes(image.image if of_one else image)
    ome = ome_of(attributes)
    datasets = ome["multiscales"][0]["datasets"]
    if not 0 <= request.level < len(datasets):
        raise InputError("--level", request.level, f"the image has levels 0 to {len(datasets) - 1}", "Give one of these")
    parts = {t["type"]: t[t["type"]] for t in datasets[request.level]["coordinateTransformations"]}
    # An axis of channels, which comes first, has no size.
    voxel = tuple(parts["scale"][-3:])
    origin = tuple(t - v / 2 for t, v in zip(parts["translation"][-3:], voxel, strict=True))
    level = open_level(image, request.level)
    roi = level.bounds
    if request.roi or request.roi_nm:
        option, region = ("--roi", request.roi) if request.roi else ("--roi-nm", request.roi_nm)
        frames = [(0.0, 1.0)] * 3 if request.roi else list(zip(origin, voxel, strict=True))
        # Bounds that are whole voxels but for rounding are taken as such.
        begin = [floor((float(b) - o) / v + 1e-6) for (b, _), (o, v) in zip(region, frames, strict=True)]  # type: ignore[arg-type]
        end = [ceil((float(e) - o) / v - 1e-6) for (_, e), (o, v) in zip(region, frames, strict=True)]  # type: ignore[arg-type]
        roi = Roi.between(begin, end)
        if roi.empty or not level.bounds.contains(roi):
            shown = ",".join(f"{float(b):g}:{float(e):g}" for b, e in region)  # type: ignore[union-attr]
            limit = f"is {_text(roi)} in voxels; level {request.level} has {_text(level.bounds)}"
            raise InputError(option, shown, limit, "Give a region inside")
    shown = ome.get("omero", {}).get("channels", [{}])
    index = image.index if of_one else 0
    channel = shown[index].get("window") if index < len(shown) else None
    window = DisplayWindow(**channel) if channel else None
    return Selection(image, request.level, roi, voxel, origin, level.array.dtype, window)  # type: ignore[arg-type]


def write_tiff(selection: Selection, path: Path, kind: str) -> dict[str, Any]:
    """One TIFF, plane by plane: ImageJ's dialect, or OME-TIFF, BigTIFF where it must be. Both carry the voxel size."""
    import tifffile

    shape, dtype = selection.roi.shape, selection.dtype
    n_bytes = shape.volume * dtype.itemsize
    fits = dtype.name in IMAGEJ_DTYPES and n_bytes < IMAGEJ_BYTES
    notes = []
    if kind == "tiff" and not fits:
        why = "more than 4 GB" if dtype.name in IMAGEJ_DTYPES else f"voxels of {dtype.name}"
        notes.append(f"ImageJ's own TIFF cannot hold {why}: written as OME-TIFF, which Fiji opens with Bio-Formats")
    imagej = kind == "tiff" and fits
    z, y, x = (size / 1000 for size in selection.voxel_nm)
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if imagej:
        metadata |= {"spacing": z, "unit": "um"}
        if selection.window:
            metadata |= {"min": selection.window.start, "max": selection.window.end}
    else:
        metadata |= {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", selection.voxel_nm, strict=True)}
        metadata |= {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
        metadata["Plane"] = _plane_positions(selection)
    with tifffile.TiffWriter(path, imagej=imagej, ome=not imagej, bigtiff=not imagej and n_bytes > IMAGEJ_BYTES) as file:
        file.write(
            (plane for slab in selection.slabs() for plane in slab),
            shape=tuple(shape),
            dtype=dtype,
            photometric="minisblack",
            resolution=(1 / x, 1 / y) if imagej else (1e4 / x, 1e4 / y),
            resolutionunit="NONE" if imagej else "CENTIMETER",
            metadata=metadata,
        )
    return {"format": "ImageJ TIFF" if imagej else "OME-TIFF", "notes": notes, "bytes": path.stat().st_size}


def _plane_positions(selection: Selection) -> dict[str, list]:
    """Stage positions of all planes, at voxel centres as OME has them, in nm."""
    n = selection.roi.shape.z
    z, y, x = (b + v / 2 for b, v in zip(selection.begin_nm, selection.voxel_nm, strict=True))
    planes: dict[str, list] = {
        "PositionX": [x] * n,
        "PositionY": [y] * n,
        "PositionZ": [z + k * selection.voxel_nm[0] for k in range(n)],
    }
    return planes | {f"Position{axis}Unit": ["nm"] * n for axis in "XYZ"}


def _format_of(to: str) -> str:
    name = to.lower().rstrip("/")
    if "://" in name:
        raise InputError("--to", to, "is not a local path", "Export to a local folder and copy it")
    if name.endswith((".ome.tif", ".ome.tiff")):
        return "ome-tiff"
    if name.endswith((".tif", ".tiff")):
        return "tiff"
    if name.endswith("precomputed"):
        return "precomputed"
    raise InputError("--to", to, "does not say which format", "End it in .tif, .ome.tif or .precomputed, or give --format")


def _publish(partial: Path, target: Path) -> None:
    """Rename what is complete to its name; what it replaces is moved aside first if it is a folder."""
    old = partial_sibling(target)
    if os.path.lexists(target) and (target.is_dir() or partial.is_dir()):
        os.rename(target, old)
    if partial.is_file():
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
    os.replace(partial, target)
    fsync_dir(target.parent)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _text(roi: Roi) -> str:
    return ",".join(f"{begin}:{end}" for begin, end in zip(roi.offset, roi.end, strict=True))


def aligned(region: Roi, side: ZYX, offset: ZYX) -> Iterator[Roi]:
    """`region` cut along the lattice of boxes of `side` that has a corner at `offset`."""
    axes = []
    for begin, end, length, corner in zip(region.offset, region.end, side, offset, strict=True):
        first = begin - (begin - corner) % length
        axes.append([(max(b, begin), min(b + length, end)) for b in range(first, end, length)])
    for z0, z1 in axes[0]:
        for y0, y1 in axes[1]:
            for x0, x1 in axes[2]:
                yield Roi.between((z0, y0, x0), (z1, y1, x1))
