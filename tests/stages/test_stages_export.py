"""Export: every voxel of an asymmetric image at its place, read back by the libraries that others read with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import tifffile

from isofield.cli import main
from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import create_canvas, set_provenance
from isofield.omezarr.metadata import DisplayWindow
from isofield.omezarr.pyramid import downsample_shard
from isofield.omezarr.reading import ImageReader
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import level_shape, shard_rois, write_shard
from isofield.stages import exporting
from isofield.stages.exporting import ExportRequest, export_image

SHAPE, VOXEL, ORIGIN = (70, 90, 150), (40.0, 4.0, 5.0), (400.0, 16.0, 100.0)


@pytest.fixture(scope="module")
def truth():
    z, y, x = np.indices(SHAPE)
    return (x + 151 * y + 13591 * z).astype("uint16")  # no two neighbours alike, in any direction


@pytest.fixture(scope="module")
def image(tmp_path_factory, truth):
    path = tmp_path_factory.mktemp("export") / "a.ome.zarr"
    spec = OutputSpec(chunk_vox=32, shard_vox=64, pyramid_min_vox=80)
    create_canvas(path, SHAPE, "uint16", spec, voxel_size_nm=VOXEL, origin_nm=ORIGIN)
    for roi in shard_rois(SHAPE, 64):
        write_shard(path, 0, roi, truth[roi.slices])
    for roi in shard_rois(level_shape(path, 1), 64):
        downsample_shard(path, 1, roi)
    set_provenance(path, {}, DisplayWindow(0, 65535, 10, 60000))
    return path


def export(image, to, *options):
    return main(["export", str(image), "--to", str(to), *options])


def test_a_tiff_opens_in_imagej_at_the_right_scale(image, truth, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "SLAB_BYTES", 7 * 60 * 100 * 2)
    assert export(image, tmp_path / "a.tif", "--roi", "3:40,20:80,11:111") == 0
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.asarray(), truth[3:40, 20:80, 11:111])
        assert file.is_imagej
        assert file.series[0].axes == "ZYX"
        about = file.imagej_metadata
        assert (about["spacing"], about["unit"], about["min"], about["max"]) == (0.04, "um", 10, 60000)
        pixels = [file.pages[0].tags[name].value for name in ("XResolution", "YResolution")]
        assert [n / d for n, d in pixels] == pytest.approx([200, 250])  # pixels per um


def test_an_ome_tiff_says_voxel_size_and_position(image, truth, tmp_path):
    assert export(image, tmp_path / "a.ome.tif", "--roi-nm", "520:2000,96:336,155:655") == 0
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        np.testing.assert_array_equal(file.asarray(), truth[3:40, 20:80, 11:111])
        text = file.ome_metadata
    for attribute in ('PhysicalSizeZ="40.0"', 'PhysicalSizeY="4.0"', 'PhysicalSizeX="5.0"', 'PhysicalSizeXUnit="nm"'):
        assert attribute in text
    for attribute in ('PositionZ="540.0"', 'PositionY="98.0"', 'PositionX="157.5"'):
        assert attribute in text


def test_what_imagej_cannot_hold_becomes_ome_and_bigtiff_and_says_so(image, truth, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporting, "IMAGEJ_BYTES", 10000)
    assert export(image, tmp_path / "a.tif", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["format"] == "OME-TIFF"
    assert "more than 4 GB" in made["notes"][0]
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), truth)


def scales(folder):
    info = json.loads((Path(folder) / "info").read_text())
    for k in range(len(info["scales"])):
        spec = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{folder}/", "scale_index": k}
        yield info["scales"][k], ts.open(spec, read=True, open=True).result()


@pytest.mark.parametrize("sharded", [False, True])
def test_precomputed_has_every_voxel_where_the_world_has_it(image, truth, tmp_path, sharded):
    to = tmp_path / "a.precomputed"
    assert export(image, to, *(["--sharded"] if sharded else [])) == 0
    (fine, voxels), (coarse, half) = scales(to)
    assert fine["resolution"] == [5, 4, 40]
    assert coarse["resolution"] == [10, 8, 80]
    assert ("sharding" in fine) == sharded
    # The first voxel begins at 400, 16, 100 nm (z, y, x): at (20, 4, 10) in voxels along x, y, z.
    assert voxels.domain.origin[:3] == (20, 4, 10)
    assert half.domain.origin[:3] == (10, 2, 5)
    np.testing.assert_array_equal(voxels.read().result()[..., 0].transpose(2, 1, 0), truth)
    assert half.read().result().shape[:3] == (75, 45, 35)
    assert (to / "5_4_40" / "0.shard").exists() == sharded


def test_a_region_that_no_coarser_voxel_begins_with_has_one_scale(image, truth, tmp_path, capsys):
    assert export(image, tmp_path / "a.precomputed", "--roi", "3:40,20:80,11:111", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["n_scales"] == 1
    assert "coarser" in made["notes"][0]
    ((_, voxels),) = scales(tmp_path / "a.precomputed")
    np.testing.assert_array_equal(voxels.read().result()[..., 0].transpose(2, 1, 0), truth[3:40, 20:80, 11:111])


def test_what_is_there_stays_unless_it_is_to_be_replaced(image, tmp_path, capsys):
    file, folder = tmp_path / "a.tif", tmp_path / "a.precomputed"
    file.write_text("mine")
    assert export(image, file, "--roi", "0:4,0:8,0:8") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert export(image, file, "--roi", "0:4,0:8,0:8", "--overwrite") == 0
    assert tifffile.imread(file).shape == (4, 8, 8)
    for z in (0, 8):
        assert export(image, folder, "--roi", f"{z}:{z + 8},0:8,0:8", "--overwrite") == 0
    assert next(scales(folder))[1].domain.origin[2] == 18
    assert sorted(os.listdir(tmp_path)) == ["a.precomputed", "a.tif"]


@pytest.mark.parametrize("name", ["a.tif", "a.precomputed"])
def test_an_export_that_fails_leaves_nothing(image, tmp_path, name, monkeypatch):
    real = ImageReader.region
    calls = []

    def failing(*args):
        calls.append(args)
        if len(calls) > 1:
            raise OSError("the disk is full")
        return real(*args)

    monkeypatch.setattr(exporting, "SLAB_BYTES", 90 * 150 * 2)
    monkeypatch.setattr(ImageReader, "region", failing)
    with pytest.raises(OSError, match="disk is full"):
        export_image(image, ExportRequest(to=str(tmp_path / name)))
    assert len(calls) == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "a.raw"}, "does not say which format"),
        ({"to": "s3://bucket/a.tif"}, "not a local path"),
        ({"to": "a.tif", "level": 2}, "levels 0 to 1"),
        ({"to": "a.tif", "roi": ((0, 71), (0, 4), (0, 4))}, "level 0 has 0:70,0:90,0:150"),
        ({"to": "a.tif", "roi_nm": ((0, 500), (16, 40), (100, 140))}, "is -10:3,0:6,0:8 in voxels"),
        ({"to": "a.tif", "sharded": True}, "for precomputed alone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_exported_is_refused_by_name(image, options, message):
    with pytest.raises(InputError, match=message):
        export_image(image, ExportRequest(**options))


def test_a_run_is_exported_by_its_folder(finished, tmp_path):
    assert export(finished.paths.root, tmp_path / "a.tif", "--level", "1", "--roi", "1:5,2:9,3:31") == 0
    from isofield.omezarr.reading import read_region

    expected = read_region(finished.paths.isotropic, 1, Roi((1, 2, 3), (4, 7, 28)))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), expected)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_region(tmp_path):
    """200 MB of voxels with the default slabs and boxes; what a small export takes is the interpreter."""
    path = tmp_path / "large.ome.zarr"
    spec = OutputSpec(chunk_vox=64, shard_vox=256, pyramid_min_vox=1024)
    create_canvas(path, (800, 512, 512), "uint8", spec, voxel_size_nm=VOXEL)
    for roi in shard_rois((800, 512, 512), 256):
        write_shard(path, 0, roi, np.random.default_rng(0).integers(0, 255, roi.shape).astype("uint8"))

    def peak(to, *options):
        script = (
            "import sys, resource; from isofield.cli import main; status = main(sys.argv[1:]); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024); sys.exit(status)"
        )
        command = [sys.executable, "-c", script, "export", str(path), "--to", str(tmp_path / to), *options]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])

    for name, limit in (("a.tif", 2 * exporting.SLAB_BYTES), ("a.precomputed", 2**27)):
        small, large = peak(f"s{name}", "--roi", "0:8,0:8,0:8"), peak(name)
        assert large - small < limit + 2**25, (name, small, large)
