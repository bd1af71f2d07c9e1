"""Images of several channels: a channel is written and read as an image of its own, with the same bytes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import zarr

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import canvas_files, create_canvas, image_attributes, set_provenance
from isofield.omezarr.keys import shard_keys
from isofield.omezarr.labels import create_labels, location
from isofield.omezarr.metadata import Channel, DisplayWindow, colour_of
from isofield.omezarr.pyramid import downsample_shard
from isofield.omezarr.readback import Level
from isofield.omezarr.reading import is_written, read_region
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import (
    level_channels,
    level_shape,
    missing_shards,
    shard_path,
    shard_rois,
    shard_sha256,
    write_shard,
)
from isofield.omezarr.window import display_window
from isofield.paths import ChannelOf
from isofield.storage.place import place_of

SHAPE = (20, 33, 40)
WHERE = {"voxel_size_nm": (8, 8, 8), "origin_nm": (0, 16, 0)}


@pytest.fixture(params=["0.5", "0.4"])
def spec(request) -> OutputSpec:
    return OutputSpec(ome_zarr=request.param, chunk_vox=8, shard_vox=16, pyramid_min_vox=16)


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (2, *SHAPE), np.uint8)


def filled(image, values, spec) -> None:
    for roi in shard_rois(SHAPE, spec.shard_vox):
        write_shard(image, 0, roi, values[roi.slices])
    for roi in shard_rois(level_shape(image, 1), spec.shard_vox):
        downsample_shard(image, 1, roi)


def test_a_channel_has_the_bytes_of_an_image_of_its_own(tmp_path, spec, grey):
    both = tmp_path / "both"
    assert create_canvas(both, SHAPE, "uint8", spec, n_channels=2, **WHERE)
    for index in (1, 0):
        alone, channel = tmp_path / f"alone{index}", ChannelOf(both, index)
        create_canvas(alone, SHAPE, "uint8", spec, **WHERE)
        filled(alone, grey[index], spec)
        assert len(missing_shards(channel, 0)) == len(shard_rois(SHAPE, 16))
        filled(channel, grey[index], spec)
        assert missing_shards(channel, 0) == missing_shards(channel, 1) == []
        for level in (0, 1):
            for roi in shard_rois(level_shape(channel, level), 16):
                assert shard_sha256(channel, level, roi) == shard_sha256(alone, level, roi)
        np.testing.assert_array_equal(read_region(channel, 0, Roi((0, 0, 0), SHAPE)), grey[index])
        assert display_window(channel, (0, 1)) == display_window(alone, (0, 1))
    # Others read it, too: what each wrote lies at its place.
    np.testing.assert_array_equal(zarr.open_array(both / "0", mode="r")[...], grey)
    first, second = (shard_path(ChannelOf(both, index), 0, Roi((0, 0, 0), (16, 16, 16))).read_bytes() for index in (0, 1))
    assert first != second


def test_a_shard_has_one_channel(tmp_path, spec, grey):
    both, roi = tmp_path / "both", Roi((0, 16, 32), (16, 16, 8))
    create_canvas(both, SHAPE, "uint8", spec, n_channels=2, **WHERE)
    write_shard(ChannelOf(both, 1), 0, roi, grey[1][roi.slices])
    assert is_written(ChannelOf(both, 1), 0, roi)
    assert not is_written(ChannelOf(both, 0), 0, roi)
    with pytest.raises(InputError, match="has not been written"):
        read_region(ChannelOf(both, 0), 0, roi)
    chunk = None if spec.ome_zarr == "0.5" else 8
    keys = shard_keys(0, roi.offset, roi.shape, 16, chunk, 1)
    assert keys[0] == ("0/c/1/0/1/2" if chunk is None else "0/1/0/2/4")
    digest = hashlib.sha256(b"".join((both / key).read_bytes() for key in keys)).hexdigest()
    assert digest == shard_sha256(ChannelOf(both, 1), 0, roi)


def test_a_channel_has_to_be_one_that_is_there(tmp_path, spec):
    both, alone, roi = tmp_path / "both", tmp_path / "alone", Roi((0, 0, 0), (16, 16, 16))
    create_canvas(both, SHAPE, "uint8", spec, n_channels=2, **WHERE)
    create_canvas(alone, SHAPE, "uint8", spec, **WHERE)
    assert (level_channels(both, 0), level_channels(alone, 0)) == (2, None)
    for image, said in (
        (ChannelOf(both, 2), "2 channels"),
        (both, "2 channels"),
        (ChannelOf(alone, 0), "without a channel axis"),
    ):
        with pytest.raises(InputError, match=said):
            write_shard(image, 0, roi, np.zeros(roi.shape, np.uint8))


def test_a_canvas_is_kept_if_it_is_the_same_and_only_then(tmp_path, spec, grey):
    both, roi = tmp_path / "both", Roi((0, 0, 0), (16, 16, 16))
    make = {"shape": SHAPE, "dtype": "uint8", "spec": spec, **WHERE}
    assert create_canvas(both, **make, n_channels=2)
    create_labels(both, SHAPE, spec, **WHERE, n_channels=2)
    write_shard(ChannelOf(both, 0), 0, roi, grey[0][roi.slices])
    write_shard(location(ChannelOf(both, 1)), 0, roi, grey[1][roi.slices])
    assert not create_canvas(both, **make, n_channels=2)
    create_labels(both, SHAPE, spec, **WHERE, n_channels=2)
    assert is_written(ChannelOf(both, 0), 0, roi)
    assert is_written(location(ChannelOf(both, 1)), 0, roi)
    assert not is_written(location(ChannelOf(both, 0)), 0, roi)
    for n in (3, None):
        with pytest.raises(InputError, match="another size"):
            create_canvas(both, **make, n_channels=n, replace=False)
    assert create_canvas(both, **make, n_channels=3)
    assert not is_written(ChannelOf(both, 0), 0, roi)


def test_display_settings_name_every_channel(tmp_path, spec):
    both = tmp_path / "both"
    create_canvas(both, SHAPE, "uint8", spec, n_channels=2, **WHERE)
    windows = [DisplayWindow(0, 255, 10, 20 + index) for index in (0, 1)]
    shown = [Channel(f"c{index}", colour_of(index), window) for index, window in enumerate(windows)]
    set_provenance(both, {"version": "1"}, shown)
    attributes = image_attributes(both)
    ome = attributes.get("ome", attributes)
    assert [(one["label"], one["color"], one["window"]["end"]) for one in ome["omero"]["channels"]] == [
        ("c0", "00FF00", 20),
        ("c1", "FF00FF", 21),
    ]
    assert len({colour_of(index) for index in range(8)}) == 8
    assert colour_of(8) == colour_of(0)


def test_files_of_any_channel_are_known_for_shards_and_others_are_not(tmp_path, spec):
    files = canvas_files(SHAPE, "uint8", spec, n_channels=2, **WHERE)
    level = Level(place_of(tmp_path, "output.path"), 0, files, 1)
    assert (level.shape, level.chunk, level.shard) == (SHAPE, (8, 8, 8), (16, 16, 16))
    head = "0/c/" if spec.ome_zarr == "0.5" else "0/"
    last = "1/1/2/2" if spec.ome_zarr == "0.5" else "1/2/4/4"
    assert level.is_shard_key(f"{head}0/0/0/0")
    assert level.is_shard_key(f"{head}{last}")
    for place in ("2/0/0/0", "0/0/0", "0/0/0/9", "0/0/0/0/0", "00/0/0/0"):
        assert not level.is_shard_key(f"{head}{place}")
