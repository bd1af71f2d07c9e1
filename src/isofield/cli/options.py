"""Options that several commands share, and what commands exit with."""

from __future__ import annotations

import argparse

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
