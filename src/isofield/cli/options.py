"""Options that several commands share, and what commands exit with."""

from __future__ import annotations

import argparse

from isofield.errors import InputError
from isofield.geometry import exact_nm

EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED = 1, 2, 130


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


def triple(option: str, text: str) -> tuple:
    """Three exact numbers above 0, z, y, x, from text such as 40,4,4. Raises InputError."""
    try:
        values = tuple(exact_nm(part.strip()) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        values = ()
    if len(values) != 3 or min(values) <= 0:
        raise InputError(option, text, "is not three numbers above 0", "Write z,y,x, such as 40,4,4")
    return values
