"""What is lost is made again, just that, and to the byte."""

from __future__ import annotations

import json
import shutil

import pytest


def refitted(before: dict[int, float], after: dict[int, float]) -> set[int]:
    return {index for index, seconds in after.items() if before.get(index) != seconds}


def test_a_deleted_pack_a_damaged_field_and_a_truncated_shard_are_made_again_and_nothing_else(finished):
    image, fitted = finished.image(), finished.fitted()
    fields = {i: finished.store.payload(i) for i in range(8)}
    damaged, lost = finished.packs()
    lost.unlink()
    content = bytearray(damaged.read_bytes())
    content[-7] ^= 0x40  # in the last field, that of block 3
    damaged.write_bytes(content)
    shard = finished.run / "isotropic.ome.zarr" / "0" / "c" / "1" / "1" / "1"
    shard.write_bytes(shard.read_bytes()[:-100])
    assert finished.image() != image
    finished.snakemake()
    assert refitted(fitted, finished.fitted()) == {3, 4, 5, 6, 7}
    assert {i: finished.store.payload(i) for i in range(8)} == fields
    assert finished.image() == image
    assert "Nothing to be done" in finished.snakemake()


@pytest.mark.slow
def test_killed_twice_while_fitting_and_once_while_training_it_ends_with_the_same_bytes(finished, fresh):
    training = fresh.run / "prior" / "training.safetensors"
    fresh.kill_when(training.exists)
    fresh.kill_when(lambda: len(fresh.fitted()) >= 1)
    survivors = fresh.fitted()
    fresh.kill_when(lambda: len(fresh.fitted()) >= len(survivors) + 1)
    assert survivors.items() <= fresh.fitted().items(), "a block that was done was fitted again"
    assert len(fresh.fitted()) < 8, "the run was not killed in the middle"
    fresh.snakemake()
    assert survivors.items() <= fresh.fitted().items(), "a block that was done was fitted again"
    assert fresh.image() == finished.image()
    assert "goes on from step" in (fresh.run / "logs" / "train.log").read_text()
    ours, theirs = (json.loads((w.run / "metrics.json").read_text()) for w in (fresh, finished))
    assert ours == theirs


@pytest.mark.slow
def test_fields_that_are_not_kept_are_fitted_again_below_a_lost_shard(finished, fresh):
    shutil.copytree(finished.folder, fresh.folder, dirs_exist_ok=True)
    # The same configuration, but fields are not to be kept: they go, and nothing else happens.
    fresh.config["run"]["keep_fields"] = False
    assert fresh.planned() == {"report", "tidy"}, "the page shows the whole configuration"
    fresh.snakemake()
    assert fresh.packs() == []
    assert fresh.image() == finished.image()
    assert "Nothing to be done" in fresh.snakemake()
    # A shard that is lost now costs the fit of the blocks below it, and the image is the same again.
    (fresh.run / "isotropic.ome.zarr" / "0" / "c" / "0" / "0" / "1").unlink()
    fresh.snakemake()
    assert fresh.image() == finished.image()
    assert fresh.packs() == []
