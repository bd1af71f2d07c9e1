"""Groups and arrays of a Zarr v2 or v3 store, read from their JSON without the zarr library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from isofield.errors import InputError
from isofield.storage.place import Place
from isofield.storage.uri import RefusedError


@dataclass(frozen=True)
class Node:
    """One group or array: place, Zarr version (2 or 3), metadata, attributes, and the files these were read from."""

    place: Place
    version: int
    is_array: bool
    metadata: dict
    attributes: dict
    files: Mapping[str, bytes]

    @property
    def multiscales(self) -> list[dict]:
        """OME-Zarr images of a group: under `ome` since version 0.5, among the attributes before."""
        within = self.attributes.get("ome", self.attributes) if isinstance(self.attributes, dict) else {}
        return within.get("multiscales", []) if isinstance(within, dict) else []

    @property
    def is_volume(self) -> bool:
        """Whether it is an array of 3 or more dimensions or an OME-Zarr image."""
        return bool(self.multiscales) or (self.is_array and len(self.metadata["shape"]) >= 3)


def read_node(place: Place) -> Node | None:
    """The node at `place`; None if there is none. Raises InputError for metadata that are no JSON object."""
    refusal = None
    for name in ("zarr.json", ".zarray", ".zgroup"):
        try:
            content = place.read(name)
        except RefusedError as error:
            # Without the right to list, object stores say of what is not there that it is forbidden.
            refusal = error
            continue
        if content is None:
            continue
        metadata = _json(content, place.locate(name))
        if name == "zarr.json":
            is_array = metadata.get("node_type") == "array"
            attributes = metadata.get("attributes") or {}
            return checked(Node(place, 3, is_array, metadata, attributes, {name: content}))
        beside = _read_permitted(place, ".zattrs")
        attributes = {} if beside is None else _json(beside, place.locate(".zattrs"))
        files = {name: content} if beside is None else {name: content, ".zattrs": beside}
        return checked(Node(place, 2, name == ".zarray", metadata, attributes, files))
    if refusal:
        raise refusal
    return None


class _Array(BaseModel):
    """What is read of an array's metadata."""

    shape: list[int]


class _Level(BaseModel):
    path: str
    coordinateTransformations: list[dict[str, Any]] = []  # noqa: N815


class _Image(BaseModel):
    """What is read of an entry of `multiscales`."""

    axes: list[str | dict[str, Any]] | None = None
    datasets: list[_Level] = Field(min_length=1)
    coordinateTransformations: list[dict[str, Any]] = []  # noqa: N815


class _Group(BaseModel):
    multiscales: list[_Image] = []


def checked(node: Node) -> Node:
    """`node`. Raises InputError where what is read of its metadata has another structure than the specifications say."""
    kind, content = (_Array, node.metadata) if node.is_array else (_Group, {"multiscales": node.multiscales})
    try:
        kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its attributes"
        limit = f"its metadata are not as Zarr and OME-Zarr prescribe ({where}: {first['msg']})"
        raise InputError("source.path", str(node.place), limit, "Repair the store") from None
    return node


def volumes_below(group: Node) -> Iterator[Node]:
    """Arrays of 3 or more dimensions and OME-Zarr images inside a group, at any depth.

    Found by listing; where that is refused, by consolidated metadata. Raises RefusedError where there are none either.
    """
    try:
        folders = group.place.folders()
    except RefusedError:
        known = _consolidated(group)
        if known is None:
            raise
        yield from _volumes_among(group, known)
        return
    for name in folders:
        node = read_node(group.place / name)
        if node is not None and node.is_volume:
            yield node
        elif node is not None and not node.is_array:
            yield from volumes_below(node)


def image_of(array: Node) -> tuple[Node, dict] | None:
    """The OME-Zarr group that lists an array, and its entry there; None for a plain array."""
    above = array.place.parent
    while above is not None:
        try:
            group = read_node(above)
        except RefusedError:
            return None
        if group is None or group.is_array:
            return None
        for image in group.multiscales:
            for level in image.get("datasets", []):
                if above / str(level.get("path")) == array.place:
                    return group, {"image": image, "level": level}
        above = above.parent
    return None


def _volumes_among(group: Node, paths: list[str]) -> Iterator[Node]:
    """Volumes at some of the sorted `paths` inside a group; what lies inside an image belongs to it."""
    taken: list[str] = []
    for path in paths:
        if any(path.startswith(f"{above}/") for above in taken):
            continue
        node = read_node(group.place / path)
        if node is not None and node.is_volume:
            taken.append(path)
            yield node


def _consolidated(group: Node) -> list[str] | None:
    """Paths of all nodes inside a group that its consolidated metadata know, sorted; None without these."""
    if group.version == 3:
        known = (group.metadata.get("consolidated_metadata") or {}).get("metadata")
        return None if known is None else sorted(known)
    content = _read_permitted(group.place, ".zmetadata")
    if content is None:
        return None
    known = _json(content, group.place.locate(".zmetadata")).get("metadata", {})
    return sorted({file.rpartition("/")[0] for file in known} - {""})


def _read_permitted(place: Place, name: str) -> bytes | None:
    """A file that may be absent, beside one that could be read."""
    try:
        return place.read(name)
    except RefusedError:
        return None


def _json(content: bytes, file: str) -> dict:
    try:
        parsed = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("source.path", file, f"is no JSON ({error})", "Repair the store") from error
    if not isinstance(parsed, dict):
        raise InputError("source.path", file, "is no JSON object", "Repair the store")
    return parsed
