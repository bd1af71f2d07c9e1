"""What a configuration makes runs of: the volume, or each of several of its channels.

A *unit* is a complete run of the stages over one channel, below a folder of its own. That of a volume of one channel is the run
itself. Those of several channels are configured as runs of that channel alone, and write one image together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isofield.config import Config, make_config
from isofield.errors import InputError
from isofield.omezarr.spec import JointSpec
from isofield.paths import RunPaths, channel_folder, channel_folders
from isofield.source.probe import probe_channels
from isofield.source.volume import VolumeInfo


@dataclass(frozen=True)
class Unit:
    """One run of the stages. channel: of the source, where there are several units; None: there is one, the run itself."""

    channel: int | None
    config: Config
    paths: RunPaths
    volume: VolumeInfo


def units_of(config: Config) -> tuple[Unit, ...]:
    """The units of a run, from metadata alone; more than one where `source.channel` names several that are there.

    Raises InputError like `probe`, and for channels that the volume does not have.
    """
    found = probe_channels(config.source)
    if len(found) == 1:
        # One of several that might have been named: as if its number alone had been given.
        prior = config.prior.model_copy(update={"channel": None})
        one = _with(config, source=found[0].spec, prior=prior) if config.source.has_several else config
        return (_unit(None, one, found[0].info),)
    channels = [one.spec.channel for one in found]
    if config.prior.channel not in (None, *channels):
        limit = f"is none of the channels {', '.join(map(str, channels))} that are reconstructed"
        raise InputError("prior.channel", config.prior.channel, limit, "Name one of them, or leave it null")
    configs = configs_of(config, channels, [one.name for one in found])  # type: ignore[arg-type]
    return tuple(
        _unit(channel, one, info)
        for channel, one, info in zip(channels, configs, (one.info for one in found), strict=True)  # type: ignore[arg-type]
    )


def configs_of(config: Config, channels: Sequence[int], labels: Sequence[str]) -> list[Config]:
    """The configurations of the units of two channels or more, in the order of the image; labels: the channels' names."""
    joints = (JointSpec(channels=tuple(channels), labels=tuple(labels), index=index) for index in range(len(channels)))
    return [_of_channel(config, channel, joint) for channel, joint in zip(channels, joints, strict=True)]


def _of_channel(config: Config, channel: int, joint: JointSpec) -> Config:
    """The configuration of one channel's unit: that of a run of this channel alone, and what it shares."""
    root = Path(config.run.results) / config.run.name
    prior = config.prior.model_copy(update={"channel": None})
    if config.prior.channel not in (None, channel):
        shared = RunPaths(root / channel_folder(config.prior.channel)).prior  # type: ignore[arg-type]
        prior = prior.model_copy(update={"init": str(shared), "steps": 0})
    return _with(
        config,
        run=config.run.model_copy(update={"results": str(root), "name": channel_folder(channel)}),
        source=config.source.model_copy(update={"channel": channel}),
        prior=prior,
        output=config.output.model_copy(update={"joint": joint}),
    )


def trained_first(units: Sequence[Unit]) -> list[Unit]:
    """The units, those that train a prior before those that use another one's."""
    return sorted(units, key=lambda unit: unit.config.prior.steps == 0)


def joint_root(units: Sequence[Unit]) -> Path:
    """The folder of the whole run: that of its only unit, or that in which those of its channels lie."""
    root = units[0].paths.root
    return root if units[0].channel is None else root.parent


def require_one_kind(units: Sequence[Unit]) -> None:
    """Refuses results of a single run in the folder of several channels, and the other way round: either would replace the
    other's image. Raises InputError."""
    root = joint_root(units)
    remedy = "Give another run.name, or move that folder away"
    if units[0].channel is None:
        if there := channel_folders(root):
            limit = f"{root} holds a run of several channels ({', '.join(folder.name for folder in there)}), this is one of one"
            raise InputError("run.name", root.name, limit, remedy)
    elif (root / "plan.json").exists():
        limit = f"{root} holds a run of one channel, this is one of {len(units)}"
        raise InputError("run.name", root.name, limit, remedy)


def _unit(channel: int | None, config: Config, volume: VolumeInfo) -> Unit:
    joint = config.output.joint
    paths = RunPaths(Path(config.run.results) / config.run.name, config.output.path, joint.index if joint else None)
    return Unit(channel, config, paths, volume)


def _with(config: Config, **sections: object) -> Config:
    """The configuration with some sections replaced, checked as a whole."""
    given = {name: getattr(config, name) for name in type(config).model_fields} | sections
    return make_config({name: section.model_dump() for name, section in given.items()})  # type: ignore[attr-defined]
