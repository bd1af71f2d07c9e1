"""Runs over parts of a volume fill one image, to the bytes of a single run, and stay out of each other's way."""

from __future__ import annotations

import json

import pytest
from region_run import LEFT, RIGHT, files, part, through

from isofield.omezarr.regions import claims
from isofield.records import read_json


def test_two_runs_fill_one_image_to_the_bytes_of_a_single_one(finished, whole, tmp_path):
    left, right = (part(tmp_path, name, region, finished.paths.prior) for name, region in (("left", LEFT), ("right", RIGHT)))
    through(left)
    # Half of it is there, and no coarser voxel over what is not.
    level_0 = {name for name in files(tmp_path) if name.startswith("0/c/")}
    assert level_0 == {f"0/c/{z}/{y}/0" for z in range(2) for y in range(2)}
    assert not any(name.startswith(("1/c/", "2/c/")) for name in files(tmp_path))
    assert 0 < left.metrics()["residual_rms"] < 0.2
    assert left.metrics()["n_blocks"] == {"done": 8}, "blocks on the border are fitted by both"
    assert left.stage("verify") == 0
    found = read_json(left.paths.verification)
    assert [found["checked"][name] for name in ("n_shards", "n_decoded", "n_waiting")] == [6, 4, 2]
    assert "verify each of them" in found["skipped"][0]
    through(right)
    assert files(tmp_path) == files(whole.paths.root.parent)
    assert {claim.owner.rpartition("/")[2] for claim in claims(tmp_path / "image.ome.zarr")} == {"left", "right"}
    # What the right one made is its own to vouch for; what both made is seen by both.
    shard = tmp_path / "image.ome.zarr" / "0/c/0/1/1"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert (left.stage("verify"), right.stage("verify")) == (0, 1)
    (one,) = read_json(right.paths.verification)["findings"]
    assert one["file"] == str(shard)


def test_overlapping_regions_are_refused_before_anything_is_written(finished, tmp_path, capsys):
    through(part(tmp_path, "left", LEFT, finished.paths.prior), "plan", "canvas")
    before = files(tmp_path)
    greedy = part(tmp_path, "greedy", [[0, 48], [0, 64], [0, 64]], finished.paths.prior)
    assert greedy.stage("plan") == 0
    assert greedy.stage("canvas") == 2
    assert "output.region_vox" in (message := capsys.readouterr().err)
    assert "overlaps [[0, 48], [0, 64], [0, 32]], which the run in" in message
    assert files(tmp_path) == before
    assert len(claims(tmp_path / "image.ome.zarr")) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": {"chunk_vox": 8}}, "holds an image of another size, type or storage"),
        ({"blocks": {"write_vox": 24, "context_vox": 8, "overlap_vox": 4}}, "with other blocks, sections or grey values"),
        ({"intensity": {"low_percentile": 5.0}}, "with other blocks, sections or grey values"),
    ],
    ids=str,
)
def test_parts_of_one_image_are_made_alike(finished, tmp_path, capsys, change, message):
    through(part(tmp_path, "left", LEFT, finished.paths.prior), "plan", "canvas")
    before = files(tmp_path)
    other = part(tmp_path, "right", RIGHT, finished.paths.prior, **change)
    assert other.stage("plan") == 0
    assert other.stage("canvas") == 2
    assert message in capsys.readouterr().err
    assert files(tmp_path) == before


def test_parts_of_one_image_are_made_with_one_prior_and_fit(finished, tmp_path, capsys):
    through(part(tmp_path, "left", LEFT, finished.paths.prior), "plan", "train", "canvas", "fit", "blend")
    other = part(tmp_path, "right", RIGHT, finished.paths.prior, fit={"steps": 3, "blocks_per_job": 4})
    through(other, "plan", "train", "canvas", "fit")
    assert other.stage("blend", 0) == 2
    assert "with another prior or fit" in capsys.readouterr().err
    # Negative control: with the same fit it is welcome.
    same = part(tmp_path, "right", RIGHT, finished.paths.prior)
    through(same, "plan", "train", "canvas", "fit", "blend")


@pytest.mark.parametrize(
    "region", [[[0, 48], [0, 64], [0, 33]], [[0, 48], [8, 64], [0, 32]], [[0, 64], [0, 64], [0, 32]]], ids=str
)
def test_regions_that_are_no_whole_shards_are_refused(finished, tmp_path, capsys, region):
    assert part(tmp_path, "askew", region, finished.paths.prior).stage("plan") == 2
    message = capsys.readouterr().err
    assert "output.region_vox" in message
    assert "whole shards of 32 voxels" in message
    assert not (tmp_path / "askew").exists()


def test_a_run_may_choose_another_region(finished, tmp_path):
    through(part(tmp_path, "one", LEFT, finished.paths.prior), "plan", "canvas")
    through(part(tmp_path, "one", RIGHT, finished.paths.prior), "plan", "canvas")
    (claim,) = claims(tmp_path / "image.ome.zarr")
    assert json.loads(json.dumps(claim.region)) == [[0, 0, 32], [48, 64, 32]]
