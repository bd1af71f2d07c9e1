"""Zarr and OME-Zarr that cannot be read, or lack what their metadata promise."""

from __future__ import annotations

from .case import IMAGE, ZARR, Case, at
from .volumes import array, both, cut, edited, file, image, spoiled, tissue, without

CHUNKS = tuple(f"volume.zarr/c/{z}" for z in range(3))


def zarr_json(**changes: object):
    return edited(array(), "volume.zarr/zarr.json", lambda document: document.update(changes))


ZARRS = (
    Case("Zarr without metadata", "source.path", "folder without", "Known are", ZARR, without(array(), "volume.zarr/zarr.json")),
    Case("Zarr with metadata that are no JSON", "source.path", "is no JSON", "Repair", ZARR, file("volume.zarr/zarr.json", "{")),
    Case(
        "Zarr with metadata that are a list",
        "source.path",
        "is no JSON object",
        "Repair",
        ZARR,
        file("volume.zarr/zarr.json", "[]"),
    ),
    Case(
        "Zarr without a shape",
        "source.path",
        "shape: Field required",
        "Repair",
        ZARR,
        edited(array(), "volume.zarr/zarr.json", lambda d: d.pop("shape") and None),
    ),
    Case("Zarr with a negative side", "source.path", "-64", "Repair", ZARR, zarr_json(shape=[12, -64, 64])),
    Case("Zarr of two dimensions", "source.path", "2-D", "Give", ZARR, array(tissue()[0])),
    Case("Zarr of a side of 0", "source.path", "12, 0, 64.*no voxel", "Repair", ZARR, zarr_json(shape=[12, 0, 64])),
    Case(
        "Zarr with an unknown codec",
        "source.path",
        "cannot be read.*lerc9",
        "convert",
        ZARR,
        zarr_json(codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "lerc9"}]),
        late=True,
    ),
    Case(
        "Zarr 2 with an unknown compressor",
        "source.path",
        "cannot be read.*lerc9",
        "convert",
        ZARR,
        edited(array(version=2), "volume.zarr/.zarray", lambda d: d.update(compressor={"id": "lerc9"})),
        late=True,
    ),
    Case("Zarr of an unknown type", "source.path", "holds float8", "accepted", ZARR, zarr_json(data_type="float8")),
    Case(
        "Zarr with a spoiled chunk",
        "source.path",
        "cannot be read.*Zstd",
        "copy",
        ZARR,
        spoiled(array(), "volume.zarr/c/1/1/1", 0, 4000),
        late=True,
    ),
    Case(
        "Zarr with a chunk that is cut off",
        "source.path",
        "cannot be read.*Zstd",
        "copy",
        ZARR,
        cut(array(), "volume.zarr/c/1/1/1", 0.3),
        late=True,
    ),
    Case("Zarr without any chunk", "source.path", "no contrast", "Check source.path", ZARR, without(array(), *CHUNKS), late=True),
    Case(
        "Zarr with a name for too few axes", "source.path", "names 2 axes", "Repair", ZARR, zarr_json(dimension_names=["y", "x"])
    ),
    Case(
        "Zarr with an axis twice",
        "source.path",
        "each of z, y, x",
        "Give a volume",
        ZARR,
        zarr_json(dimension_names=["z", "x", "x"]),
    ),
    Case(
        "OME-Zarr without its level", "source.path", "level '0' is not there", "Repair", IMAGE, without(image(), "image.zarr/0")
    ),
    Case("OME-Zarr of no levels", "source.path", "multiscales.0.datasets", "Repair", IMAGE, image(datasets=[])),
    Case("OME-Zarr with axes that are numbers", "source.path", "multiscales.0.axes.0", "Repair", IMAGE, image(axes=[0, 1, 2])),
    Case(
        "OME-Zarr with metadata that are words",
        "source.path",
        "multiscales: .*list",
        "Repair",
        IMAGE,
        edited(image(), "image.zarr/zarr.json", lambda d: d["attributes"]["ome"].update(multiscales="none")),
    ),
    Case(
        "Zarr of two volumes",
        "source.path",
        "holds 2 volumes \\(a, b\\)",
        "source.dataset",
        at("pair.zarr"),
        both(
            file("pair.zarr/zarr.json", '{"zarr_format": 3, "node_type": "group", "attributes": {}}'),
            array(name="pair.zarr/a"),
            array(name="pair.zarr/b"),
        ),
    ),
)
