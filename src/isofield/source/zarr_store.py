"""Reader for Zarr v2 and v3, local or on the network: OME-Zarr images (0.4, 0.5) and plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.stored import Stored, axes_of, contents_identity, files_identity
from isofield.source.units import StatedSize, decimal_of, nothing_stated, stated_size
from isofield.source.zarr_nodes import Node, image_of, read_node, volumes_below
from isofield.storage.local import LocalPlace
from isofield.storage.place import Place

if TYPE_CHECKING:
    import numpy as np

_V2_KINDS = {"i": "int", "u": "uint", "f": "float"}
_AXIS_TYPES = {"time": "t", "channel": "c"}


def describe(path: Path | Place, dataset: str | None) -> Stored:
    """Metadata of the array at `path` or of `dataset` in it; of a group: its level 0 or only array.

    The voxel size of an image's level comes from the coordinate transformations and the units of the axes; a
    plain array states none. Raises InputError if the array is not there or not the only one.
    """
    store = LocalPlace(path) if isinstance(path, Path) else path
    node = read_node(store / dataset if dataset else store)
    if node is None and not dataset:
        limit = "is not there, or holds no Zarr metadata (zarr.json, .zarray, .zgroup)"
        raise InputError("source.path", str(path), limit, "Correct source.path")
    if node is None:
        raise InputError("source.dataset", dataset, f"is no Zarr array or group inside {path}", "Give the path of one")
    array = _array_of(node)
    image = image_of(array)
    shape = tuple(int(n) for n in array.metadata["shape"])
    names = _image_axes(image[1]) if image else _dimension_names(array)
    axes = axes_of(names, shape, str(array.place))
    return Stored(
        format=f"ome-zarr {_ngff_version(image[0], image[1])}" if image else f"zarr v{array.version}",
        path=array.place,
        dataset=None if array.place == store else array.place.relative_to(store),
        axes=axes,
        shape=shape,
        dtype=_dtype_name(array),
        size=_stated(image[1], axes) if image else nothing_stated("a plain Zarr array does not state it"),
        identity=_identity(array, *([image[0]] if image else [])),
    )


def load(stored: Stored) -> ZarrArray:
    """The stored array, read when indexed."""
    return ZarrArray(stored.path)  # type: ignore[arg-type]


class ZarrArray:
    """An array of a store. Raises InputError where a store on the network fails while it is read."""

    def __init__(self, place: Place) -> None:
        import zarr

        self._place = place
        with place.reporting(""):
            self._array = zarr.open_array(store=place.zarr_store(kept=True), mode="r")
        self.shape, self.dtype, self.chunks = self._array.shape, self._array.dtype, self._array.chunks

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        with self._place.reporting(""):
            return self._array[index]  # type: ignore[return-value]


def _identity(*nodes: Node) -> dict[str, str | int]:
    place = nodes[0].place
    if isinstance(place, LocalPlace):
        return files_identity(place.path, [node.place.path / name for node in nodes for name in node.files])  # type: ignore[attr-defined]
    return contents_identity(str(place), [(name, node.files[name]) for node in nodes for name in node.files])


def _array_of(node: Node) -> Node:
    if node.is_array:
        return node
    if len(node.multiscales) == 1:
        name = node.multiscales[0]["datasets"][0]["path"]
        level = read_node(node.place / name)
        if level is None or not level.is_array:
            raise InputError("source.path", str(node.place), f"its level {name!r} is not there", "Repair the store")
        return level
    volumes = list(volumes_below(node))
    if len(volumes) == 1 and not node.multiscales:
        return _array_of(volumes[0])
    names = ", ".join(v.place.relative_to(node.place) for v in volumes[:8])
    raise InputError(
        "source.path",
        str(node.place),
        f"holds {len(volumes)} volumes ({names})" if volumes else "holds no volume",
        "Set source.dataset to the path of one inside the store",
    )


def _image_axes(entry: Mapping[str, dict]) -> list[str] | None:
    """Axis names of an image; its time and channel axes are known by type. None before OME-Zarr 0.3."""
    axes = entry["image"].get("axes")
    if axes is None:
        return None
    return [axis if isinstance(axis, str) else _AXIS_TYPES.get(axis.get("type"), axis["name"]) for axis in axes]


def _dimension_names(array: Node) -> list[str] | None:
    """`dimension_names` of v3 or xarray's names in v2; None if any is missing or a mere `dim_0`."""
    names = array.metadata.get("dimension_names") or array.attributes.get("_ARRAY_DIMENSIONS")
    if not names or any(name is None or name.startswith("dim_") for name in names):
        return None
    return names


def _ngff_version(group: Node, entry: Mapping[str, dict]) -> str:
    return str(group.attributes.get("ome", {}).get("version") or entry["image"].get("version", "of no stated version"))


def _stated(entry: Mapping[str, dict], axes: str) -> StatedSize:
    """Scale of the level times scale of the whole image, in the units of the axes."""
    image, level = entry["image"], entry["level"]
    on_level, on_image = (_scale(part.get("coordinateTransformations", []), len(axes)) for part in (level, image))
    if not on_level or on_image is None:
        return nothing_stated(f"level {level['path']!r} has no scale of {len(axes)} numbers")
    named = image.get("axes") or [{}] * len(axes)
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in named]
    spatial = [axes.index(axis) for axis in "zyx"]
    sizes = [on_level[i] * (on_image[i] if on_image else 1) for i in spatial]
    return stated_size(sizes, [units[i] for i in spatial])


def _scale(transforms: list[dict], n_axes: int) -> list[Fraction] | None:
    """The scale in a list of transformations, exact; [] if it has none, None if it cannot be understood."""
    scale: list[Fraction] = []
    for transform in transforms:
        if transform.get("type") in ("translation", "identity"):
            continue
        factors = transform.get("scale")
        if transform.get("type") != "scale" or not isinstance(factors, list) or len(factors) != n_axes or scale:
            return None
        numbers = [decimal_of(number) for number in factors]
        if None in numbers:
            return None
        scale = numbers  # type: ignore[assignment]
    return scale


def _dtype_name(array: Node) -> str:
    """numpy's name of the dtype; the raw text of the metadata where it is no plain number."""
    if array.version == 3:
        return str(array.metadata["data_type"])
    raw = array.metadata["dtype"]
    if isinstance(raw, str) and raw[1:2] in _V2_KINDS and raw[2:].isdecimal():
        return f"{_V2_KINDS[raw[1]]}{8 * int(raw[2:])}"
    return str(raw)
