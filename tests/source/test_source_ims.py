"""Imaris files laid out by hand from their public description (imaris.oxinst.com/support/imaris-file-format)."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from reads_as import KEYS, SIZE_NM, reads_as

from isofield.errors import InputError
from isofield.source import open_source
from isofield.source.probe import probe


def characters(text):
    return np.array([c.encode() for c in str(text)], "S1")


def write(path, czyx, n_levels=1, n_points=1, sizes=True, **image):
    """Padded to whole chunks of 4 voxels; attributes are arrays of single characters."""
    extent = {"ExtMin0": -1, "ExtMax0": -1 + 11 * 0.0047, "ExtMin1": 0, "ExtMax1": 7 * 0.0046, "ExtMin2": 0, "ExtMax2": 5 * 0.05}
    z, y, x = czyx.shape[1:]
    with h5py.File(path, "w") as file:
        about = file.create_group("DataSetInfo/Image")
        for name, value in ({"X": x, "Y": y, "Z": z, "Unit": "um"} | extent | image).items():
            if value is not None:
                about.attrs[name] = characters(value)
        for level in range(n_levels):
            planes = czyx[:, :, :: 2**level, :: 2**level]
            for point in range(n_points):
                for c, values in enumerate(planes):
                    group = file.create_group(f"DataSet/ResolutionLevel {level}/TimePoint {point}/Channel {c}")
                    for axis, n in zip("ZYX", values.shape, strict=True):
                        if sizes:
                            group.attrs[f"ImageSize{axis}"] = characters(n)
                    padded = np.pad(values, [(0, -n % 4) for n in values.shape], constant_values=99)
                    group.create_dataset("Data", data=padded, chunks=(4, 4, 4), compression="gzip")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("sizes", [True, False])
def test_imaris_files(tmp_path, ramp, spec, dtype, sizes):
    values = (ramp % 251).astype(dtype)
    write(tmp_path / "a.ims", values[None], sizes=sizes)
    volume = open_source(spec(tmp_path / "a.ims"))
    reads_as(volume, values)
    assert (volume.info.format, volume.info.dataset) == ("ims", "0")


def test_channels_and_levels_are_chosen(tmp_path, two_channels, spec):
    write(tmp_path / "a.ims", two_channels, n_levels=2)
    with pytest.raises(InputError, match=r"source\.channel.*2 channels"):
        probe(spec(tmp_path / "a.ims"))
    reads_as(open_source(spec(tmp_path / "a.ims", channel=1)), two_channels[1])
    # Levels are rounded up to whole voxels, and span the same extent.
    size = (50, SIZE_NM[1] * 7 / 4, SIZE_NM[2] * 11 / 6)
    reads_as(open_source(spec(tmp_path / "a.ims", channel=0, dataset="1")), two_channels[0, :, ::2, ::2], size)
    with pytest.raises(InputError, match=r"source\.dataset: '2'.*has 2, counted from 0"):
        probe(spec(tmp_path / "a.ims", channel=0, dataset="2"))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"Unit": None}, "no unit"),
        ({"Unit": "mile"}, "mile"),
        ({"ExtMax2": None}, "lack the extent"),
        ({"ExtMax1": 0}, "no length"),
    ],
)
def test_sizes_are_never_guessed(tmp_path, ramp, spec, image, reason):
    write(tmp_path / "a.ims", ramp[None], **image)
    with pytest.raises(InputError, match=rf"source\.voxel_size_nm.*{reason}"):
        probe(spec(tmp_path / "a.ims"))
    reads_as(open_source(spec(tmp_path / "a.ims", **KEYS)), ramp)


def test_time_points_are_refused(tmp_path, ramp, spec):
    write(tmp_path / "a.ims", ramp[None], n_points=2)
    with pytest.raises(InputError, match="2 time points"):
        probe(spec(tmp_path / "a.ims"))
