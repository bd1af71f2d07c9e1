"""A volume that was opened and then vanished, was cut off or may not be read any more: one kind of error, whatever the format."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tifffile
from raw_zarr import raw_v3

import isofield
from isofield.errors import UnreadableError
from isofield.geometry import ZYX, Roi
from isofield.source import open_source

SIZE = {"voxel_size_nm": (50, 4.6, 4.7)}
WHOLE = Roi(ZYX(0, 0, 0), ZYX(5, 7, 11))
PLAINLY = ["setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search"]


def slices(folder, values):
    folder.mkdir()
    for i, plane in enumerate(values):
        tifffile.imwrite(folder / f"{i:03}.tif", plane)


def hdf5(path, values):
    with h5py.File(path, "w") as file:
        file["raw"] = values


def nrrd(path, values):
    header = "NRRD0004\ntype: uint16\ndimension: 3\nsizes: 11 7 5\nencoding: raw\nendian: little\n\n"
    path.write_bytes(header.encode() + values.astype("<u2").tobytes())


WRITERS = {
    "a.zarr": lambda path, values: raw_v3(path, values, list("zyx")),
    "a.h5": hdf5,
    "a.tif": lambda path, values: tifffile.imwrite(path, values, photometric="minisblack"),
    "slices": slices,
    "a.nrrd": nrrd,
}


def opened(tmp_path, spec, name, values):
    if name.endswith("nrrd"):
        pytest.importorskip("nrrd")
    WRITERS[name](tmp_path / name, values)
    return open_source(spec(tmp_path / name, **SIZE))


@pytest.mark.parametrize("name", WRITERS)
def test_a_volume_that_vanished_is_unreadable_as_a_whole(tmp_path, ramp, spec, name):
    """In a folder of Zarr chunks those that are not there would read as zeros."""
    volume = opened(tmp_path, spec, name, ramp)
    np.testing.assert_array_equal(volume.read(WHOLE)[0], ramp)
    shutil.move(tmp_path / name, tmp_path / "away")
    for read in (lambda: volume.read(WHOLE), lambda: volume.data.compute()):
        with pytest.raises(UnreadableError, match=rf"source\.path: .*{name}': is not there any more\. Bring it back") as caught:
            read()
        assert caught.value.place is None
    shutil.move(tmp_path / "away", tmp_path / name)
    np.testing.assert_array_equal(volume.read(WHOLE)[0], ramp)


def test_a_chunk_that_was_never_written_is_no_loss(tmp_path, ramp, spec):
    """Negative control: what is looked for is the array, not its chunks."""
    volume = opened(tmp_path, spec, "a.zarr", ramp)
    for chunk in (tmp_path / "a.zarr" / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    assert not volume.read(WHOLE).any()


@pytest.mark.parametrize(("name", "file"), [("slices", "slices/003.tif"), ("a.nrrd", "a.nrrd"), ("a.zarr", "a.zarr/c/0/0/0")])
def test_a_file_that_is_cut_off_is_unreadable_where_it_is_read(tmp_path, ramp, spec, name, file):
    volume = opened(tmp_path, spec, name, ramp)
    path = tmp_path / file
    os.truncate(path, path.stat().st_size // 2)
    message = r"cannot be read at z 0 to 5, y 0 to 7, x 0 to 11 \(\w+: .*It is damaged"
    with pytest.raises(UnreadableError, match=message) as caught:
        volume.read(WHOLE)
    assert caught.value.place == "z 0 to 5, y 0 to 7, x 0 to 11"
    assert caught.value.__cause__ is not None


READ = """
import sys
from pathlib import Path
from isofield.errors import UnreadableError
from isofield.geometry import ZYX, Roi
from isofield.source import open_source
from isofield.source.spec import SourceSpec
volume = open_source(SourceSpec(path=sys.argv[1], voxel_size_nm=(50, 5, 5)))
Path(sys.argv[2]).chmod(int(sys.argv[3], 8))
try:
    print(volume.read(Roi(ZYX(0, 0, 0), ZYX(5, 7, 11))).sum())
except UnreadableError as error:
    print(error.place, error)
"""


@pytest.mark.parametrize(("bits", "said"), [("0", "003.tif may not be read by this user. Give yourself permission"), ("400", "")])
def test_a_file_that_may_not_be_read_any_more_is_named(tmp_path, ramp, bits, said):
    """And one that still may be is read."""
    slices(tmp_path / "slices", ramp)
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv to start a process that may not")
    command = [sys.executable, "-c", READ, str(tmp_path / "slices"), str(tmp_path / "slices" / "003.tif"), bits]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(isofield.__file__))}
    before = PLAINLY if os.geteuid() == 0 else []
    done = subprocess.run([*before, *command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (said in done.stdout and done.stdout.startswith("None source.path")) if said else int(done.stdout) == ramp.sum()
