"""What lies on an S3 server or behind HTTP reads as it does from a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from fsspec.implementations.http import HTTPFile
from raw_zarr import SCALE, image_v2, raw_v2, raw_v3, scale
from reads_as import reads_as

from isofield.errors import InputError, UnreadableError
from isofield.geometry import Roi
from isofield.report.server import serve
from isofield.source import open_source
from isofield.source.probe import probe
from object_stores import BUCKET, SECRET, files_of

SIZE = {"voxel_size_nm": (50, 4.6, 4.7)}


def sharded_v3(folder, values):
    array = zarr.create_array(folder, shape=values.shape, dtype=values.dtype, chunks=(1, 2, 3), shards=(2, 4, 6))
    array[:] = values


def image_v3(folder, values):
    """OME-Zarr 0.5 with one level."""
    raw_v3(folder / "0", values, dimension_names=list("zyx"))
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    level = {"path": "0", "coordinateTransformations": [scale(*SCALE)]}
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}))


WRITERS = {
    "v2": raw_v2,
    "v3": raw_v3,
    "sharded": sharded_v3,
    "ome04": lambda folder, values: image_v2(folder, values, transforms=[scale(*SCALE)]),
    "ome05": image_v3,
}


@pytest.fixture
def http(tmp_path):
    """A web server over the folder of the test: ranges, no listings."""
    with serve(tmp_path) as server:
        yield server


@pytest.mark.parametrize("kind", WRITERS)
def test_a_store_reads_alike_from_a_folder_from_object_stores_and_over_http(tmp_path, ramp, spec, s3, gs, http, kind):
    WRITERS[kind](tmp_path / "a.zarr", ramp)
    for server in (s3, gs):
        server.put(files_of(tmp_path / "a.zarr"), f"{kind}/a.zarr")
    keys = {} if kind.startswith("ome") else SIZE
    local = open_source(spec(tmp_path / "a.zarr", **keys)).info
    for uri in (s3.uri(f"{kind}/a.zarr"), gs.uri(f"{kind}/a.zarr"), f"{http.address}/a.zarr/"):
        volume = open_source(spec(uri, **keys))
        assert (volume.info.format, volume.info.dataset) == (local.format, local.dataset)
        assert (volume.info.shape, volume.info.dtype, volume.info.voxel_size_nm) == (local.shape, "uint16", local.voxel_size_nm)
        np.testing.assert_array_equal(volume.data.compute()[0], ramp)
    if kind.startswith("ome"):
        for server in (s3, gs):
            direct = probe(spec(server.uri(f"{kind}/a.zarr/0")))
            assert (direct.dataset, direct.voxel_size_nm) == (None, local.voxel_size_nm)


def test_the_identity_is_that_of_the_metadata_and_of_nobody_who_reads_it(tmp_path, ramp, spec, store):
    raw_v3(tmp_path / "a", ramp)
    files = files_of(tmp_path / "a")
    uri = store.uri("identity/a.zarr")
    store.put(files, "identity/a.zarr")
    first = probe(spec(uri, **SIZE)).identity
    store.put(files, "identity/a.zarr")
    assert probe(spec(uri, **SIZE)).identity == first, "the time of a copy matters"
    for planted in (SECRET, "AKIAPLANTEDKEY", store.address):
        assert planted not in str(first)
    metadata = json.loads(files["zarr.json"]) | {"attributes": {"changed": 1}}
    store.put({"zarr.json": json.dumps(metadata).encode()}, "identity/a.zarr")
    assert probe(spec(uri, **SIZE)).identity != first


def grouped(folder, ramp, consolidated: bool, version: int):
    group = zarr.open_group(folder, mode="w", zarr_format=version)
    group.create_group("deep").create_array("raw", data=ramp)
    group.create_array("flat", data=ramp[0])
    if consolidated:
        zarr.consolidate_metadata(group.store)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("version", [2, 3])
def test_groups_are_searched_where_there_is_a_listing_or_consolidated_metadata(tmp_path, ramp, spec, s3, gs, http, version):
    for name in ("listed", "known"):
        grouped(tmp_path / name, ramp, name == "known", version)
    for server in (s3, gs):
        server.put(files_of(tmp_path / "listed"), f"listed{version}")
        assert probe(spec(server.uri(f"listed{version}"), **SIZE)).dataset == "deep/raw"
    assert probe(spec(f"{http.address}/known", **SIZE)).dataset == "deep/raw"
    assert probe(spec(f"{http.address}/listed", dataset="deep/raw", **SIZE)).dataset == "deep/raw"
    with pytest.raises(InputError, match=r"source\.path.*does not list.*address of the array"):
        probe(spec(f"{http.address}/listed", **SIZE))


def test_what_is_not_there_or_no_zarr_is_said_to_be(tmp_path, ramp, spec, s3, gs, http):
    for uri in (s3.uri("nothing.zarr"), gs.uri("nothing.zarr"), f"{http.address}/nothing.zarr"):
        with pytest.raises(InputError, match=r"source\.path.*nothing\.zarr.*no Zarr metadata"):
            probe(spec(uri))
    raw_v3(tmp_path / "a.zarr", ramp)
    with pytest.raises(InputError, match=r"source\.dataset: 'imago'"):
        probe(spec(f"{http.address}/a.zarr", dataset="imago"))
    for server in (s3, gs):
        with pytest.raises(InputError, match=r"source\.path.*no bucket nowhere"):
            probe(spec(server.uri("a.zarr", bucket="nowhere")))
    (tmp_path / "a.zarr" / "zarr.json").write_text("<html>")
    with pytest.raises(InputError, match=r"a\.zarr/zarr\.json.*is no JSON"):
        probe(spec(f"{http.address}/a.zarr"))


def test_a_server_that_goes_away_while_it_is_read_is_named(tmp_path, ramp, spec):
    zarr.create_array(tmp_path / "a.zarr", data=ramp, chunks=(1, 7, 11))
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = process.stdout.readline().split("port ")[1].split()[0]
        volume = open_source(spec(f"http://127.0.0.1:{port}/a.zarr", **SIZE))
        np.testing.assert_array_equal(volume.data[:, 1:].compute()[0], ramp[1:])
        process.kill()
    with pytest.raises(UnreadableError, match=r"source\.path.*a\.zarr.*cannot be reached") as caught:
        volume.data.compute()
    assert caught.value.place is None


def tiff(path, values):
    size = dict(zip(("PhysicalSizeZ", "PhysicalSizeY", "PhysicalSizeX"), SCALE, strict=True))
    tifffile.imwrite(path, values, metadata={"axes": "ZYX", **size}, tile=(16, 16), compression="zlib")


def hdf5(path, values):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("volumes/raw", data=values, chunks=(2, 3, 4), compression=4)
        dataset.attrs["resolution"] = [50.0, 4.6, 4.7]


FILES = {"a.ome.tif": tiff, "a.hdf": hdf5}


@pytest.mark.parametrize("name", FILES)
def test_a_file_reads_alike_from_an_object_store_and_over_http(tmp_path, ramp, spec, store, http, name):
    FILES[name](tmp_path / name, ramp)
    there = store.uri(f"files/{name}")
    store.put({name: (tmp_path / name).read_bytes()}, "files")
    for uri in (there, f"{http.address}/{name}"):
        volume = open_source(spec(uri))
        reads_as(volume, ramp)
        assert volume.info.dataset == open_source(spec(tmp_path / name)).info.dataset
        assert probe(spec(uri)).identity == volume.info.identity
        with ThreadPoolExecutor(4) as pool:
            planes = list(pool.map(lambda z, v=volume: v.data[0, z].compute(scheduler="synchronous"), [*range(5)] * 4))
        np.testing.assert_array_equal(np.stack(planes), np.concatenate([ramp] * 4))
    before = probe(spec(there)).identity
    FILES[name](tmp_path / name, ramp[::-1])
    store.put({name: (tmp_path / name).read_bytes()}, "files")
    assert probe(spec(there)).identity != before
    reads_as(open_source(spec(there)), ramp[::-1])
    for uri in (store.uri(f"gone/{name}"), f"{http.address}/gone/{name}"):
        with pytest.raises(InputError, match=rf"source\.path.*gone/{name}.*is not there"):
            probe(spec(uri))


def test_of_a_large_file_on_the_network_little_is_read(tmp_path, spec, http, monkeypatch):
    """64 MB, of which a plane is 64 kB."""
    big = np.arange(1000 * 256 * 256, dtype=np.uint32).astype(np.uint8).reshape(1000, 256, 256)
    tifffile.imwrite(tmp_path / "a.tif", big, metadata={"axes": "ZYX"})
    read = []
    fetch = HTTPFile._fetch_range

    def counted(self, start, end):
        read.append(end - start)
        return fetch(self, start, end)

    monkeypatch.setattr(HTTPFile, "_fetch_range", counted)
    volume = open_source(spec(f"{http.address}/a.tif", **SIZE))
    np.testing.assert_array_equal(volume.read(Roi.between((700, 0, 0), (701, 256, 256)))[0, 0], big[700])
    assert 0 < sum(read) < 10e6


@pytest.mark.parametrize("name", ["volume.czi", "volume.mrc", "VOLUME.NRRD"])
def test_other_files_on_the_network_are_refused_with_a_remedy(spec, name):
    with pytest.raises(InputError, match=r"source\.path.*TIFF and HDF5.*local path"):
        probe(spec(f"s3://{BUCKET}/{name}"))


def test_credentials_in_variables_of_a_path_are_refused_too(spec, monkeypatch):
    monkeypatch.setenv("ISO_KEY", f"AKIAPLANTEDKEY:{SECRET}")
    with pytest.raises(InputError, match="credentials") as refusal:
        probe(spec("s3://$ISO_KEY@bucket/a.zarr"))
    assert "planted" not in str(refusal.value).lower()


def test_a_local_volume_is_described_without_anything_for_the_network(tmp_path, ramp):
    raw_v3(tmp_path / "a.zarr", ramp)
    script = f"""
import sys
from isofield.source.probe import probe
from isofield.source.spec import SourceSpec
print(probe(SourceSpec(path={str(tmp_path / "a.zarr")!r}, voxel_size_nm=(5, 5, 5))).format)
print(*[name for name in ("fsspec", "aiohttp", "botocore", "zarr") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["zarr", "v3"], "a local path needs none of these"
