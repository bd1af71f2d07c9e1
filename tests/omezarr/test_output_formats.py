"""OME-Zarr 0.4 beside 0.5: same voxels, same places, other files; what other readers and validators make of both."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from isofield.benchmark import readers
from isofield.cli import main
from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import create_canvas, image_attributes, set_provenance
from isofield.omezarr.keys import shard_keys
from isofield.omezarr.metadata import ome_of
from isofield.omezarr.pyramid import downsample_shard
from isofield.omezarr.reading import read_region
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import level_shape, missing_shards, shard_rois, shard_sha256, write_shard
from isofield.omezarr.window import display_window

SHAPE, VOXEL, ORIGIN = (34, 45, 52), (5.0, 4.0, 3.0), (100.0, 0.0, 60.0)
SPOT_NM = (100.0 + 17.3 * 5, 22.9 * 4, 60.0 + 30.1 * 3)
WHOLE = Roi((0, 0, 0), SHAPE)


def spot() -> np.ndarray:
    """A Gaussian spot whose centre of mass lies at SPOT_NM, on an asymmetric lattice."""
    axes = zip(SHAPE, VOXEL, ORIGIN, SPOT_NM, strict=True)
    profiles = [np.exp(-0.5 * ((origin + (np.arange(n) + 0.5) * v - at) / (3.5 * v)) ** 2) for n, v, origin, at in axes]
    return np.rint(60000 * np.einsum("i,j,k->ijk", *profiles)).astype("uint16")


def written(path, version):
    spec = OutputSpec(ome_zarr=version, chunk_vox=8, shard_vox=16, pyramid_min_vox=20)
    create_canvas(path, SHAPE, "uint16", spec, voxel_size_nm=VOXEL, origin_nm=ORIGIN)
    truth = spot()
    for roi in shard_rois(SHAPE, 16):
        write_shard(path, 0, roi, truth[roi.slices])
    for level in (1, 2):
        for roi in shard_rois(level_shape(path, level), 16):
            downsample_shard(path, level, roi)
    set_provenance(path, {"version": "0"}, display_window(path, (0, 1)))
    return path


@pytest.fixture(scope="module", params=["0.4", "0.5"])
def image(request, tmp_path_factory):
    return written(tmp_path_factory.mktemp("formats") / f"{request.param}.ome.zarr", request.param)


@pytest.fixture
def old(tmp_path):
    """An image in 0.4, to be changed at will."""
    return written(tmp_path / "old.ome.zarr", "0.4")


def test_both_hold_the_same_voxels(image):
    np.testing.assert_array_equal(read_region(image, 0, WHOLE), spot())
    assert ome_of(image_attributes(image))["multiscales"][0]["datasets"][2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [20.0, 16.0, 12.0]},
        {"type": "translation", "translation": [110.0, 8.0, 66.0]},
    ]


@pytest.mark.parametrize("name", readers.READERS)
def test_a_point_has_one_world_position_on_every_level_for_every_reader(image, name):
    levels = readers.READERS[name](str(image))
    assert len(levels) == 3
    for level in levels:
        assert level.unit == "nanometer"
        voxels = np.asarray(level.data[:, :, :], float)
        index = np.meshgrid(*map(np.arange, voxels.shape), indexing="ij", sparse=True)
        centre = np.array([(i * voxels).sum() / voxels.sum() for i in index])
        found = centre * level.scale + level.translation
        np.testing.assert_allclose(found, SPOT_NM, rtol=0, atol=0.05 * max(VOXEL))
        # Negative controls: axes read in the other order, and the half voxel of the translation left out.
        assert np.abs(centre[::-1] * level.scale + level.translation - SPOT_NM).max() > max(VOXEL)
        assert np.abs(centre * level.scale + ORIGIN - SPOT_NM).max() > 0.4 * max(VOXEL)


def test_all_readers_and_validators_agree(image, capsys, monkeypatch):
    # As it is typed: from where one is.
    monkeypatch.chdir(image.parent)
    assert main(["check-readers", image.name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found] == [*readers.READERS, *readers.VALIDATORS]
    assert {one["agrees"] for one in found} == {True}, found
    assert "voxel 5, 4, 3 nanometer, first edge at 100, 0, 60" in found[0]["said"]


def test_a_reader_that_disagrees_is_named(old, capsys):
    """Negative control: the metadata say that x comes first."""
    document = json.loads((old / ".zattrs").read_text())
    document["multiscales"][0]["axes"].reverse()
    (old / ".zattrs").write_text(json.dumps(document))
    assert main(["check-readers", str(old)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("ngff-zarr" in line and "NO" in line and "scale" in line for line in lines)
    # That z comes first is no more than advice; that axes have names of their own is a rule.
    document["multiscales"][0]["axes"][0]["name"] = "z"
    (old / ".zattrs").write_text(json.dumps(document))
    refused = {one.name for one in readers.check_readers(old) if one.agrees is False}
    assert refused >= set(readers.VALIDATORS), refused


def test_a_chunk_is_a_file_and_all_zeros_are_one_too(old):
    keys = shard_keys(0, (32, 32, 48), (2, 13, 4), 16, 8)
    assert keys == ["0/4/4/6", "0/4/5/6"]
    assert shard_keys(0, (32, 32, 48), (2, 13, 4), 16) == ["0/c/2/2/3"]
    files = {str(f.relative_to(old)) for f in (old / "0").rglob("*") if f.is_file()}
    assert len(files) == 5 * 6 * 7 + 2
    assert set(keys) < files
    assert not read_region(old, 0, Roi((32, 32, 48), (2, 13, 4))).any()


def test_a_lost_or_damaged_chunk_is_noticed_and_its_shard_written_again(old):
    roi = shard_rois(SHAPE, 16)[0]
    mark = shard_sha256(old, 0, roi)
    chunk = old / "0" / "1" / "1" / "0"
    whole = chunk.read_bytes()
    chunk.unlink()
    assert missing_shards(old, 0) == [roi]
    assert shard_sha256(old, 0, roi) is None
    with pytest.raises(InputError, match=r"0/1/1/0.*not been written"):
        read_region(old, 0, roi)
    np.testing.assert_array_equal(read_region(old, 0, Roi((0, 0, 0), (8, 8, 8))), spot()[:8, :8, :8])
    for damaged in (b"", whole[:-9], whole[:-20] + bytes([whole[-20] ^ 8]) + whole[-19:]):
        chunk.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            read_region(old, 0, roi)
    write_shard(old, 0, roi, spot()[roi.slices])
    assert shard_sha256(old, 0, roi) == mark
    assert chunk.read_bytes() == whole


def test_the_other_version_is_another_image(old, tmp_path):
    spec = OutputSpec(ome_zarr="0.4", chunk_vox=8, shard_vox=16, pyramid_min_vox=20)
    again = {"voxel_size_nm": VOXEL, "origin_nm": ORIGIN}
    assert not create_canvas(old, SHAPE, "uint16", spec, **again)
    np.testing.assert_array_equal(read_region(old, 0, WHOLE), spot())
    # Another size of shard would have another writer per chunk.
    copy = shutil.copytree(old, tmp_path / "copy")
    assert create_canvas(copy, SHAPE, "uint16", spec.model_copy(update={"shard_vox": 32}), **again)
    assert create_canvas(old, SHAPE, "uint16", spec.model_copy(update={"ome_zarr": "0.5"}), **again)
    assert not (old / ".zattrs").exists()
    assert (old / "zarr.json").exists()


def test_the_window_is_that_of_the_image_and_not_of_a_constant(tmp_path):
    spec = OutputSpec(chunk_vox=16, shard_vox=64, pyramid_min_vox=64)
    values = np.random.default_rng(0).normal(120, 10, (64, 64, 64)).clip(0, 255).astype("uint8")
    values[:3] = 255
    for name, voxels in (("a", values), ("flat", np.full_like(values, 7))):
        create_canvas(tmp_path / name, (64, 64, 64), "uint8", spec, voxel_size_nm=VOXEL)
        assert display_window(tmp_path / name, (3, 9)).start == 3  # nothing written yet
        write_shard(tmp_path / name, 0, Roi((0, 0, 0), (64, 64, 64)), voxels)
    found = display_window(tmp_path / "a", (3, 9))
    assert (found.min, found.max) == (0, 255)
    assert [found.start, found.end] == pytest.approx(np.percentile(values, [0.5, 99.5]), abs=2)
    assert (display_window(tmp_path / "flat", (3, 9)).start, display_window(tmp_path / "flat", (3, 9)).end) == (3, 9)
