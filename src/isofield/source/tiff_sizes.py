"""Voxel sizes as TIFF files state them: OME-XML and the ImageJ description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from isofield.source.units import StatedSize, nothing_stated, stated_size

if TYPE_CHECKING:
    from tifffile import TiffFile


def size_in_tiff(tiff: TiffFile, series_index: int) -> StatedSize:
    """What the open file says about the voxels of one of its series; plain TIFF says nothing about z."""
    kind = tiff.series[series_index].kind
    if kind == "ome":
        return size_in_ome_xml(tiff.ome_metadata or "", series_index, len(tiff.series))
    if kind == "imagej":
        tags = tiff.pages.first.tags
        resolution = [tags[name].value if name in tags else None for name in ("YResolution", "XResolution")]
        return size_in_imagej(tiff.imagej_metadata or {}, *resolution)
    return nothing_stated("a plain TIFF does not state it")


def size_in_ome_xml(xml: str, index: int, n_images: int) -> StatedSize:
    """PhysicalSizeZ, Y, X of image `index` of `n_images`; the schema's default unit is the micrometre."""
    images = [
        pixels.attrib
        for image in ElementTree.fromstring(xml)
        if image.tag.endswith("}Image") or image.tag == "Image"
        for pixels in image
        if pixels.tag.endswith("Pixels")
    ]
    if len(images) != n_images:
        return nothing_stated(f"its OME-XML describes {len(images)} images, the file holds {n_images}")
    pixels = images[index]
    return stated_size(
        [pixels.get(f"PhysicalSize{axis}") for axis in "ZYX"],
        [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"],
    )


def size_in_imagej(
    metadata: Mapping[str, object], y_resolution: tuple[int, int] | None, x_resolution: tuple[int, int] | None
) -> StatedSize:
    """`spacing` and `unit` (`yunit`, `zunit` where they differ) with the resolution tags, in pixels per unit.

    ImageJ leaves out a spacing of exactly 1, which cannot be told from a spacing that was never set: not
    stated.
    """
    unit = _unescaped(metadata.get("unit"))
    units = [_unescaped(metadata.get(f"{axis}unit")) or unit for axis in "zy"] + [unit]
    values = [metadata.get("spacing"), _pixel_size(y_resolution), _pixel_size(x_resolution)]
    return stated_size(values, units)


def _pixel_size(resolution: tuple[int, int] | None) -> Fraction | None:
    """The pixel size whose reciprocal was stored as numerator/denominator.

    ImageJ cuts the reciprocal to some decimals, known by a large denominator that divides a power of ten. The
    shortest decimal within one unit of the last place is what was meant: 217391/1000000 is 4.6, not 4.600008.
    """
    if not resolution or not all(resolution):
        return None
    numerator, denominator = resolution
    exact = Fraction(denominator, numerator)
    decimal = next((10**k for k in range(3, 10) if 10**k % denominator == 0), None)
    if denominator < 1000 or decimal is None:
        return exact
    for digits in range(1, 13):
        short = Fraction(format(float(exact), f".{digits}g"))
        if abs(1 / short - 1 / exact) * decimal <= 1:
            return short
    return exact


def _unescaped(unit: object) -> str | None:
    """ImageJ writes non-ASCII characters as a backslash, u and four hexadecimal digits."""
    if unit is None:
        return None
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), str(unit))
