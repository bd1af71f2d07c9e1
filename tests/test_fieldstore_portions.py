"""Portions: a job that is under way packs its blocks now and then, and nothing is lost by it."""

from __future__ import annotations

import os

import pytest

from fieldstore_example import BLOCKS, FINGERPRINT, SKIPPED, contents, files, loose_store, payload, publish, skipped
from isofield.fieldstore import FieldStore, Pack


@pytest.fixture
def store(tmp_path) -> FieldStore:
    return loose_store(tmp_path)


def test_portions_say_what_the_loose_files_did_and_one_pack_takes_them_over(store):
    before = contents(store)
    store.pack_portion([3, 4])
    store.pack_portion([6, 8])
    assert files(store) == [
        "block-000007.json",
        "block-000007.safetensors",
        "blocks-0000003-0000005.pack",
        "blocks-0000006-0000009.pack",
    ]
    assert contents(store) == contents(FieldStore(store.folder.parent, FINGERPRINT)) == before
    store.pack(BLOCKS, [skipped(store, SKIPPED)])
    assert files(store) == ["blocks-0000003-0000009.pack"]
    assert {i: c for i, c in contents(store).items() if i != SKIPPED} == {i: c for i, c in before.items() if i != SKIPPED}


def test_a_portion_of_the_same_span_keeps_what_was_there(store):
    """Its first and last block were fitted again; the one between them was not."""
    store.pack_portion([3, 4, 8])
    before = contents(store)
    for index in (3, 8):
        publish(store, index)
    store.pack_portion([3, 8])
    assert files(store).count("blocks-0000003-0000009.pack") == 1
    assert contents(store) == before


def test_what_is_damaged_stays_out_of_a_portion(store):
    path = store.loose.payload_path(4)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    store.pack_portion([3, 4, 6])
    assert "block-000004.json" in files(store)
    assert [store.sound(i) for i in (3, 4, 6)] == [True, False, True]
    # Fitted again, it counts.
    publish(store, 4)
    assert store.payload(4) == payload(4)


def test_a_portion_left_by_a_writer_killed_before_it_removed_it_is_removed_by_the_next(store):
    store.pack_portion([3, 4])
    portion = store.pack_path([3, 4])
    content = portion.read_bytes()
    about = store.pack(BLOCKS, [skipped(store, SKIPPED)])
    portion.write_bytes(content)
    again = FieldStore(store.folder.parent, FINGERPRINT)
    assert again.pack(BLOCKS) == about
    assert files(again) == ["blocks-0000003-0000009.pack"]


def test_a_portion_that_was_fitted_again_takes_the_place_of_what_its_job_had_packed(store):
    """A job that was complete lost fields, fitted them again, packed them as a portion, and was killed."""
    store.pack(BLOCKS, [skipped(store, SKIPPED)])
    pack = store.pack_path(BLOCKS)
    content = bytearray(pack.read_bytes())
    content[Pack.open(pack, FINGERPRINT).offsets[4]] ^= 1
    pack.write_bytes(content)
    os.utime(pack, ns=(0, pack.stat().st_mtime_ns - 10**9))
    assert not store.sound(4)
    for index in (3, 4):
        publish(store, index)
    store.pack_portion([3, 4])
    again = FieldStore(store.folder.parent, FINGERPRINT)
    assert again.sound(4)
    again.pack(BLOCKS)
    assert files(again) == [pack.name]
    assert FieldStore(store.folder.parent, FINGERPRINT).payload(4) == payload(4)
