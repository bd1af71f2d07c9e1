"""Groups and arrays of a local Zarr v2 or v3 store, read from their JSON without the zarr library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isofield.errors import InputError


@dataclass(frozen=True)
class Node:
    """One group or array: folder, Zarr version (2 or 3), metadata, attributes and their files."""

    path: Path
    version: int
    is_array: bool
    metadata: dict
    attributes: dict
    files: tuple[Path, ...]

    @property
    def multiscales(self) -> list[dict]:
        """OME-Zarr images of a group: under `ome` since version 0.5, among the attributes before."""
        return self.attributes.get("ome", self.attributes).get("multiscales", [])


def read_node(folder: Path) -> Node | None:
    """The node in `folder`; None if there is none. Raises InputError for metadata that are no JSON object."""
    file = folder / "zarr.json"
    if file.is_file():
        metadata = _json(file)
        return Node(folder, 3, metadata.get("node_type") == "array", metadata, metadata.get("attributes", {}), (file,))
    for file in (folder / ".zarray", folder / ".zgroup"):
        if file.is_file():
            beside = folder / ".zattrs"
            attributes = _json(beside) if beside.is_file() else {}
            files = (file, beside) if beside.is_file() else (file,)
            return Node(folder, 2, file.name == ".zarray", _json(file), attributes, files)
    return None


def children(group: Node) -> list[Node]:
    """Nodes directly inside a group, by name."""
    nodes = (read_node(folder) for folder in sorted(group.path.iterdir()) if folder.is_dir())
    return [node for node in nodes if node is not None]


def volumes_below(group: Node) -> Iterator[Node]:
    """Arrays of 3 or more dimensions and OME-Zarr images inside a group, at any depth."""
    for node in children(group):
        if node.multiscales or (node.is_array and len(node.metadata["shape"]) >= 3):
            yield node
        elif not node.is_array:
            yield from volumes_below(node)


def image_of(array: Node) -> tuple[Node, dict] | None:
    """The OME-Zarr group that lists an array, and its entry there; None for a plain array."""
    path = array.path.absolute()
    for folder in path.parents:
        group = read_node(folder)
        if group is None or group.is_array:
            return None
        for image in group.multiscales:
            for level in image.get("datasets", []):
                if folder / str(level.get("path")) == path:
                    return group, {"image": image, "level": level}
    return None


def _json(file: Path) -> dict:
    try:
        content = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("source.path", str(file), f"is no JSON ({error})", "Repair the store") from error
    if not isinstance(content, dict):
        raise InputError("source.path", str(file), "is no JSON object", "Repair the store")
    return content
