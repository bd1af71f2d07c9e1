"""N5 written by z5py, and by hand from the specification; tensorstore reads it."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
import z5py
from reads_as import KEYS, SIZE_NM, reads_as

from isofield.errors import InputError
from isofield.report.server import serve
from isofield.source import open_source
from isofield.source.probe import probe
from object_stores import files_of

NM = {"pixelResolution": {"dimensions": [4.7, 4.6, 50.0], "unit": "nm"}}


def write(store, values, name="volume/s0", attributes=NM, **options):
    """A dataset in C order by z5py, which stores its dimensions reversed, x first."""
    with z5py.File(str(store), mode="a") as file:
        options = {"chunks": tuple(min(4, n) for n in values.shape), "compression": "gzip"} | options
        dataset = file.create_dataset(name, data=values, **options)
        dataset.attrs.update(attributes)


def set_attributes(folder, attributes):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "attributes.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(known | attributes))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32", "float64"])
def test_n5_of_another_writer(tmp_path, ramp, spec, dtype):
    values = (ramp % 100).astype(dtype) - np.asarray(50 if dtype[0] != "u" else 0, dtype)
    write(tmp_path / "a.n5", values)
    volume = open_source(spec(tmp_path / "a.n5"))
    reads_as(volume, values)
    assert (volume.info.format, volume.info.dataset) == ("n5", "volume/s0")
    reads_as(open_source(spec(tmp_path / "a.n5" / "volume" / "s0")), values)
    reads_as(open_source(spec(f"n5://{tmp_path}/a.n5", dataset="volume")), values)


def test_n5_by_hand_from_the_specification(tmp_path, ramp, spec):
    """One uncompressed block: mode and number of dimensions, their lengths x first, then voxels, x fastest, big endian."""
    dataset = tmp_path / "by_hand"
    block = dataset / "0" / "0" / "0"
    block.parent.mkdir(parents=True)
    shape = ramp.shape[::-1]
    about = {"dimensions": shape, "blockSize": shape, "dataType": "uint16", "compression": {"type": "raw"}}
    (dataset / "attributes.json").write_text(json.dumps(about | NM))
    block.write_bytes(struct.pack(">HH3I", 0, 3, *shape) + ramp.astype(">u2").tobytes())
    reads_as(open_source(spec(dataset)), ramp)


@pytest.mark.parametrize(
    "attributes",
    [
        NM,
        {"pixelResolution": {"dimensions": [0.0047, 0.0046, 0.05], "unit": "um"}},
        {"pixelResolution": [4.7, 4.6, 50], "units": "nm"},
        {"resolution": [4.7, 4.6, 50], "units": ["nm", "nm", "nm"]},
        {"transform": {"axes": ["z", "y", "x"], "scale": [50, 4.6, 4.7], "translate": [0, 0, 0], "units": ["nm"] * 3}},
        {"resolution": [2.35, 2.3, 50], "units": "nm", "downsamplingFactors": [2, 2, 1]},
    ],
)
def test_sizes_of_each_convention(tmp_path, ramp, spec, attributes):
    write(tmp_path / "a.n5", ramp, attributes=attributes)
    assert probe(spec(tmp_path / "a.n5")).voxel_size_nm == SIZE_NM


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "state none"),
        ({"resolution": [4.7, 4.6, 50]}, "no unit"),
        ({"pixelResolution": {"dimensions": [4, 4, 40], "unit": "league"}}, "league"),
        ({"resolution": [4, 40], "units": "nm"}, "2 numbers"),
        ({"resolution": [4, 4, 40], "units": "nm", "downsamplingFactors": [2]}, "downsampling"),
    ],
)
def test_sizes_are_never_guessed(tmp_path, ramp, spec, attributes, reason):
    write(tmp_path / "a.n5", ramp, attributes=attributes)
    with pytest.raises(InputError, match=rf"source\.voxel_size_nm.*{reason}"):
        probe(spec(tmp_path / "a.n5"))
    reads_as(open_source(spec(tmp_path / "a.n5", **KEYS)), ramp)


def test_levels_take_their_size_from_the_group(tmp_path, ramp, spec):
    write(tmp_path / "a.n5", ramp, "c0/s0", {})
    write(tmp_path / "a.n5", ramp[:, ::2, ::2].copy(), "c0/s1", {})
    write(tmp_path / "a.n5", ramp[:, ::4, ::4].copy(), "c0/s2", {"downsamplingFactors": [4, 4, 1]})
    set_attributes(tmp_path / "a.n5" / "c0", NM)
    assert probe(spec(tmp_path / "a.n5")).voxel_size_nm == SIZE_NM
    with pytest.raises(InputError, match=r"voxel_size_nm.*how this level differs"):
        probe(spec(tmp_path / "a.n5", dataset="c0/s1"))
    assert probe(spec(tmp_path / "a.n5", dataset="c0/s2")).voxel_size_nm == (50, 4 * SIZE_NM[1], 4 * SIZE_NM[2])
    set_attributes(tmp_path / "a.n5" / "c0", {"scales": [[1, 1, 1], [2, 2, 1]]})
    level = open_source(spec(tmp_path / "a.n5" / "c0" / "s1"))
    reads_as(level, ramp[:, ::2, ::2], (50, 2 * SIZE_NM[1], 2 * SIZE_NM[2]))


def test_axes_are_read_where_they_are_named(tmp_path, ramp, two_channels, spec):
    write(tmp_path / "a.n5", ramp.transpose(2, 1, 0).copy(), attributes={"axes": ["z", "y", "x"]})
    reads_as(open_source(spec(tmp_path / "a.n5", **KEYS)), ramp)
    write(tmp_path / "c.n5", two_channels, attributes={})
    reads_as(open_source(spec(tmp_path / "c.n5", channel=1, **KEYS)), two_channels[1])
    write(tmp_path / "d.n5", two_channels.swapaxes(0, 1).copy(), attributes={"axes": ["x", "y", "c", "z"]})
    reads_as(open_source(spec(tmp_path / "d.n5", channel=1, **KEYS)), two_channels[1])


def test_several_volumes_need_a_choice(tmp_path, ramp, spec):
    write(tmp_path / "a.n5", ramp, "raw")
    write(tmp_path / "a.n5", ramp, "labels/s0")
    with pytest.raises(InputError, match=r"2 volumes \(labels/s0, raw\).*source\.dataset"):
        probe(spec(tmp_path / "a.n5"))
    with pytest.raises(InputError, match=r"source\.dataset: 'row'"):
        probe(spec(tmp_path / "a.n5", dataset="row"))
    (tmp_path / "a.n5" / "raw" / "attributes.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        probe(spec(tmp_path / "a.n5"))


def test_only_what_is_asked_for_is_read(tmp_path, ramp, spec):
    write(tmp_path / "a.n5", ramp, chunks=(1, 7, 11))
    (tmp_path / "a.n5" / "volume" / "s0" / "0" / "0" / "3").write_bytes(b"destroyed")
    volume = open_source(spec(tmp_path / "a.n5"))
    np.testing.assert_array_equal(volume.data[0, :3].compute(), ramp[:3])
    with pytest.raises(InputError, match=r"source\.path.*s0.*damaged"):
        volume.data.compute()


def test_n5_reads_alike_from_object_stores_and_over_http(tmp_path, ramp, spec, s3, gs):
    write(tmp_path / "a.n5", ramp)
    for server in (s3, gs):
        server.put(files_of(tmp_path), "n5")
        for uri in (server.uri("n5/a.n5"), f"n5://{server.uri('n5/a.n5/volume/s0')}"):
            volume = open_source(spec(uri))
            reads_as(volume, ramp)
            assert s3.key not in str(volume.info.identity)
    with serve(tmp_path) as server:
        reads_as(open_source(spec(f"{server.address}/a.n5/volume")), ramp)
        with pytest.raises(InputError, match="does not list"):
            probe(spec(f"{server.address}/a.n5"))


def test_a_server_that_goes_away_while_it_is_read_is_named(tmp_path, ramp, spec):
    write(tmp_path / "a.n5", ramp)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = process.stdout.readline().split("port ")[1].split()[0]
        volume = open_source(spec(f"http://127.0.0.1:{port}/a.n5/volume/s0"))
        process.kill()
    with pytest.raises(InputError, match=r"source\.path.*a\.n5.*cannot be reached"):
        volume.data.compute()


def test_without_the_library_the_extra_is_named(tmp_path, ramp):
    write(tmp_path / "a.n5", ramp)
    script = f"""
import sys
sys.modules["tensorstore"] = None
from isofield.source import open_source
from isofield.source.probe import probe
from isofield.source.spec import SourceSpec
spec = SourceSpec(path={str(tmp_path / "a.n5")!r})
print(probe(spec).shape)
open_source(spec)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "(1, 5, 7, 11)", "describing it needs no more than its JSON"
    assert "needs a package that is not installed (tensorstore). pip install 'isofield[formats]'" in done.stderr
