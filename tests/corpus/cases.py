"""All cases, in the order of docs/messages.md."""

from __future__ import annotations

from . import cases_configuration, cases_files, cases_fine, cases_places, cases_volumes, cases_zarr
from .case import Case

CHAPTERS: dict[str, tuple[Case, ...]] = {
    "Configuration files": cases_configuration.FILES,
    "Keys and values": cases_configuration.KEYS,
    "Values that do not go together": cases_configuration.TOGETHER,
    "Sources that are no volume": cases_files.OTHER_KINDS,
    "TIFF": cases_files.TIFFS,
    "HDF5": cases_files.HDF5S,
    "Zarr and OME-Zarr": cases_zarr.ZARRS,
    "Voxel sizes and units": cases_volumes.SIZES,
    "Channels and regions": cases_volumes.CHOICES,
    "What the voxels hold": cases_volumes.CONTENTS,
    "Where results go": cases_places.PLACES,
    "Results of something else": cases_places.STALE,
    "Permissions": cases_places.FORBIDDEN,
}
WRONG: tuple[Case, ...] = tuple(case for cases in CHAPTERS.values() for case in cases)
FINE: tuple[Case, ...] = cases_fine.CASES
