"""Input that looks odd and is not wrong: it must be planned, and some of it is run to the end."""

from __future__ import annotations

import numpy as np

from .case import IMAGE, ZARR, Case, at
from .volumes import array, h5, image, slices, tiff, tissue, without


def named(name: str, what: str) -> Case:
    return Case(f"path with {what}", config=at(name), make=h5(name=name))


def with_section(index: int, value: float | None) -> np.ndarray:
    """Tissue with one section of a single grey, or (None) the same as the one before."""
    volume = tissue()
    volume[index] = volume[index - 1] if value is None else value
    return volume


HOSTILE_NAMES = {
    "spaces": "a volume of mine.h5",
    "quotes": 'it\'s "mine".h5',
    "a command": "$(touch owned).h5",
    "backticks": "`touch owned`.h5",
    "a semicolon": "a; touch owned; .h5",
    "a pipe": "a | touch owned & .h5",
    "a line break": "a\ntouch owned\n.h5",
    "a leading dash": "-rf.h5",
    "braces": "{job} {output.plan} {{x}}.h5",
    "letters of all kinds": "häm 脳 🧠 \u202e.h5",
    "stars": "*[a-z]?.h5",
    "percent and hash": "%s#1.h5",
    "a backslash": "a\\n\\.h5",
    "an assignment": "name=value.h5",
}

SHAPES = (
    Case("smaller than a block", config={"blocks": {"write_vox": 128}}, make=h5(tissue((3, 64, 64)))),
    Case("two sections", make=h5(tissue((2, 64, 64)))),
    Case("narrower than a context", config={"blocks": {"context_vox": 40}}, make=h5(tissue((12, 64, 36)))),
    Case("ratio that is no whole number", config={"source": {"voxel_size_nm": [50, 4.6, 4.6]}}, make=h5(tissue((4, 112, 64)))),
    Case("isotropic already", config={"source": {"voxel_size_nm": [8, 8, 8]}}, make=h5(tissue((48, 48, 48)))),
)

CONTENTS = (
    Case("signed grey values", make=h5(tissue(dtype="int16", low=-3000, high=3000))),
    Case("small floats", make=h5(tissue(dtype="float32", low=-1e-6, high=1e-6))),
    Case("float data over many decades", make=h5(10.0 ** tissue(dtype="float32", low=-6, high=6))),
    Case("double precision", make=h5(tissue(dtype="float64", low=0, high=1))),
    Case("big endian", config=at("volume.tif"), make=tiff(tissue(dtype=">u2"), byteorder=">")),
    Case("black section", make=h5(with_section(5, 0))),
    Case("saturated section", make=h5(with_section(5, 255))),
    Case("duplicated section", make=h5(with_section(5, None))),
    Case("Zarr with a missing chunk", config=ZARR, make=without(array(), "volume.zarr/c/1/1/1")),
    Case("OME-Zarr that says all there is to say", config=IMAGE, make=image()),
    Case("slices numbered without zeros", config=at("slices"), make=slices([f"s{i}.tif" for i in range(7, 13)])),
    Case("one channel chosen", config=at("volume.h5", channel=1), make=h5(tissue((2, 12, 64, 64)))),
)

CASES = (*(named(name, what) for what, name in HOSTILE_NAMES.items()), *SHAPES, *CONTENTS)
