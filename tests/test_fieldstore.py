"""Packs: one file per job that says and holds what the loose files did, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

import pytest

from fieldstore_example import BLOCKS, FINGERPRINT, SKIPPED, contents, files, loose_store, payload, publish, skipped
from isofield.blockrecords import BlockRecord
from isofield.fieldstore import FieldStore, Pack
from isofield.records import fingerprint


@pytest.fixture
def store(tmp_path) -> FieldStore:
    return loose_store(tmp_path)


@pytest.fixture
def packed(store) -> FieldStore:
    store.pack(BLOCKS, [skipped(store, SKIPPED)])
    return store


def test_packing_changes_where_things_lie_and_nothing_else(store):
    before, records = contents(store), {i: store.read(i) for i in BLOCKS if i != SKIPPED}
    about = store.pack(BLOCKS, [skipped(store, SKIPPED)])
    assert files(store) == [about["file"]] == ["blocks-0000003-0000009.pack"]
    assert about["bytes"] == (store.folder / about["file"]).stat().st_size
    assert contents(store) == {**before, SKIPPED: ("skipped", None, True)}
    assert {i: store.read(i) for i in records} == records
    # So does another process that finds it.
    assert contents(FieldStore(store.folder.parent, FINGERPRINT)) == contents(store)


def test_packing_again_writes_nothing(packed):
    (path,) = packed.folder.iterdir()
    before = path.stat().st_mtime_ns
    again = packed.pack(BLOCKS, [skipped(packed, SKIPPED)])
    assert path.stat().st_mtime_ns == before
    assert again["file"] == path.name


def test_packing_again_removes_what_an_interrupted_removal_left(packed):
    """A field without its record: records are removed first."""
    left = packed.loose.payload_path(BLOCKS[0])
    left.write_bytes(payload(BLOCKS[0]))
    other = packed.loose.payload_path(BLOCKS[-1] + 1)
    other.write_bytes(b"of another job, which may be about to publish its record")
    packed.pack(BLOCKS, [skipped(packed, SKIPPED)])
    assert not left.exists()
    assert other.exists()


def test_a_job_with_a_block_missing_is_not_packed(store):
    with pytest.raises(ValueError, match=r"no record of blocks \[5\]"):
        store.pack(BLOCKS)
    assert len(files(store)) == 10
    store.loose.payload_path(4).write_bytes(b"other")
    with pytest.raises(ValueError, match="field of block 4 is damaged"):
        store.pack(BLOCKS, [skipped(store, SKIPPED)])
    assert len(files(store)) == 10


def test_a_block_that_is_fitted_again_counts_and_is_packed_anew(packed):
    other = BlockRecord(block_id=4, state="done", fingerprint=FINGERPRINT)
    packed.publish(other, b"another field")
    assert packed.payload(4) == b"another field"
    assert packed.payload(6) == payload(6)
    packed.pack(BLOCKS, [skipped(packed, SKIPPED)])
    assert files(packed) == ["blocks-0000003-0000009.pack"]
    assert packed.payload(4) == b"another field"


def test_jobs_of_another_size_find_what_is_packed(packed):
    packed.pack(range(3, 6), [])
    assert packed.payload(3) == payload(3)
    publish(packed, 9)
    packed.pack(range(3, 10))
    assert files(packed) == ["blocks-0000003-0000010.pack"], "packs that lie within the new one go"
    assert {i: packed.state(i) for i in range(3, 10)} == {i: "skipped" if i == SKIPPED else "done" for i in range(3, 10)}


@pytest.mark.parametrize("at", ["payload", "table", "length"])
def test_a_flipped_bit_costs_what_it_touches(packed, at):
    (path,) = packed.folder.iterdir()
    data = bytearray(path.read_bytes())
    n_table = int.from_bytes(data[:8], "little")
    place = {"payload": len(data) - 1, "table": data.index(b'"format"') + 2, "length": 3}[at]
    data[place] ^= 1
    path.write_bytes(data)
    fresh = FieldStore(packed.folder.parent, FINGERPRINT)
    lost = {i for i in BLOCKS if not fresh.sound(i)}
    assert lost == ({8} if at == "payload" else set(BLOCKS))
    assert n_table < len(data)


def test_a_pack_cut_off_holds_the_blocks_before_the_cut(packed):
    (path,) = packed.folder.iterdir()
    path.write_bytes(path.read_bytes()[: -(len(payload(8)) + 3)])
    fresh = FieldStore(packed.folder.parent, FINGERPRINT)
    assert [i for i in BLOCKS if fresh.state(i) == "missing"] == [7, 8]
    assert [i for i in BLOCKS if fresh.sound(i)] == [3, 4, 5, 6]


def test_a_pack_of_another_fit_is_none(packed):
    (path,) = packed.folder.iterdir()
    assert Pack.open(path, fingerprint("another")) is None
    assert Pack.open(path, FINGERPRINT) is not None


def test_a_withdrawn_block_is_gone_and_the_others_are_not(packed):
    packed.withdraw(6)
    assert packed.state(6) == "missing"
    assert {i for i in BLOCKS if packed.sound(i)} == set(BLOCKS) - {6}
    publish(packed, 6)
    packed.pack(BLOCKS, [skipped(packed, SKIPPED)])
    assert packed.payload(6) == payload(6)


def test_tidying_frees_the_fields_and_keeps_the_word_of_them(packed):
    before = {i: packed.read(i) for i in BLOCKS}
    size = sum(len(payload(i)) for i in BLOCKS if i != SKIPPED)
    assert packed.tidy() == size
    assert files(packed) == ["blocks-0000003-0000009.records"]
    assert {i: packed.read(i) for i in BLOCKS} == before
    assert {packed.state(i) for i in BLOCKS} == {"done", "skipped"}
    # What is not there has to be fitted again if it is needed.
    assert {i for i in BLOCKS if packed.sound(i)} == {SKIPPED}
    assert packed.tidy() == 0
    for index in BLOCKS:
        if index != SKIPPED:
            publish(packed, index)
    packed.pack(BLOCKS, [skipped(packed, SKIPPED)])
    assert files(packed) == ["blocks-0000003-0000009.pack"]


def test_every_block_is_told_once_and_what_lies_loose_counts(packed):
    publish(packed, 4, "failed")
    publish(packed, 11)
    told = list(packed.records())
    assert sorted(i for i, _ in told) == [*BLOCKS, 11]
    states = {i: record["state"] for i, record in told}
    assert (states[4], states[SKIPPED], states[8], states[11]) == ("failed", "skipped", "done", "done")
    assert dict(told)[3]["seconds"] == 1.5


def test_a_million_blocks_are_told_within_seconds(tmp_path):
    store = FieldStore(tmp_path, FINGERPRINT)
    n, per_pack = 100_000, 1000
    for first in range(0, n, per_pack):
        one = {"state": "done", "seconds": 2.0, "field_sha256": "0" * 64}
        entries = [{"block_id": i, **one} for i in range(first, first + per_pack)]
        text = json.dumps({"format": "isofield-pack-1", "fingerprint": FINGERPRINT, "records": entries}).encode()
        path = store.pack_path(range(first, first + per_pack)).with_suffix(".records")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(len(text).to_bytes(8, "little") + text)
    started = time.process_time()
    assert sum(1 for _ in store.records()) == n
    assert store.state(n // 2) == "done"
    assert time.process_time() - started < 6.0, "a million would take ten times as long"


N_LARGE, FIELD_BYTES = 24, 400_000


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_packing_holds_two_fields_at_most_however_many_there_are(tmp_path):
    """A job of a large volume has thousands of them. So it is when a pack is written anew, and when it is tidied."""
    store = FieldStore(tmp_path, FINGERPRINT)
    for index in range(N_LARGE):
        store.publish(BlockRecord(block_id=index, state="done", fingerprint=FINGERPRINT), os.urandom(FIELD_BYTES))
    few = 2.5 * FIELD_BYTES
    assert FIELD_BYTES < peak_bytes(lambda: store.pack(range(N_LARGE))) < few
    assert store.pack_path(range(N_LARGE)).stat().st_size > N_LARGE * FIELD_BYTES
    store.publish(BlockRecord(block_id=7, state="done", fingerprint=FINGERPRINT), os.urandom(FIELD_BYTES))
    assert peak_bytes(lambda: store.pack(range(N_LARGE))) < few
    assert peak_bytes(lambda: store.withdraw(3)) < few
    # Negative control: whoever gathers them first holds them all.
    assert peak_bytes(lambda: [store.payload(i) for i in range(N_LARGE)]) > (N_LARGE - 2) * FIELD_BYTES
    assert peak_bytes(store.tidy) < few


PACKER = """
import sys
from isofield.fieldstore import FieldStore
from isofield.blockrecords import BlockRecord
root, fingerprint = sys.argv[1:]
store = FieldStore(root, fingerprint)
print("ready", flush=True)
while True:
    store.publish(BlockRecord(block_id=0, state="done", fingerprint=fingerprint), bytes(2_000_000))
    store.pack(range(12))
"""


def test_killed_while_packing_every_block_is_sound(tmp_path):
    """A packer is killed at moments all over its work; whatever was there before is there after."""
    store = FieldStore(tmp_path, FINGERPRINT)
    for index in range(12):
        record = BlockRecord(block_id=index, state="done", fingerprint=FINGERPRINT)
        store.publish(record, bytes(2_000_000) if index == 0 else os.urandom(300_000))
    expected = {i: store.payload(i) for i in range(12)}
    n_partials = 0
    for attempt in range(16):
        process = subprocess.Popen([sys.executable, "-c", PACKER, str(tmp_path), FINGERPRINT], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.01 + 0.007 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_partials += len(list(store.folder.glob("*.partial")))
        fresh = FieldStore(tmp_path, FINGERPRINT)
        # Block 0 may have been in the making: its record goes before its new field comes.
        assert {i: fresh.payload(i) for i in range(1, 12)} == {i: expected[i] for i in range(1, 12)}
        assert fresh.payload(0) in (None, expected[0])
    assert n_partials > 0, "no kill met a file in the making"
