"""What the report says in words: what was done, whether it is good, what to beware of, and what it cost."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd

from isofield.config import Config
from isofield.cost.rules import asked_for
from isofield.errors import InputError
from isofield.paths import RunPaths
from isofield.plan import Plan, lay_out
from isofield.report.content import Stage
from isofield.report.page import duration, size
from isofield.source.probe import probe

SEAM_LIMIT = 1.1
RESIDUAL_LIMIT, NOISE_LIMIT = 0.02, 1.3
"""A result contradicts its sections where the residual is over both: this share of the contrast, so many times their noise."""
BAD_BLOCK = 3.0
"""How many times the typical block's residual a block's must be to be named."""
FEW_STEPS = 1000
MOST_AXIAL_POWER = 1.1
"""Along z there cannot be more fine detail than within sections, unless the specimen is layered."""
STAGES = ("plan", "train", "canvas", "fit", "blend", "pyramid", "finish", "measure")
CITATION = (
    "Lee, K. & Jeong, W.-K. Reference-free Axial Super-resolution of 3D Microscopy Images using Implicit Neural "
    "Representation with a 2D Diffusion Prior. MICCAI 2024. arXiv:2408.08616"
)


def summary(plan: Plan, metrics: dict) -> list[str]:
    """What was done, and how well it agrees with what was measured."""
    z, y, x = plan.roi[1]
    ratio = float(plan.axial.ratio)
    gained = f"{ratio:.4g} times finer along z" if ratio > 1.05 else "no finer along z: sections lay that close already"
    sentence = (
        f"{z} measured sections of {y} × {x} voxels became {' × '.join(map(str, plan.shape))} isotropic voxels of "
        f"{plan.voxel_size_nm:g} nm, {gained}."
    )
    learned = "What tissue looks like was learned from the sections themselves; no isotropic data was used."
    if not plan.has_truth:  # the verdict says it then
        return [sentence, learned]
    residual = (
        f"Pushed back through the measurement, they differ from what was measured by {100 * metrics['residual_rms']:.2f} % of "
        "the contrast (root mean square)."
    )
    return [sentence, learned, residual]


def verdict(metrics: dict, noise: float) -> str:
    """One sentence on a volume without truth: does it agree with its sections and with itself? `noise` as in `figures`."""
    residual, cubic = metrics["residual_rms"], metrics["residual_rms_cubic"]
    parts = []
    besides = f"cubic spline: {_percent(cubic)}" + (f"; their own noise: {_percent(noise)}" if noise else "")
    if contradicts(metrics, noise):
        parts.append(f"it contradicts the sections, by {_percent(residual)} of the contrast ({besides})")
    else:
        parts.append(f"it agrees with the sections to {_percent(residual)} of the contrast ({besides})")
    seams = metrics["seam_score"]
    parts.append(f"seams may be visible (score {seams:.2f})" if seams > SEAM_LIMIT else "its blocks join without visible seams")
    ours, theirs = (metrics["spectral_ratio"].get(name) for name in ("isotropic", "cubic"))
    if ours is not None and theirs is not None and math.isfinite(ours):
        power = f"{100 * ours:.0f} % of the power that fine detail has within sections"
        parts.append(f"along z fine detail has {power} (cubic spline: {100 * theirs:.0f} %)")
    return "Without truth to compare with, this much is known: " + "; ".join(parts) + "."


def contradicts(metrics: dict, noise: float) -> bool:
    """Whether the result differs from its sections by more than their noise and rounding explain."""
    return metrics["residual_rms"] > max(RESIDUAL_LIMIT, NOISE_LIMIT * noise)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def facts(plan: Plan, metrics: dict) -> list[tuple[str, str]]:
    voxel = [f"{float(Fraction(v)):g}" for v in plan.source["voxel_size_nm"]]
    n_blocks = metrics["n_blocks"]
    return [
        ("Source", str(plan.source["uri"])),
        ("Measured voxel (z, y, x)", f"{' × '.join(voxel)} nm"),
        ("Isotropic voxel", f"{plan.voxel_size_nm:g} nm"),
        ("Measurement model", plan.operator),
        ("Blocks", ", ".join(f"{n} {state}" for state, n in n_blocks.items()) or "none"),
        ("Truth", "known (simulated measurement)" if plan.has_truth else "not known"),
    ]


def figures(metrics: dict, noise: float) -> dict[str, float]:
    """The numbers of the page's tiles. noise: of the sections, as a share of the contrast; 0: not known."""
    found = {"residual_rms": metrics["residual_rms"], **({"section_noise": noise} if noise else {})}
    found |= {name: metrics[name] for name in ("seam_score", "overlap_rms", "clipped_fraction")}
    found["spectral_ratio"] = metrics["spectral_ratio"]["isotropic"]
    if "fsc" in metrics:
        found["resolution_nm"] = metrics["fsc"]["isotropic_axial"]["resolution_nm"]
        found["resolution_cubic_nm"] = metrics["fsc"]["cubic_axial"]["resolution_nm"]
    return {name: math.nan if value is None else value for name, value in found.items()}


def warnings(config: Config, plan: Plan, metrics: dict, blocks: pd.DataFrame, noise: float) -> list[str]:
    """What to know before the result is used, the gravest first."""
    found = []
    isotropic, cubic = metrics.get("isotropic"), metrics.get("cubic")
    if isotropic and cubic and isotropic["psnr_db"] < cubic["psnr_db"]:
        found.append("The result is further from the truth than cubic interpolation: do not use it.")
    if contradicts(metrics, noise):
        found.append(
            f"The result differs from its own sections by {_percent(metrics['residual_rms'])} of the contrast, more than their "
            "noise explains: check the measurement model and the voxel size."
        )
    axial = metrics["spectral_ratio"].get("isotropic")
    if axial is not None and axial > MOST_AXIAL_POWER:
        found.append(
            f"Fine detail along z has {100 * axial:.0f} % of the power that it has within sections: noise that differs from "
            "section to section may have been sharpened. Look at the background of ZX slices before you measure there."
        )
    not_done = blocks[~blocks["state"].isin(["done", "skipped", "fallback"])]
    if len(not_done):
        found.append(f"{_blocks(len(not_done))} not done: {', '.join(map(str, not_done['block_id'].head(10)))}.")
    if plan.bad:
        share = len(plan.bad) / plan.axial.n_sections
        found.append(f"{len(plan.bad)} sections ({100 * share:.1f} %) are bad; they were reconstructed from their neighbours.")
    filled = blocks.loc[blocks["state"] == "fallback", "block_id"]
    if len(filled):
        named = ", ".join(map(str, filled.head(10))) + (" ..." if len(filled) > 10 else "")
        found.append(f"{len(filled)} blocks could not be fitted; they were interpolated, not reconstructed: {named}.")
    if metrics["seam_score"] > SEAM_LIMIT:
        found.append(
            f"Faces between blocks are {metrics['seam_score']:.2f} times as rough as comparable planes: seams may be visible."
        )
    residual = pd.to_numeric(blocks["residual_rms"], errors="coerce")
    bad = blocks[residual > max(BAD_BLOCK * residual.median(), 0.01)]
    if len(bad):
        numbers = ", ".join(map(str, bad["block_id"].head(10)))
        found.append(
            f"In {_blocks(len(bad), verb='')} the residual is over {BAD_BLOCK:g} times that of a typical one: {numbers}."
        )
    if metrics["clipped_fraction"] > 1e-3:
        found.append(f"{100 * metrics['clipped_fraction']:.2f} % of the voxels were clipped to the range of {plan.dtype}.")
    if plan.n_empty_blocks:
        found.append(f"{_blocks(plan.n_empty_blocks, verb='')} without contrast: interpolated, not reconstructed.")
    if config.prior.steps < FEW_STEPS and config.prior.init is None:
        found.append(
            f"The prior was trained for {config.prior.steps} steps only (prior.steps); detail along z comes from training, and a "
            "few thousand steps are usual."
        )
    return found


def _blocks(n: int, verb: str = "are") -> str:
    one = {"are": "is"}.get(verb, verb)
    return f"{n} block{'' if n == 1 else 's'} {one if n == 1 else verb}".strip()


def stages(config: Config, paths: RunPaths, plan: Plan) -> list[Stage]:
    """Time, processor and memory per stage from the workflow's benchmark files, beside the memory that was promised."""
    try:
        info = probe(config.source)
        promised = {rule: float(cost.bytes) for rule, cost in asked_for(config, lay_out(config, info), plan.dtype).items()}
    except InputError:  # the source has moved since; what is measured still stands
        promised = {}
    rows = []
    for name in STAGES:
        files = [*paths.benchmarks.glob(f"{name}.tsv"), *paths.benchmarks.glob(f"{name}-*.tsv")]
        runs = [pd.read_csv(file, sep="\t", na_values="-").iloc[-1] for file in sorted(files)]
        if not runs:
            continue
        cpu_s = [float(run.get("cpu_time", math.nan)) for run in runs]
        peak = [1e6 * float(run.get("max_rss", math.nan)) for run in runs]
        peak_bytes = max((value for value in peak if math.isfinite(value)), default=math.nan)
        seconds = sum(float(run["s"]) for run in runs)
        rows.append(Stage(name, len(runs), seconds, sum(cpu_s), peak_bytes, promised.get(name, math.nan)))
    return rows


def cost(plan: Plan, rows: list[Stage], image_bytes: float, made_vox: int) -> list[str]:
    """The whole cost in a sentence or two."""
    stored = f"The image has {made_vox / 1e6:.4g} million voxels of {np.dtype(plan.dtype)}"
    stored += f" and takes {size(image_bytes)} on disk." if math.isfinite(image_bytes) else "."
    if not rows:
        return [stored]
    seconds = sum(row.seconds for row in rows)
    text = f"All jobs together took {duration(seconds)}"
    cpu = sum(row.cpu_s for row in rows if math.isfinite(row.cpu_s))
    if cpu:
        text += f", {duration(cpu)} of processor time"
    fit = [row for row in rows if row.name == "fit"]
    if fit and fit[0].seconds:
        text += f"; fitting reconstructed {made_vox / fit[0].seconds / 1e3:.3g} thousand voxels per second and job"
    return [text + ".", stored]
