"""A whole run from an S3 server to an S3 server, and with the image in another folder."""

from __future__ import annotations

import json

import pytest
import yaozarrs
import zarr
from tiny_run import TinyRun

from isofield.cli import main
from isofield.config import section_mark
from isofield.omezarr.metadata import group_attributes
from isofield.phantom import tissue
from isofield.records import read_json
from isofield.recovery import withdraw_false_records
from isofield.stages import SECTIONS_READ
from s3_server import BUCKET, S3Server

IMAGE = "out/tiny.ome.zarr"
SIMULATE = {"factor": 4}


def put_source(s3: S3Server, folder) -> str:
    """The phantom as an OME-Zarr on the server; its address."""
    group = zarr.create_group(folder, attributes=group_attributes("tissue", 1, (8, 8, 8)))
    group.create_array("0", data=tissue((48, 64, 64)), chunks=(16, 32, 32))
    s3.put({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}, "in/tissue.ome.zarr")
    return f"s3://{BUCKET}/in/tissue.ome.zarr"


@pytest.fixture(scope="module")
def remote(s3_server, tmp_path_factory) -> TinyRun:
    """The tiny run, whose volume lies on the server and whose image goes there. Look, do not touch."""
    from isofield.storage import remote

    folder = tmp_path_factory.mktemp("remote")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        remote._has_s3_credentials.cache_clear()
        source = {"path": put_source(s3_server, folder / "source"), "simulate": SIMULATE}
        run = TinyRun.at(folder / "results", source=source, output={"path": f"s3://{BUCKET}/{IMAGE}"})
        return run.all_stages()


def test_every_array_has_the_bytes_of_a_local_run(remote, finished, s3):
    local = finished.paths.isotropic
    files = {p.relative_to(local).as_posix(): p.read_bytes() for p in local.rglob("*") if p.is_file()}
    # An image outside of the run's folder says besides who makes which part of it.
    objects = {key: data for key, data in s3.files(IMAGE).items() if not key.startswith("regions/")}
    # The group says where the volume came from, and that differs.
    groups = [json.loads(found.pop("zarr.json")) for found in (objects, files)]
    assert objects == files
    assert sum("/c/" in key for key in files) > 8
    assert groups[0]["attributes"]["ome"] == groups[1]["attributes"]["ome"]
    assert groups[0]["attributes"]["isofield"]["source"]["uri"] == f"s3://{BUCKET}/in/tissue.ome.zarr"
    assert remote.fields() == finished.fields()


def test_everything_but_the_image_lies_in_the_results_folder(remote, finished):
    assert not (remote.paths.root / "isotropic.ome.zarr").exists()
    for name in ("plan.json", "metrics.json", "report/index.html", "measured.ome.zarr/zarr.json", "neuroglancer.json"):
        assert (remote.paths.root / name).exists(), name
    figures = [{k: v for k, v in run.metrics().items() if k not in ("made_from", "checksum")} for run in (remote, finished)]
    assert figures[0] == figures[1]
    layers = {layer["name"]: layer["source"] for layer in read_json(remote.paths.neuroglancer)["layers"]}
    assert layers["isotropic"] == f"s3://{BUCKET}/{IMAGE}/|zarr3:"


def test_no_file_and_no_object_holds_a_credential(remote, s3):
    files = {str(p): p.read_bytes() for p in remote.paths.root.rglob("*") if p.is_file()}
    assert len(files) > 30
    for name, content in {**files, **s3.files(IMAGE)}.items():
        for planted in (s3.secret, s3.key, s3.address):
            assert planted.encode() not in content, name


def test_independent_validators_accept_the_objects(remote, s3, tmp_path):
    for key, content in s3.files(IMAGE).items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(content)
    yaozarrs.validate_zarr_store(str(tmp_path))


def test_looking_for_stale_records_asks_no_server(remote, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("isofield.storage.remote.RemotePlace._filesystem", None)
    marks = {stage: section_mark(remote.config.section_json(*names)) for stage, names in SECTIONS_READ.items()}
    assert withdraw_false_records(remote.paths, marks, remote.plan.source["identity"], remove=False) == []
    with pytest.raises(TypeError):
        remote.stage("blend", 0)


def test_blending_again_makes_what_was_damaged_and_nothing_else(remote, s3):
    before = s3.files(IMAGE)
    damaged, deleted, *_ = sorted(key for key in before if key.startswith("0/c/"))
    s3.put({damaged: before[damaged][:-1]}, IMAGE)
    s3.client().delete_object(Bucket=BUCKET, Key=f"{IMAGE}/{deleted}")

    def times():
        listed = s3.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{IMAGE}/0/c/")["Contents"]
        return {about["Key"].removeprefix(f"{IMAGE}/"): about["LastModified"] for about in listed}

    kept = {key: time for key, time in times().items() if key != damaged}
    assert remote.stage("blend") == 0
    # Whose shards are made again has not finished: its claim says so until it has.
    assert remote.stage("finish") == 0
    assert s3.files(IMAGE) == before
    assert {key: time for key, time in times().items() if key in kept} == kept


def test_objects_are_verified_and_what_is_wrong_goes(remote, s3):
    assert remote.stage("verify") == 0
    assert "object store" in read_json(remote.paths.verification)["notes"][0]
    before = s3.files(IMAGE)
    damaged = sorted(key for key in before if key.startswith("0/c/"))[2]
    s3.put({damaged: before[damaged][:-1]}, IMAGE)
    assert main(["verify", str(remote.paths.root), "--repair", "--recompute", "0"]) == 1
    (one,) = read_json(remote.paths.verification)["findings"]
    assert one["file"] == f"s3://{BUCKET}/{IMAGE}/{damaged}"
    assert s3.files(IMAGE).keys() == before.keys() - {damaged}
    for stage in ("blend", "finish"):
        assert remote.stage(stage) == 0
    assert s3.files(IMAGE) == before
    assert remote.stage("verify") == 0


def test_the_image_may_lie_in_another_folder(run, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("ISO_FAST_DISK", str(tmp_path / "fast"))
    moved = run.changed(output={"path": "$ISO_FAST_DISK/tiny.ome.zarr"})
    for stage in ("plan", "canvas", "fit", "blend", "pyramid", "measure", "report"):
        assert moved.stage(stage) == 0
    assert moved.paths.isotropic == tmp_path / "fast" / "tiny.ome.zarr"
    assert moved.shards() == finished.shards()
    assert moved.fields() == finished.fields()
    assert read_json(moved.paths.canvas)["image"] == str(tmp_path / "fast" / "tiny.ome.zarr")
    next(path for path in (moved.paths.isotropic / "0" / "c").rglob("*") if path.is_file()).unlink()
    assert [name for name in withdraw_false_records(moved.paths, remove=False) if name.startswith("blend")]


@pytest.mark.parametrize("path", ["https://host/a.ome.zarr", "s3://key:secret@bucket/a.ome.zarr", "s3://bucket", "$NOT_SET/a"])
def test_an_image_that_cannot_be_written_there_is_refused_at_once(tmp_path, path, capsys):
    run = TinyRun.at(tmp_path)
    for stage in ("plan", "measure"):
        given = json.loads(run.config.section_json(*SECTIONS_READ[stage]))
        given["output"]["path"] = path
        assert main([stage, json.dumps(given)]) == 2
    said = capsys.readouterr()
    assert "output.path" in said.out + said.err
    assert "secret" not in said.out + said.err
    assert list(tmp_path.iterdir()) == []
