"""Readers of foreign bytes: whatever is in a file, there is a volume or an InputError, and never anything else."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from raw_zarr import image_v2, raw_v2, raw_v3, scale

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.source import open_source
from isofield.source.spec import SourceSpec

VALUES = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
OME = {"axes": "ZYX", "PhysicalSizeZ": 0.05, "PhysicalSizeY": 0.01, "PhysicalSizeX": 0.01}
LARGEST = 10**6
"""Voxels up to which a volume is read; metadata may promise any number."""


def write_h5(path: Path, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        made = file.create_dataset("raw", data=VALUES, **options)
        made.attrs["resolution"] = [50.0, 10.0, 10.0]


FILES = {
    "plain.tif": lambda path: tifffile.imwrite(path, VALUES, photometric="minisblack"),
    "ome.tif": lambda path: tifffile.imwrite(path, VALUES, photometric="minisblack", ome=True, metadata=OME),
    "imagej.tif": lambda path: tifffile.imwrite(
        path, VALUES, photometric="minisblack", imagej=True, resolution=(100, 100), metadata={"spacing": 0.05, "axes": "ZYX"}
    ),
    "tiled.tif": lambda path: tifffile.imwrite(
        path, VALUES, photometric="minisblack", tile=(16, 16), compression="zlib", bigtiff=True
    ),
    "plain.h5": write_h5,
    "packed.h5": lambda path: write_h5(path, chunks=(1, 8, 8), compression="gzip", fletcher32=True),
}
STORES = {
    "v2.zarr": (lambda folder: raw_v2(folder, VALUES, {"_ARRAY_DIMENSIONS": ["z", "y", "x"]}), (".zarray", ".zattrs")),
    "v3.zarr": (lambda folder: raw_v3(folder, VALUES, ["z", "y", "x"]), ("zarr.json",)),
    "ome.zarr": (
        lambda folder: image_v2(folder, VALUES, transforms=[scale(0.05, 0.01, 0.01)]),
        (".zattrs", ".zgroup", "0/.zarray"),
    ),
}
bounded = settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
thorough = settings(bounded, max_examples=2000, derandomize=False)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A sound file or store of every kind."""
    folder = tmp_path_factory.mktemp("sound")
    for name, make in (*FILES.items(), *((name, make) for name, (make, _) in STORES.items())):
        make(folder / name)
    return folder


@pytest.fixture
def copies() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def looked_at(path: Path, **keys: Any) -> np.ndarray | InputError:
    """All of a volume, some of one that is large, or the refusal."""
    try:
        volume = open_source(SourceSpec(path=str(path), **keys))
        z, y, x = volume.info.shape_zyx
        whole = volume.info.shape_zyx.volume <= LARGEST
        return volume.read(Roi(ZYX(0, 0, 0), ZYX(z, y, x) if whole else ZYX(1, min(y, 8), min(x, 8))))
    except InputError as error:
        return error


def expect_volume_or_refusal(path: Path) -> np.ndarray | InputError:
    for keys in ({}, {"voxel_size_nm": (50, 10, 10)}):
        found = looked_at(path, **keys)
        assert isinstance(found, InputError) or (found.ndim == 4 and found.size > 0)
    return found


def test_what_is_changed_below_is_sound(sound):
    """Negative control: the refusals come from the changes."""
    for name in (*FILES, *STORES):
        found = looked_at(sound / name, voxel_size_nm=(50, 10, 10))
        assert not isinstance(found, InputError), found
        assert np.array_equal(found[0], VALUES), name


changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6)


def change_bytes(source: Path, copies: Path, where: list[tuple[float, bytes]], kept: float) -> Path:
    data = bytearray(source.read_bytes())
    for share, new in where:
        begin = int(share * len(data))
        data[begin : begin + len(new)] = new
    path = copies / source.name
    path.write_bytes(data[: max(1, int(kept * len(data)))])
    return path


shares = st.just(1.0) | st.floats(0, 1)


@pytest.mark.parametrize("name", FILES)
@bounded
@given(changes, shares)
def test_a_file_with_changed_bytes_is_a_volume_or_refused(sound, copies, name, where, kept):
    expect_volume_or_refusal(change_bytes(sound / name, copies, where, kept))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@thorough
@given(changes, shares)
def test_a_file_with_changed_bytes_is_a_volume_or_refused_at_length(sound, copies, name, where, kept):
    expect_volume_or_refusal(change_bytes(sound / name, copies, where, kept))


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "z", "..", "0", "/", "\0", "space", "gzip", "|u1", "<f8", "float32", "é"])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def places(document: Any, at: tuple = ()) -> list[tuple]:
    """Paths of everything inside a JSON document, itself included."""
    inside = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [at, *(place for key, value in inside for place in places(value, (*at, key)))]


def replaced(document: Any, at: tuple, new: Any, remove: bool) -> Any:
    if not at:
        return new
    copy = document.copy()
    if remove and len(at) == 1:
        del copy[at[0]]
    else:
        copy[at[0]] = replaced(document[at[0]], at[1:], new, remove)
    return copy


def change_metadata(sound: Path, copies: Path, name: str, data: st.DataObject) -> Path:
    path = copies / name
    if path.exists():
        shutil.rmtree(path)
    shutil.copytree(sound / name, path)
    file = path / data.draw(st.sampled_from(STORES[name][1]))
    document = json.loads(file.read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(places(document)))
        document = replaced(document, at, data.draw(junk), data.draw(st.booleans()))
    file.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("name", STORES)
@bounded
@given(st.data())
def test_a_store_with_other_metadata_is_a_volume_or_refused(sound, copies, name, data):
    expect_volume_or_refusal(change_metadata(sound, copies, name, data))


@pytest.mark.slow
@pytest.mark.parametrize("name", STORES)
@thorough
@given(st.data())
def test_a_store_with_other_metadata_is_a_volume_or_refused_at_length(sound, copies, name, data):
    expect_volume_or_refusal(change_metadata(sound, copies, name, data))


@pytest.mark.parametrize("name", STORES)
@bounded
@given(content=st.binary(max_size=200))
def test_a_store_with_bytes_for_metadata_is_refused(sound, copies, name, content):
    # An empty object says nothing wrong.
    assume(content.strip() != b"{}")
    path = copies / name
    if not path.exists():
        shutil.copytree(sound / name, path)
    (path / STORES[name][1][-1]).write_bytes(content)
    assert isinstance(expect_volume_or_refusal(path), InputError)
