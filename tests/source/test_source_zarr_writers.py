"""Zarr and OME-Zarr as tensorstore, z5py, ngff-zarr and ome-zarr write them; zarr-python reads."""

from __future__ import annotations

import ngff_zarr
import numpy as np
import pytest
import tensorstore as ts
import z5py
from reads_as import KEYS, SIZE_NM, reads_as

from isofield.source import open_source
from isofield.source.probe import probe

DTYPES = ["uint8", "int8", "uint16", "int16", "float32", "float64"]


def typed(ramp, dtype):
    return ramp.astype(dtype) if dtype == "uint16" else (ramp % 100).astype(dtype) - np.asarray(50 * (dtype[0] != "u"), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_tensorstore(tmp_path, ramp, spec, driver, dtype):
    values = typed(ramp, dtype)
    store = {"driver": driver, "kvstore": {"driver": "file", "path": f"{tmp_path}/a.zarr/"}}
    if driver == "zarr3":
        codecs = [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "zstd", "configuration": {"level": 3}}]
        inner = {"chunk_shape": [1, 2, 3], "codecs": codecs}
        store["metadata"] = {
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 4, 6]}},
            "codecs": [{"name": "sharding_indexed", "configuration": inner}],
        }
    ts.open(store, create=True, dtype=dtype, shape=values.shape).result()[...] = values
    reads_as(open_source(spec(tmp_path / "a.zarr", **KEYS)), values)


@pytest.mark.parametrize("version", [2, 3])
def test_z5py(tmp_path, ramp, spec, version):
    with z5py.File(str(tmp_path / "a.zarr"), mode="w", zarr_format=version) as file:
        file.create_dataset("deep/raw", data=ramp, chunks=(2, 3, 4))
    volume = open_source(spec(tmp_path / "a.zarr", **KEYS))
    reads_as(volume, ramp)
    assert (volume.info.format, volume.info.dataset) == (f"zarr v{version}", "deep/raw")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ngff_zarr(tmp_path, ramp, spec, version):
    scale = {"z": 0.05, "y": 0.0046, "x": 0.0047}
    image = ngff_zarr.to_ngff_image(ramp, dims=["z", "y", "x"], scale=scale, axes_units=dict.fromkeys("zyx", "micrometer"))
    # Downsampled by ngff-zarr along y and x alone.
    levels = ngff_zarr.to_multiscales(image, scale_factors=[{"z": 1, "y": 2, "x": 2}], chunks=4)
    ngff_zarr.to_ngff_zarr(str(tmp_path / "a.zarr"), levels, version=version)
    volume = open_source(spec(tmp_path / "a.zarr"))
    reads_as(volume, ramp)
    assert volume.info.format == f"ome-zarr {version}"
    path = levels.metadata.datasets[1].path
    for coarse in (probe(spec(tmp_path / "a.zarr" / path)), probe(spec(tmp_path / "a.zarr", dataset=path))):
        assert (coarse.shape, coarse.voxel_size_nm) == ((1, 5, 3, 5), (50, 2 * SIZE_NM[1], 2 * SIZE_NM[2]))
