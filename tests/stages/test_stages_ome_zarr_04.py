"""A run whose image is OME-Zarr 0.4: the voxels of 0.5, files as promised, and a lost chunk is written again."""

from __future__ import annotations

import numpy as np
import ome_zarr_models.v04
import yaozarrs
import zarr

from isofield.cost.storage import FILES_PER_SHARD, n_chunk_files, n_files
from isofield.geometry import Roi
from isofield.omezarr.labels import location
from isofield.omezarr.layout import Level
from isofield.omezarr.reading import read_region
from isofield.recovery import withdraw_false_records
from isofield.storage.place import place_of


def test_a_run_in_the_older_version(run, finished, capsys):
    old = run.changed(output={"ome_zarr": "0.4"})
    for stage in ("plan", "canvas", "blend", "pyramid", "finish", "report", "verify"):
        assert old.stage(stage) == 0, stage
    assert "chunks: OME-Zarr 0.4 knows no shards" in capsys.readouterr().err
    image = old.paths.isotropic
    whole = Roi((0, 0, 0), finished.plan.shape)
    voxels = read_region(finished.paths.isotropic, 0, whole)
    np.testing.assert_array_equal(read_region(image, 0, whole), voxels)
    assert "|zarr2:" in old.paths.neuroglancer.read_text()
    # 3 x 4 x 4 chunks of 16 voxels, those of level 1, and as many of labels: a file each, as the plan says.
    chunks = [f for f in image.rglob("*") if f.is_file() and not f.name.startswith(".")]
    assert len(chunks) == n_chunk_files(old.config, old.layout) == old.plan.projected["n_chunk_files"] == 2 * (48 + 2 * 2 * 2)
    assert n_files(old.config, old.layout) == n_files(finished.config, finished.layout) + len(chunks)
    assert FILES_PER_SHARD == 2
    yaozarrs.validate_zarr_store(str(image))
    ome_zarr_models.v04.ImageLabel.from_zarr(zarr.open_group(str(image / "labels" / "origin"), mode="r"))
    origin, newer = (location(one) for one in (image, finished.paths.isotropic))
    np.testing.assert_array_equal(read_region(origin, 0, whole), read_region(newer, 0, whole))
    # Verification reads chunks: one that is damaged, and one that is too much, are named.
    damaged, stray = image / "1" / "1" / "0" / "1", image / "0" / "9" / "0" / "0"
    whole_chunk = damaged.read_bytes()
    damaged.write_bytes(whole_chunk[:-9] + bytes([whole_chunk[-9] ^ 4]) + whole_chunk[-8:])
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    assert old.stage("verify") == 1
    said = capsys.readouterr().out
    assert "isotropic.ome.zarr/0/9/0/0" in said
    assert "level 1" in said
    damaged.write_bytes(whole_chunk)
    stray.unlink()
    # Nothing is wrong; then a chunk is lost, and its job's record with it.
    assert withdraw_false_records(old.paths, remove=False) == []
    lost = image / "0" / "2" / "1" / "3"
    content = lost.read_bytes()
    lost.unlink()
    job = next(j for j in range(old.plan.n_blend_jobs) for roi in old.plan.jobs.blend_shards(j) if roi == _shard_of(image, lost))
    assert any(f"blend-{job}" in str(name) for name in withdraw_false_records(old.paths))
    assert old.stage("blend", job) == 0
    assert lost.read_bytes() == content
    # Back to 0.5: nothing of 0.4 stays.
    for stage in ("plan", "canvas", "blend"):
        assert run.stage(stage) == 0
    assert not (image / ".zattrs").exists()
    np.testing.assert_array_equal(read_region(image, 0, whole), voxels)


def _shard_of(image, file):
    """The shard that a chunk's file belongs to."""
    level = Level.open(place_of(image, "output.path"), int(file.relative_to(image).parts[0]))
    index = [int(part) for part in file.relative_to(image).parts[1:]]
    corner = [i * 16 // level.side * level.side for i in index]
    return Roi(corner, (level.side,) * 3).intersect(level.bounds)
