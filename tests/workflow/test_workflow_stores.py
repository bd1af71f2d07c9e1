"""The workflow from an S3 server to an S3 server."""

from __future__ import annotations

import pytest
import zarr

from isofield.omezarr.metadata import group_attributes
from isofield.phantom import tissue
from s3_server import BUCKET

QUICK = {
    "run": {"name": "far", "threads_per_job": 1},
    "blocks": {"write_vox": 32, "context_vox": 8, "overlap_vox": 4},
    "prior": {"channels": [8, 8], "steps": 10, "batch": 8, "patch_vox": 32, "warmup_steps": 2},
    "field": {"strides_vox": [2, 4], "features": [4, 4], "hidden": 8},
    "fit": {"steps": 8},
    "output": {"path": f"s3://{BUCKET}/far/far.ome.zarr", "chunk_vox": 16, "shard_vox": 32, "pyramid_min_vox": 32},
    "quality": {"n_spectrum_cubes": 1, "spectrum_cube_vox": 32, "seam_reach_vox": 12},
    "report": {"n_slices": 1},
}


@pytest.mark.timeout(1200)
def test_a_run_from_s3_to_s3(fresh, s3, tmp_path):
    source = tmp_path / "source.ome.zarr"
    group = zarr.create_group(source, attributes=group_attributes("tissue", 1, (32, 8, 8)))
    group.create_array("0", data=tissue((48, 64, 64))[::4], chunks=(12, 32, 32))
    s3.put({p.relative_to(source).as_posix(): p.read_bytes() for p in source.rglob("*") if p.is_file()}, "far/source")
    fresh.config = {**QUICK, "source": {"path": f"s3://{BUCKET}/far/source"}}
    fresh.snakemake()
    objects = s3.files("far/far.ome.zarr")
    assert len([key for key in objects if key.startswith("0/c/")]) == 8
    assert b'"fingerprints"' in objects["zarr.json"]
    assert (fresh.run / "report" / "index.html").stat().st_size > 10_000
    # Snakemake's own notes are among what a run leaves.
    left = [path for path in fresh.folder.rglob("*") if path.is_file()]
    assert any(".snakemake" in path.parts for path in left)
    assert [path for path in left if any(word.encode() in path.read_bytes() for word in (s3.secret, s3.key))] == []
    assert "Nothing to be done" in fresh.snakemake("--dry-run")
    fresh.config["source"] = {"path": f"s3://{BUCKET}/far/elsewhere"}
    assert "no Zarr metadata" in fresh.snakemake("--dry-run", check=False)
