"""Reader for MRC (CCP4) volumes: tomograms and FIB stacks, mapped into memory."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.memmapped import MemmappedArray
from isofield.source.optional import library
from isofield.source.stored import Stored, axes_of, files_identity
from isofield.source.units import StatedSize, decimal_of, nothing_stated, stated_size

if TYPE_CHECKING:
    import numpy as np

_HEADER_BYTES = 1024
_IMOD_STAMP, _IMOD_SIGNED = 1146047817, 1
_IMOD_AT = 40
"""Where in the header's `extra2` IMOD puts its stamp and flags (words 39 and 40 of the header)."""
_NO_PIXELS = (0, 1)
"""Edge lengths of the cell, relative to its intervals, that writers leave where they know no size: 0, and 1 Å per voxel."""


def describe(path: Path, dataset: str | None) -> Stored:
    """Metadata of the volume. Axes come from mapc, mapr and maps, the voxel size from the cell, in Å.

    A size of exactly 0 or 1 Å along all axes is what writers leave that know none, and counts as not stated.
    """
    if dataset is not None:
        raise InputError("source.dataset", dataset, f"{path} holds a single volume", "Leave source.dataset empty")
    header, dtype = _header(path)
    order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if sorted(order) != [1, 2, 3]:
        # Writers before MRC2014 left these at 0.
        order = [3, 2, 1]
    shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
    if int(header.ispg) >= 400:
        raise InputError("source.path", str(path), "is a stack of volumes", "Export one volume")
    return Stored(
        format="mrc",
        path=path,
        dataset=None,
        axes=axes_of(["xyz"[axis - 1] for axis in order], shape, path),
        shape=shape,
        dtype=dtype.name,
        size=_stated(header),
        identity=files_identity(path, [path]),
    )


def load(stored: Stored) -> MemmappedArray:
    """The stored array, read when indexed."""
    path = Path(str(stored.path))
    header, dtype = _header(path)
    return MemmappedArray(path, dtype, stored.shape, _HEADER_BYTES + int(header.nsymbt))


def _header(path: Path) -> tuple[np.recarray, np.dtype]:
    """The header, and the dtype of the voxels.

    Bytes are signed since MRC2014. Those of IMOD are unsigned unless its flags say otherwise, and those of whoever states a
    maximum above 127 must be.
    """
    import numpy as np

    mrcfile = library("mrcfile", "formats", path)
    try:
        with mrcfile.open(path, header_only=True) as file:
            header = file.header
        dtype = mrcfile.utils.data_dtype_from_header(header)
    except ValueError as error:
        raise InputError("source.path", str(path), f"is a damaged MRC ({error})", "Copy it again") from error
    order = ">" if header.nx.dtype.byteorder == ">" else "<"
    stamp, flags = struct.unpack_from(f"{order}2i", header.extra2.tobytes(), _IMOD_AT)
    unsigned = not flags & _IMOD_SIGNED if stamp == _IMOD_STAMP else float(header.dmax) > np.iinfo(np.int8).max
    if dtype == np.int8 and unsigned:
        dtype = np.dtype(np.uint8)
    return header, dtype


def _stated(header: np.recarray) -> StatedSize:
    sizes = []
    for axis in "zyx":
        edge, n = decimal_of(float(header.cella[axis])), int(header[f"m{axis}"])
        sizes.append(edge / n if edge is not None and n > 0 else None)
    if None in sizes or (sizes[0] == sizes[1] == sizes[2] and sizes[0] in _NO_PIXELS):
        return nothing_stated("its header leaves the cell at what says nothing")
    return stated_size(sizes, ["Å"] * 3)
