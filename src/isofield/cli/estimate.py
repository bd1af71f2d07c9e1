"""`isofield estimate`: what a run will cost, before anything is read or computed."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from isofield.cli.options import add_config, add_json, triple
from isofield.config import Config, load_config
from isofield.errors import InputError
from isofield.geometry import exact_nm
from isofield.source.volume import VolumeInfo

if TYPE_CHECKING:
    from isofield.cost.estimate import Estimate


def add_estimate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "estimate",
        help="what a run will cost: jobs, hours, memory, bytes and files",
        description="Say what a run will cost, from metadata alone: nothing is read of the voxels, so it takes a second for "
        "volumes of any size. Times are as good as the speed they are computed from, which the last line names.",
    )
    add_config(command)
    command.add_argument("--gpus", type=int, metavar="N", help="GPUs that work at once; 0: fit on CPU (default: 1, on CPU 0)")
    command.add_argument("--cpus", type=int, default=16, metavar="N", help="CPU cores that work at once (default 16)")
    speed = command.add_mutually_exclusive_group()
    speed.add_argument("--speed", type=float, metavar="MVOXEL_PER_S", help="million output voxels per second of one fit job")
    speed.add_argument("--measure", action="store_true", help="time this machine first, some seconds")
    command.add_argument("--shape", metavar="Z,Y,X", help="a volume that is not at hand: its voxels; source.path is not opened")
    command.add_argument("--voxel-size-nm", metavar="Z,Y,X", help="with --shape: its voxel size (default source.voxel_size_nm)")
    command.add_argument("--dtype", help="with --shape: its dtype (default uint8)")
    add_json(command)
    command.set_defaults(run=_run_estimate)


def _run_estimate(args: argparse.Namespace) -> None:
    from isofield.cost.estimate import Machines, estimate, lines
    from isofield.cost.rules import expected_speed
    from isofield.plan import lay_out

    config = load_config(args.config_file, args.overrides)
    gpus = args.gpus if args.gpus is not None else 0 if config.run.device == "cpu" else 1
    for option, value, least in (("--gpus", gpus, 0), ("--cpus", args.cpus, 1), ("--speed", args.speed, 1e-6)):
        if value is not None and not least <= value < float("inf"):
            raise InputError(option, value, f"is below {least:g}", "Give a number such as 4")
    if not args.shape and (args.voxel_size_nm or args.dtype):
        option = "--voxel-size-nm" if args.voxel_size_nm else "--dtype"
        raise InputError(option, args.voxel_size_nm or args.dtype, "describes a volume that is not at hand", "Give --shape too")
    runs = _runs(config, args)
    # All channels of a volume are of one geometry.
    layout = lay_out(*runs[0])
    speed = expected_speed(config, layout, gpus > 0)
    if args.speed:
        basis = f"fit given, the rest {speed.basis}"
        speed = replace(speed, fit_vox_per_s=args.speed * 1e6, basis=basis)
    elif args.measure:
        from isofield.benchmark.rate import measured_speed

        speed = measured_speed(runs[0][0], layout, on_gpu=gpus > 0)
    found = [estimate(one, info, layout, speed, Machines(gpus, args.cpus)) for one, info in runs]
    if len(found) > 1:
        _print_channels(found, args.json)
    else:
        print(json.dumps(found[0].to_dict(), indent=2) if args.json else "\n".join(lines(found[0])))


def _print_channels(found: list[Estimate], as_json: bool) -> None:
    """What each channel costs, and all of them together, one after the other."""
    from isofield.cost.estimate import duration, lines, size

    together = {name: sum(getattr(one, name) for one in found) for name in ("wall_s", "image_bytes", "n_files")}
    if as_json:
        print(json.dumps({"channels": [one.to_dict() for one in found], "together": together}, indent=2))
        return
    print("\n\n".join("\n".join(lines(one)) for one in found))
    print(
        f"\nAll {len(found)} channels, one after the other: {duration(together['wall_s'])}; image up to "
        f"{size(together['image_bytes'])}, at most {together['n_files']} files"
    )


def _runs(config: Config, args: argparse.Namespace) -> list[tuple[Config, VolumeInfo]]:
    """What is run: the volume, or each of its channels that are named, and its metadata."""
    from isofield.units import configs_of, units_of

    if not args.shape:
        return [(unit.config, unit.volume) for unit in units_of(config)]
    channels = config.source.channel
    if channels == "all":
        limit = "is not known without opening the source"
        raise InputError("source.channel", "all", limit, "Name the channels, as [0, 1]")
    if not isinstance(channels, tuple) or len(channels) == 1:
        return [(config, _given(config, args))]
    named = [f"channel {channel}" for channel in channels]
    return [(one, _given(one, args)) for one in configs_of(config, channels, named)]


def _given(config: Config, args: argparse.Namespace) -> VolumeInfo:
    """The volume that the options describe, and what source.simulate would make of it."""
    from isofield.source.probe import ACCEPTED_DTYPES, measured_info

    dtype = args.dtype or "uint8"
    if dtype not in ACCEPTED_DTYPES:
        raise InputError("--dtype", dtype, f"is none of {', '.join(ACCEPTED_DTYPES)}", "Give one of these")
    shape = triple("--shape", args.shape)
    if any(side.denominator != 1 for side in shape):
        raise InputError("--shape", args.shape, "is not in whole voxels", "Write it like 125,1250,1250")
    if args.voxel_size_nm:
        voxel_size_nm = triple("--voxel-size-nm", args.voxel_size_nm)
    elif config.source.voxel_size_nm:
        voxel_size_nm = tuple(map(exact_nm, config.source.voxel_size_nm))
    else:
        raise InputError("--voxel-size-nm", None, "is not known without opening the source", "Give it, such as 40,4,4")
    sides = tuple(int(side) for side in shape)
    info = VolumeInfo(config.source.path, "given", None, (1, *sides), dtype, voxel_size_nm, {})  # type: ignore[arg-type]
    return measured_info(info, config.source)
