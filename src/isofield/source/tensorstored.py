"""Arrays that tensorstore reads, in folders of this machine and on the network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.optional import library
from isofield.storage.local import LocalPlace
from isofield.storage.place import Place

if TYPE_CHECKING:
    import numpy as np

_RETRIES = {"max_retries": 5, "initial_delay": "250ms", "max_delay": "4s"}
_CONTEXT = {f"{name}_request_retries": _RETRIES for name in ("http", "s3", "gcs")}
"""A server that is gone is to be reported within seconds; tensorstore would try for a quarter of an hour."""


class TensorstoreArray:
    """An array of a store, opened once per process; indices start at 0. Can be pickled.

    spec: how tensorstore opens it, less `kvstore`. Raises InputError where the store fails while it is read.
    """

    def __init__(self, place: Place, spec: Mapping[str, object], dtype: str, chunks: tuple[int, ...]) -> None:
        import numpy as np

        self._place, self.dtype, self.chunks = place, np.dtype(dtype), chunks
        self._spec = json.dumps({**spec, "kvstore": kvstore(place), "open": True, "context": _CONTEXT}, sort_keys=True)
        self.shape = tuple(int(n) for n in self._array().shape)

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        array = self._array()
        try:
            return array[index].read().result()
        except (ValueError, OSError) as error:
            raise _failure(self._place, error) from None

    def _array(self):
        library("tensorstore", "formats", self._place)
        try:
            return _opened(self._spec, os.getpid())
        except (ValueError, OSError) as error:
            raise _failure(self._place, error) from None


@lru_cache(maxsize=8)
def _opened(spec: str, pid: int):
    """One per process: threads do not outlive a fork."""
    import tensorstore as ts

    array = ts.open(json.loads(spec), read=True).result()
    return array[ts.d[:].translate_to[0]]


def kvstore(place: Place) -> dict[str, object]:
    """Where tensorstore finds the files of a place; credentials come from the environment, as for every other reader."""
    if isinstance(place, LocalPlace):
        return {"driver": "file", "path": f"{place.path.absolute()}/"}
    scheme, _, rest = str(place).partition("://")
    if scheme.startswith("http"):
        return {"driver": "http", "base_url": f"{place}/"}
    bucket, _, path = rest.partition("/")
    where = {"bucket": bucket, "path": f"{path}/"}
    if scheme == "gs":
        return {"driver": "gcs", **where}
    chosen: dict[str, object] = {"aws_credentials": {"type": "anonymous"}} if place.anonymous else {}  # type: ignore[attr-defined]
    for key, variables in (
        ("endpoint", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
        ("aws_region", ("AWS_REGION", "AWS_DEFAULT_REGION")),
    ):
        if values := [os.environ[name] for name in variables if os.environ.get(name)]:
            chosen[key] = values[0]
    return {"driver": "s3", **where, **chosen}


def _failure(place: Place, error: Exception) -> InputError:
    """On the network the kind of failure alone: what the library says of it may repeat what was sent."""
    kind, _, reason = str(error).partition(" [")[0].partition(": ")
    kind, reason = (kind, reason.removeprefix(f"{kind}: ")) if kind.isupper() else (type(error).__name__, str(error))
    if isinstance(place, LocalPlace):
        return InputError("source.path", str(place), f"is damaged or cannot be read ({kind}: {reason})", "Copy it again")
    limit = f"the server cannot be reached or fails, or the array is damaged ({kind})"
    return InputError("source.path", str(place), limit, "Check the network, and that the array opens elsewhere")
