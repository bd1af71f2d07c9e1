"""A kernel's file is an input of the plan: what follows from it is made again when its content changes, and only then."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tifffile


@pytest.fixture
def planned(fresh):
    """A run over a small TIFF whose profile is in psf.csv, planned and its prior trained; rules by what would be run."""
    texture = np.random.default_rng(0).integers(0, 255, (6, 80, 80), dtype=np.uint8)
    tifffile.imwrite(fresh.folder / "a.tif", texture)
    fresh.config |= {
        "source": {"path": "a.tif", "voxel_size_nm": [40, 10, 10]},
        "measurement": {"operator": "kernel", "kernel_file": "psf.csv"},
        "prior": {"steps": 2, "warmup_steps": 1, "batch": 2, "channels": [8, 8], "patch_vox": 32},
    }
    assert "plan" in fresh.snakemake("--list-rules"), "the workflow is not read without the file"
    missing = fresh.snakemake(check=False)
    assert "Missing input files for rule plan" in missing
    assert "psf.csv" in missing
    (fresh.folder / "psf.csv").write_text("-50,0\n0,1\n50,0\n")
    fresh.snakemake("--until", "train")
    return fresh


def test_the_plan_follows_the_content_of_the_kernel_s_file(planned):
    profile, plan = planned.folder / "psf.csv", planned.run / "plan.json"
    first = json.loads(plan.read_text())
    assert first["kernel_nm"]["positions"] == [-50, 0, 50]
    assert {"plan", "train"}.isdisjoint(planned.planned())
    # The same content, written now.
    profile.write_text(profile.read_text())
    assert {"plan", "train"}.isdisjoint(planned.planned())
    # Another content, as old as the world.
    profile.write_text("-50,0\n1,1\n50,0\n")
    os.utime(profile, (0, 0))
    assert "plan" in planned.planned()
    assert json.loads(plan.read_text()) == first, "a dry run changed something"
    planned.snakemake("--until", "train")
    second = json.loads(plan.read_text())
    assert second["kernel_nm"]["positions"] == [-50, 1, 50]
    trained = json.loads((planned.run / "prior" / "prior.json").read_text())
    assert trained["volume"] == second["fingerprints"]["volume"] != first["fingerprints"]["volume"]
    assert {"plan", "train"}.isdisjoint(planned.planned())
    # What was planned by hand from another file does not survive; what lost its file does.
    plan.write_text(json.dumps(first))
    text = planned.snakemake("--dry-run")
    assert "plan.json is stale" in text
    assert "prior.json is stale" in text
    profile.unlink()
    assert "plan.json is stale" not in planned.snakemake("--dry-run", check=False)
