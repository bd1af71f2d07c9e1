"""A Zarr store on the network whose latest answers are kept: blocks and slices that lie beside one another share chunks."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from zarr.storage import FsspecStore, WrapperStore

from isofield.storage.place import KEPT_BYTES

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype


class KeptReads(WrapperStore[FsspecStore]):
    """A store that is read and not written by anyone meanwhile: what it answered last is not asked again.

    At most `n_bytes` are kept, as they came, compressed. That a key is not there is asked every time.
    """

    def __init__(self, store: Store, n_bytes: int = KEPT_BYTES) -> None:
        super().__init__(store)
        self._n_bytes = n_bytes
        self._size = 0
        self._kept: OrderedDict[tuple[str, ByteRequest | None], Buffer] = OrderedDict()

    # All of it runs in the one thread of zarr's event loop.
    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        found = self._kept.get((key, byte_range))
        if found is not None:
            self._kept.move_to_end((key, byte_range))
            return found
        found = await super().get(key, prototype, byte_range)
        if found is not None and len(found) <= self._n_bytes:
            self._keep((key, byte_range), found)
        return found

    def _keep(self, name: tuple[str, ByteRequest | None], content: Buffer) -> None:
        before = self._kept.pop(name, None)
        self._size += len(content) - (len(before) if before is not None else 0)
        self._kept[name] = content
        while self._size > self._n_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)
