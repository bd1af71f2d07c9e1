"""The command line: the one door that people and the workflow's rules use."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from isofield import __version__
from isofield.cli.benchmarks import add_benchmark
from isofield.cli.completion import add_completion
from isofield.cli.estimate import add_estimate
from isofield.cli.folders import configurations, paths_in, units_in
from isofield.cli.init import add_init
from isofield.cli.options import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, add_config, add_json, add_run
from isofield.cli.output import add_output
from isofield.cli.teaching import teach
from isofield.cli.verify import add_verify
from isofield.config import Config, Sections, load_config, load_sections
from isofield.errors import InputError, storage_problem
from isofield.locking import job_lock
from isofield.paths import RunPaths
from isofield.progress import say
from isofield.stages import JOINT_SECTIONS_READ, SECTIONS_READ
from isofield.stages.stopping import StoppedError

STAGES = {
    "plan": "look at the volume and fix geometry, normalisation, blocks and jobs",
    "train": "learn the 2-D diffusion prior from XY slices; goes on where it stopped",
    "canvas": "create the empty OME-Zarr",
    "fit": "fit the fields of one job's blocks; blocks that are done are kept",
    "blend": "blend the fields into the output shards of one job",
    "pyramid": "compute the coarser levels of one job's part of the image",
    "finish": "compute the coarsest levels and write the provenance",
    "join": "write what the metadata of an image of several channels say of all of them",
    "measure": "compute the metrics",
    "report": "write the HTML report and the neuroglancer state",
    "overview": "write the page and the neuroglancer state of a run of several channels",
    "tidy": "remove the fields that have been blended, unless run.keep_fields is set",
    "preview": "reconstruct and report on a few blocks, and say what the whole run costs at their speed",
}
TAKES_JOB = ("fit", "blend", "pyramid")
PRINTS: dict[str, Callable[[RunPaths], Path]] = {
    "plan": lambda paths: paths.plan,
    "measure": lambda paths: paths.metrics,
    "preview": lambda paths: paths.preview_numbers,
}
"""Stages that end in numbers, and the JSON file that holds them."""


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
        # Reads of other chunks that zarr had begun are given up as the interpreter ends, and asyncio tells of each.
        logging.getLogger("asyncio").disabled = True
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
    for name, what in STAGES.items():
        command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        add_config(command)
        if name in TAKES_JOB:
            command.add_argument("--job", type=int, help="which job, counted from 0 (default: all, one after the other)")
        if name in PRINTS:
            add_json(command, "print what was written as JSON too")
        command.set_defaults(run=_run_stage)
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


def _run_stage(args: argparse.Namespace) -> int:
    """One stage; of a configuration that names several channels, that of each of them, one after the other."""
    worst = 0
    given = configurations(args.config_file, args.overrides, begins=args.command == "plan")
    for text, overrides in given[:1] if args.command in JOINT_SECTIONS_READ else given:
        worst = max(worst, _run_unit(argparse.Namespace(**{**vars(args), "config_file": text, "overrides": overrides})))
    return worst


def _run_unit(args: argparse.Namespace) -> int:
    name = args.command
    if name in ("report", "preview"):
        config: Config | Sections = load_config(args.config_file, args.overrides)
    else:
        config = load_sections(args.config_file, (SECTIONS_READ | JOINT_SECTIONS_READ)[name], args.overrides)
    knows_output = isinstance(config, Config) or "output" in config
    root, joint = Path(config.run.results) / config.run.name, config.output.joint if knows_output else None
    paths = RunPaths(root, config.output.path if knows_output else None, joint.index if joint else None)
    if name in JOINT_SECTIONS_READ:
        if joint is None:
            limit = f"is for runs of several channels, {config.run.name} is of one"
            raise InputError(f"isofield {name}", config.run.name, limit, "Leave it out, or name several in source.channel")
        paths = RunPaths(Path(config.run.results), config.output.path)
    job = getattr(args, "job", None)
    # Stages of many jobs lock each.
    with nullcontext() if name in TAKES_JOB else _alone(paths, name):
        status = _stage(name)(config, paths, job) or 0
    if getattr(args, "json", False):
        sys.stdout.write(PRINTS[name](paths).read_text(encoding="utf-8"))
    return status


def _alone(paths: RunPaths, job: str) -> AbstractContextManager[None]:
    """Keeps other processes from the same job. Before there is a plan, nothing is made that two could make at once."""
    return job_lock(paths.root, job) if paths.plan.exists() else nullcontext()


def _stage(name: str) -> Callable:
    """The function behind a stage. Imported only when it runs: torch and zarr take seconds to load."""
    if name == "plan":
        from isofield.stages.planning import plan_run

        return lambda config, paths, job: plan_run(config, paths) and None
    if name == "train":
        from isofield.stages.training import train_prior

        return lambda config, paths, job: train_prior(config, paths)
    if name == "measure":
        from isofield.stages.measuring import measure_run

        return lambda config, paths, job: measure_run(config, paths)
    if name == "report":
        from isofield.stages.reporting import write_report

        return lambda config, paths, job: write_report(config, paths)
    if name == "preview":
        from isofield.stages.previewing import preview_run

        return lambda config, paths, job: preview_run(config, paths)
    if name == "fit":
        return _fit
    if name == "blend":
        return _blend
    if name == "pyramid":
        return _pyramid
    if name == "join":
        from isofield.stages.joining import join_channels

        return lambda config, paths, job: join_channels(config, paths.root)
    if name == "overview":
        from isofield.stages.overviewing import write_overview

        return lambda config, paths, job: write_overview(config, paths)
    if name == "tidy":
        from isofield.stages.tidying import tidy_run

        return lambda config, paths, job: tidy_run(config, paths)
    from isofield.stages.imaging import finish_image, make_canvas

    run = {"canvas": make_canvas, "finish": finish_image}[name]
    return lambda config, paths, job: run(config, paths)


def _fit(config: Sections, paths: RunPaths, job: int | None) -> int:
    from isofield.plan import Plan
    from isofield.stages.fitting import BlocksFailedError, fit_job

    failed = 0
    for one in [job] if job is not None else range(Plan.load(paths.plan).n_fit_jobs):
        try:
            with _alone(paths, f"fit {one}"):
                fit_job(config, paths, one)
        except BlocksFailedError as error:
            say(str(error))
            failed = EXIT_FAILED
    return failed


def _blend(config: Sections, paths: RunPaths, job: int | None) -> None:
    from isofield.plan import Plan
    from isofield.stages.blending import blend_job

    for one in [job] if job is not None else range(Plan.load(paths.plan).n_blend_jobs):
        with _alone(paths, f"blend {one}"):
            blend_job(config, paths, one)


def _pyramid(config: Sections, paths: RunPaths, job: int | None) -> None:
    from isofield.plan import Plan
    from isofield.stages.imaging import build_pyramid

    for one in [job] if job is not None else range(len(Plan.load(paths.plan).jobs.pyramid)):
        with _alone(paths, f"pyramid {one}"):
            build_pyramid(config, paths, one)


def _run_status(args: argparse.Namespace) -> None:
    from isofield.status import run_status

    found = [run_status(RunPaths(unit)) for unit in units_in(args.folder)]
    plain = [status.to_dict() for status in found]
    if args.json:
        print(json.dumps(plain[0] if len(plain) == 1 else plain, indent=2))
    else:
        print("\n".join(line for status in found for line in status.lines()))


def _run_view(args: argparse.Namespace) -> None:
    from isofield.report.server import view

    paths = paths_in(units_in(args.folder)[0])
    # The folder of one channel of several does not hold the image that it is served with.
    apart = paths.image is not None or (paths.channel is not None and paths.root == Path(args.folder))
    view(Path(args.folder), port=args.port, open_browser=args.open, image=str(paths.store) if apart else None)


def _run_config(args: argparse.Namespace) -> None:
    from isofield import configdoc

    text = configdoc.schema_text() if args.schema else configdoc.table_text() if args.table else configdoc.yaml_text()
    sys.stdout.write(text)
