"""A store of six blocks, loose, one of them known to be empty; and what its folder and its blocks say."""

from __future__ import annotations

from pathlib import Path

from isofield.blockrecords import BlockRecord
from isofield.fieldstore import FieldStore
from isofield.records import fingerprint

FINGERPRINT = fingerprint("a fit")
BLOCKS = range(3, 9)
SKIPPED = 5


def payload(index: int) -> bytes:
    return bytes([index]) * (50 + index)


def publish(store: FieldStore, index: int, state: str = "done") -> None:
    record = BlockRecord(block_id=index, state=state, fingerprint=store.fingerprint, seconds=1.5, stats={"loss_last": 0.25})
    store.publish(record, payload(index) if state == "done" else None)


def skipped(store: FieldStore, index: int) -> BlockRecord:
    return BlockRecord(block_id=index, state="skipped", fingerprint=store.fingerprint, message="no contrast")


def loose_store(folder: Path) -> FieldStore:
    """Six blocks, loose, one of them known to be empty and never published."""
    store = FieldStore(folder, FINGERPRINT)
    for index in BLOCKS:
        if index != SKIPPED:
            publish(store, index)
    return store


def files(store: FieldStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def contents(store: FieldStore) -> dict[int, tuple]:
    return {i: (store.state(i), store.payload(i), store.sound(i)) for i in range(12)}
