"""Options that several commands share, and what commands exit with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

from isofield.errors import InputError
from isofield.geometry import exact_nm

EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED = 1, 2, 130


class Printed(Protocol):
    """What a command found of one run, for machines and for people."""

    def to_dict(self) -> dict[str, Any]: ...

    def lines(self) -> Sequence[str]: ...


Region = tuple[tuple[Fraction, Fraction], ...]


def add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("config_file", metavar="CONFIG", help="YAML file, or a JSON object in quotes")
    add_overrides(command, "override single keys, such as fit.mode=sds source.simulate.factor=4")


def add_overrides(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--config",
        dest="overrides",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=what,
    )


def add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", metavar="RUN", help="results folder of a run, such as results/demo")


def add_json(command: argparse.ArgumentParser, what: str = "print JSON") -> None:
    command.add_argument("--json", action="store_true", help=what)


def add_machine(command: argparse.ArgumentParser, device: str = "auto", about: str = "auto, cpu or cuda") -> None:
    command.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    command.add_argument("--device", default=device, help=about)


def print_found(found: Sequence[Printed], as_json: bool) -> None:
    """Of one run, or of each channel of a run of several: then JSON is a list."""
    if as_json:
        plain = [one.to_dict() for one in found]
        print(json.dumps(plain[0] if len(plain) == 1 else plain, indent=2))
    else:
        print("\n".join(line for one in found for line in one.lines()))


def triple(option: str, text: str) -> tuple:
    """Three exact numbers above 0, z, y, x, from text such as 40,4,4. Raises InputError."""
    try:
        values = tuple(exact_nm(part.strip()) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        values = ()
    if len(values) != 3 or min(values) <= 0:
        raise InputError(option, text, "is not three numbers above 0", "Write z,y,x, such as 40,4,4")
    return values


def intervals(option: str, text: str) -> Region:
    """Begin and end along z, y and x, exact, from text such as 40:200,45:205,45:205. Raises InputError."""
    try:
        parts = tuple(tuple(exact_nm(end.strip()) for end in part.split(":")) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        parts = ()
    if len(parts) != 3 or any(len(part) != 2 or not part[0] < part[1] for part in parts):
        limit = "is not begin:end,begin:end,begin:end with each begin below its end"
        raise InputError(option, text, limit, "Write it like 40:200,45:205,45:205 (z, y, x)")
    return parts  # type: ignore[return-value]


def box_vox(option: str, text: str | None) -> tuple[tuple[int, int], ...] | None:
    """`intervals` in whole voxels from 0 on; None for no text. Raises InputError."""
    if text is None:
        return None
    parts = intervals(option, text)
    if any(end.denominator != 1 or end < 0 for part in parts for end in part):
        raise InputError(option, text, "is not in whole voxels from 0 on", "Write it like 40:200,45:205,45:205 (z, y, x)")
    return tuple((int(begin), int(end)) for begin, end in parts)
