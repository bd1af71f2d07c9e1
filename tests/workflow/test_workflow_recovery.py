"""What is lost is made again, just that, and to the byte."""

from __future__ import annotations

import json


def refitted(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, time in after.items() if before.get(name) != time}


def test_a_deleted_field_is_fitted_again_and_no_other(finished):
    image, records = finished.image(), finished.records()
    lost = finished.fields()[5]
    content = lost.read_bytes()
    lost.unlink()
    finished.snakemake()
    assert refitted(records, finished.records()) == {lost.with_suffix(".json").name}
    assert lost.read_bytes() == content
    assert finished.image() == image
    assert "Nothing to be done" in finished.snakemake()


def test_a_damaged_field_is_fitted_again_and_no_other(finished):
    image, records = finished.image(), finished.records()
    damaged = finished.fields()[2]
    content = bytearray(damaged.read_bytes())
    content[-7] ^= 0x40
    damaged.write_bytes(content)
    finished.snakemake()
    assert refitted(records, finished.records()) == {damaged.with_suffix(".json").name}
    assert finished.image() == image


def test_a_truncated_shard_is_written_again(finished):
    image, records = finished.image(), finished.records()
    shard = finished.run / "isotropic.ome.zarr" / "0" / "c" / "1" / "1" / "1"
    shard.write_bytes(shard.read_bytes()[:-100])
    assert finished.image() != image
    finished.snakemake()
    assert finished.image() == image
    assert finished.records() == records


def test_killed_twice_while_fitting_and_once_while_training_it_ends_with_the_same_bytes(finished, fresh):
    training = fresh.run / "prior" / "training.safetensors"
    fresh.kill_when(training.exists)
    fresh.kill_when(lambda: len(fresh.records()) >= 1)
    survivors = fresh.records()
    fresh.kill_when(lambda: len(fresh.records()) >= len(survivors) + 1)
    assert survivors.items() <= fresh.records().items(), "a block that was done was fitted again"
    assert len(fresh.records()) < 8, "the run was not killed in the middle"
    fresh.snakemake()
    assert survivors.items() <= fresh.records().items(), "a block that was done was fitted again"
    assert fresh.image() == finished.image()
    assert "goes on from step" in (fresh.run / "logs" / "train.log").read_text()
    ours, theirs = (json.loads((w.run / "metrics.json").read_text()) for w in (fresh, finished))
    assert ours == theirs
