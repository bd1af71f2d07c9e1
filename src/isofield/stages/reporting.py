"""Stage report: the page, the images beside the result for the viewer, and the viewer's state."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from isofield import __version__
from isofield.config import Config
from isofield.geometry import ZYX
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import read_json, write_bytes_atomic, write_json
from isofield.report.bad_sections import bad_sections_html
from isofield.report.content import Curve, ReportContent, fsc_curve, histogram_curve, loss_curve, seam_curve, spectrum_curve
from isofield.report.neuroglancer import BASE, viewer_state
from isofield.report.page import build_page
from isofield.stages import report_words as words
from isofield.stages.bad_section_views import bad_section_views
from isofield.stages.measuring import BASELINES, Measurer
from isofield.stages.places import most_structure
from isofield.stages.report_images import cubes, histograms, slices
from isofield.stages.report_maps import write_map, write_measured
from isofield.stages.tables import read_table
from isofield.status import written_shards
from isofield.storage.place import place_of

SHOWN_CUBES = 3
"""How much the viewer shows at first, in sides of the page's cubes: of a large volume all of it would be a blur."""


def write_report(config: Config, paths: RunPaths) -> None:
    """Write report/index.html, measured.ome.zarr, error.ome.zarr or residual.ome.zarr, and neuroglancer.json."""
    plan = Plan.load(paths.plan)
    metrics = read_json(paths.metrics)
    blocks = read_table(paths.block_metrics, "measure")
    measurer = Measurer(config, plan, paths)  # type: ignore[arg-type]
    shape, side = ZYX(*plan.shape), config.report.cube_vox
    centre = most_structure(paths.isotropic, shape, config.output.pyramid_min_vox, measurer.bounds, side)
    write_measured(config, paths, plan, measurer)
    state = viewer(config, paths, plan, measurer, centre)
    rows = words.stages(config, paths, plan)
    image_bytes = sum(shard.get("bytes", math.nan) for shard in written_shards(paths, plan))
    # In working units, in which the contrast range is 2.
    noise = read_json(paths.prior_facts).get("section_noise", 0.0) / 2
    content = ReportContent(
        run_name=run_title(config),
        voxel_size_nm=plan.voxel_size_nm,
        origin_nm=plan.origin_nm,
        summary=words.summary(plan, metrics),
        verdict="" if plan.has_truth else words.verdict(metrics, noise),
        facts=words.facts(plan, metrics),
        methods={name: metrics[name] for name in (*BASELINES, "isotropic") if name in metrics},
        figures=words.figures(metrics, noise),
        cubes=cubes(config, measurer, centre, blocks),
        slices=slices(config, measurer, centre),
        curves=_curves(paths, metrics, measurer),
        blocks=blocks,
        viewer_state=state,
        stages=rows,
        cost=words.cost(plan, rows, image_bytes, measurer.bounds.volume),
        warnings=words.warnings(config, plan, metrics, blocks, noise),
        bad_sections=bad_sections_html(
            bad_section_views(plan, measurer), plan.axial.n_sections, (plan.intensity["low"], plan.intensity["high"])
        ),
        config_yaml=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        provenance={"isofield": __version__, "source": str(plan.source["uri"]), **plan.fingerprints},
        citations=[words.CITATION],
        spec=config.report,
    )
    write_bytes_atomic(paths.report, build_page(content).encode("utf-8"))
    write_json(paths.neuroglancer, state)


def run_title(config: Config) -> str:
    """What a run is called: its name, of one channel of several the whole run's and the channel's."""
    joint = config.output.joint
    return config.run.name if joint is None else f"{Path(config.run.results).name}, {joint.labels[joint.index]}"


def viewer(config: Config, paths: RunPaths, plan: Plan, measurer: Measurer, centre: ZYX) -> dict:
    """The neuroglancer state: all images of the run in one space, at the place with the most structure."""
    low, high = plan.intensity["low"], plan.intensity["high"]
    window = (round(low), round(high)) if np.dtype(plan.dtype).kind in "iu" else (low, high)
    name = write_map(config, paths, plan, measurer, centre)
    image = paths.store if isinstance(paths.store, str) else f"{BASE}/isotropic.ome.zarr"
    place = place_of(paths.store, "output.path")
    # Bright is three times what is usual: a map is for finding what stands out.
    metrics = read_json(paths.metrics)
    usual = metrics["residual_rms"]
    if name == "error":
        usual = metrics["data_range"] * 10 ** (-metrics["isotropic"]["psnr_db"] / 20) / (high - low)
    return viewer_state(
        f"{BASE}/measured.ome.zarr",
        image,
        plan.voxel_size_nm,
        plan.shape,
        position_nm=[o + (c + 0.5) * plan.voxel_size_nm for o, c in zip(plan.origin_nm, centre, strict=True)],
        windows={"measured": window, "isotropic": window},
        maps={name: (f"{BASE}/{name}.ome.zarr", max(1.0, round(3000 * usual)))},
        labels={label: f"{image}/labels/{label}" for label in label_names(paths)},
        channel=paths.channel,
        extent_vox=SHOWN_CUBES * config.report.cube_vox,
        isotropic_format="zarr3" if place.size("zarr.json") is not None else "zarr2",
    )


def label_names(paths: RunPaths) -> list[str]:
    """Label images of the result, as its group `labels` lists them."""
    place = place_of(paths.store, "output.path")
    v3, v2 = place.read("labels/zarr.json"), place.read("labels/.zattrs")
    if v3 is not None:
        return list(json.loads(v3).get("attributes", {}).get("ome", {}).get("labels", []))
    return [] if v2 is None else list(json.loads(v2).get("labels", []))


def _curves(paths: RunPaths, metrics: dict, measurer: Measurer) -> list[Curve]:
    spectra = dict(metrics["spectra"])
    frequency = np.asarray(spectra.pop("frequency_per_vox"))
    curves = [spectrum_curve(frequency, {k: np.asarray(v, float) for k, v in spectra.items()})]
    if "fsc" in metrics:
        fsc = dict(metrics["fsc"])
        shells = np.asarray(fsc.pop("frequency_per_vox"))
        curves.append(fsc_curve(shells, {k.replace("_", ", "): np.asarray(v["correlation"], float) for k, v in fsc.items()}))
    curves.append(histogram_curve(*histograms(measurer)))
    profile = metrics.get("seam_profile")
    if profile:
        curves.append(seam_curve({a: (np.asarray(p["distance_vox"]), np.asarray(p["step_ratio"])) for a, p in profile.items()}))
    if paths.prior_losses.exists():
        losses = pd.read_csv(paths.prior_losses)
        if len(losses):
            curves.append(loss_curve(losses["step"].to_numpy(), losses["loss"].to_numpy()))
    return curves
