"""Places in object stores, each on a real server: what was put there is there, under the names and in the buckets it was put."""

from __future__ import annotations

import pytest

from isofield.errors import InputError
from isofield.storage.place import place_of


def at(store, name: str, **keys):
    return place_of(store.uri(name, **keys), "output.path")


def test_a_place_is_what_was_put_there(store):
    place = at(store, "basic/a.zarr")
    assert place.empty()
    assert (place.read("zarr.json"), place.size("zarr.json"), place.keys(), place.folders()) == (None, None, [], [])
    place.write("zarr.json", b"{}")
    place.write("0/c/0", b"voxels")
    place.write("1/zarr.json", b"")
    assert (place.read("0/c/0"), place.size("0/c/0"), place.size("1/zarr.json"), place.size("0")) == (b"voxels", 6, 0, None)
    assert (place.keys(), place.folders()) == (["0/c/0", "1/zarr.json", "zarr.json"], ["0", "1"])
    assert not place.empty()
    place.write("0/c/0", b"others")
    assert store.files("basic/a.zarr") == {"zarr.json": b"{}", "0/c/0": b"others", "1/zarr.json": b""}
    place.delete(["0/c/0", "not/there"])
    assert place.keys() == ["1/zarr.json", "zarr.json"]
    place.delete(["not/there"])
    place.delete([])
    assert place.keys() == ["1/zarr.json", "zarr.json"]


def test_a_version_tells_one_content_from_the_next(store, tmp_path):
    for place in (at(store, "versions/a.zarr"), place_of(tmp_path / "a.zarr", "output.path")):
        assert place.version("0/c/0") is None
        found = []
        for content in (b"voxels", b"others"):
            place.write("0/c/0", content)
            found.append(place.version("0/c/0"))
            assert found[-1] == place.version("0/c/0")
        assert None not in found
        assert len(set(found)) == 2
        place.delete(["0/c/0"])
        assert place.version("0/c/0") is None


def test_names_join_as_paths_do(store, tmp_path):
    for place in (at(store, "x/a.zarr"), place_of(tmp_path / "x" / "a.zarr", "output.path")):
        inside = place / "deep/./0"
        assert inside.relative_to(place) == "deep/0"
        assert inside.parent == place / "deep"
        assert inside != place / "deep/1"
    assert at(store, "a").parent.parent is None


def test_replacing_leaves_only_what_is_new(store):
    place = at(store, "replaced/a.zarr")
    store.put({"zarr.json": b"old", "0/zarr.json": b"old", "0/c/0": b"old", "7/zarr.json": b"old"}, "replaced/a.zarr")
    store.put({"0/c/0": b"not ours"}, "replaced/a.zarr.backup")
    place.replace({"zarr.json": b"new", "0/zarr.json": b"array"})
    assert store.files("replaced/a.zarr") == {"zarr.json": b"new", "0/zarr.json": b"array"}
    assert store.files("replaced/a.zarr.backup") == {"0/c/0": b"not ours"}


@pytest.mark.parametrize("end", [b"", b"\r", b"\n", b"\r\n", b"\n--==0==", b"\0\xff"])
def test_no_byte_at_either_end_is_lost(store, end):
    """A client that wraps a file into something that ends lines may lose some."""
    place = at(store, "ends/a.zarr")
    for content in (end, b"voxels" + end, end + b"voxels"):
        place.write("0/c/0", content)
        assert place.read("0/c/0") == content
        assert store.files("ends/a.zarr") == {"0/c/0": content}


def test_a_large_file_is_there_whole(store):
    place = at(store, "large/a.zarr")
    content = bytes(range(256)) * 30_000
    place.write("0/c/0", content)
    assert place.size("0/c/0") == len(content) == 7_680_000
    assert store.files("large/a.zarr") == {"0/c/0": content}


@pytest.mark.parametrize("name", ["a[1].zarr", "a*.zarr", "a b+c.zarr", "ünï.zarr"])
def test_a_name_is_no_pattern(store, name):
    mine, other = at(store, f"names/{name}"), at(store, "names/a1.zarr")
    for place in (mine, other):
        place.write("zarr.json", b"{}")
        place.write("0/c/0", b"voxels")
    assert (mine.read("0/c/0"), mine.size("0/c/0"), mine.folders()) == (b"voxels", 6, ["0"])
    assert mine.keys() == ["0/c/0", "zarr.json"]
    mine.delete(["0/c/0", "gone"])
    assert mine.keys() == ["zarr.json"]
    mine.replace({"new.json": b"{}"})
    assert store.files(f"names/{name}") == {"new.json": b"{}"}
    assert other.keys() == ["0/c/0", "zarr.json"], "what another name matches was deleted"


def test_a_folder_made_in_a_console_is_empty(store):
    place = at(store, "marked/a.zarr")
    store.put({"": b""}, "marked/a.zarr")
    assert (place.empty(), place.keys(), place.folders()) == (True, [], [])
    store.put({"0/": b"", "0/c/0": b"voxels"}, "marked/a.zarr")
    assert (place.empty(), place.keys(), place.folders()) == (False, ["0/c/0"], ["0"])


ACTS = {
    "read": lambda place: place.read("zarr.json"),
    "size": lambda place: place.size("zarr.json"),
    "version": lambda place: place.version("zarr.json"),
    "write": lambda place: place.write("zarr.json", b"{}"),
    "write nothing": lambda place: place.write("zarr.json", b""),
    "delete": lambda place: place.delete(["zarr.json"]),
    "keys": lambda place: place.keys(),
    "folders": lambda place: place.folders(),
    "empty": lambda place: place.empty(),
    "replace": lambda place: place.replace({"zarr.json": b"{}"}),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_bucket_that_is_not_there_is_named(store, act):
    with pytest.raises(InputError, match=r"output\.path.*no bucket nowhere.*make the bucket"):
        ACTS[act](at(store, "a.zarr", bucket="nowhere"))
    # Negative control: the same in a bucket that is there.
    ACTS[act](at(store, f"there/{act}/a.zarr"))
