"""NRRD written by SimpleITK, and by hand where ITK has no way to say it; pynrrd reads the headers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import SimpleITK
from reads_as import KEYS, reads_as

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.source import open_source
from isofield.source.probe import probe

TYPES = {"uint8": "uchar", "int8": "signed char", "uint16": "ushort", "int16": "short", "float32": "float", "float64": "double"}
DIRECTIONS = 'space dimension: 3\nspace directions: (4.7,0,0) (0,4.6,0) (0,0,50)\nspace units: "nm" "nm" "nm"\n'


def by_hand(path, values, fields=DIRECTIONS, endian="little", voxels=True, **others):
    """Header, empty line, voxels: `values` in C order, so that their last axis is the file's first."""
    header = {
        "type": TYPES[values.dtype.name],
        "dimension": values.ndim,
        "sizes": " ".join(map(str, values.shape[::-1])),
        "endian": endian,
        "encoding": "raw",
    } | {name.replace("_", " "): value for name, value in others.items()}
    text = "NRRD0005\n" + "".join(f"{name}: {value}\n" for name, value in header.items()) + fields + "\n"
    raw = values.astype(values.dtype.newbyteorder(">" if endian == "big" else "<")).tobytes() if voxels else b""
    path.write_bytes(text.encode() + raw)


@pytest.mark.parametrize("dtype", TYPES)
def test_nrrd_of_another_writer(tmp_path, ramp, spec, dtype):
    values = (ramp % 100).astype(dtype) - np.asarray(50 if dtype[0] != "u" else 0, dtype)
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((0.0047, 0.0046, 0.05))
    for name in ("a.nrrd", "b.nhdr"):  # attached, and with the voxels in b.raw
        SimpleITK.WriteImage(image, str(tmp_path / name), useCompression=False)
        with pytest.raises(InputError, match=r"source\.voxel_size_nm.*no unit"):
            probe(spec(tmp_path / name))
        volume = open_source(spec(tmp_path / name, **KEYS))
        reads_as(volume, values)
        assert volume.info.format == "nrrd"


@pytest.mark.parametrize(
    "fields",
    [
        DIRECTIONS,
        'space dimension: 3\nspace directions: (0,-4.7,0) (2.76,0,3.68) (0,0,50)\nspace units: "nm" "nm" "nm"\n',
        'spacings: 0.0047 0.0046 0.05\nunits: "um" "um" "um"\n',
    ],
)
def test_sizes_and_units(tmp_path, ramp, spec, fields):
    by_hand(tmp_path / "a.nrrd", ramp, fields)
    reads_as(open_source(spec(tmp_path / "a.nrrd")), ramp)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("", "state none"),
        ("spacings: 4.7 4.6 50\n", "no unit"),
        ('spacings: 4.7 4.6 nan\nunits: "nm" "nm" "nm"\n', "no length"),
        ('spacings: 4.7 4.6 50\nunits: "nm" "nm" "ell"\n', "ell"),
    ],
)
def test_sizes_are_never_guessed(tmp_path, ramp, spec, fields, reason):
    by_hand(tmp_path / "a.nrrd", ramp, fields)
    with pytest.raises(InputError, match=rf"source\.voxel_size_nm.*{reason}"):
        probe(spec(tmp_path / "a.nrrd"))
    reads_as(open_source(spec(tmp_path / "a.nrrd", **KEYS)), ramp)


def test_axes_by_kind_and_by_label(tmp_path, ramp, two_channels, spec):
    by_hand(tmp_path / "a.nrrd", np.moveaxis(two_channels, 0, -1), "kinds: vector domain domain domain\n")
    reads_as(open_source(spec(tmp_path / "a.nrrd", channel=1, **KEYS)), two_channels[1])
    by_hand(tmp_path / "b.nrrd", ramp.transpose(2, 1, 0), 'labels: "z" "y" "x"\n')
    reads_as(open_source(spec(tmp_path / "b.nrrd", **KEYS)), ramp)
    by_hand(tmp_path / "c.nrrd", ramp.transpose(2, 1, 0), "")
    assert probe(spec(tmp_path / "c.nrrd", **KEYS)).shape == (1, 11, 7, 5), "unlabelled, the first axis is x"


def test_byte_order_and_skipped_bytes(tmp_path, ramp, spec):
    by_hand(tmp_path / "a.nrrd", ramp, endian="big")
    reads_as(open_source(spec(tmp_path / "a.nrrd")), ramp)
    (tmp_path / "voxels.raw").write_bytes(b"head" + ramp.tobytes())
    for name, skip in (("b.nhdr", 4), ("c.nhdr", -1)):
        by_hand(tmp_path / name, ramp, voxels=False, data_file="voxels.raw", byte_skip=skip)
        reads_as(open_source(spec(tmp_path / name)), ramp)
    identity = probe(spec(tmp_path / "b.nhdr")).identity
    (tmp_path / "voxels.raw").write_bytes(b"head" + ramp.tobytes()[::-1])
    assert probe(spec(tmp_path / "b.nhdr")).identity != identity, "voxels changed beside an unchanged header"


def test_only_what_is_asked_for_is_read(tmp_path, ramp, spec):
    """20 GB that lie on the disk as a hole."""
    by_hand(tmp_path / "a.nhdr", ramp, voxels=False, data_file="hole.raw", sizes="1000 1000 10000")
    with (tmp_path / "hole.raw").open("wb") as file:
        file.truncate(2 * 10**10)
        file.seek(2 * (9000 * 10**6 + 2))
        file.write(b"\7\0")
    volume = open_source(spec(tmp_path / "a.nhdr"))
    tracemalloc.start()
    part = volume.read(Roi.between((9000, 0, 0), (9002, 3, 5)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (part[0, 0, 0, 2], part.sum()) == (7, 7)
    assert peak < 1e6


def test_what_cannot_be_read_in_parts_is_refused(tmp_path, ramp, spec):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ramp), str(tmp_path / "a.nrrd"), useCompression=True)
    with pytest.raises(InputError, match=r"encoded as 'gzip'.*encoding raw"):
        probe(spec(tmp_path / "a.nrrd", **KEYS))
    by_hand(tmp_path / "b.nrrd", ramp, voxels=False, data_file="gone.raw")
    with pytest.raises(InputError, match=r"gone\.raw"):
        probe(spec(tmp_path / "b.nrrd"))
    by_hand(tmp_path / "c.nrrd", ramp, voxels=False)
    with pytest.raises(InputError, match="header promises"):
        open_source(spec(tmp_path / "c.nrrd"))
    (tmp_path / "d.nrrd").write_text("NRRD0005\nsizes 1 2 3\n\n")
    with pytest.raises(InputError, match="damaged NRRD"):
        probe(spec(tmp_path / "d.nrrd"))
