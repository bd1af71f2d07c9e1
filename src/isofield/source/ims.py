"""Reader for Imaris 5.5 files (IMS): HDF5 with a dataset for every resolution level, time point and channel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.stored import Stored, axes_of, files_identity
from isofield.source.units import StatedSize, decimal_of, nothing_stated, stated_size

if TYPE_CHECKING:
    import h5py
    import numpy as np

_IMAGE = "DataSetInfo/Image"
_LEVEL = "DataSet/ResolutionLevel "
_POINT, _CHANNEL = "TimePoint ", "Channel "


def is_imaris(path: Path) -> bool:
    """Whether an HDF5 file is laid out as an Imaris file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return f"{_LEVEL}0" in file and _IMAGE in file
    except OSError:
        return False


def describe(path: Path, dataset: str | None) -> Stored:
    """Metadata of resolution level `dataset`, a number counted from 0; None: 0, the finest.

    The voxel size is the image's extent, in its unit, over the number of voxels.
    """
    import h5py

    with h5py.File(path, "r") as file:
        level = dataset or "0"
        if f"{_LEVEL}{level}" not in file:
            n_levels = len(file["DataSet"])
            limit = f"is no resolution level of {path}, which has {n_levels}, counted from 0"
            raise InputError("source.dataset", level, limit, "Give a number within that range")
        points = file[f"{_LEVEL}{level}"]
        channels = _numbered(points[f"{_POINT}0"], _CHANNEL)
        first = points[f"{_POINT}0/{_CHANNEL}0"]
        shape = (_count(points, _POINT), len(channels), *_shape(file, first))
        axes_of(list("tczyx"), shape, path)
        return Stored(
            format="ims",
            path=path,
            dataset=level,
            axes="czyx",
            shape=shape[1:],
            dtype=first["Data"].dtype.name,
            size=_stated(file, shape[2:]),
            identity=files_identity(path, [path]),
        )


def load(stored: Stored) -> ImsArray:
    """The stored array, read when indexed."""
    return ImsArray(Path(str(stored.path)), str(stored.dataset), stored.shape)


class ImsArray:
    """One resolution level as (C, Z, Y, X); opens its file for each read. The padding of its chunks is cut off."""

    def __init__(self, path: Path, level: str, shape: tuple[int, ...]) -> None:
        import h5py

        self._path, self._group, self.shape = path, f"{_LEVEL}{level}/{_POINT}0", shape
        with h5py.File(path, "r") as file:
            data = file[f"{self._group}/{_CHANNEL}0/Data"]
            self.dtype, self.chunks = data.dtype, (1, *(data.chunks or (1, *shape[2:])))

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        import h5py
        import numpy as np

        channels, *within = index
        wanted = range(self.shape[0])[channels]
        # A slice may reach to the end of the image, never into the padding behind it.
        box = tuple(slice(*i.indices(n)) if isinstance(i, slice) else i for i, n in zip(within, self.shape[1:], strict=True))
        with h5py.File(self._path, "r") as file:
            data = [file[f"{self._group}/{_CHANNEL}{c}/Data"][box] for c in (wanted if isinstance(wanted, range) else [wanted])]
        return np.stack(data) if isinstance(wanted, range) else data[0]


def _numbered(group: h5py.Group, prefix: str) -> list[str]:
    return [name for name in group if name.startswith(prefix)]


def _count(group: h5py.Group, prefix: str) -> int:
    return len(_numbered(group, prefix))


def _text(node: h5py.Group, name: str) -> str | None:
    """An attribute, which Imaris stores as an array of single characters."""
    import numpy as np

    if name not in node.attrs:
        return None
    value = node.attrs[name]
    if isinstance(value, np.ndarray):
        return b"".join(np.asarray(value, "S1").ravel().tolist()).decode("latin-1")
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _shape(file: h5py.File, channel: h5py.Group) -> tuple[int, ...]:
    """Z, y, x of the image; the dataset may be longer, by the padding to whole chunks."""
    sizes = [_text(channel, f"ImageSize{axis}") or _text(file[_IMAGE], axis) for axis in "ZYX"]
    stored = channel["Data"].shape
    return tuple(min(int(size), n) if size else n for size, n in zip(sizes, stored, strict=True))


def _stated(file: h5py.File, shape: tuple[int, ...]) -> StatedSize:
    image = file[_IMAGE]
    sizes = []
    for number, n in zip((2, 1, 0), shape, strict=True):
        ends = [decimal_of(_text(image, f"Ext{end}{number}") or "") for end in ("Min", "Max")]
        if None in ends:
            return nothing_stated("its metadata lack the extent of the image")
        sizes.append((ends[1] - ends[0]) / n)  # type: ignore[operator]
    return stated_size(sizes, [_text(image, "Unit")] * 3)
