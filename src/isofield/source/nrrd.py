"""Reader for NRRD volumes, header and voxels in one file or in two, mapped into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.memmapped import MemmappedArray
from isofield.source.optional import library
from isofield.source.stored import Stored, axes_of, files_identity
from isofield.source.units import StatedSize, nothing_stated, stated_size

if TYPE_CHECKING:
    import numpy as np

_TYPES = {
    "int8": "signed char, int8, int8_t",
    "uint8": "uchar, unsigned char, uint8, uint8_t",
    "int16": "short, short int, signed short, signed short int, int16, int16_t",
    "uint16": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "float32": "float",
    "float64": "double",
}
_DTYPES = {name: dtype for dtype, names in _TYPES.items() for name in names.split(", ")}
_SPATIAL = ("domain", "space", "???", "none")


def describe(path: Path, dataset: str | None) -> Stored:
    """Metadata of the volume. The first axis varies fastest and is x; a kind that is no place in space is a channel.

    The voxel size is the length of the `space directions`, or `spacings`, in `space units` or `units`. Raises InputError for
    voxels that are compressed, which cannot be read in parts, or spread over many files.
    """
    if dataset is not None:
        raise InputError("source.dataset", dataset, f"{path} holds a single volume", "Leave source.dataset empty")
    header, _ = _header(path)
    voxels = _voxel_file(path, header)
    shape = tuple(int(n) for n in header["sizes"])
    names = _axis_names(header, len(shape))
    return Stored(
        format="nrrd",
        path=path,
        dataset=None,
        axes=axes_of(names[::-1] if names else None, shape[::-1], path),
        shape=shape[::-1],
        dtype=_dtype(header).name if header["type"] in _DTYPES else str(header["type"]),
        size=_stated(header, names),
        identity=files_identity(path, {path: None, voxels: None}),
    )


def load(stored: Stored) -> MemmappedArray:
    """The stored array, read when indexed."""
    path = Path(str(stored.path))
    header, end_of_header = _header(path)
    voxels, dtype = _voxel_file(path, header), _dtype(header)
    offset, skip = (end_of_header if voxels == path else 0), int(header.get("byte skip", header.get("byteskip", 0)))
    if skip == -1:
        offset = voxels.stat().st_size - prod(stored.shape) * dtype.itemsize
    else:
        offset += skip
    return MemmappedArray(voxels, dtype, stored.shape, offset)


def _header(path: Path) -> tuple[Mapping, int]:
    """The header's fields, and where in the file it ends."""
    nrrd = library("nrrd", "formats", path)
    try:
        with path.open("rb") as file:
            header = nrrd.read_header(file)
            return header, file.tell()
    except (nrrd.errors.NRRDError, ValueError, UnicodeDecodeError) as error:
        raise InputError("source.path", str(path), f"is a damaged NRRD ({error})", "Copy it again") from error


def _voxel_file(path: Path, header: Mapping) -> Path:
    encoding = header.get("encoding")
    if encoding != "raw":
        limit = f"its voxels are encoded as {encoding!r}, which cannot be read in parts"
        raise InputError("source.path", str(path), limit, "Save it with encoding raw, or as OME-Zarr")
    name = header.get("data file", header.get("datafile"))
    if name is None:
        return path
    voxels = path.parent / str(name)
    if int(header.get("line skip", header.get("lineskip", 0))):
        raise InputError("source.path", str(path), "skips lines of its data file", "Save it with its header attached")
    if not voxels.is_file():
        limit = f"its data file {str(name)!r} is not there, or stands for several"
        raise InputError("source.path", str(path), limit, "Bring the file back beside it, or save the volume as one file")
    return voxels


def _dtype(header: Mapping) -> np.dtype:
    import numpy as np

    return np.dtype(_DTYPES[header["type"]]).newbyteorder(">" if header.get("endian") == "big" else "<")


def _axis_names(header: Mapping, n_axes: int) -> list[str] | None:
    """Names in the order of `sizes`, fastest first; None where nothing tells the axes of a 4-D volume apart."""
    labels = [str(label).lower() for label in header.get("labels", ())]
    if len(labels) == n_axes and set("xyz") <= set(labels):
        return labels
    kinds = [str(kind).lower() for kind in header.get("kinds", ())]
    if len(kinds) != n_axes:
        return list("xyz") if n_axes == 3 else None
    places = iter("xyz")
    names = [next(places, "?") if kind in _SPATIAL else "t" if kind == "time" else "c" for kind in kinds]
    return names if "?" not in names else None


def _stated(header: Mapping, names: Sequence[str] | None) -> StatedSize:
    import numpy as np

    if names is None:
        return nothing_stated("nothing tells its axes apart")
    spatial = {name: i for i, name in enumerate(names) if name in "xyz"}
    if (directions := header.get("space directions")) is not None:
        lengths = [np.abs(row).max() if np.count_nonzero(row) == 1 else np.linalg.norm(row) for row in np.asarray(directions)]
        units = _texts(header.get("space units"))
        units = [units[["x", "y", "z"].index(axis)] if len(units) == 3 else None for axis in "zyx"]
    elif (spacings := header.get("spacings")) is not None:
        lengths, per_axis = list(np.asarray(spacings)), _texts(header.get("units"))
        units = [per_axis[spatial[axis]] if len(per_axis) == len(names) else None for axis in "zyx"]
    else:
        return nothing_stated()
    return stated_size([float(lengths[spatial[axis]]) for axis in "zyx"], units)


def _texts(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, (list, tuple)) else []
