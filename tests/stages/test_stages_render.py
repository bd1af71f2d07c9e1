"""Rendering without refitting: the run's own image at its own size, means when coarser, in parts as in one piece."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch

from isofield.benchmark.readers import with_dask
from isofield.blend import gather
from isofield.cli import main
from isofield.field.points import values_at
from isofield.field.representation import Y, make_fields
from isofield.field.spec import FieldSpec
from isofield.geometry import Roi
from isofield.omezarr.canvas import image_attributes
from isofield.omezarr.pyramid import mean_2x2x2
from isofield.omezarr.reading import read_region
from isofield.omezarr.store import level_shape
from isofield.source import open_source
from isofield.stages import render_image
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.rendering import Lattice, PointRenderer

WHOLE = Roi((0, 0, 0), (48, 64, 64))


def render(run, out, *options):
    return main(["render", str(run.paths.root), "--out", str(out), "--threads", "1", "--device", "cpu", *options])


def image(path, level=0):
    return read_region(path, level, Roi((0, 0, 0), level_shape(path, level)))


@pytest.fixture(scope="module")
def renderer(finished):
    measured = MeasuredBlocks(open_source(finished.config.source), finished.plan)
    return PointRenderer(finished.store, measured, torch.device("cpu"))


def test_at_the_native_size_the_shards_are_those_of_the_run(finished, tmp_path):
    out = tmp_path / "native.ome.zarr"
    assert render(finished, out, "--voxel-size-nm", "8") == 0
    for level in (0, 1):
        ours, runs = ({str(f.relative_to(p)): f.read_bytes() for f in p.rglob("*") if f.is_file()}
                      for p in (out / str(level), finished.paths.isotropic / str(level)))  # fmt: skip
        assert ours == runs


def test_fields_between_voxels_are_those_of_the_voxels_at_their_centres(finished, renderer):
    """The way of any other voxel size, taken at the native one: to single precision, and not a grey level away."""
    points = [np.arange(n) + 0.5 for n in WHOLE.shape]
    values = renderer.values(points)
    native = gather(WHOLE, renderer.windows, renderer.blocks.render).values
    np.testing.assert_allclose(values, native, rtol=0, atol=1e-5)
    # Negative control: half a voxel aside it is another image.
    aside = renderer.values([at + (0.5 if axis == 0 else 0) for axis, at in enumerate(points)])
    assert np.abs(aside - native).mean() > 1e-3
    assert np.abs(renderer.values([points[0], points[2], points[1]]) - native.transpose(0, 2, 1)).max() > 0.1


def test_twice_as_coarse_is_the_mean_of_the_native_voxels(finished, renderer, tmp_path):
    out = tmp_path / "coarse.ome.zarr"
    assert render(finished, out, "--voxel-size-nm", "16") == 0
    exact = mean_2x2x2(gather(WHOLE, renderer.windows, renderer.blocks.render).values)
    expected = finished.plan.contrast.restore(exact)
    assert np.abs(image(out) - expected).max() <= 0.51
    # Negative control: every second voxel, without the mean, is aliased.
    assert np.abs(image(out) - image(finished.paths.isotropic)[::2, ::2, ::2]).max() > 10


def test_a_part_at_other_sizes_is_the_part_of_the_whole(finished, tmp_path):
    sizes = ("--voxel-size-nm", "12,4,20", "--ome-zarr", "0.4")
    whole, part = tmp_path / "whole.ome.zarr", tmp_path / "part.ome.zarr"
    assert render(finished, whole, *sizes) == 0
    assert render(finished, part, *sizes, "--roi-nm", "96:252,40:205.5,100:400") == 0
    cut = image(whole)[8:21, 10:52, 5:20]
    assert image(whole).shape == (32, 128, 26)
    np.testing.assert_allclose(image(part).astype(int), cut.astype(int), rtol=0, atol=1)
    level = with_dask(str(part))[0]
    assert (level.scale, level.translation) == ((12, 4, 20), (96 + 6, 40 + 2, 100 + 10))
    # Finer along y: between native voxels that lie about it, but for what the network of a field adds.
    native, fine = image(finished.paths.isotropic).astype(float), tmp_path / "fine.ome.zarr"
    assert render(finished, fine, "--voxel-size-nm", "8,4,8") == 0
    middle = image(fine)[:, 1:-1].astype(float)
    expected = np.stack([native[:, :-1] * 0.75 + native[:, 1:] * 0.25, native[:, :-1] * 0.25 + native[:, 1:] * 0.75], 2)
    assert np.abs(middle - expected.reshape(middle.shape)).mean() < 1


def test_an_interrupted_rendering_goes_on_and_ends_with_the_same_bytes(finished, tmp_path, monkeypatch):
    out, other = tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr"
    sizes = ("--voxel-size-nm", "10", "--roi", "0:20,0:64,0:64")
    assert render(finished, other, *sizes) == 0
    real, calls = render_image.write_shard, []

    def failing(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(render_image, "write_shard", failing)
    assert render(finished, out, *sizes) == 130
    assert not image_attributes(out)["isofield"]["rendering"]["complete"]
    assert render(finished, out, *sizes) == 0
    assert len(calls) == 3 + 4 - 2
    assert image_attributes(out)["isofield"]["rendering"]["complete"]
    np.testing.assert_array_equal(image(out), image(other))
    # What is there is another rendering: refused, then replaced.
    assert render(finished, out, "--voxel-size-nm", "16") == 2
    assert image(out).shape == image(other).shape
    assert render(finished, out, "--voxel-size-nm", "16", "--overwrite") == 0
    assert image(out).shape == (24, 32, 32)


def test_what_cannot_be_rendered_is_refused_by_name(run, capsys, tmp_path):
    def refused(*options, out=tmp_path / "x.ome.zarr"):
        assert render(run, out, *options) == 2
        return capsys.readouterr().err

    assert "between 0.5 and 512 nm" in refused("--voxel-size-nm", "0.1")
    assert "one or three numbers" in refused("--voxel-size-nm", "4,4")
    assert "does not meet the image" in refused("--voxel-size-nm", "4", "--roi", "50:60,0:1,0:1")
    assert "is no rendering" in refused("--voxel-size-nm", "4", "--overwrite", out=run.paths.isotropic)
    assert "not the volume" in refused("--voxel-size-nm", "4", "--source", "phantom:tissue?shape=48,64,64&seed=9")
    tidy = run.changed(run={"keep_fields": False})
    assert tidy.stage("tidy") == 0
    assert "run.keep_fields: true" in refused("--voxel-size-nm", "4")
    assert not (tmp_path / "x.ome.zarr").exists()
    shutil.rmtree(run.paths.fields)
    assert "no fitted fields" in refused("--voxel-size-nm", "4")


@pytest.mark.parametrize("kind", ["grid", "siren", "fourier"])
def test_every_kind_of_field_is_continuous_and_itself_at_voxel_centres(kind):
    shape = (12, 9, 10)
    fields = make_fields(FieldSpec(kind=kind, strides_vox=((2, 1, 1), 4), features=(1, 4)), shape, [3])
    generator = torch.Generator().manual_seed(0)
    for grid in getattr(fields, "grids", []):
        grid.data = torch.randn(grid.shape, generator=generator)
    centres = [torch.arange(n, dtype=torch.float64) + 0.5 for n in shape]
    native = fields.slices(Y, torch.arange(9)).movedim(1, 2)
    torch.testing.assert_close(values_at(fields, centres), native, rtol=0, atol=1e-5)
    near = values_at(fields, [at + 1e-4 for at in centres])
    assert 0 < (near - native).abs().max() < 0.05
    far = values_at(fields, [at + 0.37 for at in centres])
    assert (far - native).abs().max() > 0.05


def test_points_lie_evenly_in_their_voxel():
    lattice = Lattice.over((10, 10, 10), Fraction(4), (Fraction(4), Fraction(10), Fraction(1)))
    assert lattice.n_points == (1, 3, 1)
    assert tuple(lattice.roi.shape) == (10, 4, 40)
    z, y, x = lattice.points(Roi((2, 1, 4), (2, 1, 2)))
    np.testing.assert_allclose(z, [2.5, 3.5])
    np.testing.assert_allclose(y, [2.5 + 2.5 / 6, 3.75, 5 - 2.5 / 6])
    np.testing.assert_allclose(x, [1.125, 1.375])


def test_json_says_what_was_made(finished, tmp_path, capsys):
    assert render(finished, tmp_path / "j.ome.zarr", "--voxel-size-nm", "20", "--roi", "0:48,0:64,32:64", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["shape"] == [20, 26, 14]
    assert made["origin_nm"] == [0, 0, 240]
    assert made["points_per_voxel"] == [3, 3, 3]
