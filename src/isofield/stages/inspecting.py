"""Looking for bad sections: the same cells of every section are read, a few sections at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isofield.defects.detection import Detector, counted, merged
from isofield.defects.spec import BadSection, SectionsSpec
from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.progress import say
from isofield.source.czyx import joined_chunks
from isofield.source.volume import Volume

CELL_VOX, CELLS_PER_SIDE = 128, 4
SLAB_SECTIONS, SLAB_VOX = 64, 16 * 2**20
"""Sections, and voxels, that are read at once, at most."""
LOOK_VOX = 2 * 10**10
"""Voxels that are read at most, a minute or two. Cells take a thousandth of that of any volume whose chunks are small; where
each is a whole section, all of the volume has to be read."""


def bad_sections(volume: Volume, spec: SectionsSpec) -> list[BadSection]:
    """Detected and listed bad sections of the whole volume, ascending; says which. Raises InputError if none is good."""
    n_sections = volume.info.shape_zyx.z
    for key in ("bad", "good"):
        beyond = [section for section in getattr(spec, key) if section >= n_sections]
        if beyond:
            limit = f"the volume has sections 0 to {n_sections - 1}"
            raise InputError(f"sections.{key}", beyond[0], limit, "Count sections of the source from 0")
    found = detected(volume, spec) if spec.detect else []
    bad = merged(spec, found)
    if len(bad) == n_sections:
        limit = f"none of {n_sections} sections is good"
        raise InputError("sections.bad", list(spec.bad), limit, "Shorten the list, or name good ones in sections.good")
    if bad:
        shown = ", ".join(f"{one.section} ({one.kind})" for one in bad[:12]) + (" ..." if len(bad) > 12 else "")
        say(f"plan: {len(bad)} bad sections ({counted(bad)}), reconstructed from their neighbours: {shown}")
    return bad


def detected(volume: Volume, spec: SectionsSpec) -> list[BadSection]:
    depth, height, width = volume.info.shape_zyx
    whole = _whole_sections(volume)
    if whole and depth * height * width > LOOK_VOX:
        say(
            f"plan: {depth} sections of {height} x {width} voxels in chunks of whole sections are too many to look for bad ones; "
            "list them in sections.bad, or store the volume in small chunks"
        )
        return []
    if volume.occupied is not None and not volume.occupied.there.any():
        return []  # Nothing was ever written: a volume without contrast, which plan refuses.
    detector = Detector(spec)
    for cells in slabs(volume, whole):
        detector.add(cells)
    return detector.bad_sections()


def slabs(volume: Volume, whole: bool) -> Iterator[np.ndarray]:
    """Cells of all sections in order, some sections at a time: (sections, cells, Y, X). whole: read sections whole."""
    depth, height, width = volume.info.shape_zyx
    side = ZYX(0, *(max(1, min(CELL_VOX, n // 2)) for n in (height, width)))
    corners = _corners(volume, side)
    per_section = height * width if whole else len(corners) * side.y * side.x
    step = max(1, min(SLAB_SECTIONS, SLAB_VOX // per_section))
    for begin in range(0, depth, step):
        n = min(step, depth - begin)
        if whole:
            slab = volume.read(Roi(ZYX(begin, 0, 0), ZYX(n, height, width)))[0]
            yield np.stack([slab[:, y : y + side.y, x : x + side.x] for y, x in corners], axis=1)
        else:
            boxes = [Roi(ZYX(begin, y, x), ZYX(n, side.y, side.x)) for y, x in corners]
            yield np.stack([volume.read(box)[0] for box in boxes], axis=1)


def _whole_sections(volume: Volume) -> bool:
    """Whether what is read at once spans (nearly) whole sections anyway, so that cells cost as much as sections."""
    _, height, width = volume.info.shape_zyx
    _, y, x = joined_chunks(volume.measured.chunks, volume.info.shape_zyx, volume.measured.dtype.itemsize)
    return 4 * y * x > height * width


def _corners(volume: Volume, side: ZYX) -> list[tuple[int, int]]:
    """First voxels (y, x) of the cells: evenly spread, or in columns of chunks that were written if not all were."""
    _, height, width = volume.info.shape_zyx
    occupied = volume.occupied
    if occupied is not None and not occupied.there.all():
        columns = np.argwhere(occupied.there.any(axis=0))
        n = min(len(columns), CELLS_PER_SIDE**2)
        chosen = [columns[i * len(columns) // n] for i in range(n)]
        firsts = [(int(row) * occupied.chunk[1], int(column) * occupied.chunk[2]) for row, column in chosen]
        return sorted({(min(y, height - side.y), min(x, width - side.x)) for y, x in firsts})
    along = [np.linspace(0, n - s, min(CELLS_PER_SIDE, n // s)).astype(int) for n, s in ((height, side.y), (width, side.x))]
    return [(int(y), int(x)) for y in along[0] for x in along[1]]
