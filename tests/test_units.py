"""Which runs a configuration means: one, or one per channel, and what each of these is told."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from isofield.config import make_config
from isofield.errors import InputError
from isofield.source.probe import probe
from isofield.units import joint_root, require_one_kind, trained_first, units_of


@pytest.fixture
def given(tmp_path):
    """Makes configurations of a stack of three channels, of which two have names."""
    path = tmp_path / "three.ome.tif"
    sizes = {"PhysicalSizeZ": 32, "PhysicalSizeY": 8, "PhysicalSizeX": 8, "Channel": {"Name": ["DNA", "lamin", ""]}}
    units = {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
    tifffile.imwrite(path, np.zeros((3, 4, 8, 8), np.uint8), metadata={"axes": "CZYX", **sizes, **units})

    def config(channel, **sections):
        run = {"name": "r", "results": str(tmp_path / "results")}
        return make_config({"run": run, "source": {"path": str(path), "channel": channel}, **sections})

    return config


def test_a_channel_is_configured_as_a_run_of_it_alone(given):
    units = units_of(given([2, 0]))
    assert [unit.channel for unit in units] == [2, 0]
    for index, (unit, label) in enumerate(zip(units, ("channel 2", "DNA"), strict=True)):
        alone = given(unit.channel)
        assert unit.volume == probe(alone.source) == probe(unit.config.source)
        assert unit.paths.root.name == f"channel-{unit.channel}"
        assert unit.paths.store == joint_root(units) / "isotropic.ome.zarr"
        assert unit.config.output.joint.model_dump() == {"channels": (2, 0), "labels": ("channel 2", "DNA"), "index": index}
        assert unit.config.output.joint.labels[index] == label
        differs = {name for name in ("run", "source", "prior", "output") if getattr(unit.config, name) != getattr(alone, name)}
        assert differs == {"run", "output"}
        for name in ("blocks", "fit", "field", "measurement", "intensity", "sections", "quality"):
            assert getattr(unit.config, name) == getattr(alone, name)
    # Configurations of units are configurations: a unit of one is itself.
    assert [one.config for one in units_of(units[1].config)] == [units[1].config]
    assert units_of(units[1].config)[0].paths == units[1].paths


@pytest.mark.parametrize(("channel", "channels"), [("all", [0, 1, 2]), ([1], [None]), (1, [None])])
def test_who_names_one_channel_runs_one(given, channel, channels):
    units = units_of(given(channel))
    assert [unit.channel for unit in units] == channels
    if channels == [None]:
        assert units[0].config == given(1)
        assert units[0].paths.root.name == "r"


def test_the_only_channel_of_a_volume_is_the_volume(tmp_path):
    whole = {"run": {"name": "r", "results": str(tmp_path)}, "source": {"path": "phantom:tissue?shape=32,32,32"}}
    whole["source"]["simulate"] = {"factor": 4}
    config = make_config(whole)
    for channel in ("all", [0]):
        (unit,) = units_of(make_config({**whole, "source": {**whole["source"], "channel": channel}}))
        assert unit.config == config


def test_a_shared_prior_is_that_of_one_and_adopted_by_the_others(given):
    units = units_of(given([0, 1, 2], prior={"channel": 1}))
    trained = units[1].paths.prior
    assert [(u.config.prior.init, u.config.prior.steps == 0) for u in units] == [
        (str(trained), True),
        (None, False),
        (str(trained), True),
    ]
    assert trained_first(units)[0] == units[1]
    own = units_of(given([0, 1, 2]))
    assert all(u.config.prior.init is None and u.config.prior.steps for u in own)


@pytest.mark.parametrize(
    ("channel", "prior", "said"),
    [
        ([0, 0], None, "names a channel twice"),
        ([], None, "names no channel"),
        ([0, -1], None, "is no channel"),
        ([0, True], None, "is no channel"),
        ("both", None, "is no channel"),
        ([0, 3], None, "has 3 channels, counted from 0, not 3"),
        ([0, 1], 2, r"prior.channel: 2: is none of those in source.channel, \[0, 1\]"),
        ("all", 3, "prior.channel: 3: is none of the channels 0, 1, 2"),
        (1, 1, "prior.channel: 1: is for several channels"),
        (None, None, "none is named"),
    ],
)
def test_channels_that_cannot_be_meant_are_refused(given, channel, prior, said):
    with pytest.raises(InputError, match=said):
        units_of(given(channel, prior={"channel": prior}))


def test_one_channel_is_asked_for_where_one_is_needed(given):
    with pytest.raises(InputError, match="one by one"):
        probe(given([0, 1]).source)


def test_a_folder_holds_runs_of_one_kind(given):
    several, one = units_of(given([0, 1])), units_of(given(0))
    require_one_kind(several)
    require_one_kind(one)
    root = joint_root(one)
    assert root == joint_root(several)
    (root / "channel-1").mkdir(parents=True)
    require_one_kind(one)  # an empty folder is no run
    (root / "channel-1" / "plan.json").write_text("{}")
    require_one_kind(several)
    with pytest.raises(InputError, match=r"holds a run of several channels \(channel-1\)"):
        require_one_kind(one)
    (root / "plan.json").write_text("{}")
    with pytest.raises(InputError, match="holds a run of one channel, this is one of 2"):
        require_one_kind(several)
