"""The command line: the one door that people and the workflow's rules use."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from isofield import __version__
from isofield.cli.benchmarks import add_benchmark
from isofield.cli.completion import add_completion
from isofield.cli.estimate import add_estimate
from isofield.cli.folders import paths_in, units_in
from isofield.cli.init import add_init
from isofield.cli.options import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, add_json, add_run, print_found
from isofield.cli.output import add_output
from isofield.cli.stages import add_stages
from isofield.cli.teaching import teach
from isofield.cli.verify import add_verify
from isofield.errors import InputError, storage_problem
from isofield.paths import RunPaths
from isofield.progress import say
from isofield.stages.stopping import StoppedError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns what it exits with: see `teaching.EXIT_CODES`."""
    # Threads that spin while they wait make torch many times slower on a machine that does something else too; those that
    # sleep at once make it a third slower on one that does not. A short spin does neither.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    args = parser().parse_args(argv)
    try:
        status = args.run(args) or 0
        sys.stdout.flush()
        return status
    except InputError as error:
        # Reads of other chunks that zarr had begun are given up as the interpreter ends, and asyncio tells of each; of those that
        # it had not begun, Python does.
        logging.getLogger("asyncio").disabled = True
        warnings.simplefilter("ignore", RuntimeWarning)
        say(f"isofield {args.command}: {error}")
        return EXIT_INPUT
    except StoppedError as stopped:
        say(str(stopped))
        return EXIT_FAILED
    except BrokenPipeError:
        # Whoever read, as in `isofield config | head`, has enough; Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        problem = storage_problem(error)
        if problem is None:
            raise
        say(f"isofield {args.command}: {problem}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        say(f"isofield {args.command}: interrupted")
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="isofield",
        description="Isotropic volumes from anisotropic 3-D microscopy.",
    )
    top.add_argument("--version", action="version", version=f"isofield {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_init(commands)
    add_stages(commands)
    add_estimate(commands)
    status = commands.add_parser("status", help="done, failed, skipped and missing blocks of a run, and the time left")
    add_run(status)
    add_json(status)
    status.set_defaults(run=_run_status)
    view = commands.add_parser("view", help="serve a run on this machine and print its neuroglancer link")
    add_run(view)
    view.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    view.add_argument("--open", action="store_true", help="open the link in the default browser")
    view.set_defaults(run=_run_view)
    add_verify(commands)
    add_benchmark(commands)
    add_output(commands)
    defaults = commands.add_parser("config", help="print every configuration key with its default, unit and meaning")
    defaults.add_argument("--schema", action="store_true", help="print the JSON schema instead")
    defaults.add_argument("--table", action="store_true", help="print a Markdown table instead")
    defaults.set_defaults(run=_run_config)
    add_completion(commands, parser)
    return teach(top)


def _run_status(args: argparse.Namespace) -> None:
    from isofield.status import run_status

    print_found([run_status(RunPaths(unit)) for unit in units_in(args.folder)], args.json)


def _run_view(args: argparse.Namespace) -> None:
    from isofield.report.server import view

    paths = paths_in(units_in(args.folder)[0])
    # The folder of one channel of several does not hold the image that it is served with.
    apart = paths.image is not None or (paths.channel is not None and paths.root == Path(args.folder))
    view(Path(args.folder), port=args.port, open_browser=args.open, image=str(paths.store) if apart else None)


def _run_config(args: argparse.Namespace) -> None:
    from isofield.config import doc

    text = doc.schema_text() if args.schema else doc.table_text() if args.table else doc.yaml_text()
    sys.stdout.write(text)
