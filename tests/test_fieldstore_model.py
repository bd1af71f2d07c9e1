"""The store of records and fields against a dictionary: publish, pack, tidy, damage and kill in any order."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from isofield.blockrecords import BlockRecord
from isofield.fieldstore import FieldStore, Pack
from isofield.records import fingerprint

FINGERPRINT, OTHER = fingerprint("a fit"), fingerprint("another")
N = 6
blocks = st.integers(0, N - 1)
payloads = st.binary(min_size=1, max_size=40)


@dataclass
class Known:
    """What the model knows of a block: its word, its field (None: none, damaged or tidied away), whether it lies loose."""

    state: str
    payload: bytes | None
    loose: bool = True
    lost: bool = False


class Store(RuleBasedStateMachine):
    """Blocks in jobs of equal size; every step may be seen by a process that has just started."""

    @initialize(per_job=st.sampled_from([1, 2, 3, 6]))
    def begin(self, per_job) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store, self.model, self.per_job = FieldStore(self.folder, FINGERPRINT), {}, per_job
        self.fields_tidied: dict[int, bool] = {}

    def teardown(self) -> None:
        shutil.rmtree(getattr(self, "folder", "/nonexistent"), ignore_errors=True)

    def job_of(self, index: int) -> range:
        first = index // self.per_job * self.per_job
        return range(first, first + self.per_job)

    def record(self, index: int, state: str, of: str = FINGERPRINT) -> BlockRecord:
        return BlockRecord(block_id=index, state=state, fingerprint=of, seconds=index / 2)

    @rule(index=blocks, payload=payloads)
    def publish_a_field(self, index, payload) -> None:
        self.store.publish(self.record(index, "done"), payload)
        self.model[index] = Known("done", payload)

    @rule(index=blocks, payload=payloads)
    def finish_a_job(self, index, payload) -> None:
        for i in self.job_of(index):
            self.publish_a_field(i, payload + bytes([i]))
        self.pack_a_job(index, skip=False)

    @rule(index=blocks, state=st.sampled_from(["failed", "skipped"]))
    def publish_a_word(self, index, state) -> None:
        self.store.publish(self.record(index, state), None)
        self.model[index] = Known(state, None)

    @rule(index=blocks, payload=payloads)
    def publish_to_another_fit(self, index, payload) -> None:
        FieldStore(self.folder, OTHER).publish(self.record(index, "done", OTHER), payload)

    @rule(index=blocks)
    def withdraw(self, index) -> None:
        packed_fields = self.has_pack(index, ".pack")
        was_packed = packed_fields and index in Pack.open(self.store.pack_path(self.job_of(index)), FINGERPRINT).entries
        self.store.withdraw(index)
        self.model.pop(index, None)
        if was_packed:
            # The pack is written anew; what was damaged in it is as good as missing.
            for other in self.job_of(index):
                known = self.model.get(other)
                if known and not known.loose and known.lost:
                    del self.model[other]

    def has_pack(self, index: int, suffix: str) -> bool:
        return self.store.pack_path(self.job_of(index)).with_suffix(suffix).exists()

    @rule(index=blocks, skip=st.booleans())
    def pack_a_job(self, index, skip) -> None:
        job = self.job_of(index)
        skipped = [self.record(i, "skipped") for i in job if skip and i not in self.model]
        known = {i: self.model[i] for i in job if i in self.model}
        complete = len(known) + len(skipped) == len(job)
        there = Pack.open(self.store.pack_path(job), FINGERPRINT)
        anew = any(k.loose for k in known.values()) or there is None or there.entries.keys() != set(job)
        sound = all(k.state != "done" or k.payload is not None for k in known.values())
        if anew and not (complete and sound):
            with pytest.raises(ValueError, match=r"no record of blocks|is damaged"):
                self.store.pack(job, skipped)
            return
        self.store.pack(job, skipped)
        for record in skipped:
            self.model[record.block_id] = Known("skipped", None)
        for i in job if anew else ():
            self.model[i].loose = False

    @rule()
    def tidy(self) -> None:
        if not self.store.folder.exists():
            return
        self.store.tidy()
        for index, known in self.model.items():
            if not known.loose and self.has_pack(index, ".records"):
                known.payload, known.lost = None, False

    @precondition(lambda self: any(k.payload for k in getattr(self, "model", {}).values()))
    @rule(data=st.data())
    def flip_a_bit_of_a_field(self, data) -> None:
        index = data.draw(st.sampled_from(sorted(i for i, k in self.model.items() if k.payload)))
        known = self.model[index]
        file, at = self.store.loose.payload_path(index), -1
        if not known.loose:
            file = self.store.pack_path(self.job_of(index))
            at = Pack.open(file, FINGERPRINT).offsets[index]
        content = bytearray(file.read_bytes())
        content[at] ^= 1
        file.write_bytes(content)
        known.payload, known.lost = None, True

    @rule(index=blocks, name=st.sampled_from(["block-000001.json", "block-000002.safetensors", "blocks-0000000-0000003.pack"]))
    def leave_what_a_killed_writer_leaves(self, index, name) -> None:
        self.store.folder.mkdir(parents=True, exist_ok=True)
        (self.store.folder / f"{name}.{index}.partial").write_bytes(b"half of")

    @rule()
    def start_a_new_process(self) -> None:
        self.store = FieldStore(self.folder, FINGERPRINT)

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        for store in (self.store, FieldStore(self.folder, FINGERPRINT)):
            for index in range(N):
                known = self.model.get(index)
                assert store.state(index) == (known.state if known else "missing")
                assert store.payload(index) == (known.payload if known else None)
                assert (store.read(index) is None) == (known is None)
                assert store.sound(index) == bool(known and (known.state == "skipped" or known.payload is not None))
            told = list(store.records())
            assert sorted(index for index, _ in told) == sorted(self.model)
            assert {index: record["state"] for index, record in told} == {i: k.state for i, k in self.model.items()}


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=25, derandomize=True)


@pytest.mark.parametrize("broken", ["withdraw", "sound", "records"])
def test_a_store_that_does_otherwise_is_noticed(broken, monkeypatch):
    """Negative control: the model is sharp."""
    wrong = {
        "withdraw": lambda store, index: store.loose.withdraw(index),
        "records": lambda store: iter(()),
        "sound": lambda store, index: store.read(index) is not None,
    }
    monkeypatch.setattr(FieldStore, broken, wrong[broken])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Store, settings=settings(TestStore.settings, database=None, phases=[Phase.generate]))
