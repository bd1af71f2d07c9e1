"""Blending: one job or many, in any order, after any accident, the image is the same to the last byte."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from tiny_run import times

from isofield.geometry import Roi
from isofield.omezarr.reading import read_region
from isofield.records import read_json, write_json
from isofield.source import open_source
from isofield.stages import blending
from isofield.stages.blocks_io import MeasuredBlocks


def unblended(run):
    """The run with its fields but without an image."""
    shutil.rmtree(run.paths.isotropic)
    shutil.rmtree(run.paths.shards)
    for path in run.paths.root.glob("jobs/blend-*.json"):
        path.unlink()
    return run


@pytest.mark.parametrize("shards_per_job", [1, 3, 100])
def test_jobs_of_any_size_in_any_order_write_the_same_bytes(run, finished, shards_per_job):
    other = unblended(run).changed(output={"shards_per_job": shards_per_job})
    assert other.stage("plan") == 0
    n_jobs = other.plan.n_blend_jobs
    assert n_jobs == -(-8 // shards_per_job)
    assert other.stage("canvas") == 0
    for job in np.random.default_rng(0).permutation(n_jobs).tolist():
        assert other.stage("blend", job) == 0
    assert other.shards() == finished.shards()
    assert len(other.shards()) == 8


def test_remembering_fewer_blocks_changes_nothing(run, finished, monkeypatch):
    monkeypatch.setattr(blending, "RENDERED_BLOCKS", 1)
    assert unblended(run).stage("canvas") == 0
    assert run.stage("blend") == 0
    assert run.shards() == finished.shards()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_run_whose_fields_were_fitted_on_gpus_is_blended_by_processors(run, finished):
    elsewhere = unblended(run).changed(run={"device": "cuda"})
    assert elsewhere.stage("canvas") == 0
    assert elsewhere.stage("blend") == 0
    assert elsewhere.shards() == finished.shards()
    assert elsewhere.stage("fit") != 0


def test_blending_again_writes_nothing(run):
    before = times(run.paths.isotropic)
    assert run.stage("blend") == 0
    assert times(run.paths.isotropic) == before


def forget(run, key) -> None:
    """Drop the record of one shard."""
    (pack,) = [path for path in run.paths.shards.iterdir() if key in read_json(path)["records"]]
    write_json(pack, {"records": {name: record for name, record in read_json(pack)["records"].items() if name != key}})


@pytest.mark.parametrize("damage", ["deleted", "cut", "record deleted"])
def test_a_lost_shard_is_written_again(run, finished, damage):
    before = times(run.paths.isotropic)
    shard = run.paths.isotropic / "0" / "c" / "1" / "0" / "1"
    {
        "deleted": shard.unlink,
        "cut": lambda: shard.write_bytes(shard.read_bytes()[:100]),
        "record deleted": lambda: forget(run, "1.0.1"),
    }[damage]()
    assert run.stage("blend") == 0
    assert run.shards() == finished.shards()
    after = times(run.paths.isotropic)
    assert {name for name in after if after[name] != before[name]} == {"0/c/1/0/1", "labels/origin/0/c/1/0/1"}


def test_another_fit_is_another_image(run, finished):
    other = run.changed(fit={"steps": 2})
    assert other.stage("fit") == 0
    assert other.stage("blend") == 0
    assert other.shards().keys() == finished.shards().keys()
    assert all(data != finished.shards()[name] for name, data in other.shards().items())


def test_a_damaged_field_is_noticed_and_withdrawn(run, capsys):
    pack = run.store.pack_path(range(4))
    data = bytearray(pack.read_bytes())
    data[-5] ^= 1  # the last field in it is that of block 3
    pack.write_bytes(data)
    assert unblended(run).stage("canvas") == 0
    assert run.stage("blend") == 2
    assert "was damaged after it was written" in capsys.readouterr().err
    assert [i for i, state in run.states().items() if state == "missing"] == [3]
    # The two commands that the message asks for.
    assert run.stage("fit") == 0
    assert run.stage("blend") == 0


def test_blocks_are_rendered_over_their_fields(finished):
    measured = MeasuredBlocks(open_source(finished.config.source), finished.plan)
    renderer = blending.BlockRenderer(finished.store, measured, torch.device("cpu"))
    for block in finished.plan.block_grid:
        values = renderer.render(block.index, block.field_roi)
        assert values.shape == tuple(block.field_roi.shape) != tuple(block.read_roi.shape)
        # What was fitted is a correction of the interpolation there.
        assert 0 < np.abs(values - measured.base(block.field_roi)).mean() < 0.1 * np.abs(values).mean()


def test_of_a_block_that_hardly_reaches_in_only_the_slices_that_do_are_rendered(finished, monkeypatch):
    measured = MeasuredBlocks(open_source(finished.config.source), finished.plan)
    renderer = blending.BlockRenderer(finished.store, measured, torch.device("cpu"))
    read = []
    monkeypatch.setattr(measured, "base", lambda roi, of=measured.base: read.append(roi) or of(roi))
    field = finished.plan.block_grid[3].field_roi
    whole = renderer.render(3, field)
    for axis in (1, 2):
        begin, end = list(field.offset), list(field.end)
        begin[axis], begin[0] = end[axis] - 5, begin[0] + 3
        part = Roi.between(begin, end)
        found = renderer.render(3, part)
        np.testing.assert_allclose(found, whole[part.relative_to(field).slices], atol=1e-5)
        assert read[-1].shape[axis] == 5, "of the other slices nothing is read"
    # A part that is not thin is cut out of the whole, which is there already.
    n_read = len(read)
    renderer.render(3, Roi(field.offset, (4, *field.shape[1:])))
    assert len(read) == n_read


def test_a_job_that_is_not_there_is_named(run, capsys):
    assert run.stage("blend", 3) == 2
    assert "the plan has blend jobs 0 to 2" in capsys.readouterr().err


def test_levels_are_means_of_the_level_below(finished):
    whole = [
        read_region(finished.paths.isotropic, level, Roi((0, 0, 0), shape)).astype(float)
        for level, shape in enumerate([(48, 64, 64), (24, 32, 32)])
    ]
    means = whole[0].reshape(24, 2, 32, 2, 32, 2).mean(axis=(1, 3, 5))
    assert np.abs(whole[1] - means).max() <= 0.5


def test_the_image_carries_its_history(finished):
    import zarr

    about = dict(zarr.open_group(str(finished.paths.isotropic), mode="r").attrs)["isofield"]
    assert about["measurement"]["ratio"] == "4"
    assert about["fingerprints"]["fit"] == finished.store.fingerprint
    assert about["source"]["uri"].startswith("phantom:tissue")
