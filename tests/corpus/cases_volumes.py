"""Volumes that can be read and make no sense, or not this way: sizes, units, order, contents."""

from __future__ import annotations

import numpy as np

from .case import IMAGE, Case, at
from .volumes import h5, image, tiff, tissue

UNKNOWN = at("volume.h5", voxel_size_nm=None)
OME = {"PhysicalSizeZ": 0.032, "PhysicalSizeY": 0.008, "PhysicalSizeX": 0.008, "axes": "ZYX"}


def sized(*voxel_size_nm: float, **keys: object) -> dict[str, dict[str, object]]:
    return {"source": {"voxel_size_nm": list(voxel_size_nm), **keys}}


def holding(value: float, dtype: str = "float32", share: float = 0.01) -> np.ndarray:
    """Tissue of which some voxels are `value`."""
    volume = tissue(dtype=dtype)
    volume.flat[:: int(1 / share)] = value
    return volume


SIZES = (
    Case(
        "HDF5 that states no voxel size", "source.voxel_size_nm", "is not known.*state none", "Set source.voxel_size_nm", UNKNOWN
    ),
    Case(
        "TIFF that states no voxel size",
        "source.voxel_size_nm",
        "plain TIFF",
        "Set",
        at("volume.tif", voxel_size_nm=None),
        tiff(),
    ),
    Case(
        "OME-TIFF without a size along z",
        "source.voxel_size_nm",
        "no size along z",
        "Set",
        at("volume.tif", voxel_size_nm=None),
        tiff(ome=True, metadata={k: v for k, v in OME.items() if k != "PhysicalSizeZ"}),
    ),
    Case("OME-Zarr without units", "source.voxel_size_nm", "no unit of length", "Set", IMAGE, image(unit=None)),
    Case("OME-Zarr in pixels", "source.voxel_size_nm", "unit of length \\('pixel'\\)", "Set", IMAGE, image(unit="pixel")),
    Case("OME-Zarr in furlongs", "source.voxel_size_nm", "unknown unit 'furlong'", "Set", IMAGE, image(unit="furlong")),
    Case(
        "OME-Zarr with a scale of 0",
        "source.voxel_size_nm",
        "state 0 along y, which is no length",
        "Set",
        IMAGE,
        image(scale=[0.032, 0, 0.008]),
    ),
    Case(
        "OME-Zarr with a scale of words",
        "source.voxel_size_nm",
        "no scale of 3 numbers",
        "Set",
        IMAGE,
        image(scale=["wide", 1, 1]),
    ),
    Case(
        "OME-Zarr with a scale of 2 numbers", "source.voxel_size_nm", "no scale of 3 numbers", "Set", IMAGE, image(scale=[1, 1])
    ),
    Case("HDF5 with a resolution of 2 numbers", "source.voxel_size_nm", "2 numbers", "Set", UNKNOWN, h5(resolution=[32.0, 8.0])),
    Case(
        "HDF5 with two sizes that differ",
        "source.voxel_size_nm",
        "and element_size_um differ",
        "Set",
        UNKNOWN,
        h5(resolution=[32.0, 8.0, 8.0], element_size_um=[0.04, 0.008, 0.008]),
    ),
    Case("voxel size of two numbers", "source.voxel_size_nm.2", "is required", "Add it", sized(32, 8)),
    Case("voxel size of 0", "source.voxel_size_nm.0", "greater than 0", "Mend", sized(0, 8, 8)),
    Case("negative voxel size", "source.voxel_size_nm.1", "greater than 0", "Mend", sized(32, -8, 8)),
    Case("voxel size in words", "source.voxel_size_nm.0", "valid number", "Mend", {"source": {"voxel_size_nm": ["32 nm", 8, 8]}}),
    Case(
        "voxel size in micrometres",
        "source.voxel_size_nm",
        "0.008.*smaller than an atom",
        "in nm.*\\[32, 8, 8\\]",
        sized(0.032, 0.008, 0.008),
    ),
    Case("voxel size in metres", "source.voxel_size_nm", "smaller than an atom", "in nm", sized(4e-8, 4e-9, 4e-9)),
    Case("voxel size a million times too large", "source.voxel_size_nm", "more than a millimetre", "nm", sized(32e6, 8e6, 8e6)),
    Case(
        "metadata a thousand times too small",
        "source.voxel_size_nm",
        "smaller than an atom",
        "nm",
        IMAGE,
        image(unit="nanometer"),
    ),
    Case("anisotropy below 1", "source.voxel_size_nm", "anisotropy of 0.25", "order", sized(8, 32, 32)),
    Case("anisotropy of 50", "source.voxel_size_nm", "anisotropy of 50", "order", sized(400, 8, 8)),
    Case("voxel size in the order x, y, z", "source.voxel_size_nm", "y and x differ", "\\[32, 8, 8\\]", sized(8, 8, 32)),
    Case("pixels that are not square", "source.voxel_size_nm", "y and x differ", "square pixels", sized(32, 8, 6)),
)

CHOICES = (
    Case(
        "two channels and no choice", "source.channel", "has 2 channels", "Set source.channel", make=h5(tissue((2, 12, 64, 64)))
    ),
    Case(
        "channel that is not there",
        "source.channel",
        "counted from 0",
        "Choose one",
        at("volume.h5", channel=2),
        h5(tissue((2, 12, 64, 64))),
    ),
    Case(
        "channels of which one is not there",
        "source.channel",
        "counted from 0, not 2",
        "set it to all",
        at("volume.h5", channel=[0, 2]),
        h5(tissue((2, 12, 64, 64))),
    ),
    Case("channel named twice", "source.channel", "names a channel twice", "give each once", at("volume.h5", channel=[1, 0, 1])),
    Case("list of no channels", "source.channel", "names no channel", "give those to reconstruct", at("volume.h5", channel=[])),
    Case("word for a channel", "source.channel", "is no channel", "or all", at("volume.h5", channel="both")),
    Case(
        "prior of a channel that is not chosen",
        "prior.channel",
        r"is none of those in source.channel, \[0, 1\]",
        "Name one of them",
        {**at("volume.h5", channel=[0, 1]), "prior": {"channel": 2}},
        h5(tissue((3, 12, 64, 64))),
    ),
    Case(
        "prior of a channel where there is one",
        "prior.channel",
        "is for several channels",
        "Leave it null",
        {**at("volume.h5"), "prior": {"channel": 0}},
    ),
    Case("channel of a volume without channels", "source.channel", "counted from 0", "Choose", at("volume.h5", channel=1)),
    Case(
        "region beyond the volume",
        "source.roi_nm",
        "lie inside the volume",
        "inside",
        at("volume.h5", roi_nm=[[0, 384], [0, 512], [0, 900]]),
    ),
    Case("region that is reversed", "source.roi_nm", "empty", "Mend", at("volume.h5", roi_nm=[[100, 50], [0, 512], [0, 512]])),
    Case("region in voxels", "source.roi_nm", "lie inside", "inside it", at("volume.h5", roi_nm=[[400, 500], [0, 64], [0, 64]])),
    Case(
        "simulation from anisotropic voxels",
        "source.simulate",
        "isotropic within",
        "Leave",
        sized(32, 8, 8, simulate={"factor": 4}),
    ),
    Case(
        "simulation of a single section",
        "source.simulate.factor",
        "leaves 1 sections",
        "smaller factor",
        sized(8, 8, 8, simulate={"factor": 8}),
    ),
)

CONTENTS = (
    Case("one section", "source.path", "single section", "2 sections", make=h5(tissue((1, 64, 64)))),
    Case(
        "sections of 4 x 4 voxels", "source.path", "4 x 4 voxels are too small", "larger", make=h5(tissue((12, 4, 4))), late=True
    ),
    Case(
        "complex numbers",
        "source.path",
        "holds complex64",
        "Convert",
        at("volume.h5", dataset="raw"),
        h5(tissue(dtype="complex64")),
    ),
    Case("labels of 64 bits", "source.path", "holds uint64", "Convert", make=h5(tissue(dtype="uint64"))),
    Case("truth values", "source.path", "holds bool", "Convert", make=h5(tissue() > 100)),
    Case("black volume", "source.path", "no contrast.* 0", "Check", make=h5(np.zeros((12, 64, 64), np.uint8)), late=True),
    Case("volume of one grey", "source.path", "no contrast.* 7", "Check", make=h5(np.full((12, 64, 64), 7, np.int16)), late=True),
    Case("volume of NaN", "source.path", "NaN", "Replace", make=h5(np.full((12, 64, 64), np.nan, np.float32)), late=True),
    Case("NaN here and there", "source.path", "NaN", "Replace", make=h5(holding(np.nan)), late=True),
    Case("infinity here and there", "source.path", "infinite", "Replace", make=h5(holding(np.inf)), late=True),
    Case(
        "range that single precision does not hold",
        "source.path",
        "1e\\+300",
        "scale the volume",
        make=h5(holding(1e300, "float64", share=0.001)),
        late=True,
    ),
    Case(
        "contrast below single precision",
        "source.path",
        "single precision does not resolve",
        "Subtract a constant",
        make=h5(1e9 + tissue(dtype="float64") * 1e-3),
        late=True,
    ),
)
