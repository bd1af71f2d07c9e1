"""Block records; writers are killed at every file operation or at any time."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from isofield.blockrecords import BlockRecord, RecordStore
from isofield.records import fingerprint, sha256_file, sweep_partials, write_bytes_atomic
from test_records import python

FINGERPRINT = fingerprint("geometry", 1)
PAYLOAD = bytes(range(256)) * 64


def record_of(block_id: int, state: str = "done", store_fingerprint: str = FINGERPRINT) -> BlockRecord:
    return BlockRecord(block_id=block_id, state=state, fingerprint=store_fingerprint, seconds=1.5, stats={"loss": 0.25})


def is_whole(store: RecordStore, block_id: int) -> bool:
    """Whether the block has a state and its payload, if it names one, is the one it names."""
    record = store.read(block_id)
    if record is None or store.state(block_id) == "missing":
        return False
    return record.field_file is None or sha256_file(store.payload_path(block_id)) == record.field_sha256


def test_a_published_block_is_done_and_reads_back(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    published = store.publish(record_of(7), PAYLOAD)
    assert store.read(7) == published
    assert (store.state(7), is_whole(store, 7)) == ("done", True)
    assert published.field_sha256 == sha256_file(store.payload_path(7))
    assert store.payload_path(7).read_bytes() == PAYLOAD
    assert [store.state(block_id) for block_id in (6, 7)] == ["missing", "done"]
    store.withdraw(7)
    store.withdraw(7)
    assert os.listdir(store.folder) == []


def test_states_other_than_done_need_no_payload(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    for block_id, state in enumerate(("skipped", "failed", "fallback")):
        store.publish(record_of(block_id, state), None)
    assert [store.state(block_id) for block_id in range(4)] == ["skipped", "failed", "fallback", "missing"]
    assert [is_whole(store, block_id) for block_id in range(4)] == [True, True, True, False]


def test_publishing_again_removes_a_payload_that_no_longer_counts(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    store.publish(record_of(0), PAYLOAD)
    store.publish(record_of(0, "failed"), None)
    assert store.state(0) == "failed"
    assert not store.payload_path(0).exists()


def test_a_diverged_fit_can_still_say_so(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    record = BlockRecord(
        block_id=0,
        state="failed",
        fingerprint=FINGERPRINT,
        stats={"loss": float("nan"), "psnr": np.float32(2)},
    )
    store.publish(record, None)
    assert store.read(0).stats == {"loss": None, "psnr": 2.0}


def test_a_done_block_needs_a_payload_and_the_stores_fingerprint(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    with pytest.raises(ValueError, match="no payload"):
        store.publish(record_of(0), None)
    with pytest.raises(ValueError, match="fingerprint"):
        store.publish(record_of(0, store_fingerprint="other"), PAYLOAD)
    assert store.state(0) == "missing"


@pytest.mark.parametrize("kept_bytes", [0, 1, 40, -2])
def test_a_truncated_record_is_no_record(tmp_path, kept_bytes):
    store = RecordStore(tmp_path, FINGERPRINT)
    store.publish(record_of(0), PAYLOAD)
    file = store.record_path(0)
    file.write_bytes(file.read_bytes()[:kept_bytes])
    assert store.read(0) is None
    assert (store.state(0), is_whole(store, 0)) == ("missing", False)


def test_a_lost_cut_or_altered_payload_is_noticed(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    store.publish(record_of(0), PAYLOAD)
    payload = store.payload_path(0)
    payload.write_bytes(PAYLOAD[:-1] + b"x")
    assert (store.state(0), is_whole(store, 0)) == ("done", False)  # the state is told by the size alone
    payload.write_bytes(PAYLOAD[:-1])
    assert (store.state(0), is_whole(store, 0)) == ("missing", False)
    payload.unlink()
    assert (store.state(0), is_whole(store, 0)) == ("missing", False)


def test_two_fingerprints_never_mix(tmp_path):
    ours, theirs = RecordStore(tmp_path, FINGERPRINT), RecordStore(tmp_path, fingerprint("geometry", 2))
    ours.publish(record_of(0), PAYLOAD)
    assert theirs.state(0) == "missing"
    # Even a file put in the other's folder, or under another block's name, does not count.
    for target, store in ((theirs.record_path(0), theirs), (ours.record_path(1), ours)):
        write_bytes_atomic(target, ours.record_path(0).read_bytes())
        write_bytes_atomic(target.with_suffix(".safetensors"), PAYLOAD)
        assert store.state(int(target.stem[-1])) == "missing"
    assert is_whole(ours, 0)
    # Negative control: the same copy under its own name and fingerprint does count.
    ours.record_path(0).rename(tmp_path / "copy")
    assert ours.state(0) == "missing"
    (tmp_path / "copy").rename(ours.record_path(0))
    assert ours.state(0) == "done"


# Killed writers. Children are forked from one fresh interpreter, which costs milliseconds each.

KILL_AT_EVERY_FILE_OPERATION = """
import os, signal, sys
from pathlib import Path
from isofield.blockrecords import BlockRecord, RecordStore
from isofield.records import write_bytes_atomic, write_json

root, order, fingerprint = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
old, new = bytes([1]) * 5000, bytes([2]) * 5000
record = BlockRecord(block_id=0, state="done", fingerprint=fingerprint)

def record_first(store):
    completed = store.publish(record, new)
    store.publish(record, old)
    arm()
    write_json(store.record_path(0), completed)
    write_bytes_atomic(store.payload_path(0), new)

def payload_first(store):
    arm()
    store.publish(record, new)

def arm():
    left = n
    def hook(event, args):
        nonlocal left
        if event in ("open", "os.rename", "os.remove", "os.mkdir"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

for n in range(100):
    for before in ("nothing", "old"):
        store = RecordStore(root / f"{n}-{before}", fingerprint)
        if before == "old":
            store.publish(record, old)
        if (pid := os.fork()) == 0:
            {"payload_first": payload_first, "record_first": record_first}[order](store)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
    if status == 0:
        break
print(n)
"""


def killed_stores(tmp_path, order: str) -> list[RecordStore]:
    n_operations = int(python(KILL_AT_EVERY_FILE_OPERATION, tmp_path, order, FINGERPRINT).communicate(timeout=120)[0])
    assert 4 <= n_operations < 99
    return [RecordStore(folder, FINGERPRINT) for folder in sorted(tmp_path.iterdir())]


def test_a_kill_before_any_file_operation_never_leaves_a_record_that_lies(tmp_path):
    stores = killed_stores(tmp_path, "payload_first")
    states = [(store.state(0), is_whole(store, 0)) for store in stores]
    assert set(states) == {("missing", False), ("done", True)}
    for store in stores:
        store.publish(record_of(0), PAYLOAD)
        assert is_whole(store, 0)
        sweep_partials(store.folder, min_age_s=0)
        assert sorted(os.listdir(store.folder)) == ["block-000000.json", "block-000000.safetensors"]


def test_publishing_the_record_first_would_lie(tmp_path):
    """Negative control: the same kills, with record and payload in the wrong order."""
    assert any(store.state(0) == "done" and not is_whole(store, 0) for store in killed_stores(tmp_path, "record_first"))


KILL_AT_ANY_TIME = """
import os, random, signal, sys, time
from pathlib import Path
from isofield.blockrecords import BlockRecord, RecordStore
from isofield.records import sha256_file

root, fingerprint, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
random.seed(seed)
store = RecordStore(root, fingerprint)
n_killed = 0
for round in range(10):
    if (pid := os.fork()) == 0:
        for block_id in random.Random(round).choices(range(24), k=100_000):
            payload = bytes([block_id]) * 2_000_000
            store.publish(BlockRecord(block_id=block_id, state="done", fingerprint=fingerprint), payload)
        os._exit(0)
    time.sleep(random.uniform(0.001, 0.05))
    os.kill(pid, signal.SIGKILL)
    n_killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    there = [i for i in range(24) if store.state(i) != "missing"]
    wrong = [i for i in there if sha256_file(store.payload_path(i)) != store.read(i).field_sha256]
    print(round, "lies:", wrong)
print("killed", n_killed)
"""


def test_kills_at_any_time_then_a_rerun_give_the_bytes_of_an_undisturbed_run(tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    lines = python(KILL_AT_ANY_TIME, tmp_path, FINGERPRINT, seed).communicate(timeout=120)[0].splitlines()
    assert lines[:-1] == [f"{i} lies: []" for i in range(10)], f"seed {seed}"
    assert lines[-1] == "killed 10"
    store, clean = RecordStore(tmp_path, FINGERPRINT), RecordStore(tmp_path / "clean", FINGERPRINT)
    record = {i: BlockRecord(block_id=i, state="done", fingerprint=FINGERPRINT) for i in range(24)}
    for block_id in range(24):
        if store.state(block_id) != "done":
            store.publish(record[block_id], bytes([block_id]) * 2_000_000)
        clean.publish(record[block_id], bytes([block_id]) * 2_000_000)
    sweep_partials(store.folder, min_age_s=0)
    assert sorted(os.listdir(store.folder)) == sorted(os.listdir(clean.folder))
    for file in store.folder.iterdir():
        assert sha256_file(file) == sha256_file(clean.folder / file.name)
