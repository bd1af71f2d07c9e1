"""Zarr stores written by hand from the specification (JSON and raw bytes), by ome-zarr and by zarr."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_multiscale
from raw_zarr import SCALE, SPACE, image_v2, raw_v2, raw_v3, scale

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.source import open_source
from isofield.source.probe import probe

SIZE = (50, Fraction(23, 5), Fraction(47, 10))


@pytest.mark.parametrize("write", [raw_v2, raw_v3])
@pytest.mark.parametrize("dtype", ["uint16", "int8", "float32"])
def test_plain_arrays_need_a_configured_size(tmp_path, ramp, spec, write, dtype):
    values = (ramp % 100).astype(dtype)
    write(tmp_path / "a", values, attributes={"resolution": [40, 4, 4]})
    with pytest.raises(InputError, match=r"source\.voxel_size_nm.*plain Zarr"):
        probe(spec(tmp_path / "a"))
    volume = open_source(spec(tmp_path / "a", voxel_size_nm=(50, 4.6, 4.7)))
    assert volume.info.format == ("zarr v2" if write is raw_v2 else "zarr v3")
    assert (volume.info.shape, volume.info.voxel_size_nm, volume.info.dtype) == ((1, 5, 7, 11), SIZE, dtype)
    np.testing.assert_array_equal(volume.data.compute(), values[None])


def test_byte_order_ends_at_the_door(tmp_path, ramp, spec):
    raw_v2(tmp_path / "v2", ramp.astype(">u2"))
    raw_v3(tmp_path / "v3", ramp, endian="big")
    for name in ("v2", "v3"):
        data = open_source(spec(tmp_path / name, voxel_size_nm=(5, 5, 5))).data.compute()
        assert data.dtype.isnative
        np.testing.assert_array_equal(data[0], ramp)


def test_dimension_names_give_the_axis_order(tmp_path, ramp, spec):
    size = {"voxel_size_nm": (50, 4.6, 4.7)}
    raw_v3(tmp_path / "v3", ramp.transpose(2, 1, 0).copy(), dimension_names=["x", "y", "z"])
    raw_v2(tmp_path / "v2", ramp.transpose(1, 0, 2).copy(), {"_ARRAY_DIMENSIONS": ["y", "z", "x"]})
    for name in ("v3", "v2"):
        np.testing.assert_array_equal(open_source(spec(tmp_path / name, **size)).data.compute()[0], ramp)
    raw_v3(tmp_path / "other", ramp, dimension_names=["row", "column", "plane"])
    with pytest.raises(InputError, match="'row'"):
        probe(spec(tmp_path / "other", **size))


@pytest.mark.parametrize(("form", "version"), [(FormatV04(), "0.4"), (FormatV05(), "0.5")])
def test_ome_zarr_of_the_reference_writer(tmp_path, two_channels, spec, form, version):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=form.zarr_format)
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *SPACE]
    transforms = [[scale(1, 1, 0.05, 0.0046 * k, 0.0047 * k)] for k in (1, 2)]
    pyramid = [two_channels[None], two_channels[None, ..., ::2, ::2]]
    write_multiscale(pyramid, group, axes=axes, fmt=form, coordinate_transformations=transforms)
    levels = [entry["path"] for entry in dict(group.attrs).get("ome", dict(group.attrs))["multiscales"][0]["datasets"]]

    with pytest.raises(InputError, match=r"source\.channel"):
        probe(spec(tmp_path / "a.zarr"))
    volume = open_source(spec(tmp_path / "a.zarr", channel=1))
    assert (volume.info.format, volume.info.dataset) == (f"ome-zarr {version}", levels[0])
    assert volume.info.voxel_size_nm == SIZE
    np.testing.assert_array_equal(volume.data.compute(), two_channels[1:])

    coarse = open_source(spec(tmp_path / "a.zarr", dataset=levels[1], channel=0))
    assert coarse.info.voxel_size_nm == (50, 2 * SIZE[1], 2 * SIZE[2])
    np.testing.assert_array_equal(coarse.data.compute()[0], two_channels[0, :, ::2, ::2])
    direct = open_source(spec(tmp_path / "a.zarr" / levels[1], channel=0))
    assert direct.info.voxel_size_nm == coarse.info.voxel_size_nm


def test_transforms_of_level_and_image_multiply(tmp_path, ramp, spec):
    translation = {"type": "translation", "translation": [1, 2, 3]}
    image_v2(
        tmp_path / "a",
        ramp,
        transforms=[scale(0.5, 0.46, 4.7), translation],
        on_image=[scale(0.1, 0.01, 0.001)],
    )
    assert probe(spec(tmp_path / "a")).voxel_size_nm == SIZE


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"transforms": None}, "has no scale"),
        ({"transforms": [scale(1, 1)]}, "has no scale"),
        ({"transforms": [{"type": "scale", "path": "elsewhere"}]}, "has no scale"),
        ({"transforms": [scale(*SCALE), {"type": "affine", "affine": []}]}, "has no scale"),
        ({"transforms": [scale(*SCALE)], "on_image": [{"type": "rotation"}]}, "has no scale"),
        ({"transforms": [scale(*SCALE)], "axes": [{"name": n, "type": "space"} for n in "zyx"]}, "no unit"),
        ({"transforms": [scale(*SCALE)], "axes": ["z", "y", "x"], "version": "0.3"}, "no unit"),
        ({"transforms": [scale(*SCALE)], "axes": [{**a, "unit": "cubit"} for a in SPACE]}, "cubit"),
        ({"transforms": [scale(0, 1, 1)]}, "no length"),
    ],
)
def test_sizes_are_never_guessed(tmp_path, ramp, spec, keys, reason):
    image_v2(tmp_path / "a", ramp, **keys)
    with pytest.raises(InputError, match=rf"source\.voxel_size_nm.*{reason}"):
        probe(spec(tmp_path / "a"))
    assert probe(spec(tmp_path / "a", voxel_size_nm=(50, 4.6, 4.7))).voxel_size_nm == SIZE


def test_time_points_are_refused(tmp_path, two_channels, spec):
    axes = [{"name": "t", "type": "time"}, *SPACE]
    image_v2(tmp_path / "a", two_channels, axes=axes, transforms=[scale(1, *SCALE)])
    with pytest.raises(InputError, match="2 time points"):
        probe(spec(tmp_path / "a"))


def test_channel_axis_is_known_by_type(tmp_path, two_channels, spec):
    axes = [{"name": "wavelength", "type": "channel"}, *SPACE]
    image_v2(tmp_path / "a", two_channels, axes=axes, transforms=[scale(1, *SCALE)])
    np.testing.assert_array_equal(open_source(spec(tmp_path / "a", channel=1)).data.compute(), two_channels[1:])


def test_groups_with_one_volume_and_with_several(tmp_path, ramp, spec):
    size = {"voxel_size_nm": (50, 4.6, 4.7)}
    raw_v2(tmp_path / "a" / "deep" / "raw", ramp)
    raw_v2(tmp_path / "a" / "flat", ramp[0])
    for folder in (tmp_path / "a", tmp_path / "a" / "deep"):
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
    assert probe(spec(tmp_path / "a", **size)).dataset == "deep/raw"
    image_v2(tmp_path / "a" / "image", ramp[:, :3], transforms=[scale(*SCALE)])
    with pytest.raises(InputError, match=r"2 volumes \(deep/raw, image\).*source\.dataset"):
        probe(spec(tmp_path / "a", **size))
    chosen = probe(spec(tmp_path / "a", dataset="image"))
    assert (chosen.dataset, chosen.shape, chosen.voxel_size_nm) == ("image/0", (1, 5, 3, 11), SIZE)
    with pytest.raises(InputError, match=r"source\.dataset: 'imago'"):
        probe(spec(tmp_path / "a", dataset="imago"))


def test_damaged_metadata_are_refused(tmp_path, ramp, spec):
    image_v2(tmp_path / "a", ramp, transforms=[scale(*SCALE)])
    (tmp_path / "a" / "0" / ".zarray").unlink()
    with pytest.raises(InputError, match="level '0' is not there"):
        probe(spec(tmp_path / "a"))
    (tmp_path / "a" / ".zattrs").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        probe(spec(tmp_path / "a"))


@pytest.mark.parametrize("dtype", ["uint64", "bool", "complex64", "float16"])
@pytest.mark.parametrize("write", [raw_v2, raw_v3])
def test_unsupported_dtypes_are_refused(tmp_path, ramp, spec, write, dtype):
    write(tmp_path / "a", ramp.astype(dtype))
    with pytest.raises(InputError, match="holds "):
        probe(spec(tmp_path / "a", voxel_size_nm=(5, 5, 5)))


def test_sharded_store(tmp_path, ramp, spec):
    array = zarr.create_array(tmp_path / "a", shape=ramp.shape, dtype=ramp.dtype, chunks=(1, 2, 3), shards=(2, 4, 6))
    array[:] = ramp
    volume = open_source(spec(tmp_path / "a", voxel_size_nm=(5, 5, 5)))
    np.testing.assert_array_equal(volume.data.compute()[0], ramp)


@pytest.mark.parametrize("chunk", [64, 256])
def test_opening_a_huge_store_allocates_next_to_nothing(tmp_path, spec, chunk):
    """10^18 voxels: description, opening, slicing and reading two small blocks cost what the blocks cost."""
    side = 10**6
    array = zarr.create_array(tmp_path / "a", shape=(side,) * 3, dtype="uint8", chunks=(chunk,) * 3, fill_value=7)
    array[:2, :2, :2] = 9
    tracemalloc.start()
    volume = open_source(spec(tmp_path / "a", voxel_size_nm=(5, 5, 5)))
    part = volume.data[:, :3, side // 2 : side // 2 + 500, -500:]
    near = volume.read(Roi.between((0, 0, 0), (3, 3, 3)))
    far = volume.read(Roi.between((side - 3, side // 2, side - 2), (side, side // 2 + 4, side)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert volume.info.shape == volume.data.shape == (1, side, side, side)
    assert part.shape == (1, 3, 500, 500)
    assert near.shape == (1, 3, 3, 3)
    assert near.sum() == 8 * 9 + 19 * 7
    assert far.shape == (1, 3, 4, 2)
    assert (far == 7).all()
    assert peak < 30e6 + 4 * chunk**3
