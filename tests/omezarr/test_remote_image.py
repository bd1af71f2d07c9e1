"""The image in an object store: the same bytes as in a folder, and the same care."""

from __future__ import annotations

import re

import numpy as np
import pytest

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import create_canvas, set_provenance
from isofield.omezarr.metadata import DisplayWindow
from isofield.omezarr.pyramid import downsample_shard
from isofield.omezarr.reading import read_region
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import level_shape, missing_shards, shard_path, shard_rois, shard_sha256, write_shard
from object_stores import BUCKET, files_of

SPEC = OutputSpec(chunk_vox=8, shard_vox=16, pyramid_min_vox=16)
SHAPE = (20, 33, 16)
ROIS = shard_rois(SHAPE, 16)
TRUTH = np.random.default_rng(0).integers(1, 4000, SHAPE).astype("uint16")


def create(path, **keys):
    return create_canvas(path, SHAPE, "uint16", keys.pop("spec", SPEC), voxel_size_nm=(4, 4, 4), **keys)


def fill(path) -> list:
    """All levels and the provenance; what writing level 0 returned."""
    written = [write_shard(path, 0, roi, TRUTH[roi.slices]) for roi in ROIS]
    for level in (1, 2):
        for roi in shard_rois(level_shape(path, level), 16):
            downsample_shard(path, level, roi)
    set_provenance(path, {"version": "0"}, DisplayWindow(0, 4095, 10, 3990))
    return written


@pytest.fixture
def uri(store, request) -> str:
    return store.uri(f"{request.node.name}/a.ome.zarr")


@pytest.fixture
def inside(uri) -> str:
    return uri.partition(f"//{BUCKET}/")[2]


def test_objects_are_the_files_of_a_folder(store, uri, inside, tmp_path):
    local = tmp_path / "a.ome.zarr"
    assert create(local)
    assert create(uri)
    assert missing_shards(uri, 0) == ROIS
    assert fill(uri) == fill(local)
    files = files_of(local)
    assert store.files(inside) == files
    for roi in (Roi((0, 0, 0), SHAPE), Roi((3, 15, 1), (15, 18, 2))):
        np.testing.assert_array_equal(read_region(uri, 0, roi), TRUTH[roi.slices])
    assert missing_shards(uri, 0) == []
    assert not create(uri), "an equal canvas is kept"
    assert store.files(inside) == files
    np.testing.assert_array_equal(store.array(f"{inside}/0")[...], TRUTH)


def test_damaged_empty_and_missing_objects_are_noticed_and_healed(store, uri, inside):
    create(uri)
    written = [write_shard(uri, 0, roi, TRUTH[roi.slices]) for roi in ROIS]
    assert [shard_sha256(uri, 0, roi) for roi in ROIS] == [shard.sha256 for shard in written]
    key = shard_path(uri, 0, ROIS[0]).removeprefix(f"{uri}/")
    whole = store.files(inside)[key]
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1
    for content in (bytes(flipped), whole[:-7], b""):
        store.put({key: content}, inside)
        with pytest.raises(InputError, match=re.escape(f"shard: '{uri}/{key}': is damaged")):
            read_region(uri, 0, ROIS[0])
        assert shard_sha256(uri, 0, ROIS[0]) != written[0].sha256
    store.remove(f"{inside}/{key}")
    with pytest.raises(InputError, match="has not been written"):
        read_region(uri, 0, ROIS[0])
    assert shard_sha256(uri, 0, ROIS[0]) is None
    assert not read_region(uri, 0, ROIS[0], fill_missing=True).any()
    write_shard(uri, 0, ROIS[0], TRUTH[ROIS[0].slices])
    assert store.files(inside)[key] == whole


def test_another_canvas_replaces_the_image_also_after_being_interrupted(store, uri, inside, tmp_path):
    other = SPEC.model_copy(update={"compression_level": 4})
    create(tmp_path / "fresh", spec=other)
    fresh = files_of(tmp_path / "fresh")
    create(uri)
    write_shard(uri, 0, ROIS[0], TRUTH[ROIS[0].slices])
    old = store.files(inside)
    shard = next(key for key in old if "/c/" in key)
    assert create(uri, spec=other)
    assert store.files(inside) == fresh
    # What each request of a replacement leaves when nothing follows it.
    stages = [
        {**old, "zarr.json": fresh["zarr.json"]},
        {"zarr.json": fresh["zarr.json"], shard: old[shard]},
        {"zarr.json": fresh["zarr.json"]},
        {"zarr.json": fresh["zarr.json"], "0/zarr.json": fresh["0/zarr.json"]},
    ]
    for left in stages:
        for key in store.files(inside):
            store.remove(f"{inside}/{key}")
        store.put(left, inside)
        assert create(uri, spec=other)
        assert store.files(inside) == fresh


def test_something_else_at_the_address_is_left_alone(store, uri, inside):
    store.put({"precious.txt": b"mine"}, inside)
    with pytest.raises(InputError, match="Move it away"):
        create(uri)
    assert store.files(inside) == {"precious.txt": b"mine"}


def test_what_is_not_there_is_named(store, uri):
    with pytest.raises(InputError, match=r"level: '\w\w://.*a\.ome\.zarr/0'.*creates the image"):
        read_region(uri, 0, ROIS[0])
    with pytest.raises(InputError, match=r"a\.ome\.zarr/zarr\.json.*does not exist"):
        set_provenance(uri, {})
    with pytest.raises(InputError, match=r"output\.path.*no bucket nowhere"):
        create(store.uri("a.ome.zarr", bucket="nowhere"))
