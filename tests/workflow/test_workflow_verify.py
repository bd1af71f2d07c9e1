"""The workflow verifies itself at its end; what verify removes it makes again, to the byte."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import zarr


def verify(workflow, *options: str) -> tuple[int, dict]:
    command = [sys.executable, "-m", "isofield.cli", "verify", str(workflow.run), "--json", *options]
    done = subprocess.run(command, cwd=workflow.folder, env=workflow.environment(), capture_output=True, text=True, timeout=300)
    return done.returncode, json.loads(done.stdout)


def flip(path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_a_run_that_is_damaged_fails_is_mended_and_ends_with_the_same_bytes(finished):
    image, fitted = finished.image(), finished.fitted()
    written = json.loads((finished.run / "verify.json").read_text())
    assert (written["ok"], written["checked"]["recomputed_equal"], written["skipped"]) == (True, 1, [])
    # The rule: it alone runs, fails, and leaves no record.
    coarse = finished.run / "isotropic.ome.zarr" / "1" / "c" / "0" / "0" / "0"
    level = zarr.open_array(finished.run / "isotropic.ome.zarr" / "1", mode="r+")
    level[0:2, 0:2, 0:2] = np.asarray(level[0:2, 0:2, 0:2]) ^ 1
    record = finished.run / "jobs" / "verify.json"
    record.unlink()
    said = finished.snakemake(check=False)
    assert "is not the mean of level 0 at 8 voxels" in said
    assert "isofield verify" in said
    assert not record.exists()
    # By hand, with more that is wrong: a shard, a field, and how large a voxel is.
    flip(finished.run / "isotropic.ome.zarr" / "0" / "c" / "1" / "0" / "1", 3000)
    flip(finished.packs()[1], -7)
    group = finished.run / "isotropic.ome.zarr" / "zarr.json"
    group.write_text(group.read_text().replace("8.0", "80.0"))
    status, found = verify(finished, "--repair")
    assert status == 1
    assert {one["check"] for one in found["findings"]} == {"pyramid", "shard", "field", "metadata"}
    assert not coarse.exists()
    finished.snakemake()
    assert finished.image() == image
    again = finished.fitted()
    assert {index for index in again if again[index] != fitted[index]} == {7}
    status, found = verify(finished)
    assert (status, found["findings"]) == (0, [])
    assert "Nothing to be done" in finished.snakemake()
