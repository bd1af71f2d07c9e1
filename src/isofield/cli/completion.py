"""`isofield completion`: a script with which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from isofield.cli.teaching import commands_below

_FILES, _FOLDERS = {"CONFIG", "VOLUME", "FILE"}, {"RUN", "FOLDER"}


def add_completion(commands: argparse._SubParsersAction, parser: Callable[[], argparse.ArgumentParser]) -> None:
    """`parser` makes the parser whose commands are completed."""
    command = commands.add_parser(
        "completion",
        help="print a script with which bash, zsh or tcsh completes isofield's commands and options",
        description="Print a script with which a shell completes isofield's commands, options and files. Put it where the shell "
        "looks for such scripts, and open a new shell.",
    )
    command.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    command.set_defaults(run=lambda args: _run_completion(args.shell, parser()))


def _run_completion(shell: str, top: argparse.ArgumentParser) -> None:
    import shtab

    for _, command in commands_below(top):
        for action in command._actions:
            if action.metavar in _FILES | _FOLDERS:
                action.complete = shtab.FILE if action.metavar in _FILES else shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(top, shell=shell))
