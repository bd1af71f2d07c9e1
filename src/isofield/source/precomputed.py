"""Reader for neuroglancer precomputed volumes, local or on the network: x first, sizes in nm."""

from __future__ import annotations

import json
from pathlib import Path

from isofield.errors import InputError
from isofield.source.stored import Stored, axes_of, place_identity
from isofield.source.tensorstored import TensorstoreArray
from isofield.source.units import stated_size
from isofield.storage.local import LocalPlace
from isofield.storage.place import Place
from isofield.storage.uri import RefusedError

METADATA = "info"


def describe(path: Path | Place, dataset: str | None) -> Stored:
    """Metadata of the scale with the key `dataset`, or of the first one; `path` may also lead to a scale itself.

    Raises InputError for a scale that is not there and for metadata that are no volume's.
    """
    store, key = _store_and_key(LocalPlace(path) if isinstance(path, Path) else path)
    content = store.read(METADATA) or b""
    info = _info(content, store)
    scales, wanted = info["scales"], dataset or key
    keys = [str(scale["key"]) for scale in scales]
    if wanted is not None and wanted not in keys:
        raise InputError("source.dataset", wanted, f"is no scale of {store}, which has {', '.join(keys[:8])}", "Name a scale")
    index = keys.index(wanted) if wanted is not None else 0
    scale, n_channels = scales[index], int(info.get("num_channels", 1))
    shape = (*(int(n) for n in scale["size"]), n_channels)
    return Stored(
        format="neuroglancer-precomputed",
        path=store,
        dataset=keys[index],
        axes=axes_of(list("xyzc"), shape, str(store)),
        shape=shape,
        dtype=str(info["data_type"]),
        size=stated_size(scale["resolution"][::-1], ["nm"] * 3),
        identity=place_identity(store, {METADATA: content}),
    )


def load(stored: Stored) -> TensorstoreArray:
    """The stored array, read when indexed."""
    place: Place = stored.path  # type: ignore[assignment]
    scales = _info(place.read(METADATA) or b"", place)["scales"]
    index = next(i for i, scale in enumerate(scales) if scale["key"] == stored.dataset)
    chunks = (*(int(n) for n in scales[index]["chunk_sizes"][0]), stored.shape[-1])
    return TensorstoreArray(place, {"driver": "neuroglancer_precomputed", "scale_index": index}, stored.dtype, chunks)


def store_of(place: Place) -> Place | None:
    """The volume that a place, or the scale at it, belongs to; None if there is none."""
    for store in (place, place.parent):
        try:
            if store is not None and store.read(METADATA) is not None:
                return store
        except RefusedError:
            # Without the right to list, object stores say of what is not there that it is forbidden.
            continue
    return None


def _store_and_key(place: Place) -> tuple[Place, str | None]:
    store = store_of(place)
    if store is None:
        raise InputError("source.path", str(place), "is not there, or holds no info of a volume", "Correct source.path")
    return store, None if store == place else place.relative_to(store)


def _info(content: bytes, store: Place) -> dict:
    where = store.locate(METADATA)
    try:
        info = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("source.path", where, f"is no JSON ({error})", "Repair the volume") from error
    if not isinstance(info, dict) or not info.get("scales") or "data_type" not in info:
        raise InputError("source.path", where, "describes no volume (no scales, no data_type)", "Give the address of an image")
    needed = {"key", "size", "resolution", "chunk_sizes"}
    if lacking := needed - set.intersection(*(set(scale) for scale in info["scales"])):
        raise InputError("source.path", where, f"lacks {', '.join(sorted(lacking))} of a scale", "Repair the volume")
    return info
