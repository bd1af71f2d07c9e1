"""`isofield init`: a first configuration for a volume."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from isofield.cli.options import EXIT_FAILED, add_json, triple
from isofield.errors import InputError
from isofield.progress import say


def add_init(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "init",
        help="write a commented configuration for a volume, after a look at its metadata",
        description="Write a commented configuration for a volume, after a look at its metadata. Says what was found. What the "
        "metadata do not tell is never guessed: it becomes a key that you fill in, without which runs are refused. Exits with 1 "
        "where something is left to fill in.",
    )
    command.add_argument("volume", metavar="VOLUME", help="file, folder or address, anything that source.path takes")
    command.add_argument("--out", metavar="FILE", help="where to write it (default NAME.yaml; -: print it)")
    command.add_argument("--name", help="name of the run (default: from the volume's name)")
    command.add_argument("--dataset", help="which dataset, array or series, where the file holds several")
    command.add_argument("--channel", metavar="N", help="where there are several: which, counted from 0, as 0 or 0,2, or all")
    command.add_argument("--voxel-size-nm", metavar="Z,Y,X", help="where the metadata state no voxel size, or a wrong one")
    command.add_argument("--force", action="store_true", help="replace the file if it is there")
    add_json(command, "print what was found as JSON")
    command.set_defaults(run=_run_init)


def _channel(text: str | None) -> int | str | tuple[int, ...] | None:
    """What `source.channel` takes, from what was typed."""
    if text in (None, "all"):
        return text
    try:
        numbers = tuple(int(part) for part in text.split(","))  # type: ignore[union-attr]
    except ValueError:
        raise InputError("--channel", text, "is no number, no list of numbers and not all", "Give 0, or 0,2, or all") from None
    return numbers if len(numbers) > 1 else numbers[0]


def _run_init(args: argparse.Namespace) -> int:
    from isofield.config import reported
    from isofield.source.spec import SourceSpec
    from isofield.stages.drafting import draft

    size_nm = tuple(map(float, triple("--voxel-size-nm", args.voxel_size_nm))) if args.voxel_size_nm else None
    with reported():
        source = SourceSpec(path=args.volume, dataset=args.dataset, channel=_channel(args.channel), voxel_size_nm=size_nm)
    made = draft(source, args.name)
    if args.out == "-":
        sys.stdout.write(made.text)
        return 0 if made.ready else EXIT_FAILED
    path = Path(args.out or f"{made.name}.yaml")
    if path.exists() and not args.force:
        raise InputError("--out", str(path), "is there already", "Give another --out, or --force to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.text, encoding="utf-8")
    if args.json:
        print(json.dumps(made.found | {"config": str(path), "asked": made.asked, "refused": made.refused}, indent=2))
    else:
        print("\n".join([args.volume, *(f"  {line}" for line in made.said), f"wrote {path}"]))
    if made.asked:
        say(f"To fill in: {'; '.join(f'{key} ({why})' for key, why in made.asked.items())}")
    if made.refused:
        say(f"isofield plan will refuse it as it stands: {made.refused}")
    if made.ready and not args.json:
        print(f"Next: isofield plan {path}\n      snakemake --configfile {path}")
    return 0 if made.ready else EXIT_FAILED
