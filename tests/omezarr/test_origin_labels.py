"""The label image: as NGFF wants it, beside the image whatever happens to that, coarser levels never better than finer ones."""

from __future__ import annotations

import json
import warnings

import numpy as np
import ome_zarr_models.v05
import pydantic
import pytest
import yaozarrs
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from isofield.omezarr import labels
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.pyramid import downsample_shard
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import level_shape, shard_rois, write_shard

SPEC = OutputSpec(chunk_vox=8, shard_vox=16, pyramid_min_vox=8)
SHAPE = (20, 33, 16)
WORLD = {"voxel_size_nm": (4.0,) * 3, "origin_nm": (100.0, 0.0, 8.0)}


def create(path, shape=SHAPE, origin_nm=WORLD["origin_nm"]):
    for make, dtype in ((create_canvas, ["uint16"]), (labels.create_labels, [])):
        make(path, shape, *dtype, SPEC, voxel_size_nm=WORLD["voxel_size_nm"], origin_nm=origin_nm)


@pytest.fixture
def image(tmp_path):
    """A finished image with labels drawn at random, and these."""
    path = tmp_path / "isotropic.ome.zarr"
    create(path)
    origin = labels.location(path)
    truth = np.random.default_rng(0).integers(1, 6, SHAPE).astype("uint8")
    for roi in shard_rois(SHAPE, 16):
        write_shard(path, 0, roi, truth[roi.slices].astype("uint16"))
        write_shard(origin, 0, roi, truth[roi.slices])
    for level in (1, 2, 3):
        for roi in shard_rois(level_shape(path, level), 16):
            downsample_shard(path, level, roi)
            downsample_shard(origin, level, roi, labels.highest_2x2x2)
    return path, truth


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def change(file, edit):
    document = json.loads(file.read_text())
    edit(document["attributes"]["ome"])
    file.write_text(json.dumps(document))


def test_validators_accept_image_folder_and_labels(image):
    path, _ = image
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for group in (path, path / "labels", path / "labels" / "origin"):
            yaozarrs.validate_zarr_store(str(group))
        ome_zarr_models.v05.Image.from_zarr(zarr.open_group(str(path), mode="r"))
        listed = ome_zarr_models.v05.Labels.from_zarr(zarr.open_group(str(path / "labels"), mode="r"))
        found = ome_zarr_models.v05.ImageLabel.from_zarr(zarr.open_group(str(path / "labels" / "origin"), mode="r"))
    assert listed.ome_attributes.labels == ["origin"]
    about = found.attributes.ome.image_label
    assert [colour.label_value for colour in about.colors] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "edit",
    [
        lambda ome: ome["image-label"]["colors"].append({"label-value": 1, "rgba": [0, 0, 0, 0]}),
        lambda ome: ome["image-label"]["colors"][0].update(rgba=[0, 0, 300]),
    ],
    ids=["a colour twice", "no colour"],
)
def test_validators_notice_what_is_wrong_with_labels(image, edit):
    path, _ = image
    change(path / "labels" / "origin" / "zarr.json", edit)
    with pytest.raises(pydantic.ValidationError):
        ome_zarr_models.v05.ImageLabel.from_zarr(zarr.open_group(str(path / "labels" / "origin"), mode="r"))


def test_ome_zarr_py_finds_them_from_the_image(image):
    path, truth = image
    found = [node for node in Reader(parse_url(str(path)))() if "origin" in str(node.zarr)]
    assert len(found) == 1
    np.testing.assert_array_equal(found[0].data[0].compute(), truth)
    assert len(found[0].data) == 4


def test_coarser_labels_are_the_highest_of_what_they_stand_for(image):
    path, truth = image
    padded = np.pad(truth, ((0, 0), (0, 1), (0, 0)))
    expected = padded.reshape(10, 2, 17, 2, 8, 2).max(axis=(1, 3, 5))
    found = zarr.open_array(str(path / "labels" / "origin" / "1"), mode="r")[:]
    np.testing.assert_array_equal(found, expected)
    # Negative control: a mean makes labels that no voxel has.
    downsample_shard(labels.location(path), 1, shard_rois((10, 17, 8), 16)[0])
    assert (zarr.open_array(str(path / "labels" / "origin" / "1"), mode="r")[:] != expected).any()


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(*[st.integers(1, 7)] * 3), st.integers(0, 99))
def test_no_voxel_is_better_than_any_it_stands_for(shape, seed):
    fine = np.random.default_rng(seed).integers(1, 6, shape).astype(np.uint8)
    coarse = labels.highest_2x2x2(fine)
    assert coarse.shape == tuple(-(-n // 2) for n in shape)
    spread = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(map(slice, shape))]
    assert (spread >= fine).all()
    assert coarse.max() == fine.max()


def test_an_equal_canvas_keeps_every_byte_of_both(image):
    path, _ = image
    before = contents(path)
    create(path)
    assert contents(path) == before


def test_labels_move_with_the_image(image):
    path, _ = image
    create(path, origin_nm=(0.0, 0.0, 0.0))
    for group in (path, path / "labels" / "origin"):
        entry = json.loads((group / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
        assert entry["datasets"][0]["coordinateTransformations"][1]["translation"] == [2.0, 2.0, 2.0]
    assert entry["type"] == "maximum"
    assert (path / "labels" / "origin" / "0" / "c").exists()


def test_labels_of_another_image_go_with_it(image):
    path, _ = image
    create(path, shape=(20, 33, 17))
    assert not (path / "labels" / "origin" / "0" / "c").exists()
    assert level_shape(labels.location(path), 0) == (20, 33, 17)


def test_an_image_without_labels_is_given_some(tmp_path):
    path = tmp_path / "old.ome.zarr"
    create_canvas(path, SHAPE, "uint16", SPEC, **WORLD)
    write_shard(path, 0, shard_rois(SHAPE, 16)[0], np.ones((16, 16, 16), "uint16"))
    voxels = contents(path / "0")
    create(path)
    assert contents(path / "0") == voxels
    assert level_shape(labels.location(path), 3) == level_shape(path, 3)


def test_voxels_are_counted_by_name():
    assert labels.counted(np.array([[1, 1, 3]], np.uint8)) == {"measured plane": 2, "bad section": 1}
