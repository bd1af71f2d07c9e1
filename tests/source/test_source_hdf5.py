from __future__ import annotations

import json
import pickle
from fractions import Fraction

import h5py
import numpy as np
import pytest

from isofield.errors import InputError
from isofield.source import open_source
from isofield.source.probe import probe

SIZE = (40, Fraction(4), Fraction(23, 5))


def write(path, values, name="volumes/raw", attributes=(), **options):
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset(name, data=values, **options)
        dataset.attrs.update(dict(attributes))


def test_cremi_layout(tmp_path, ramp, spec):
    write(tmp_path / "a.hdf", ramp, attributes={"resolution": [40.0, 4.0, 4.6]}, chunks=(2, 3, 4), compression=4)
    write(tmp_path / "a.hdf", np.zeros((3, 3)), "annotations/locations")
    volume = open_source(spec(tmp_path / "a.hdf"))
    assert volume.info == probe(spec(tmp_path / "a.hdf"))
    assert (volume.info.format, volume.info.dataset) == ("hdf5", "volumes/raw")
    assert (volume.info.shape, volume.info.voxel_size_nm) == ((1, 5, 7, 11), SIZE)
    np.testing.assert_array_equal(volume.data.compute(), ramp[None])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume.data))[0, 1:4].compute(), ramp[1:4])


@pytest.mark.parametrize(
    "attributes",
    [
        {"element_size_um": np.array([0.04, 0.004, 0.0046], np.float32)},
        {"element_size_um": [0.04, 0.004, 0.0046]},
        {"resolution": [40, 4, 4.6], "element_size_um": [0.04, 0.004, 0.0046]},
        {"resolution": [0.04, 0.004, 0.0046], "units": "um"},
        {"resolution": [40, 4, 4.6], "units": ["nm", "nm", "nm"]},
    ],
)
def test_size_attributes(tmp_path, ramp, spec, attributes):
    write(tmp_path / "a.h5", ramp, attributes=attributes)
    assert probe(spec(tmp_path / "a.h5")).voxel_size_nm == SIZE


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "state none"),
        ({"resolution": [4.0, 4.0]}, "2 numbers"),
        ({"resolution": [40, 4, 4], "element_size_um": [0.05, 0.004, 0.004]}, "differ"),
        ({"resolution": [40, 4, 4], "units": "parsec"}, "parsec"),
        ({"element_size_um": [0, 0.004, 0.004]}, "no length"),
    ],
)
def test_sizes_are_never_guessed(tmp_path, ramp, spec, attributes, reason):
    write(tmp_path / "a.h5", ramp, attributes=attributes)
    with pytest.raises(InputError, match=rf"source\.voxel_size_nm.*{reason}"):
        probe(spec(tmp_path / "a.h5"))
    assert probe(spec(tmp_path / "a.h5", voxel_size_nm=(40, 4, 4.6))).voxel_size_nm == SIZE


def test_several_volumes_need_a_choice(tmp_path, ramp, spec):
    write(tmp_path / "a.h5", ramp, attributes={"resolution": [40, 4, 4.6]})
    write(tmp_path / "a.h5", ramp[:, :3], "volumes/labels")
    with pytest.raises(InputError, match=r"volumes/labels uint16 \(5, 3, 11\), volumes/raw .*source\.dataset"):
        probe(spec(tmp_path / "a.h5"))
    assert probe(spec(tmp_path / "a.h5", dataset="/volumes/raw")).dataset == "volumes/raw"
    for wrong in ("volumes", "volumes/row"):
        with pytest.raises(InputError, match=rf"source\.dataset: '{wrong}'.*holds volumes"):
            probe(spec(tmp_path / "a.h5", dataset=wrong))


def test_a_file_without_a_volume(tmp_path, spec):
    write(tmp_path / "a.h5", np.zeros((3, 4)), "flat")
    with pytest.raises(InputError, match="holds no volume"):
        probe(spec(tmp_path / "a.h5"))


def test_channels_come_first_unless_the_metadata_say_otherwise(tmp_path, two_channels, spec):
    size = {"voxel_size_nm": (40, 4, 4)}
    write(tmp_path / "first.h5", two_channels)
    tags = json.dumps({"axes": [{"key": key} for key in "tzyxc"]})
    write(tmp_path / "last.h5", np.moveaxis(two_channels, 0, -1)[None], attributes={"axistags": tags})
    for name in ("first.h5", "last.h5"):
        with pytest.raises(InputError, match=r"source\.channel"):
            probe(spec(tmp_path / name, **size))
        volume = open_source(spec(tmp_path / name, channel=1, **size))
        np.testing.assert_array_equal(volume.data.compute(), two_channels[1:])


def test_axis_order_is_read_not_guessed(tmp_path, ramp, spec):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("xyz", data=ramp.transpose(2, 1, 0))
        for axis, label in enumerate("xyz"):
            dataset.dims[axis].label = label
        dataset.attrs["resolution"] = [40.0, 4.0, 4.6]
    with pytest.raises(InputError, match="by convention"):
        probe(spec(tmp_path / "a.h5"))
    volume = open_source(spec(tmp_path / "a.h5", voxel_size_nm=(40, 4, 4.6)))
    assert volume.info.shape == (1, 5, 7, 11)
    np.testing.assert_array_equal(volume.data.compute(), ramp[None])


def test_unlabelled_xyz_stays_as_it_is(tmp_path, ramp, spec):
    """Negative control: without labels the same bytes are taken for ZYX."""
    write(tmp_path / "a.h5", ramp.transpose(2, 1, 0))
    assert probe(spec(tmp_path / "a.h5", voxel_size_nm=(40, 4, 4.6))).shape == (1, 11, 7, 5)


@pytest.mark.parametrize("dtype", [">u2", ">f8", "i1", "<f4"])
def test_byte_order_ends_at_the_door(tmp_path, ramp, spec, dtype):
    write(tmp_path / "a.h5", (ramp % 100).astype(dtype))
    volume = open_source(spec(tmp_path / "a.h5", voxel_size_nm=(40, 4, 4)))
    assert volume.data.compute().dtype.isnative
    assert volume.info.dtype == np.dtype(dtype).name == volume.data.dtype.name
    np.testing.assert_array_equal(volume.data.compute()[0], ramp % 100)


def test_a_user_block_before_the_signature(tmp_path, ramp, spec):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["raw"] = ramp
    assert probe(spec(tmp_path / "a.mat", voxel_size_nm=(40, 4, 4))).shape == (1, 5, 7, 11)
