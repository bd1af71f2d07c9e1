"""The image's metadata: what the plan asks for, what NGFF asks for, and what independent validators say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from pydantic import ValidationError

from isofield.omezarr.layout import GROUP_KEY, n_levels
from isofield.omezarr.metadata import AXES, PROVENANCE_KEY
from isofield.omezarr.readback import metadata_differences
from isofield.omezarr.spec import NgffVersion
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.storage.place import Place
from isofield.verify.finding import Finding, Repair, record_of

VALIDATORS = ("yaozarrs", "ome_zarr_models")


def check_metadata(
    plan: Plan, paths: RunPaths, place: Place, files: Mapping[str, bytes], made_from: Mapping[str, str]
) -> list[Finding]:
    """What is wrong with the metadata of an image that should hold `files`; made_from: fingerprints that its provenance names."""
    found: list[Finding] = []
    repairs = (record_of(paths.canvas), record_of(paths.finish))
    if paths.channel is not None:
        repairs = (*repairs, record_of(paths.joined))

    def wrong(key: str, what: str) -> None:
        found.append(Finding("metadata", what, place.locate(key), None, None, (), (Repair("metadata", key), *repairs)))

    version: NgffVersion = "0.4" if GROUP_KEY["0.4"] in files else "0.5"
    group = GROUP_KEY[version]
    for key, wanted in files.items():
        content = place.read(key)
        if content is None:
            wrong(key, "is missing")
        elif key != group:
            for what in _array_faults(content, wanted):
                wrong(key, what)
        else:
            for what in group_faults(content, plan, n_levels(files), made_from, version, paths.channel):
                wrong(key, what)
    if not found:
        found += [Finding("metadata", what, place.locate(group)) for what in _validated(place, version)]
    return found


def check_label_metadata(paths: RunPaths, place: Place, files: Mapping[str, bytes]) -> Iterator[Finding]:
    """What is wrong with the metadata of the labels of an image, which should be `files`, by key within the image."""
    for key, wanted in files.items():
        content, about = place.read(key), (Repair("metadata", key), record_of(paths.canvas))
        if content is None:
            differences = ["is missing"]
        elif key.split("/")[-2].isdigit():
            differences = _array_faults(content, wanted)
        else:
            differences = [] if _same(content, wanted) else ["is not what labels of this image say of themselves"]
        for what in differences:
            yield Finding("metadata", what, place.locate(key), repairs=about)


def _array_faults(content: bytes, wanted: bytes) -> list[str]:
    return [f"says {one}" if " instead of " in one else f"is {one}" for one in metadata_differences(content, wanted)]


def _same(content: bytes, wanted: bytes) -> bool:
    try:
        return json.loads(content) == json.loads(wanted)
    except ValueError:
        return False


def group_faults(
    content: bytes,
    plan: Plan,
    n_levels: int,
    made_from: Mapping[str, str],
    version: NgffVersion = "0.5",
    channel: int | None = None,
) -> Iterator[str]:
    """What is wrong with the group's document. Scale and translation are computed here once more, from the plan alone.

    channel: which one of the image's the plan is of, where it has several.
    """
    try:
        document = json.loads(content)
        attributes = document["attributes"] if version == "0.5" else document
        ome = attributes["ome"] if version == "0.5" else attributes
        (image,) = ome["multiscales"]
        datasets = image["datasets"]
        transforms = [{one["type"]: one[one["type"]] for one in each["coordinateTransformations"]} for each in datasets]
        order = [[one["type"] for one in each["coordinateTransformations"]] for each in datasets]
        names = [each["path"] for each in datasets]
    except (ValueError, KeyError, TypeError) as error:
        yield f"is not the metadata of an image ({type(error).__name__}: {error})"
        return
    if version == "0.5" and (document.get("zarr_format") != 3 or document.get("node_type") != "group"):
        yield "is not the metadata of a group in Zarr 3"
    said = (ome if version == "0.5" else image).get("version")
    if said != version:
        yield f"has version {said!r} instead of {version!r}"
    axes: list[dict[str, str]] = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in AXES]
    ones: list[float] = []
    if channel is not None:
        axes, ones = [{"name": "c", "type": "channel"}, *axes], [1.0]
    if image.get("axes") != axes:
        said_axes = "c, z, y, x" if channel is not None else "z, y, x"
        yield f"has axes {image.get('axes')!r} instead of {said_axes} in nanometer"
    if names != [str(level) for level in range(n_levels)]:
        yield f"lists levels {names} instead of 0 to {n_levels - 1}"
    for level, (kinds, one) in enumerate(zip(order, transforms, strict=True)):
        if kinds != ["scale", "translation"]:
            yield f"transforms level {level} by {kinds} instead of scale, translation"
            continue
        scale = plan.voxel_size_nm * 2**level
        moved = [0.0] * len(ones) + [origin + scale / 2 for origin in plan.origin_nm]
        wanted = {"scale": ones + [scale] * 3, "translation": moved}
        for kind, values in wanted.items():
            if not _close(one[kind], values):
                yield f"gives level {level} the {kind} {one[kind]} instead of {values} nm"
    if "omero" in ome:
        yield from _display_faults(ome["omero"])
    provenance = attributes.get(PROVENANCE_KEY)
    if channel is not None and isinstance(provenance, dict):
        listed = provenance.get("channels") or []
        provenance = listed[channel] if channel < len(listed) else {}
    yield from _provenance_faults(provenance, plan, made_from)


def _close(found: Any, wanted: list[float]) -> bool:
    try:
        return len(found) == len(wanted) and all(
            abs(a - b) <= 1e-9 * max(1.0, abs(b)) for a, b in zip(found, wanted, strict=True)
        )
    except TypeError:
        return False


def _display_faults(omero: Any) -> Iterator[str]:
    try:
        for channel in omero["channels"]:
            window = channel["window"]
            if not window["min"] <= window["start"] < window["end"] <= window["max"]:
                yield f"shows grey values {window}, which are not min <= start < end <= max"
            if len(channel["color"]) != 6 or int(channel["color"], 16) < 0:
                yield f"has the colour {channel['color']!r}, which is not six hexadecimal digits"
    except (KeyError, TypeError, ValueError) as error:
        yield f"has display settings that cannot be read ({type(error).__name__}: {error})"


def _provenance_faults(provenance: Any, plan: Plan, made_from: Mapping[str, str]) -> Iterator[str]:
    if not isinstance(provenance, dict):
        yield f"does not say how the image was made ({PROVENANCE_KEY})"
        return
    # Of an image that several runs fill it is that of the run that ended last.
    wanted = {**plan.fingerprints, **made_from} if plan.region is None else {}
    said = provenance.get("fingerprints") or {}
    for name, value in wanted.items():
        if said.get(name) != value:
            yield f"says it was made from {name} {str(said.get(name))[:12]} instead of {value[:12]}"


def installed_validators() -> list[str]:
    """Names and versions of the validators that `check_metadata` asks."""
    return [f"{name} {version(name)}" for name in VALIDATORS if find_spec(name)]


def _validated(place: Place, version: NgffVersion) -> Iterator[str]:
    import zarr

    group, newer = GROUP_KEY[version], version == "0.5"
    document = json.loads(place.read(group) or b"{}")
    if find_spec("yaozarrs"):
        import yaozarrs.v04
        import yaozarrs.v05

        try:
            if newer:
                yaozarrs.validate_ome_object(document.get("attributes", {}), yaozarrs.v05.OMEAttributes)
            else:
                yaozarrs.validate_ome_object(document, yaozarrs.v04.Image)
        except ValueError as error:
            yield f"is not valid to yaozarrs: {_first(error)}"
    if find_spec("ome_zarr_models"):
        import ome_zarr_models.v04
        import ome_zarr_models.v05

        models = ome_zarr_models.v05 if newer else ome_zarr_models.v04
        try:
            with place.reporting(group):
                models.Image.from_zarr(zarr.open_group(place.zarr_store(), mode="r"))
        except ValueError as error:
            yield f"is not valid to ome-zarr-models: {_first(error)}"


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
