"""The stages of a run as commands, such as `isofield fit CONFIG --job 3`: what the workflow's rules call."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.cli.folders import configurations
from isofield.cli.options import EXIT_FAILED, add_config, add_json
from isofield.config import Config, Sections, load_config, load_sections
from isofield.errors import InputError
from isofield.locking import job_lock
from isofield.paths import RunPaths
from isofield.progress import say
from isofield.stages import JOINT_SECTIONS_READ, SECTIONS_READ
from isofield.stages.stopping import BlocksFailedError

if TYPE_CHECKING:
    from isofield.plan import Plan


@dataclass(frozen=True)
class Stage:
    """what: for --help, in a line. function: `module.name` in the room stages, imported when it runs, because torch and zarr
    take seconds to load. n_jobs: that a plan has of it; None: it is one job. numbers: the JSON file that it ends in, if it does.
    """

    what: str
    function: str
    n_jobs: Callable[[Plan], int] | None = None
    numbers: Callable[[RunPaths], Path] | None = None

    def run(self, *given: object) -> None:
        module, name = self.function.split(".")
        getattr(import_module(f"isofield.stages.{module}"), name)(*given)


STAGES = {
    "plan": Stage(
        "look at the volume and fix geometry, normalisation, blocks and jobs",
        "planning.plan_run",
        numbers=lambda paths: paths.plan,
    ),
    "train": Stage("learn the 2-D diffusion prior from XY slices; goes on where it stopped", "training.train_prior"),
    "canvas": Stage("create the empty OME-Zarr", "imaging.make_canvas"),
    "fit": Stage(
        "fit the fields of one job's blocks; blocks that are done are kept",
        "fitting.fit_job",
        n_jobs=lambda plan: plan.n_fit_jobs,
    ),
    "blend": Stage(
        "blend the fields into the output shards of one job",
        "blending.blend_job",
        n_jobs=lambda plan: plan.n_blend_jobs,
    ),
    "pyramid": Stage(
        "compute the coarser levels of one job's part of the image",
        "imaging.build_pyramid",
        n_jobs=lambda plan: len(plan.jobs.pyramid),
    ),
    "finish": Stage("compute the coarsest levels and write the provenance", "imaging.finish_image"),
    "join": Stage("write what the metadata of an image of several channels say of all of them", "joining.join_channels"),
    "measure": Stage("compute the metrics", "measuring.measure_run", numbers=lambda paths: paths.metrics),
    "report": Stage("write the HTML report and the neuroglancer state", "reporting.write_report"),
    "overview": Stage("write the page and the neuroglancer state of a run of several channels", "overviewing.write_overview"),
    "tidy": Stage("remove the fields that have been blended, unless run.keep_fields is set", "tidying.tidy_run"),
    "preview": Stage(
        "reconstruct and report on a few blocks, and say what the whole run costs at their speed",
        "previewing.preview_run",
        numbers=lambda paths: paths.preview_numbers,
    ),
}


def add_stages(commands: argparse._SubParsersAction) -> None:
    for name, stage in STAGES.items():
        command = commands.add_parser(name, help=stage.what, description=stage.what[0].upper() + stage.what[1:] + ".")
        add_config(command)
        if stage.n_jobs:
            command.add_argument("--job", type=int, help="which job, counted from 0 (default: all, one after the other)")
        if stage.numbers:
            add_json(command, "print what was written as JSON too")
        command.set_defaults(run=_run_stage)


def _run_stage(args: argparse.Namespace) -> int:
    """One stage; of a configuration that names several channels, that of each of them, one after the other."""
    name, stage = args.command, STAGES[args.command]
    given = configurations(args.config_file, args.overrides, begins=name == "plan")
    worst = 0
    for text, overrides in given[:1] if name in JOINT_SECTIONS_READ else given:
        config = _config(name, text, overrides)
        paths = _paths(name, config)
        worst = max(worst, _run_jobs(name, config, paths, args.job) if stage.n_jobs else _run_alone(name, config, paths))
        if stage.numbers and args.json:
            sys.stdout.write(stage.numbers(paths).read_text(encoding="utf-8"))
    return worst


def _config(name: str, text: str, overrides: list[str]) -> Config | Sections:
    if name in ("report", "preview"):
        return load_config(text, overrides)
    return load_sections(text, (SECTIONS_READ | JOINT_SECTIONS_READ)[name], overrides)


def _paths(name: str, config: Config | Sections) -> RunPaths:
    """Files of the run, or of the channel, that a configuration is of; for what channels have in common, of all of them."""
    output = config.output if isinstance(config, Config) or "output" in config else None
    image, joint = (output.path, output.joint) if output else (None, None)
    if name not in JOINT_SECTIONS_READ:
        return RunPaths(Path(config.run.results) / config.run.name, image, joint.index if joint else None)
    if joint is None:
        limit = f"is for runs of several channels, {config.run.name} is of one"
        raise InputError(f"isofield {name}", config.run.name, limit, "Leave it out, or name several in source.channel")
    return RunPaths(Path(config.run.results), image)


def _run_alone(name: str, config: Config | Sections, paths: RunPaths) -> int:
    with _lock(paths, name):
        STAGES[name].run(config, paths)
    return 0


def _run_jobs(name: str, config: Config | Sections, paths: RunPaths, job: int | None) -> int:
    """One job of a stage or all of them; one that loses blocks does not keep the others from being done."""
    from isofield.plan import Plan

    stage, status = STAGES[name], 0
    for one in [job] if job is not None else range(stage.n_jobs(Plan.load(paths.plan))):  # type: ignore[misc]
        try:
            with _lock(paths, f"{name} {one}"):
                stage.run(config, paths, one)
        except BlocksFailedError as error:
            say(str(error))
            status = EXIT_FAILED
    return status


def _lock(paths: RunPaths, job: str) -> AbstractContextManager[None]:
    """Keeps other processes from the same job. Before there is a plan, nothing is made that two could make at once."""
    return job_lock(paths.root, job) if paths.plan.exists() else nullcontext()
