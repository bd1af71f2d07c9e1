from __future__ import annotations

import json
import os
import subprocess
import sys

import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image
from test_source_ims import write as write_ims
from test_source_n5 import write as write_n5
from test_source_nrrd import by_hand as write_nrrd
from test_source_precomputed import by_hand as write_precomputed

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.source import open_source
from isofield.source.probe import probe

HEAVY = ("torch", "dask", "zarr", "pandas", "skimage", "scipy")
IMPORTS = """
import sys
from isofield.source.probe import probe
from isofield.source.spec import SourceSpec
light = [name for name in {heavy} + ("numpy", "tifffile", "h5py") if name in sys.modules]
for path in sys.argv[1:]:
    probe(SourceSpec(path=path, voxel_size_nm=(8, 8, 8), simulate={{"factor": 2}}))
print(light, [name for name in {heavy} if name in sys.modules])
"""


def _write_one_of_each(folder, ramp):
    import h5py
    import zarr

    tifffile.imwrite(folder / "a.tif", ramp, metadata={"axes": "ZYX"})
    (folder / "slices").mkdir()
    for z, plane in enumerate(ramp):
        tifffile.imwrite(folder / "slices" / f"{z}.tif", plane)
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = ramp
    zarr.create_array(folder / "a.zarr", data=ramp)
    (folder / "png").mkdir()
    for z, plane in enumerate(ramp):
        Image.fromarray(plane).save(folder / "png" / f"{z}.png")
    write_n5(folder / "a.n5", ramp)
    write_precomputed(folder / "precomputed", ramp[None])
    write_ims(folder / "a.ims", ramp[None])
    write_nrrd(folder / "a.nrrd", ramp)
    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(ramp)
    names = ("a.tif", "slices", "png", "a.h5", "a.zarr", "a.n5", "precomputed", "a.ims", "a.nrrd", "a.mrc")
    return [*(str(folder / name) for name in names), "phantom:tissue"]


def test_probing_every_format_imports_nothing_heavy(tmp_path, ramp):
    command = [sys.executable, "-c", IMPORTS.format(heavy=HEAVY), *_write_one_of_each(tmp_path, ramp)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


def test_opening_imports_what_probing_must_not():
    """Negative control: the same question sees numpy once a volume is opened, and dask once it is asked for."""
    loaded = "print(*[name for name in ('numpy', 'dask.array') if name in sys.modules])"
    asked = "open_source(SourceSpec(path='phantom:tissue')).data"
    spec = "from isofield.source.spec import SourceSpec; from isofield.source import open_source"
    code = f"import sys; {spec}; open_source(SourceSpec(path='phantom:tissue')); {loaded}; {asked}; {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["numpy", "numpy", "dask.array"]


def test_relative_paths_start_at_the_current_directory(tmp_path, ramp, spec, monkeypatch):
    for path in _write_one_of_each(tmp_path, ramp)[:-1]:
        name = os.path.basename(path)
        size = {"voxel_size_nm": (8, 8, 8)}
        monkeypatch.chdir(tmp_path)
        relative = open_source(spec(name, **size))
        assert relative.info.identity == probe(spec(path, **size)).identity
        np.testing.assert_array_equal(relative.data.compute()[0], ramp)


def test_a_region_is_read_alike_from_stored_and_simulated_volumes(tmp_path, ramp, spec):
    roi = Roi.between((0, 2, 3), (2, 5, 11))
    for path in _write_one_of_each(tmp_path, ramp)[:-1]:
        for simulate in (None, {"factor": 2}):
            volume = open_source(spec(path, voxel_size_nm=(8, 8, 8), simulate=simulate))
            everything = volume.data.compute()
            np.testing.assert_array_equal(volume.read(roi), everything[:, 0:2, 2:5, 3:11])
            with pytest.raises(ValueError, match="outside"):
                volume.read(roi.shifted((0, 0, 1)))


def test_the_configured_size_overrides_the_metadata_exactly(tmp_path, ramp, spec):
    metadata = {"axes": "ZYX", "PhysicalSizeZ": 9, "PhysicalSizeY": 9, "PhysicalSizeX": 9}
    tifffile.imwrite(tmp_path / "a.ome.tif", ramp, metadata=metadata)
    assert probe(spec(tmp_path / "a.ome.tif")).voxel_size_nm == (9000, 9000, 9000)
    z, _, x = probe(spec(tmp_path / "a.ome.tif", voxel_size_nm=(50, 4.6, 4.6))).voxel_size_nm
    assert str(z / x) == "250/23"


def test_identity_serialises_and_follows_what_matters(tmp_path, two_channels, spec):
    tifffile.imwrite(tmp_path / "a.tif", two_channels, metadata={"axes": "CZYX"})

    def identity(**keys):
        return json.dumps(probe(spec(tmp_path / "a.tif", **({"channel": 0, "voxel_size_nm": (5, 5, 5)} | keys))).identity)

    states = [
        identity(),
        identity(channel=1),
        identity(voxel_size_nm=(6, 5, 5)),
        identity(simulate={"factor": 2}),
    ]
    assert identity() == states[0]
    os.utime(tmp_path / "a.tif", ns=(1, 1))
    states.append(identity())
    assert len(set(states)) == 5


def test_a_single_section_is_refused(tmp_path, ramp, spec):
    import zarr

    zarr.create_array(tmp_path / "a.zarr", data=ramp[:1])
    with pytest.raises(InputError, match="single section"):
        probe(spec(tmp_path / "a.zarr", voxel_size_nm=(5, 5, 5)))
