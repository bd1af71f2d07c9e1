"""`isofield verify`: a run is read back, and what is wrong is said and, if asked, removed."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from isofield.cli.options import EXIT_FAILED, add_overrides
from isofield.config import Sections, load_sections
from isofield.errors import InputError
from isofield.paths import RunPaths
from isofield.stages import SECTIONS_READ
from isofield.verify.spec import VerifySpec


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
    from isofield.stages.verifying import verify_run

    for option, value, least in (
        ("--recompute", args.recompute, 0),
        ("--max-vox", args.max_vox, 0),
        ("--threads", args.threads, 1),
    ):
        if value is not None and value < least:
            raise InputError(option, value, f"is below {least}", f"Give a whole number from {least} on")
    paths, config = _run_of(args)
    by_hand = os.path.isdir(args.run_or_config)
    spec = VerifySpec(max_vox=None) if by_hand or config is None else config.verify
    if by_hand and config is not None:
        spec = spec.model_copy(update={"recompute_blocks": config.verify.recompute_blocks})
    given = {"recompute_blocks": args.recompute, "max_vox": args.max_vox}
    spec = spec.model_copy(update={key: value for key, value in given.items() if value is not None})
    n_threads = args.threads or (config.run.threads_per_job if config else 2)
    found = verify_run(paths, config, spec, n_threads, mend=args.repair)
    print(json.dumps(found.to_dict(), indent=2) if args.json else "\n".join(found.lines()))
    return 0 if found.ok and found.recorded else EXIT_FAILED


def _run_of(args: argparse.Namespace) -> tuple[RunPaths, Sections | None]:
    """The run, and the configuration that it was verified with when it ended, if it was."""
    from isofield.records import read_json
    from isofield.stages.verifying import known_config

    folder, names = Path(args.run_or_config), SECTIONS_READ["verify"]
    # Unlike Path.is_dir it takes JSON, which is too long for a name, for no folder.
    if not os.path.isdir(args.run_or_config):
        config = load_sections(args.run_or_config, names, args.overrides)
        return RunPaths(Path(config.run.results) / config.run.name, config.output.path), config
    if args.overrides:
        raise InputError("--config", args.overrides[0], "needs a configuration", "Give the configuration instead of the folder")
    canvas = RunPaths(folder).canvas
    try:
        image = read_json(canvas).get("image")
    except (InputError, AttributeError):
        image = None
    known = known_config(RunPaths(folder))
    if image is None and known:
        image = known.get("output", {}).get("path")
    config = load_sections(json.dumps(known), names) if known else None
    return RunPaths(folder, image), config
