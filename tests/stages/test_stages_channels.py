"""Runs of several channels: each is what a run of it alone would be, in one image that others read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import pytest
import yaozarrs
import zarr
from channel_runs import NAMES, several, units
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from tiny_run import TinyRun, times

from isofield.cli import main
from isofield.geometry import Roi
from isofield.omezarr.labels import location
from isofield.omezarr.reading import read_region
from isofield.paths import ChannelOf
from isofield.recovery import withdraw_false_joint, withdraw_false_records


@pytest.fixture(scope="session")
def alone(tmp_path_factory, stack) -> list[TinyRun]:
    """Each of the channels, run by itself as far as its voxels go."""
    made = [several(tmp_path_factory.mktemp("alone"), stack, source={"channel": c}) for c in (0, 1)]
    for run in made:
        for stage in ("plan", "train", "canvas", "fit", "blend", "pyramid", "finish"):
            assert run.stage(stage) == 0, stage
    return made


def shards(store: Path, channel: int | None = None) -> dict[str, bytes]:
    """Bytes of every shard of all levels and of their labels, of one channel or of an image without; by level and place."""
    found = {}
    for path in store.rglob("*"):
        level, c, place = path.relative_to(store).as_posix().partition("/c/")
        if path.is_file() and c:
            of, _, rest = place.partition("/") if channel is not None else (None, "", place)
            if channel is None or of == str(channel):
                found[f"{level}:{rest}"] = path.read_bytes()
    return found


def test_the_shards_of_a_channel_are_those_of_a_run_of_it_alone(two, alone):
    image = two.paths.root / "isotropic.ome.zarr"
    of = [shards(image, channel) for channel in (0, 1)]
    for channel, run in enumerate(alone):
        own = shards(run.paths.isotropic)
        assert len(own) == 2 * (8 + 1), "two levels, and labels"
        assert of[channel] == own
    assert of[0].keys() == of[1].keys()
    assert all(of[0][key] != of[1][key] for key in of[0] if key.startswith("0:")), "the channels are told apart"
    assert sorted(path.name for path in two.paths.root.glob("channel-*")) == ["channel-0", "channel-1"]
    assert not list(two.paths.root.glob("channel-*/isotropic.ome.zarr"))


def test_metadata_name_the_channels(two):
    image = two.paths.root / "isotropic.ome.zarr"
    group = zarr.open_group(image, mode="r")
    ome, own = group.attrs["ome"], group.attrs["isofield"]
    (entry,) = ome["multiscales"]
    assert [(axis["name"], axis["type"]) for axis in entry["axes"]] == [("c", "channel"), *((a, "space") for a in "zyx")]
    assert entry["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 16.0, 16.0, 16.0]},
        {"type": "translation", "translation": [0.0, 8.0, 8.0, 8.0]},
    ]
    shown = ome["omero"]["channels"]
    assert [one["label"] for one in shown] == list(NAMES)
    assert len({one["color"] for one in shown}) == 2
    array = group["0"]
    assert (array.shape, array.chunks, array.shards) == ((2, 48, 64, 64), (1, 16, 16, 16), (1, 32, 32, 32))
    for index, one in enumerate(shown):
        seen = np.percentile(array[index], (0.5, 99.5))
        assert abs(one["window"]["start"] - seen[0]) <= 3
        assert abs(one["window"]["end"] - seen[1]) <= 3
    assert [one["source"]["channel"] for one in own["channels"]] == [0, 1]
    assert own["channels"][0]["fingerprints"]["prior"] != own["channels"][1]["fingerprints"]["prior"]


def test_others_read_the_image(two):
    image = two.paths.root / "isotropic.ome.zarr"
    yaozarrs.validate_zarr_store(str(image))
    ome_zarr_models.v05.Image.from_zarr(zarr.open_group(image, mode="r"))
    ome_zarr_models.v05.ImageLabel.from_zarr(zarr.open_group(image / "labels" / "origin", mode="r"))
    (node, *_) = Reader(parse_url(str(image)))()
    whole = Roi((0, 0, 0), (48, 64, 64))
    for channel in (0, 1):
        np.testing.assert_array_equal(np.asarray(node.data[0][channel]), read_region(ChannelOf(image, channel), 0, whole))


def test_installed_readers_agree_on_the_image(two, capsys):
    assert main(["check-readers", str(two.paths.root), "--json"]) == 0
    found = {one["name"]: one["agrees"] for one in json.loads(capsys.readouterr().out)}
    assert [name for name, agrees in found.items() if agrees] == [
        "ome-zarr",
        "ngff-zarr",
        "dask",
        "tensorstore",
        "yaozarrs",
        "ome-zarr-models",
    ]


def test_the_older_version_holds_the_same_voxels(two, tmp_path):
    old = two.changed(run={"results": str(tmp_path / "old")}, output={"ome_zarr": "0.4"})
    shutil.copytree(two.paths.root, old.paths.root)
    made = units(old)
    for unit in made:
        for stage in ("plan", "canvas", "blend", "pyramid", "finish", "report"):
            assert unit.stage(stage) == 0, stage
    assert made[0].stage("join") == made[0].stage("overview") == 0
    assert [unit.stage("verify") for unit in made] == [0, 0]
    image, whole = old.paths.root / "isotropic.ome.zarr", Roi((0, 0, 0), (48, 64, 64))
    yaozarrs.validate_zarr_store(str(image))
    ome_zarr_models.v04.Image.from_zarr(zarr.open_group(image, mode="r"))
    for unit, before in zip(made, units(two), strict=True):
        for of in (lambda one: one, location):
            newer = read_region(of(before.paths.isotropic), 0, whole)
            np.testing.assert_array_equal(read_region(of(unit.paths.isotropic), 0, whole), newer)
    assert (image / "0" / "1" / "2" / "3" / "3").is_file()
    assert "|zarr2:" in (old.paths.root / "neuroglancer.json").read_text()


def test_a_shared_prior_is_trained_once(tmp_path, stack, two):
    run = several(tmp_path, stack, prior={"channel": 1})
    first, second = units(run)
    for unit in (second, first):
        assert unit.stage("plan") == unit.stage("train") == 0
    assert first.paths.prior.read_bytes() == second.paths.prior.read_bytes()
    assert second.paths.prior.read_bytes() == units(two)[1].paths.prior.read_bytes()
    assert not first.paths.training.exists()
    assert first.paths.prior.read_bytes() != units(two)[0].paths.prior.read_bytes(), "else nothing was shared"


def test_the_viewer_shows_all_channels_in_their_colours(two):
    state = json.loads((two.paths.root / "neuroglancer.json").read_text())
    assert [panel["layers"] for panel in state["layout"]["children"]] == [
        ["measured 0 DNA", "measured 1 lamin"],
        ["0 DNA", "1 lamin"],
    ]
    layers = {layer["name"]: layer for layer in state["layers"]}
    assert {(layer["blend"], layer["opacity"]) for layer in layers.values()} == {("additive", 1)}
    assert [layers[name]["localPosition"] for name in ("0 DNA", "1 lamin")] == [[0], [1]]
    assert "#00FF00" in layers["0 DNA"]["shader"]
    assert "#FF00FF" in layers["1 lamin"]["shader"]
    page = (two.paths.root / "report" / "index.html").read_text()
    for channel, name in enumerate(NAMES):
        assert f'<a href="../channel-{channel}/report/index.html">{name}</a>' in page
    own = json.loads((two.paths.root / "channel-1" / "neuroglancer.json").read_text())
    assert [layer.get("localPosition") for layer in own["layers"] if layer["name"] == "isotropic"] == [[1]]
    assert "tiny, lamin" in (two.paths.root / "channel-1" / "report" / "index.html").read_text()


def test_what_is_done_again_in_one_channel_leaves_the_other(copied):
    first, second = units(copied)
    image, before = copied.paths.root / "isotropic.ome.zarr", shards(copied.paths.root / "isotropic.ome.zarr", 1)
    assert all(withdraw_false_records(unit.paths) == [] for unit in (first, second))
    untouched_first, untouched_shards = times(first.paths.root), times(image / "0" / "c" / "0")
    lost = image / "0" / "c" / "1" / "0" / "1" / "1"
    lost.unlink()
    assert withdraw_false_records(first.paths) == []
    withdrawn = withdraw_false_records(second.paths)
    assert [name.rpartition("-")[0] for name in withdrawn] == ["blend"]
    assert second.stage("blend") == 0
    assert shards(image, 1) == before
    assert times(image / "0" / "c" / "0") == untouched_shards
    assert times(first.paths.root) == untouched_first


def test_verification_walks_the_channels(copied, capsys):
    assert main(["verify", str(copied.paths.root), "--json"]) == 0
    assert [one["ok"] for one in json.loads(capsys.readouterr().out)] == [True, True]
    image = copied.paths.root / "isotropic.ome.zarr"
    damaged = image / "0" / "c" / "1" / "0" / "0" / "1"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    (image / "0" / "c" / "2").mkdir()
    (image / "0" / "c" / "2" / "0").write_bytes(b"x")
    assert main(["verify", str(copied.paths.root), "--json"]) == 1
    found = [[one["file"] for one in each["findings"]] for each in json.loads(capsys.readouterr().out)]
    stray = str(image / "0" / "c" / "2" / "0")
    assert found == [[stray], [str(damaged), stray]] or found == [[stray], [stray, str(damaged)]]


def test_damaged_metadata_are_found_and_written_anew(copied, capsys):
    path = copied.paths.root / "isotropic.ome.zarr" / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["ome"]["multiscales"][0]["axes"][0]["type"] = "space"
    path.write_text(json.dumps(document))
    assert main(["verify", str(copied.paths.root), "--repair"]) == 1
    assert "instead of c, z, y, x" in capsys.readouterr().out
    made = units(copied)
    assert not made[0].paths.joined.exists()
    for unit in made:
        assert unit.stage("canvas") == unit.stage("finish") == 0
    assert made[0].stage("join") == 0
    assert main(["verify", str(copied.paths.root)]) == 0


def test_the_joint_record_is_withdrawn_with_what_it_was_made_from(copied):
    unit = units(copied)[0]
    mark = json.loads(unit.paths.joined.read_text())["made_from"]
    assert withdraw_false_joint(unit.paths, mark) == []
    assert withdraw_false_joint(unit.paths, "another", remove=False) == ["join.json"]
    assert unit.paths.joined.exists()
    assert withdraw_false_joint(unit.paths, "another") == ["join.json"]
    assert not unit.paths.joined.exists()
