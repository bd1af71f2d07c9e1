"""The volumes of the shared data folder open with the shape and voxel size that its README states."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest

from isofield.errors import InputError
from isofield.source import open_source
from isofield.source.probe import probe

FOLDER = Path(os.environ.get("ISOFIELD_DATA") or Path(__file__).parents[2] / "../shared/data").resolve()
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no data folder at {FOLDER} (set ISOFIELD_DATA)"),
]

# name: shape (z, y, x), dtype, voxel size (z, y, x) in nm as written, ratio z to x
VOLUMES = {
    "fib25_a_isotropic": ((250, 250, 250), "uint8", ("10", "10", "10"), Fraction(1)),
    "fib25_b_isotropic": ((250, 250, 250), "uint8", ("10", "10", "10"), Fraction(1)),
    "cremi_sstem": ((32, 320, 320), "uint8", ("40", "4", "4"), Fraction(10)),
    "vnc_sstem": ((20, 1024, 1024), "uint8", ("50", "4.6", "4.6"), Fraction(250, 23)),
    "mousebrain_fluorescence": ((26, 512, 512), "uint16", ("5000", "2000", "2000"), Fraction(5, 2)),
    "chromosomes_fluorescence": ((40, 152, 126), "uint16", ("150", "33.9", "33.9"), Fraction(500, 113)),
    "nuclei_fluorescence": ((60, 256, 256), "uint16", ("290", "260", "260"), Fraction(29, 26)),
}


def _path(name: str) -> Path:
    path = FOLDER / f"{name}.ome.tif"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize("name", VOLUMES)
def test_shape_and_voxel_size(spec, name):
    shape, dtype, size, ratio = VOLUMES[name]
    volume = open_source(spec(_path(name)))
    assert volume.info == probe(spec(_path(name)))
    assert (volume.info.shape, volume.info.dtype) == ((1, *shape), dtype)
    assert volume.info.voxel_size_nm == tuple(Fraction(s) for s in size)
    assert volume.info.voxel_size_nm[0] / volume.info.voxel_size_nm[2] == ratio
    plane = volume.data[0, shape[0] // 2].compute()
    assert plane.shape == shape[1:]
    assert plane.std() > 0


@pytest.mark.parametrize("channel", [0, 1])
def test_two_channels(spec, channel):
    path = _path("nucleus_two_channels")
    with pytest.raises(InputError, match=r"source\.channel"):
        probe(spec(path))
    volume = open_source(spec(path, channel=channel))
    assert volume.info.shape == volume.data.shape == (1, 45, 130, 133)
    assert volume.info.voxel_size_nm == (499, 512, 512)
    other = open_source(spec(path, channel=1 - channel))
    assert (volume.data[0, 20].compute() != other.data[0, 20].compute()).mean() > 0.5


def test_labels_without_voxel_size_need_one(spec):
    path = _path("fib25_b_neurons")
    with pytest.raises(InputError, match=r"source\.voxel_size_nm"):
        probe(spec(path))
    info = probe(spec(path, voxel_size_nm=(10, 10, 10)))
    assert (info.shape, info.dtype, info.voxel_size_nm) == ((1, 250, 250, 250), "uint16", (10, 10, 10))


def test_simulated_anisotropy(spec):
    source = spec(_path("fib25_a_isotropic"), simulate={"factor": 8})
    volume = open_source(source)
    assert volume.info.shape == (1, 31, 250, 250)
    assert volume.info.voxel_size_nm == (80, 10, 10)
    assert volume.truth.shape == (1, 248, 250, 250)
    average = volume.truth[0, 8:16].mean(axis=0).round().compute()
    assert (abs(volume.data[0, 1].compute() - average) <= 1).all()
