"""Which chunks of a Zarr array are there, told from the names of its files, however these are spelled."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.config import load_config
from isofield.source import open_source
from isofield.source.occupancy import Occupancy, occupancy
from isofield.storage.local import LocalPlace

SHAPE, CHUNK = (12, 25, 40), (4, 10, 16)
WRITTEN = {(0, 0, 0), (2, 1, 2), (1, 2, 0)}
LAYOUTS = {
    "v3": {"zarr_format": 3},
    "v3, names with dots": {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "v3, default with dots": {"zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "."}},
    "v2": {"zarr_format": 2},
    "v2, nested": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
}


def write(path, axes="zyx", fill_value=0, **layout):
    """An array in which just the chunks WRITTEN are there, axes in the given order; of two channels the second is empty."""
    sides = dict(zip("zyx", zip(SHAPE, CHUNK, strict=True), strict=True)) | {"c": (2, 1)}
    shape, chunks = zip(*(sides[axis] for axis in axes), strict=True)
    array = zarr.create_array(store=str(path), shape=shape, chunks=chunks, dtype="uint8", fill_value=fill_value, **layout)
    for place in WRITTEN:
        inside = {a: slice(i * c, min((i + 1) * c, n)) for a, i, c, n in zip("zyx", place, CHUNK, SHAPE, strict=True)}
        array[tuple(inside.get(axis, 0) for axis in axes)] = 7
    return array


def places(found: Occupancy) -> set[tuple[int, ...]]:
    return {tuple(place) for place in np.argwhere(found.there).tolist()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_chunks_are_found_however_their_files_are_named(tmp_path, layout):
    write(tmp_path / "a.zarr", **LAYOUTS[layout])
    found = occupancy(LocalPlace(tmp_path / "a.zarr"), "zyx")
    assert found is not None
    assert (found.chunk, found.there.shape, found.fill_value) == (CHUNK, (3, 3, 3), 0.0)
    assert places(found) == WRITTEN


def test_of_shards_it_is_the_shard_that_counts(tmp_path):
    array = zarr.create_array(
        store=str(tmp_path / "a.zarr"), shape=(16, 16, 16), chunks=(4, 4, 4), shards=(8, 8, 8), dtype="uint8"
    )
    array[9, 1, 9] = 1
    found = occupancy(LocalPlace(tmp_path / "a.zarr"), "zyx")
    assert found is not None
    assert (found.chunk, places(found)) == ((8, 8, 8), {(1, 0, 1)})


@pytest.mark.parametrize("axes", ["czyx", "xyzc", "zcyx"])
def test_axes_are_put_in_order_and_the_other_channel_does_not_count(tmp_path, axes):
    write(tmp_path / "a.zarr", axes)
    first, second = (occupancy(LocalPlace(tmp_path / "a.zarr"), axes, channel) for channel in (0, 1))
    assert first is not None
    assert second is not None
    assert (first.chunk, places(first)) == (CHUNK, WRITTEN)
    assert places(second) == set()


def test_what_is_no_array_tells_nothing(tmp_path):
    zarr.open_group(str(tmp_path / "group.zarr"), mode="w")
    assert occupancy(LocalPlace(tmp_path / "group.zarr"), "zyx") is None
    assert occupancy(LocalPlace(tmp_path / "nothing"), "zyx") is None


def test_an_opened_volume_knows_its_chunks(tmp_path):
    write(tmp_path / "a.zarr")
    source = f'{{"run": {{"name": "r"}}, "source": {{"path": "{tmp_path}/a.zarr", "voxel_size_nm": [8, 4, 4]}}}}'
    volume = open_source(load_config(source).source)
    assert volume.occupied is not None
    assert places(volume.occupied) == WRITTEN
    simulated = open_source(load_config(source, ["source.simulate.factor=2", "source.voxel_size_nm=[4,4,4]"]).source)
    assert simulated.occupied is None, "of sections that are computed nothing is written anywhere"


@settings(max_examples=60)
@given(st.integers(0, 2**20), st.lists(st.integers(1, 7), min_size=3, max_size=3), st.data())
def test_boxes_are_looked_up_as_by_hand(seed, chunk, data):
    rng = np.random.default_rng(seed)
    there = rng.random(rng.integers(1, 6, size=3)) < 0.2
    found = Occupancy(tuple(chunk), there, 0.0)
    bounds = []
    for side, n in zip(chunk, there.shape, strict=True):
        begin = data.draw(st.lists(st.integers(0, side * n - 1), min_size=1, max_size=3))
        bounds.append(np.array([[b, data.draw(st.integers(b + 1, side * n))] for b in begin]))
    voxels = there.repeat(chunk[0], 0).repeat(chunk[1], 1).repeat(chunk[2], 2)
    for index in np.ndindex(*(len(pairs) for pairs in bounds)):
        box = tuple(slice(*pairs[i]) for pairs, i in zip(bounds, index, strict=True))
        assert found.any_in(tuple(bounds))[index] == voxels[box].any()
