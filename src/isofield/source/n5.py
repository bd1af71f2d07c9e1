"""Reader for N5, local or on the network: dimensions are stored x first, and are read z first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from isofield.errors import InputError
from isofield.source.stored import Stored, axes_of, place_identity
from isofield.source.tensorstored import TensorstoreArray
from isofield.source.units import StatedSize, decimal_of, nothing_stated, stated_size
from isofield.storage.local import LocalPlace
from isofield.storage.place import Place
from isofield.storage.uri import RefusedError

METADATA = "attributes.json"
_AXES = {3: "xyz", 4: "xyzc", 5: "xyzct"}


def describe(path: Path | Place, dataset: str | None) -> Stored:
    """Metadata of the dataset at `path` or of `dataset` in it; of a group: of its level s0 or only volume.

    Axes are named by `axes` (n5-ij) or `transform.axes` (COSEM), else x, y, z, c. Voxel sizes are those of `transform`,
    `pixelResolution` or `resolution` with `units`, times `downsamplingFactors`, here or in the group of the levels. Raises
    InputError if the dataset is not there or not the only one.
    """
    store = LocalPlace(path) if isinstance(path, Path) else path
    start = store / dataset if dataset else store
    place = _dataset_at(start, dataset)
    attributes = _attributes(place)
    shape = tuple(int(n) for n in attributes["dimensions"])
    names = _axis_names(attributes, len(shape))
    files = {METADATA: place.read(METADATA) or b""}
    size = _stated(attributes, names)
    if size is None:
        above = place.parent
        size = _stated_above(_attributes(above) if above else {}, attributes, place, names)
    return Stored(
        format="n5",
        path=place,
        dataset=None if place == store else place.relative_to(store),
        axes=axes_of(names, shape, str(place)),
        shape=shape,
        dtype=str(attributes["dataType"]),
        size=size,
        identity=place_identity(place, files),
    )


def load(stored: Stored) -> TensorstoreArray:
    """The stored array, read when indexed."""
    place: Place = stored.path  # type: ignore[assignment]
    attributes = _attributes(place)
    # Told what it needs: of units and resolution tensorstore accepts one convention and refuses arrays of the others.
    needed = {key: attributes[key] for key in ("dimensions", "blockSize", "dataType", "compression") if key in attributes}
    spec = {"driver": "n5", "metadata": needed, "assume_metadata": True}
    return TensorstoreArray(place, spec, stored.dtype, tuple(int(n) for n in attributes["blockSize"]))


def _attributes(place: Place) -> dict:
    """Attributes of a group or dataset; {} where there are none or they may not be read."""
    try:
        content = place.read(METADATA)
    except RefusedError:
        return {}
    if content is None:
        return {}
    try:
        found = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("source.path", place.locate(METADATA), f"is no JSON ({error})", "Repair the store") from error
    return found if isinstance(found, dict) else {}


def _is_volume(attributes: Mapping[str, object]) -> bool:
    return len(attributes.get("dimensions", ())) >= 3 and {"dataType", "blockSize"} <= attributes.keys()  # type: ignore[arg-type]


def _dataset_at(start: Place, dataset: str | None) -> Place:
    """`start` if it is a volume, else level s0 in it, else the only volume below it."""
    if _is_volume(_attributes(start)):
        return start
    if _is_volume(_attributes(start / "s0")):
        return start / "s0"
    found = list(_volumes_below(start))
    if len(found) == 1:
        return found[0]
    names = ", ".join(place.relative_to(start) for place in found[:8])
    limit = f"holds {len(found)} volumes ({names})" if found else "holds no N5 volume"
    if dataset and not found:
        raise InputError("source.dataset", dataset, "is no N5 dataset or group of 3 or more dimensions", "Give the path of one")
    raise InputError("source.path", str(start), limit, "Set source.dataset to the path of one inside the store")


def _volumes_below(group: Place) -> Iterator[Place]:
    for name in group.folders():
        inside = group / name
        if _is_volume(_attributes(inside)):
            yield inside
        elif "dimensions" not in _attributes(inside):
            levels = inside / "s0"
            if _is_volume(_attributes(levels)):
                yield levels
            else:
                yield from _volumes_below(inside)


def _axis_names(attributes: Mapping[str, object], n_axes: int) -> list[str] | None:
    """Names in the order of the dimensions; z, y, x in a `transform` are in the order of C."""
    transform = attributes.get("transform")
    if isinstance(transform, dict) and len(transform.get("axes", ())) == n_axes:
        names = [str(name) for name in transform["axes"]]
        return names if transform.get("ordering") == "F" else names[::-1]
    named = attributes.get("axes")
    if isinstance(named, list) and len(named) == n_axes and all(isinstance(name, str) for name in named):
        return named
    return list(_AXES[n_axes]) if n_axes in _AXES else None


def _stated(attributes: Mapping[str, object], names: Sequence[str] | None) -> StatedSize | None:
    """The voxel size that a dataset's own attributes state; None if they speak of none."""
    if names is None:
        return None
    transform, pixels, numbers = (attributes.get(key) for key in ("transform", "pixelResolution", "resolution"))
    if isinstance(transform, dict) and "scale" in transform:
        ordered = slice(None) if transform.get("ordering") == "F" else slice(None, None, -1)
        return _sizes(list(transform["scale"])[ordered], list(transform.get("units", ()))[ordered], names)
    units: object = attributes.get("units", attributes.get("unit"))
    if isinstance(pixels, dict):
        numbers, units = pixels.get("dimensions"), pixels.get("unit")
    elif pixels is not None:
        numbers = pixels
    if numbers is None:
        return None
    return _sizes(numbers, units, names, attributes.get("downsamplingFactors"))


def _stated_above(
    group: Mapping[str, object], attributes: Mapping[str, object], place: Place, names: Sequence[str] | None
) -> StatedSize:
    """The voxel size that the group of the levels states for s0, times the factors of this level."""
    size, level = _stated({k: v for k, v in group.items() if k != "downsamplingFactors"}, names), place.locate("").rstrip("/")
    if size is None:
        return nothing_stated("its attributes state none")
    number, scales = level.rpartition("/s")[2], group.get("scales", group.get("downsamplingFactors"))
    factors = attributes.get("downsamplingFactors")
    if factors is None and isinstance(scales, list) and number.isdecimal() and int(number) < len(scales):
        factors = scales[int(number)]
    if factors is None and number != "0":
        return nothing_stated("its group states the voxel size of level s0, and nothing how this level differs")
    return _times(size, factors, names)


def _sizes(numbers: object, units: object, names: Sequence[str], factors: object = None) -> StatedSize:
    """StatedSize of numbers in the order of the dimensions, with one unit or a unit for each."""
    spatial = [i for i, name in enumerate(names) if name.lower() in "xyz"]
    values = numbers if isinstance(numbers, list) else []
    if len(values) == len(names) != len(spatial):
        values = [values[i] for i in spatial]
        units = [units[i] for i in spatial] if isinstance(units, list) and len(units) == len(names) else units
    if len(values) != 3 or len(spatial) != 3:
        return nothing_stated(f"its attributes state a voxel size of {len(values)} numbers, not 3")
    per_axis = units if isinstance(units, list) and len(units) == 3 else [units] * 3
    order = [[names[i].lower() for i in spatial].index(axis) for axis in "zyx"]
    size = stated_size([values[i] for i in order], [per_axis[i] if isinstance(per_axis[i], str) else None for i in order])
    return _times(size, factors, names)


def _times(size: StatedSize, factors: object, names: Sequence[str] | None) -> StatedSize:
    if size.nm is None or factors is None or names is None:
        return size
    spatial = [name.lower() for name in names if name.lower() in "xyz"]
    numbers = [decimal_of(f) for f in factors] if isinstance(factors, list) else []
    if len(numbers) != 3 or None in numbers:
        return nothing_stated(f"its downsampling factors {factors!r} are no 3 numbers")
    z, y, x = (nm * numbers[spatial.index(axis)] for axis, nm in zip("zyx", size.nm, strict=True))  # type: ignore[operator]
    return StatedSize((z, y, x))
