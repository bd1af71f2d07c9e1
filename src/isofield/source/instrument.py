"""What metadata say of the microscope, beyond the voxels: enough to tell fluorescence and to name channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from isofield.source.stored import Stored

_FLUORESCENT_MODES = ("Confocal", "MultiPhoton", "TotalInternalReflection", "SPIM", "StructuredIllumination", "PALM", "STED")


@dataclass(frozen=True)
class Instrument:
    """What was found; empty, None and False mean that nothing is stated, never that it is not so.

    channels: names, one per channel, "" where one has none. emission_nm: of the first channel that states it. evidence: the
    statement that tells fluorescence, None without one.
    """

    channels: tuple[str, ...] = ()
    evidence: str | None = None
    emission_nm: float | None = None
    numerical_aperture: float | None = None
    refractive_index: float | None = None


def instrument_of(stored: Stored) -> Instrument:
    """What the OME-XML of a TIFF or the `omero` block of an OME-Zarr image says; nothing for other formats."""
    if stored.format == "ome-tiff" and isinstance(stored.path, Path):
        from tifffile import TiffFile

        with TiffFile(stored.path) as tiff:
            return in_ome_xml(tiff.ome_metadata or "<OME/>", int(stored.dataset or 0))
    if stored.format.startswith("ome-zarr"):
        from isofield.source.zarr_nodes import image_of, read_node

        array = read_node(stored.path)  # type: ignore[arg-type]
        image = image_of(array) if array else None
        return in_omero(image[0].attributes) if image else Instrument()
    return Instrument()


def in_ome_xml(xml: str, index: int) -> Instrument:
    """Channels, objective and immersion of image `index`."""
    root = ElementTree.fromstring(xml)
    images = list(_named(root, "Image"))
    if index >= len(images):
        return Instrument()
    image = images[index]
    channels = [channel.attrib for channel in _named(image, "Channel")]
    objectives = {objective.get("ID"): objective for objective in _named(root, "Objective")}
    settings = next(_named(image, "ObjectiveSettings"), None)
    objective = objectives.get(settings.get("ID")) if settings is not None else None
    wavelengths = [c for c in channels if c.get("EmissionWavelength") and c.get("EmissionWavelengthUnit", "nm") == "nm"]
    return Instrument(
        channels=tuple(c.get("Name") or c.get("Fluor") or "" for c in channels),
        evidence=next((e for e in map(_fluorescence, channels) if e), None),
        emission_nm=_number(wavelengths[0].get("EmissionWavelength")) if wavelengths else None,
        numerical_aperture=_number(objective.get("LensNA")) if objective is not None else None,
        refractive_index=_number(settings.get("RefractiveIndex")) if settings is not None else None,
    )


def in_omero(attributes: dict) -> Instrument:
    """Channel labels of an OME-Zarr image, from the attributes of its group."""
    channels = attributes.get("ome", attributes).get("omero", {}).get("channels", [])
    return Instrument(channels=tuple(str(channel.get("label") or "") for channel in channels))


def _fluorescence(channel: dict[str, str]) -> str | None:
    """What a channel states that only fluorescence has."""
    for name in ("Fluor", "EmissionWavelength"):
        if channel.get(name):
            return f"{name} {channel[name]}"
    if channel.get("ContrastMethod") == "Fluorescence":
        return "ContrastMethod Fluorescence"
    mode = channel.get("AcquisitionMode", "")
    return f"AcquisitionMode {mode}" if any(part in mode for part in _FLUORESCENT_MODES) else None


def _named(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Elements below `root` whose name, whatever its namespace, is `name`."""
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == name)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
