"""Stage preview: a few blocks spread over the volume, each reconstructed and reported on, and what all of it will cost."""

from __future__ import annotations

import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from isofield.config import Config, load_sections, make_config
from isofield.cost.estimate import Estimate, Machines, estimate, lines
from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.paths import RunPaths
from isofield.plan import Plan, lay_out
from isofield.progress import say
from isofield.records import read_json, write_bytes_atomic, write_json
from isofield.source.probe import probe
from isofield.speed import CPU_SPEED, Speed
from isofield.stages import SECTIONS_READ
from isofield.stages.blending import blend_job
from isofield.stages.device import choose_device
from isofield.stages.fitting import fit_job
from isofield.stages.imaging import build_pyramid, finish_image, make_canvas
from isofield.stages.measuring import measure_run
from isofield.stages.planning import plan_run
from isofield.stages.reporting import run_title, write_report
from isofield.stages.sampling import spread
from isofield.stages.training import train_prior


def preview_run(config: Config, paths: RunPaths) -> None:
    """Reconstruct report.n_preview_blocks blocks of a planned run with its prior, each as a small run of its own below preview/.

    Writes their reports, and preview/index.html and preview.json: their figures, and the cost of the whole run at the speed that
    they had.
    """
    plan = Plan.load(paths.plan)
    rows, seconds, n_vox = [], 0.0, 0
    for index in chosen(plan, pd.read_parquet(paths.blocks, columns=["block_id", "empty"]), config.report.n_preview_blocks):
        say(f"preview: block {index}")
        small = one_block(config, plan, paths, index)
        took = _all_stages(small)
        own = _paths(small)
        metrics = read_json(own.metrics)
        made = Plan.load(own.plan).block_grid.shape.volume
        rows.append({"block": index, "page": f"block-{index}/report/index.html", "seconds": took, **_figures(metrics)})
        seconds, n_vox = seconds + took["fit"], n_vox + made
    speed = _speed(config, n_vox, rows, seconds)
    cost = whole_cost(config, speed)
    write_json(paths.preview_numbers, {"made_from": plan.made_from, "blocks": rows, "cost": cost.to_dict()})
    write_bytes_atomic(paths.preview, page(run_title(config), rows, lines(cost)).encode())
    say("\n".join(lines(cost)))


def chosen(plan: Plan, table: pd.DataFrame, n: int) -> list[int]:
    """Numbers of `n` blocks, spread over those that are not known to be empty. Raises InputError if all are."""
    filled = table.loc[~table["empty"], "block_id"].to_numpy()
    if not len(filled):
        raise InputError("source.path", plan.source["uri"], "has no block with contrast", "Check source.path")
    places = sorted({int(spread(k) * len(filled)) for k in range(n)})
    return [int(filled[place]) for place in places]


def one_block(config: Config, plan: Plan, paths: RunPaths, index: int) -> Config:
    """The run over what block `index` owns, widened to whole sections."""
    owned, origin = plan.block_grid[index].write_roi, plan.measured_roi.offset
    sections = plan.axial.sections_touching(owned.offset.z, owned.end.z)
    begin = (sections.start, *owned.offset[1:])
    measured = Roi(begin, (max(2, len(sections)), *owned.shape[1:])).shifted(origin)  # type: ignore[arg-type]
    size = [float(plan.axial.ratio) * plan.voxel_size_nm, plan.voxel_size_nm, plan.voxel_size_nm]
    values = config.model_dump(mode="json")
    values["run"] |= {"name": f"block-{index}", "results": str(paths.preview.parent)}
    sides = zip(measured.offset, measured.end, size, strict=True)
    values["source"]["roi_nm"] = [[b * side, e * side] for b, e, side in sides]
    values["output"] |= {"path": None, "region_vox": None, "joint": None}
    values["prior"] |= {"init": str(paths.prior), "steps": 0}
    return make_config(values)


def _paths(config: Config) -> RunPaths:
    return RunPaths(Path(config.run.results) / config.run.name)


def _all_stages(config: Config) -> dict[str, float]:
    """Seconds per stage of a run with one job of each kind."""
    paths, took = _paths(config), {}

    def sections(stage: str):
        return load_sections(config.section_json(*SECTIONS_READ[stage]), SECTIONS_READ[stage])

    work = {
        "plan": lambda: plan_run(sections("plan"), paths),
        "train": lambda: train_prior(sections("train"), paths),
        "canvas": lambda: make_canvas(sections("canvas"), paths),
        "fit": lambda: [fit_job(sections("fit"), paths, job) for job in range(Plan.load(paths.plan).n_fit_jobs)],
        "blend": lambda: [blend_job(sections("blend"), paths, job) for job in range(Plan.load(paths.plan).n_blend_jobs)],
        "pyramid": lambda: [build_pyramid(sections("pyramid"), paths, k) for k in range(len(Plan.load(paths.plan).jobs.pyramid))],
        "finish": lambda: finish_image(sections("finish"), paths),
        "measure": lambda: measure_run(sections("measure"), paths),
        "report": lambda: write_report(config, paths),
    }
    for stage, run in work.items():
        begun = time.monotonic()
        run()
        took[stage] = time.monotonic() - begun
    return took


def _speed(config: Config, n_vox: int, rows: list[dict], fit_s: float) -> Speed:
    """The speed of the preview's own jobs; a training step, which the preview has none of, as measured elsewhere."""
    device = choose_device(config.run.device, config.run.threads_per_job).type
    blend_s = sum(row["seconds"]["blend"] for row in rows)
    return Speed(
        fit_vox_per_s=n_vox / fit_s,
        blend_vox_per_s=n_vox / blend_s,
        training_step_s=CPU_SPEED.training_step_s,
        device=device,
        basis=f"measured by the preview over {len(rows)} blocks, which see nothing around them; training as measured elsewhere",
    )


def whole_cost(config: Config, speed: Speed) -> Estimate:
    """The whole run at this speed, on one machine of the preview's kind."""
    info = probe(config.source)
    machines = Machines(n_gpus=int(speed.device == "cuda"), n_cpus=config.run.threads_per_job)
    return estimate(config, info, lay_out(config, info), speed, machines)


def _figures(metrics: dict) -> dict[str, float]:
    known = metrics.get("isotropic", {})
    shown = {name: metrics[name] for name in ("residual_rms", "residual_rms_cubic", "clipped_fraction")}
    return {**shown, **{name: known[name] for name in ("psnr_db", "ssim") if name in known}}


def page(name: str, rows: list[dict], cost: list[str]) -> str:
    """The page that links the blocks' reports and says what the whole run costs."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    folder = files("isofield.report")
    columns = [key for key in rows[0] if key not in ("block", "page", "seconds")]
    shown = [{**row, **{key: f"{row[key]:.4g}" if np.isfinite(row[key]) else "" for key in columns}} for row in rows]
    template = environment.from_string(folder.joinpath("preview.html.jinja").read_text(encoding="utf-8"))
    style = folder.joinpath("page.css").read_text(encoding="utf-8")
    return template.render(name=name, rows=shown, columns=columns, cost="\n".join(cost), style=style)
