"""MRC written by SimpleITK, and by mrcfile where ITK has no way to say it; both lay out voxels, mrcfile reads headers."""

from __future__ import annotations

import struct
import tracemalloc

import mrcfile
import numpy as np
import pytest
import SimpleITK
from reads_as import KEYS, SIZE_NM, reads_as

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.source import open_source
from isofield.source.probe import probe

ANGSTROM = (500, 46, 47)


def with_itk(path, values, spacing=ANGSTROM):
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing([float(s) for s in spacing[::-1]])
    SimpleITK.WriteImage(image, str(path))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_mrc_of_another_writer(tmp_path, ramp, spec, dtype):
    values = (ramp % 251).astype(dtype) - np.asarray(50 if dtype[0] != "u" else 0, dtype)
    with_itk(tmp_path / "a.mrc", values)
    volume = open_source(spec(tmp_path / "a.mrc"))
    reads_as(volume, values)
    assert volume.info.format == "mrc"


def test_axes_follow_the_header(tmp_path, ramp, spec):
    """mapc, mapr and maps say which of x, y, z are columns, rows and sections."""
    with mrcfile.new(tmp_path / "a.mrc", data=ramp.transpose(2, 0, 1).copy()) as file:
        file.header.mapc, file.header.mapr, file.header.maps = 2, 3, 1
        file.header.mx, file.header.my, file.header.mz = 11, 7, 5
        file.header.cella = (11 * 47, 7 * 46, 5 * 500)
    reads_as(open_source(spec(tmp_path / "a.mrc")), ramp)
    with mrcfile.open(tmp_path / "a.mrc", mode="r+") as file:
        file.header.mapc, file.header.mapr, file.header.maps = 0, 0, 0
    assert probe(spec(tmp_path / "a.mrc", **KEYS)).shape == (1, 11, 5, 7), "what says nothing is sections of rows"


@pytest.mark.parametrize(("stamp", "flags", "dtype"), [(1146047817, 0, "uint8"), (1146047817, 1, "int8"), (0, 0, "int8")])
def test_bytes_of_imod_are_unsigned_unless_it_says_so(tmp_path, ramp, spec, stamp, flags, dtype):
    values = (ramp % 251).astype(np.uint8).view(np.int8)
    with mrcfile.new(tmp_path / "a.mrc", data=values) as file:
        extra = bytearray(file.header.extra2.tobytes())
        struct.pack_into("<2i", extra, 40, stamp, flags)
        file.header.extra2 = np.frombuffer(bytes(extra), file.header.extra2.dtype)[0]
    assert (tmp_path / "a.mrc").read_bytes()[152:160] == struct.pack("<2i", stamp, flags), "words 39 and 40"
    reads_as(open_source(spec(tmp_path / "a.mrc", **KEYS)), values.view(dtype))


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0, 0, 0)])
def test_sizes_are_never_guessed(tmp_path, ramp, spec, spacing):
    with mrcfile.new(tmp_path / "a.mrc", data=ramp) as file:
        file.voxel_size = spacing
    with pytest.raises(InputError, match=r"source\.voxel_size_nm.*says nothing"):
        probe(spec(tmp_path / "a.mrc"))
    reads_as(open_source(spec(tmp_path / "a.mrc", **KEYS)), ramp)


def test_big_endian_and_extended_headers(tmp_path, ramp, spec):
    with mrcfile.new(tmp_path / "a.mrc", data=ramp.astype(">i2")) as file:
        file.set_extended_header(np.zeros(1000, "V1"))
        file.voxel_size = ANGSTROM[::-1]
    assert (tmp_path / "a.mrc").read_bytes()[:4] == struct.pack(">i", 11)
    reads_as(open_source(spec(tmp_path / "a.mrc")), ramp.astype("int16"))


def test_only_what_is_asked_for_is_read(tmp_path, spec):
    """20 GB that lie on the disk as a hole."""
    with mrcfile.new_mmap(tmp_path / "a.mrc", (2, 1000, 1000), mrc_mode=2) as file:
        file.voxel_size = ANGSTROM[::-1]
    with mrcfile.open(tmp_path / "a.mrc", mode="r+", header_only=True) as file:
        file.header.nz = file.header.mz = 5000
        file.header.cella.z = 5000 * 500
    with (tmp_path / "a.mrc").open("r+b") as file:
        file.truncate(1024 + 5000 * 1000 * 1000 * 4)
        file.seek(1024 + (4000 * 1000 * 1000 + 2) * 4)
        file.write(struct.pack("<f", 7))
    volume = open_source(spec(tmp_path / "a.mrc"))
    tracemalloc.start()
    part = volume.read(Roi.between((4000, 0, 0), (4002, 3, 5)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (part[0, 0, 0, 2], part.sum()) == (7, 7)
    assert peak < 1e6
    assert volume.info.voxel_size_nm == SIZE_NM


def test_a_file_that_was_cut_off_is_refused(tmp_path, ramp, spec):
    with_itk(tmp_path / "a.mrc", ramp)
    with (tmp_path / "a.mrc").open("r+b") as file:
        file.truncate(1100)
    with pytest.raises(InputError, match=r"1100 bytes, and its header promises 1794"):
        open_source(spec(tmp_path / "a.mrc"))
    with pytest.raises(InputError, match=r"source\.dataset"):
        probe(spec(tmp_path / "a.mrc", dataset="0"))
