"""CZI written by pylibCZIrw and LIF written by hand; bioio's plugins read them. Nothing here can write ND2."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from lif_file import write_lif
from reads_as import KEYS, SIZE_NM, reads_as

from isofield.errors import InputError
from isofield.source import open_source
from isofield.source.probe import probe


def write_czi(path, czyx, size_nm=SIZE_NM):
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for c, z in np.ndindex(czyx.shape[:2]):
            file.write(data=czyx[c, z][..., None], plane={"T": 0, "Z": z, "C": c}, scene=0)
        scale = dict(zip(("scale_z", "scale_y", "scale_x"), (float(nm) * 1e-9 for nm in size_nm), strict=True)) if size_nm else {}
        file.write_metadata(document_name="a", channel_names={0: "DAPI", 1: "GFP"}, **scale)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_czi_of_another_writer(tmp_path, two_channels, spec, dtype):
    values = (two_channels % 251).astype(dtype)
    write_czi(tmp_path / "a.czi", values)
    with pytest.raises(InputError, match=r"source\.channel.*2 channels"):
        probe(spec(tmp_path / "a.czi"))
    volume = open_source(spec(tmp_path / "a.czi", channel=1))
    reads_as(volume, values[1])
    assert volume.info.format == "czi"
    assert volume.measured.chunks == (1, 7, 11), "plane by plane"


def test_sizes_are_never_guessed(tmp_path, ramp, spec):
    write_czi(tmp_path / "a.czi", ramp[None], size_nm=None)
    with pytest.raises(InputError, match=r"source\.voxel_size_nm"):
        probe(spec(tmp_path / "a.czi"))
    reads_as(open_source(spec(tmp_path / "a.czi", **KEYS)), ramp)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_lif_by_hand(tmp_path, two_channels, spec, dtype):
    values = (two_channels % 251).astype(dtype)
    write_lif(tmp_path / "a.lif", {"first": values[:, :, ::-1].copy(), "second": values}, (50, 4.6, 4.7))
    with pytest.raises(InputError, match=r"holds 2 scenes.*first.*second.*source\.dataset"):
        probe(spec(tmp_path / "a.lif", channel=0))
    reads_as(open_source(spec(tmp_path / "a.lif", channel=1, dataset="1")), values[1])
    named = probe(spec(tmp_path / "a.lif", channel=1, dataset="1")).dataset
    assert "second" in named
    reads_as(open_source(spec(tmp_path / "a.lif", channel=0, dataset=named)), values[0])
    with pytest.raises(InputError, match=r"source\.dataset: 'third'.*second"):
        probe(spec(tmp_path / "a.lif", channel=0, dataset="third"))


@pytest.mark.parametrize(("name", "start"), [("czi", b"ZISRAWFILE\0\0"), ("lif", b"\x70\0\0\0"), ("nd2", b"\xda\xce\xbe\x0a")])
def test_damaged_files_are_refused(tmp_path, spec, name, start):
    (tmp_path / f"a.{name}").write_bytes(start + bytes(200))
    with pytest.raises(InputError, match=rf"source\.path.*damaged {name.upper()}"):
        probe(spec(tmp_path / f"a.{name}"))


def test_without_the_library_the_extra_is_named(tmp_path):
    (tmp_path / "a.nd2").write_bytes(b"\xda\xce\xbe\x0a")
    script = f"""
import sys
sys.modules["bioio_nd2"] = None
from isofield.source.probe import probe
from isofield.source.spec import SourceSpec
probe(SourceSpec(path={str(tmp_path / "a.nd2")!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert "needs a package that is not installed (bioio_nd2). pip install 'isofield[bioio]'" in done.stderr
