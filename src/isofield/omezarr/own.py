"""Whose image lies at a place."""

from __future__ import annotations

import json
import os

from isofield.errors import InputError
from isofield.omezarr.metadata import PROVENANCE_KEY
from isofield.storage.place import Place, place_of


def require_own(path: str | os.PathLike[str]) -> None:
    """Refuses a place that holds anything but an image made by isofield: it would be replaced. Raises InputError.

    Of a place on the network one file is read.
    """
    place = place_of(path, "output.path")
    if not place.empty() and not is_own(place):
        remedy = "Move it away, or give another output.path"
        raise InputError("output.path", str(place), "exists and is not an image made by isofield", remedy)


def is_own(place: Place) -> bool:
    """Whether the metadata at `place` are those of an image made by isofield, OME-Zarr 0.5 or 0.4."""
    for name, inside in (("zarr.json", "attributes"), (".zattrs", None)):
        try:
            document = json.loads(place.read(name) or b"{}")
        except ValueError:
            return False
        attributes = document.get(inside) if inside and isinstance(document, dict) else document
        if isinstance(attributes, dict) and PROVENANCE_KEY in attributes:
            return True
    return False
