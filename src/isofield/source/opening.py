"""The configured volume with its voxels, lazily."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from isofield.source.czyx import OneChannel
from isofield.source.damage import readable
from isofield.source.kernel_file import read_kernel
from isofield.source.occupancy import occupancy
from isofield.source.probe import find, measured_info, stored_info
from isofield.source.spec import SourceSpec
from isofield.source.stored import Stored
from isofield.source.thick_sections import simulate
from isofield.source.volume import Volume
from isofield.storage.local import LocalPlace

ZARR = ("zarr", "ome-zarr")


def open_source(spec: SourceSpec) -> Volume:
    """The volume of `probe(spec)`; with `source.simulate`, the simulated one and its truth.

    Opens no more than metadata. Raises InputError like `probe`.
    """
    reader, stored = find(spec)
    info = stored_info(spec, stored)
    measured = measured_info(info, spec)
    with readable(info.uri):
        view = OneChannel(reader.load(stored), stored.axes, spec.channel or 0, info.uri, _file_of(stored))
    if spec.simulate is None:
        known = (
            partial(occupancy, stored.path, stored.axes, spec.channel or 0) if stored.format.startswith(ZARR) else lambda: None
        )
        return Volume(measured, view, find_occupied=known)
    kernel, plane_nm = spec.simulate.kernel, float(info.voxel_size_nm[2])
    profile = read_kernel(kernel, plane_nm).scaled(1 / plane_nm) if kernel else None
    return Volume(measured, *simulate(view, spec.simulate, profile))


def _file_of(stored: Stored) -> Path | None:
    """The file or folder on this machine that holds the array; None where there is none."""
    path = stored.path.path if isinstance(stored.path, LocalPlace) else stored.path
    return path if isinstance(path, Path) and path.exists() else None
