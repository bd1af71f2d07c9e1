"""Files that cannot be read: of another kind, cut off, spoiled, or without what the metadata promise."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from .case import TIF, Case, at, nothing
from .volumes import cut, file, folder_of, h5, slices, spoiled, tiff, tissue

OME = {"ome": True, "metadata": {"axes": "ZYX"}}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def two_datasets(folder: Path) -> None:
    with h5py.File(folder / "volume.h5", "w") as made:
        made["a"] = made["b"] = tissue()


OTHER_KINDS = (
    Case("source that is not there", "source.path", "is not there", "Correct", at("nowhere.tif"), nothing),
    Case(
        "source with an unset variable", "source.path", "NOT_SET_ANYWHERE is not set", ":-default", at("$NOT_SET_ANYWHERE/a.tif")
    ),
    Case("source with a name of 300 letters", "source.path", "too long", "Correct", at("a" * 300 + ".tif")),
    Case("empty file", "source.path", "no known format", "Known are", TIF, file("volume.tif", b"")),
    Case("text file", "source.path", "no known format", "Known are", TIF, file("volume.tif", "grey values\n")),
    Case("single picture", "source.path", "no known format", "Known are", at("plane.png"), file("plane.png", PNG)),
    Case("empty folder", "source.path", "folder without", "Known are", at("slices"), folder_of("slices")),
    Case("folder of text", "source.path", "folder without", "Known are", at("slices"), file("slices/a.txt", "a")),
    Case("address of a bucket", "source.path", "names no store inside a bucket", "Write it like", at("s3://bucket")),
    Case("address of an unknown kind", "source.path", "none of a local path", "mount", at("ftp://host/a.zarr")),
    Case("address with a password", "source.path", "credentials", "environment", at("https://me:secret@host/a.zarr")),
    Case("single file on the network", "source.path", "read on this machine alone", "mount", at("https://host/a.mrc")),
    Case("phantom that does not exist", "source.path", "no phantom 'liver'", "phantom:tissue", at("phantom:liver")),
)

TIFFS = (
    Case("TIFF of 3 bytes", "source.path", "no known format", "Known are", TIF, file("volume.tif", b"II*")),
    Case("TIFF of a header", "source.path", "damaged TIFF", "Copy it again", TIF, file("volume.tif", b"II*\0\x08\0\0\0")),
    Case(
        "TIFF cut off within its voxels",
        "source.path",
        "damaged TIFF .invalid page offset",
        "Copy",
        TIF,
        cut(tiff(), "volume.tif", 0.5),
    ),
    Case("OME-TIFF cut off within its voxels", "source.path", "damaged|cut", "Copy", TIF, cut(tiff(**OME), "volume.tif", 0.5)),
    Case(
        "compressed TIFF with spoiled voxels",
        "source.path",
        "damaged TIFF",
        "Copy",
        TIF,
        spoiled(tiff(compression="zlib"), "volume.tif", 0.5, 4000),
        late=True,
    ),
    Case(
        "OME-TIFF with broken XML",
        "source.path",
        "OME-XML",
        "Give",
        TIF,
        tiff(
            description="<?xml version='1.0'?><OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'><Image></OME>",
            metadata=None,
        ),
    ),
    Case("TIFF of one plane", "source.path", "each of z, y, x|single section", "Give", TIF, tiff(tissue()[0])),
    Case(
        "colour TIFF of one plane",
        "source.path",
        "each of z, y, x",
        "Give",
        TIF,
        tiff(np.zeros((64, 64, 3), np.uint8), photometric="rgb"),
    ),
    Case("series that a TIFF has not", "source.dataset", "is no series", "number", at("volume.tif", dataset="1"), tiff()),
    Case(
        "time series",
        "source.path",
        "3 time points",
        "Export one",
        TIF,
        tiff(tissue((3, 12, 64, 64)), ome=True, metadata={"axes": "TZYX"}),
    ),
    Case(
        "slice that is missing",
        "source.path",
        "lacks 1 of its slices: 2",
        "Add",
        at("slices"),
        slices(["s1.tif", "s3.tif", "s4.tif"]),
    ),
    Case(
        "slice with another name",
        "source.path",
        "holds 'overview.tif'",
        "Keep only",
        at("slices"),
        slices(["s1.tif", "s2.tif", "overview.tif"]),
    ),
    Case(
        "slices without numbers that count",
        "source.path",
        "no number in the names",
        "numbered",
        at("slices"),
        slices(["s1_1.tif", "s1_01.tif", "s1_001.tif"]),
    ),
    Case(
        "slices of two sizes",
        "source.path",
        "is uint8 \\(32, 32\\)",
        "one shape",
        at("slices"),
        slices(["1.tif", "2.tif", "3.tif"], lambda i: tissue()[0][: 64 >> (i == 1), : 64 >> (i == 1)]),
    ),
    Case(
        "slice of two pages",
        "source.path",
        "has 12 pages",
        "this file itself",
        at("slices"),
        slices(["1.tif", "2.tif"], lambda i: tissue()),
    ),
    Case(
        "slice that is cut off",
        "source.path",
        "damaged",
        "Copy",
        at("slices"),
        cut(slices(["1.tif", "2.tif", "3.tif"]), "slices/2.tif", 0.01),
    ),
)

HDF5S = (
    Case("HDF5 cut off", "source.path", "cannot be opened", "Copy it again", make=cut(h5(), "volume.h5", 0.5)),
    Case("HDF5 without the dataset", "source.dataset", "is no dataset", "Name a dataset", at("volume.h5", dataset="volumes/raw")),
    Case(
        "HDF5 whose dataset is a group",
        "source.dataset",
        "is no dataset",
        "Name",
        at("volume.h5", dataset="volumes"),
        h5(dataset="volumes/raw"),
    ),
    Case("HDF5 of two volumes", "source.path", "holds 2 datasets.*a uint8.*b uint8", "source.dataset", make=two_datasets),
    Case("HDF5 without a volume", "source.path", "no dataset of numbers with 3 to 5", "Give a file", make=h5(np.zeros(5))),
    Case(
        "HDF5 of words",
        "source.path",
        "holds bytes32",
        "Convert",
        at("volume.h5", dataset="raw"),
        h5(np.full((4, 8, 8), b"word")),
    ),
    Case("HDF5 with axis tags that are no JSON", "source.path", "axistags of /raw", "Repair", make=h5(axistags="{")),
)
