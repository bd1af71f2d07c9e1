"""Runs of several channels as they are typed: commands that take their folder, and configurations that are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import zarr
from channel_runs import several, units

from isofield.cli import main
from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.reading import read_region
from isofield.paths import ChannelOf
from isofield.stages import JOINT_SECTIONS_READ
from isofield.units import units_of


def test_status_and_export_take_the_folder_of_the_run(two, tmp_path, capsys):
    root = str(two.paths.root)
    assert main(["status", root]) == 0
    text = capsys.readouterr().out
    assert text.index("channel-0") < text.index("channel-1")
    assert main(["status", root, "--json"]) == 0
    assert [one["done"] for one in json.loads(capsys.readouterr().out)] == [8, 8]
    image = two.paths.root / "isotropic.ome.zarr"
    whole = read_region(ChannelOf(image, 1), 0, Roi((0, 0, 0), (48, 64, 64)))
    for run, given in ((root, ["--channel", "1"]), (str(two.paths.root / "channel-1"), []), (str(image), ["--channel", "1"])):
        out = tmp_path / "one.tif"
        assert main(["export", run, "--to", str(out), "--overwrite", *given]) == 0
        np.testing.assert_array_equal(tifffile.imread(out), whole)
    capsys.readouterr()
    for run, given, said in (
        (root, [], "Choose one with --channel"),
        (root, ["--channel", "2"], "has 2 channels"),
        (str(image), [], "has 2 channels"),
        (str(two.paths.root / "channel-1"), ["--channel", "0"], "Leave it out"),
    ):
        assert main(["export", run, "--to", str(tmp_path / "no.tif"), *given]) == 2
        assert said in capsys.readouterr().err
    assert main(["render", root, "--voxel-size-nm", "8", "--out", str(tmp_path / "r.ome.zarr")]) == 2
    assert f"isofield render {root}/channel-0" in capsys.readouterr().err
    assert main(["render", f"{root}/channel-1", "--voxel-size-nm", "16", "--out", str(tmp_path / "r.ome.zarr")]) == 0


def test_a_run_whose_image_lies_elsewhere(tmp_path, stack):
    run = several(tmp_path, stack, output={"path": str(tmp_path / "out.ome.zarr")})
    made = units(run)
    for unit in made:
        for stage in ("plan", "train", "canvas"):
            assert unit.stage(stage) == 0
    claims = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "out.ome.zarr" / "regions").rglob("*.json"))
    place = "0-48_0-64_0-64.json"
    assert claims == [f"out.ome.zarr/regions/channel-{c}/{place}" for c in (0, 1)]
    # Another run is refused the channels that this one makes; this one may change its own image.
    other = units(run.changed(run={"name": "other"}))
    assert [other[0].stage(stage) for stage in ("plan", "canvas")] == [0, 2]
    changed = units(run.changed(output={"shard_vox": 16}))
    for unit in changed:
        assert unit.stage("plan") == unit.stage("canvas") == 0
    assert zarr.open_array(tmp_path / "out.ome.zarr" / "0", mode="r").shards == (1, 16, 16, 16)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"source": {"channel": [0, 2]}}, "has 2 channels, counted from 0, not 2"),
        ({"source": {"channel": "all"}, "prior": {"channel": 2}}, "prior.channel"),
    ],
)
def test_channels_that_are_not_there_are_refused(tmp_path, stack, sections, said):
    with pytest.raises(InputError, match=said):
        units_of(several(tmp_path, stack, **sections).config)


def test_one_chosen_channel_is_a_run_as_ever(tmp_path, stack):
    (one,) = units_of(several(tmp_path, stack, source={"channel": [1]}).config)
    plain = several(tmp_path, stack, source={"channel": 1}).config
    assert one.config == plain
    assert one.paths.channel is None


def test_a_folder_holds_runs_of_one_kind(tmp_path, stack, capsys):
    run, whole = several(tmp_path, stack), tmp_path / "run.yaml"
    whole.write_text(run.config.model_dump_json())
    assert main(["plan", str(whole)]) == 0
    assert sorted(path.parent.name for path in run.paths.root.glob("*/plan.json")) == ["channel-0", "channel-1"]
    other = several(tmp_path / "single", stack, source={"channel": 0})
    assert other.stage("plan") == 0
    whole.write_text(several(tmp_path / "single", stack).config.model_dump_json())
    assert main(["plan", str(whole)]) == 2
    assert "holds a run of one channel" in capsys.readouterr().err


def test_a_stage_of_all_channels_refuses_a_run_of_one(finished, capsys):
    assert main(["join", finished.config.section_json(*JOINT_SECTIONS_READ["join"])]) == 2
    assert "is for runs of several channels" in capsys.readouterr().err
