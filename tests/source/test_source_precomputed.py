"""Neuroglancer precomputed volumes written by hand from the specification, and by tensorstore."""

from __future__ import annotations

import json

import numpy as np
import pytest
from reads_as import KEYS, SIZE_NM, reads_as

from isofield.errors import InputError
from isofield.report.server import serve
from isofield.source import open_source
from isofield.source.probe import probe
from object_stores import files_of

OFFSET = (3, 20, 100)


def by_hand(folder, czyx, resolution=(4.7, 4.6, 50), chunk=(4, 3, 2), n_scales=1):
    """Raw encoding: a file for each chunk, named by its voxels from the offset on, x fastest, channels last."""
    n_channels = len(czyx)
    scales = []
    for scale in range(n_scales):
        planes = czyx[:, :, :: 2**scale, :: 2**scale]
        size, key = planes.shape[:0:-1], f"scale{scale}"
        (folder / key).mkdir(parents=True)
        for begin in np.ndindex(*(-(-n // c) for n, c in zip(size, chunk, strict=True))):
            lo = [b * c for b, c in zip(begin, chunk, strict=True)]
            hi = [min(b + c, n) for b, c, n in zip(lo, chunk, size, strict=True)]
            x, y, z = (slice(a, b) for a, b in zip(lo, hi, strict=True))
            name = "_".join(f"{a + o}-{b + o}" for a, b, o in zip(lo, hi, OFFSET, strict=True))
            (folder / key / name).write_bytes(planes[:, z, y, x].astype(czyx.dtype.newbyteorder("<")).tobytes())
        x, y, z = resolution
        scales.append(
            {"key": key, "size": size, "resolution": [x * 2**scale, y * 2**scale, z], "voxel_offset": OFFSET}
            | {"chunk_sizes": [chunk], "encoding": "raw"}
        )
    info = {"@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": czyx.dtype.name}
    (folder / "info").write_text(json.dumps(info | {"num_channels": n_channels, "scales": scales}))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32"])
def test_precomputed_by_hand_from_the_specification(tmp_path, ramp, spec, dtype):
    values = (ramp % 100).astype(dtype) - np.asarray(50 if dtype[0] != "u" else 0, dtype)
    by_hand(tmp_path / "a", values[None], n_scales=2)
    volume = open_source(spec(f"precomputed://file://{tmp_path}/a"))
    reads_as(volume, values)
    assert (volume.info.format, volume.info.dataset) == ("neuroglancer-precomputed", "scale0")
    half = (50, 2 * SIZE_NM[1], 2 * SIZE_NM[2])
    reads_as(open_source(spec(tmp_path / "a", dataset="scale1")), values[:, ::2, ::2], half)
    reads_as(open_source(spec(tmp_path / "a" / "scale1")), values[:, ::2, ::2], half)


def test_channels_are_chosen(tmp_path, two_channels, spec):
    by_hand(tmp_path / "a", two_channels)
    with pytest.raises(InputError, match=r"source\.channel.*2 channels"):
        probe(spec(tmp_path / "a"))
    reads_as(open_source(spec(tmp_path / "a", channel=1)), two_channels[1])


def test_sharded_volume_of_tensorstore(tmp_path, ramp, spec):
    import tensorstore as ts

    sharding = {"@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 1, "minishard_bits": 1, "shard_bits": 1}
    scale = {"size": [11, 7, 5], "resolution": [4.7, 4.6, 50], "chunk_size": [4, 3, 2], "encoding": "raw"}
    array = ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{tmp_path}/a/"},
            "multiscale_metadata": {"type": "image", "data_type": "uint16", "num_channels": 1},
            "scale_metadata": scale | {"sharding": sharding | {"hash": "identity"}},
        },
        create=True,
    ).result()
    array[..., 0] = ramp.transpose(2, 1, 0)
    reads_as(open_source(spec(tmp_path / "a")), ramp)


def test_only_what_is_asked_for_is_read(tmp_path, ramp, spec):
    by_hand(tmp_path / "a", ramp[None], chunk=(11, 7, 1))
    (tmp_path / "a" / "scale0" / "3-14_20-27_103-104").write_bytes(b"destroyed")
    volume = open_source(spec(tmp_path / "a"))
    np.testing.assert_array_equal(volume.data[0, :3].compute(), ramp[:3])
    with pytest.raises(InputError, match=r"source\.path.*damaged"):
        volume.data.compute()


def test_precomputed_reads_alike_from_object_stores_and_over_http(tmp_path, ramp, spec, s3, gs):
    by_hand(tmp_path / "a", ramp[None], n_scales=2)
    for server in (s3, gs):
        server.put(files_of(tmp_path), "pre")
        reads_as(open_source(spec(server.uri("pre/a"))), ramp)
    with serve(tmp_path) as server:
        reads_as(open_source(spec(f"precomputed://{server.address}/a")), ramp)
        assert probe(spec(f"{server.address}/a/scale1")).shape == (1, 5, 4, 6)


def test_damaged_metadata_are_refused(tmp_path, ramp, spec):
    by_hand(tmp_path / "a", ramp[None])
    with pytest.raises(InputError, match=r"source\.dataset: 'scale7'.*scale0"):
        probe(spec(tmp_path / "a", dataset="scale7"))
    info = json.loads((tmp_path / "a" / "info").read_text())
    for broken, reason in (
        ("{", "no JSON"),
        (json.dumps(info | {"scales": []}), "describes no volume"),
        (json.dumps(info | {"scales": [{"key": "a"}]}), "lacks chunk_sizes, resolution, size"),
    ):
        (tmp_path / "a" / "info").write_text(broken)
        with pytest.raises(InputError, match=reason):
            probe(spec(tmp_path / "a", **KEYS))
