"""What goes wrong on the way to a place on a Google Cloud Storage server, and what is said of it."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from elsewhere import elsewhere
from gs_door import account, guarded

from isofield.errors import InputError
from isofield.source import open_source
from isofield.source.spec import SourceSpec
from isofield.storage.place import place_of
from isofield.storage.uri import RefusedError
from object_stores import BUCKET, SECRET, files_of

URI = f"gs://{BUCKET}/kept/a.zarr"
ACTS = {
    "read": lambda place: place.read("zarr.json"),
    "size": lambda place: place.size("zarr.json"),
    "write": lambda place: place.write("zarr.json", b"x"),
    "delete": lambda place: place.delete(["zarr.json"]),
    "keys": lambda place: place.keys(),
    "empty": lambda place: place.empty(),
}


@pytest.fixture
def door(gs, monkeypatch):
    """Address of a door before the server; this process knocks there, as nobody."""
    with guarded(gs.address) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield address


@pytest.fixture
def known_as(door, tmp_path, monkeypatch):
    """Makes this process an account, by its key in the environment."""
    from isofield.storage.gcs import Client

    def become(name: str):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account(tmp_path, name, door)))
        monkeypatch.setattr(Client, "_cache", {})

    return become


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What reaches the log of a program that has one."""
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(handler)
    yield handler.stream
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def quick(monkeypatch):
    """gcsfs tries six times within half a minute; here without waiting."""
    import asyncio

    from gcsfs import retry

    monkeypatch.setattr(retry, "asyncio", SimpleNamespace(sleep=lambda _: asyncio.sleep(0)))


def test_an_account_is_known_by_the_key_in_the_environment_and_nowhere_else(gs, known_as, door, tmp_path):
    known_as("owner")
    place = place_of(URI, "output.path")
    place.write("0/c/0", b"voxels")
    assert (place.read("0/c/0"), place.keys(), gs.files("kept/a.zarr")) == (b"voxels", ["0/c/0"], {"0/c/0": b"voxels"})
    values = np.arange(24, dtype="uint16").reshape(2, 3, 4)
    zarr.save_array(tmp_path / "a.zarr", values)
    gs.put(files_of(tmp_path / "a.zarr"), "known/a.zarr")
    volume = open_source(SourceSpec(path=f"gs://{BUCKET}/known/a.zarr", voxel_size_nm=(5, 5, 5)))
    np.testing.assert_array_equal(volume.data.compute()[0], values)
    kept = str(volume.info)
    assert f"gs://{BUCKET}/known/a.zarr" in kept
    for planted in (SECRET, door, "owner@tests"):
        assert planted not in kept


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", ["403", None])
def test_strangers_are_refused(gs, known_as, name, act, logged):
    if name:
        known_as(name)
    gs.put({"zarr.json": b"{}"}, "kept/a.zarr")
    remedy = "does not permit it. Set GOOGLE_APPLICATION_CREDENTIALS"
    with pytest.raises(RefusedError, match=rf"output\.path: '{URI}.*{re.escape(remedy)}") as said:
        ACTS[act](place_of(URI, "output.path"))
    assert SECRET not in str(said.value) + logged.getvalue()
    assert gs.files("kept/a.zarr")["zarr.json"] == b"{}"


@pytest.mark.parametrize("name", ["400", "418", "500"])
def test_other_failures_are_named_and_the_answer_is_not_repeated(known_as, quick, name, logged):
    known_as(name)
    for act in ACTS.values():
        with pytest.raises(InputError, match=rf"output\.path: '{URI}.*cannot be reached or fails \(\w+( {name})?\)") as said:
            act(place_of(URI, "output.path"))
        assert SECRET not in str(said.value) + logged.getvalue()


def test_gcsfs_itself_repeats_what_was_sent(known_as, logged, monkeypatch):
    """Negative control of the two above: the secret was there to be repeated."""
    from isofield.storage.gcs import Client

    known_as("418")
    monkeypatch.setattr(logging.getLogger("gcsfs"), "propagate", True)
    with pytest.raises(Exception, match="not welcome") as said:
        Client().cat_file(f"{URI}/zarr.json")
    assert SECRET in str(said.value)
    assert SECRET in logged.getvalue()


def test_a_process_says_no_more_than_the_message(gs, door, tmp_path):
    key = account(tmp_path, "418", door)
    environment = {**gs.environment, "STORAGE_EMULATOR_HOST": door, "GOOGLE_APPLICATION_CREDENTIALS": str(key)}
    said = elsewhere(f"place_of({URI!r}, 'source.path').read('zarr.json')", environment)
    assert said.startswith("InputError source.path")
    assert said.count("\n") == 1
    assert json.loads(key.read_text())["private_key"][40:80] not in said


def test_a_process_ends_in_silence(gs, door, tmp_path):
    """Connections are kept open, the places' in one loop and zarr's in another, which is gone by then if zarr came second."""
    zarr.save_array(tmp_path / "a.zarr", np.ones((2, 3, 4), "uint16"))
    gs.put(files_of(tmp_path / "a.zarr"), "silent/a.zarr")
    environment = {**gs.environment, "STORAGE_EMULATOR_HOST": door}
    environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(account(tmp_path, "owner", door))
    read = f"SourceSpec(path='gs://{BUCKET}/silent/a.zarr', voxel_size_nm=(5, 5, 5))"
    imports = "import zarr; from isofield.source import open_source; from isofield.source.spec import SourceSpec"
    assert elsewhere(f"{imports}; print(open_source({read}).data.compute().sum())", environment) == "24\n"


def test_a_server_that_is_down_is_said_to_be(gs, quick, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(InputError, match=rf"source\.path: '{URI}/zarr\.json': the server cannot be reached"):
            place_of(URI, "source.path").read("zarr.json")


def test_a_bucket_that_may_not_be_listed_is_there(gs, known_as, monkeypatch):
    """Who may only read objects is told that one is missing, not that the bucket is."""
    from isofield.storage import gcs

    known_as("owner")
    asked = []

    def refused(fs, bucket):
        asked.append(bucket)
        raise OSError("Forbidden: b/volumes/o")

    monkeypatch.setattr(gcs, "_find_bucket", refused)
    assert place_of(URI, "source.path").read("not/there") is None
    assert asked == [BUCKET]
