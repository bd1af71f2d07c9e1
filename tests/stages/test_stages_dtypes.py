"""Signed and floating volumes from source to image: as an unsigned one of the same contrast, to a grey level."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from tiny_run import TinyRun

from isofield.phantom import tissue
from isofield.stages import SECTIONS_READ

KINDS = {"uint8": (1, 0), "int8": (1, -128), "int16": (150, -20_000), "float32": (0.01, -1)}
"""dtype -> factor and offset from the phantom's grey values of 0 to 255."""


def made(kind: str, folder: Path) -> TinyRun:
    factor, offset = KINDS[kind]
    sections = tissue((48, 64, 64)).reshape(12, 4, 64, 64).mean(axis=1).round()
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = (sections * factor + offset).astype(kind)
        file["raw"].attrs["resolution"] = [32.0, 8.0, 8.0]
    blocks = {"write_vox": 64, "context_vox": 8, "overlap_vox": 4}
    run = TinyRun.at(folder, source={"path": str(folder / "a.h5"), "simulate": None}, blocks=blocks)
    for stage in [name for name in SECTIONS_READ if name != "preview"]:
        assert run.stage(stage) == 0, (kind, stage)
    return run


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory) -> np.ndarray:
    return zarr.open_array(made("uint8", tmp_path_factory.mktemp("uint8")).paths.isotropic / "0", mode="r")[:].astype(float)


@pytest.mark.parametrize("kind", [pytest.param("int8", marks=pytest.mark.slow), "int16", "float32"])
def test_signed_and_floating_volumes_come_out_as_they_went_in(tmp_path, unsigned, kind):
    run = made(kind, tmp_path)
    factor, offset = KINDS[kind]
    image = zarr.open_group(run.paths.isotropic, mode="r")
    assert image["0"].dtype == image["1"].dtype == run.plan.dtype == kind
    found = (image["0"][:].astype(float) - offset) / factor
    difference = np.abs(found - unsigned)
    assert difference.max() <= 1, "but for rounding"
    assert np.ptp(unsigned) > 100, "a wrapped value would be far off"
    assert image["0"][:].min() < 0
    window = image.attrs["ome"]["omero"]["channels"][0]["window"]
    assert window["start"] < window["end"]
    if kind != "float32":
        assert (window["min"], window["max"]) == (np.iinfo(kind).min, np.iinfo(kind).max)
