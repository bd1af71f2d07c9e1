"""`isofield verify`: a run is read back, and what is wrong is said and, if asked, removed."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from isofield.cli.folders import configurations, paths_in, units_in
from isofield.cli.options import EXIT_FAILED, add_overrides, print_found
from isofield.config import Sections, load_sections
from isofield.errors import InputError
from isofield.paths import RunPaths
from isofield.stages import SECTIONS_READ
from isofield.verify.spec import VerifySpec
from isofield.verify.verification import Verification


def add_verify(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "verify",
        help="read a run back and say what is wrong with it",
        description="Read a run back: every shard of every level, metadata, records and fields, and fit some blocks once more. "
        "Says what is wrong, by block and shard, and writes verify.json. Exits with 0 if nothing is, 1 if something is, 2 if "
        "there is no run.",
    )
    command.add_argument(
        "run_or_config", metavar="RUN", help="results folder of a run, such as results/demo, or its configuration"
    )
    add_overrides(command, "with a configuration: override single keys")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--repair", action="store_true", help="remove what is wrong, so that snakemake makes just that again")
    command.add_argument("--recompute", type=int, metavar="N", help="blocks to fit once more (default verify.recompute_blocks)")
    command.add_argument("--max-vox", type=int, metavar="N", help="voxels to read back (by hand: all, else verify.max_vox)")
    command.add_argument("--threads", type=int, metavar="N", help="threads (default run.threads_per_job, by hand 2)")
    command.set_defaults(run=_run_verify)


def _run_verify(args: argparse.Namespace) -> int:
    for option, value, least in (
        ("--recompute", args.recompute, 0),
        ("--max-vox", args.max_vox, 0),
        ("--threads", args.threads, 1),
    ):
        if value is not None and value < least:
            raise InputError(option, value, f"is below {least}", f"Give a whole number from {least} on")
    found = [_verified(paths, config, args) for paths, config in _runs_of(args)]
    print_found(found, args.json)
    return 0 if all(one.ok and one.recorded for one in found) else EXIT_FAILED


def _verified(paths: RunPaths, config: Sections | None, args: argparse.Namespace) -> Verification:
    from isofield.stages.verifying import verify_run

    by_hand = os.path.isdir(args.run_or_config)
    spec = VerifySpec(max_vox=None) if by_hand or config is None else config.verify
    if by_hand and config is not None:
        spec = spec.model_copy(update={"recompute_blocks": config.verify.recompute_blocks})
    given = {"recompute_blocks": args.recompute, "max_vox": args.max_vox}
    spec = spec.model_copy(update={key: value for key, value in given.items() if value is not None})
    n_threads = args.threads or (config.run.threads_per_job if config else 2)
    return verify_run(paths, config, spec, n_threads, mend=args.repair)


def _runs_of(args: argparse.Namespace) -> list[tuple[RunPaths, Sections | None]]:
    """The run, or each channel's, and the configuration that it was verified with when it ended, if it was."""
    # Unlike Path.is_dir it takes JSON, which is too long for a name, for no folder.
    if os.path.isdir(args.run_or_config):
        if args.overrides:
            limit = "needs a configuration"
            raise InputError("--config", args.overrides[0], limit, "Give the configuration instead of the folder")
        return [_run_in(folder) for folder in units_in(args.run_or_config)]
    names, found = SECTIONS_READ["verify"], []
    for text, overrides in configurations(args.run_or_config, args.overrides):
        config = load_sections(text, names, overrides)
        joint = config.output.joint
        root = Path(config.run.results) / config.run.name
        found.append((RunPaths(root, config.output.path, joint.index if joint else None), config))
    return found


def _run_in(folder: Path) -> tuple[RunPaths, Sections | None]:
    from isofield.stages.verifying import known_config

    paths, known = paths_in(folder), known_config(RunPaths(folder))
    config = load_sections(json.dumps(known), SECTIONS_READ["verify"]) if known else None
    if config is not None and paths.image is None:
        joint = config.output.joint
        paths = RunPaths(folder, config.output.path, joint.index if joint else paths.channel)
    return paths, config
