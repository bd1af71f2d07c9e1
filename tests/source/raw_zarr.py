"""Zarr stores written by hand from the specification: JSON and raw bytes."""

from __future__ import annotations

import json

SPACE = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
SCALE = [0.05, 0.0046, 0.0047]


def scale(*numbers):
    return {"type": "scale", "scale": list(numbers)}


def raw_v2(folder, values, attributes=None):
    """Zarr v2 array of one uncompressed chunk, from the specification."""
    folder.mkdir(parents=True)
    shape = list(values.shape)
    (folder / ".zarray").write_text(
        json.dumps(
            {"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": values.dtype.str, "compressor": None}
            | {"fill_value": 0, "order": "C", "filters": None}
        )
    )
    (folder / ".".join("0" * values.ndim)).write_bytes(values.tobytes())
    if attributes:
        (folder / ".zattrs").write_text(json.dumps(attributes))


def raw_v3(folder, values, dimension_names=None, attributes=None, endian="little"):
    """Zarr v3 array of one uncompressed chunk, from the specification."""
    folder.mkdir(parents=True)
    shape = list(values.shape)
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": endian}}],
        "attributes": attributes or {},
    }
    (folder / "zarr.json").write_text(json.dumps(metadata | ({"dimension_names": dimension_names} if dimension_names else {})))
    chunk = folder.joinpath("c", *("0" * values.ndim))
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(values.astype(values.dtype.newbyteorder("<" if endian == "little" else ">")).tobytes())


def image_v2(folder, values, axes=SPACE, transforms=None, on_image=None, version="0.4"):
    """OME-Zarr 0.4 image with one level, from the specification."""
    raw_v2(folder / "0", values)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    multiscale = {"version": version, "axes": axes, "datasets": [{"path": "0"}]}
    if transforms is not None:
        multiscale["datasets"][0]["coordinateTransformations"] = transforms
    if on_image is not None:
        multiscale["coordinateTransformations"] = on_image
    (folder / ".zattrs").write_text(json.dumps({"multiscales": [multiscale]}))
