"""Atomic files, fingerprints and block records; writers are killed at every file operation or at any time."""

from __future__ import annotations

import ast
import json
import os
import random
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isofield import records
from isofield.errors import InputError
from isofield.records import (
    BlockRecord,
    RecordStore,
    fingerprint,
    publish_json_if_changed,
    read_json,
    sha256_file,
    sweep_partials,
    write_bytes_atomic,
    write_json,
)

FINGERPRINT = fingerprint("geometry", 1)
PAYLOAD = bytes(range(256)) * 64


def record_of(block_id: int, state: str = "done", store_fingerprint: str = FINGERPRINT) -> BlockRecord:
    return BlockRecord(block_id=block_id, state=state, fingerprint=store_fingerprint, seconds=1.5, stats={"loss": 0.25})


def python(script: str, *args: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


# Fingerprints


@dataclass(frozen=True)
class Part:
    ratio: Fraction
    shape: tuple[int, ...]


def test_fingerprint_is_the_same_in_another_process_with_another_hash_seed():
    parts = 'Fraction(250, 23), {"b": {3, 1, 2}, "a": (1, 2.5, None, True)}, Path("x/y")'
    script = (
        "from fractions import Fraction; from pathlib import Path; from isofield.records import fingerprint; "
        f"print(fingerprint({parts}))"
    )
    here = fingerprint(Fraction(250, 23), {"a": (1, 2.5, None, True), "b": {1, 2, 3}}, Path("x/y"))
    assert python(script).communicate(timeout=60)[0].strip() == here


def test_fingerprint_sees_through_the_kind_of_container_and_scalar():
    assert fingerprint({"a": 1, "b": (1, 2)}) == fingerprint({"b": [np.int64(1), 2], "a": np.uint8(1)})
    assert fingerprint(np.float64(0.1), np.arange(3), np.bool_(True)) == fingerprint(0.1, [0, 1, 2], True)
    assert fingerprint(Part(Fraction(8, 3), (1, 2))) == fingerprint({"ratio": Fraction(16, 6), "shape": [1, 2]})
    assert fingerprint(record_of(1)) == fingerprint(record_of(1).model_dump())


def test_fingerprint_tells_different_things_apart():
    different = [
        (1,),
        (1.0,),
        ("1",),
        (True,),
        (None,),
        ([1],),
        (1, 1),
        ([1, 1],),
        (Fraction(1, 3),),
        (1 / 3,),
        (),
    ]
    assert len({fingerprint(*parts) for parts in different}) == len(different)


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=6))
def test_fingerprint_ignores_the_order_of_keys(values):
    assert fingerprint(values) == fingerprint(dict(reversed(values.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_fingerprint_refuses_numbers_that_do_not_equal_themselves(value):
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(value)


@pytest.mark.parametrize("value", [object(), b"bytes", {(1, 2): 3}])
def test_fingerprint_refuses_what_has_no_canonical_form(value):
    with pytest.raises(TypeError):
        fingerprint(value)


# Files


def test_write_json_respects_the_umask_and_leaves_no_partial(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "new" / "a.json", {"ratio": Fraction(10, 3), "path": Path("b"), "loss": float("nan")})
    finally:
        os.umask(before)
    file = tmp_path / "new" / "a.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert read_json(file) == {"ratio": "10/3", "path": "b", "loss": None}
    assert os.listdir(file.parent) == ["a.json"]


def test_publish_if_changed_keeps_the_time_of_an_equal_file(tmp_path):
    file = tmp_path / "a.json"
    assert publish_json_if_changed(file, {"a": 1, "b": (2,)})
    os.utime(file, (1, 1))
    assert not publish_json_if_changed(file, {"b": [2], "a": 1})
    assert file.stat().st_mtime == 1
    assert publish_json_if_changed(file, {"b": [2], "a": 1.0})
    assert file.stat().st_mtime > 1
    file.write_text('{"a": 1')
    assert publish_json_if_changed(file, {"a": 1})
    assert read_json(file) == {"a": 1}


@pytest.mark.parametrize("content", [b"", b'{"a": 1, "b"', b"\xff\xfe", None])
def test_read_json_names_the_file_and_what_to_do(tmp_path, content):
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json.*run|plan\.json.*Run"):
        read_json(file)


def test_a_full_disk_leaves_the_old_file_and_no_partial(tmp_path):
    file = tmp_path / "a.bin"
    write_bytes_atomic(file, b"old")
    script = (
        "import resource, sys; from isofield.records import write_bytes_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_bytes_atomic(sys.argv[1], bytes(100_000))\n"
        "except OSError as error: print('refused', error.errno)\n"
    )
    assert python(script, file).communicate(timeout=60)[0].startswith("refused")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_unencodable_object_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError, match="object"):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == 1


def test_sweep_removes_only_old_partials(tmp_path):
    for name, age_s in {"a.1.partial": 5000, "b.2.partial": 10, "c.json": 5000}.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    (tmp_path / "image.3.partial" / "0").mkdir(parents=True)
    os.utime(tmp_path / "image.3.partial", (1, 1))
    assert sweep_partials(tmp_path, 3600) == 2
    assert sorted(os.listdir(tmp_path)) == ["b.2.partial", "c.json"]


# Records


def test_a_published_block_is_done_and_reads_back(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    published = store.publish(record_of(7), PAYLOAD)
    assert store.read(7) == published
    assert (store.state(7), store.check(7)) == ("done", True)
    assert published.field_sha256 == sha256_file(store.payload_path(7))
    assert store.payload_path(7).read_bytes() == PAYLOAD
    assert store.scan([6, 7]) == {6: "missing", 7: "done"}
    store.withdraw(7)
    store.withdraw(7)
    assert os.listdir(store.folder) == []


def test_states_other_than_done_need_no_payload(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    for block_id, state in enumerate(("skipped", "failed", "fallback")):
        store.publish(record_of(block_id, state), None)
    assert store.scan(range(4)) == {0: "skipped", 1: "failed", 2: "fallback", 3: "missing"}
    assert [store.check(block_id) for block_id in range(4)] == [True, True, True, False]


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
    assert store.scan([0]) == {0: "missing"}


@pytest.mark.parametrize("kept_bytes", [0, 1, 40, -2])
def test_a_truncated_record_is_no_record(tmp_path, kept_bytes):
    store = RecordStore(tmp_path, FINGERPRINT)
    store.publish(record_of(0), PAYLOAD)
    file = store.record_path(0)
    file.write_bytes(file.read_bytes()[:kept_bytes])
    assert store.read(0) is None
    assert (store.state(0), store.check(0), store.scan([0])) == ("missing", False, {0: "missing"})


def test_a_lost_cut_or_altered_payload_is_noticed(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    store.publish(record_of(0), PAYLOAD)
    payload = store.payload_path(0)
    payload.write_bytes(PAYLOAD[:-1] + b"x")
    assert (store.state(0), store.check(0)) == ("done", False)  # only check() reads the payload
    payload.write_bytes(PAYLOAD[:-1])
    assert (store.state(0), store.check(0)) == ("missing", False)
    payload.unlink()
    assert (store.state(0), store.check(0), store.scan([0])) == ("missing", False, {0: "missing"})


def test_two_fingerprints_never_mix(tmp_path):
    ours, theirs = RecordStore(tmp_path, FINGERPRINT), RecordStore(tmp_path, fingerprint("geometry", 2))
    ours.publish(record_of(0), PAYLOAD)
    assert theirs.scan([0]) == {0: "missing"}
    # Even a file put in the other's folder, or under another block's name, does not count.
    for target, store in ((theirs.record_path(0), theirs), (ours.record_path(1), ours)):
        write_bytes_atomic(target, ours.record_path(0).read_bytes())
        write_bytes_atomic(target.with_suffix(".safetensors"), PAYLOAD)
        assert store.state(int(target.stem[-1])) == "missing"
    assert ours.check(0)
    # Negative control: the same copy under its own name and fingerprint does count.
    ours.record_path(0).rename(tmp_path / "copy")
    assert ours.state(0) == "missing"
    (tmp_path / "copy").rename(ours.record_path(0))
    assert ours.state(0) == "done"


def test_scanning_is_fast(tmp_path):
    store = RecordStore(tmp_path, FINGERPRINT)
    store.publish(record_of(0), PAYLOAD)
    text = json.loads(store.record_path(0).read_text())
    for block_id in range(1, 1000):
        store.record_path(block_id).write_text(json.dumps({**text, "block_id": block_id, "checksum": None}))
        store.payload_path(block_id).write_bytes(PAYLOAD)
    begin = time.perf_counter()
    states = store.scan(range(100_000))
    assert time.perf_counter() - begin < 5
    assert sum(state == "done" for state in states.values()) == 1000


def test_the_module_loads_nothing_heavy():
    script = "import sys, isofield.records; print(*sys.modules)"
    loaded = set(python(script).communicate(timeout=60)[0].split())
    assert "isofield.records" in loaded
    assert not loaded & {"torch", "dask", "zarr", "pandas", "numpy"}
    imports = [node for node in ast.walk(ast.parse(Path(records.__file__).read_text())) if isinstance(node, ast.Import)]
    assert not {alias.name for node in imports for alias in node.names} & {"torch", "dask", "zarr", "pandas"}


# Killed writers. Children are forked from one fresh interpreter, which costs milliseconds each.

KILL_AT_EVERY_FILE_OPERATION = """
import os, signal, sys
from pathlib import Path
from isofield.records import BlockRecord, RecordStore, write_bytes_atomic, write_json

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
    states = [(store.state(0), store.check(0)) for store in stores]
    assert set(states) == {("missing", False), ("done", True)}
    for store in stores:
        store.publish(record_of(0), PAYLOAD)
        assert store.check(0)
        store.sweep(min_age_s=0)
        assert sorted(os.listdir(store.folder)) == ["block-000000.json", "block-000000.safetensors"]


def test_publishing_the_record_first_would_lie(tmp_path):
    """Negative control: the same kills, with record and payload in the wrong order."""
    assert any(store.state(0) == "done" and not store.check(0) for store in killed_stores(tmp_path, "record_first"))


KILL_AT_ANY_TIME = """
import os, random, signal, sys, time
from pathlib import Path
from isofield.records import BlockRecord, RecordStore, sha256_file

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
    wrong = [i for i, state in store.scan(range(24)).items() if state != "missing" and not store.check(i)]
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
    for block_id, state in store.scan(range(24)).items():
        if state != "done":
            store.publish(record[block_id], bytes([block_id]) * 2_000_000)
        clean.publish(record[block_id], bytes([block_id]) * 2_000_000)
    store.sweep(min_age_s=0)
    assert sorted(os.listdir(store.folder)) == sorted(os.listdir(clean.folder))
    for file in store.folder.iterdir():
        assert sha256_file(file) == sha256_file(clean.folder / file.name)
