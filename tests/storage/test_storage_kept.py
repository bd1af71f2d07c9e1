"""Reads of a store on the network that are kept: the same voxels, asked for once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore, WrapperStore

from isofield.source.zarr_store import ZarrArray
from isofield.storage.kept import KeptReads
from isofield.storage.remote import RemotePlace
from s3_server import BUCKET

CHUNK_BYTES = 16**3


class Counted(WrapperStore):
    """A store that counts what it is asked for."""

    def __init__(self, store) -> None:
        super().__init__(store)
        self.asked: Counter = Counter()

    async def get(self, key, prototype, byte_range=None):
        self.asked[key, byte_range] += 1
        return await super().get(key, prototype, byte_range)


@pytest.fixture(params=[None, (32, 32, 32)], ids=["chunks", "shards"])
def stored(request) -> tuple[Counted, np.ndarray]:
    """A store with an array of 8 chunks, not compressed, and its voxels."""
    voxels = np.random.default_rng(0).integers(0, 255, (32, 32, 32), np.uint8)
    store = MemoryStore()
    about = {"shape": voxels.shape, "dtype": "u1", "chunks": (16, 16, 16), "shards": request.param, "compressors": None}
    zarr.create_array(store, **about)[:] = voxels
    return Counted(store.with_read_only(True)), voxels


def read_all_twice(store, voxels) -> None:
    array = zarr.open_array(store, mode="r")
    for _ in range(2):
        for z in range(0, 32, 8):
            assert np.array_equal(array[z : z + 8], voxels[z : z + 8])


def test_what_was_read_is_not_asked_for_again(stored):
    counted, voxels = stored
    read_all_twice(KeptReads(counted), voxels)
    chunks = {name: n for name, n in counted.asked.items() if name[0].startswith("c/")}
    assert len(chunks) >= 8
    assert set(chunks.values()) == {1}


def test_without_it_every_slab_asks_for_its_chunks(stored):
    counted, voxels = stored
    read_all_twice(counted, voxels)
    assert max(counted.asked.values()) >= 4


def test_no_more_is_kept_than_is_allowed(stored):
    counted, voxels = stored
    kept = KeptReads(counted, n_bytes=3 * CHUNK_BYTES)
    read_all_twice(kept, voxels)
    assert 0 < sum(len(content) for content in kept._kept.values()) <= 3 * CHUNK_BYTES
    assert kept._size == sum(len(content) for content in kept._kept.values())
    # Too little for a slab's four chunks: they are asked for again.
    assert max(n for (key, _), n in counted.asked.items() if key.startswith("c/")) > 1


def test_what_is_larger_than_allowed_is_read_all_the_same(stored):
    counted, voxels = stored
    kept = KeptReads(counted, n_bytes=10)
    read_all_twice(kept, voxels)
    assert all(len(content) <= 10 for content in kept._kept.values())


def test_of_a_volume_on_s3_every_chunk_is_one_request(s3, monkeypatch):
    from aiobotocore.httpsession import AIOHTTPSession

    voxels = np.arange(32**3, dtype=np.uint16).reshape(32, 32, 32)
    store = MemoryStore()
    zarr.create_array(store, shape=voxels.shape, dtype="u2", chunks=(16, 16, 16))[:] = voxels
    s3.put({key: content.to_bytes() for key, content in store._store_dict.items()}, "kept")
    asked: Counter = Counter()
    send = AIOHTTPSession.send

    async def counting(session, request):
        asked[request.method, request.url.rpartition("/kept/")[2]] += 1
        return await send(session, request)

    monkeypatch.setattr(AIOHTTPSession, "send", counting)
    array = ZarrArray(RemotePlace(f"s3://{BUCKET}/kept", "source.path"))
    for _ in range(2):
        assert np.array_equal(array[:, 8:24, 8:24], voxels[:, 8:24, 8:24])
    chunks = {name: n for name, n in asked.items() if name[1].startswith("c/")}
    assert len(chunks) == 8
    assert {(method, n) for (method, _), n in chunks.items()} == {("GET", 1)}
