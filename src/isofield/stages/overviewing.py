"""Stage overview: the page and the viewer state over all channels of a run; each has a report of its own besides."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isofield.config import Sections
from isofield.geometry import ZYX, Roi
from isofield.omezarr.metadata import colour_of
from isofield.omezarr.reading import read_region
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import read_json, write_bytes_atomic, write_json
from isofield.report.neuroglancer import BASE, ChannelView, channels_state
from isofield.report.overview import ChannelShown, build_overview
from isofield.report.spec import ReportSpec
from isofield.stages.joining import units_in
from isofield.stages.places import box_around, most_structure
from isofield.stages.report_words import figures
from isofield.storage.place import place_of

FIGURES = ("psnr_db", "residual_rms", "section_noise", "seam_score", "clipped_fraction", "resolution_nm")
"""What the table of channels shows, as far as it is known."""
SHOWN_CUBES = 3
PLANES = {"XY": 0, "ZX": 1}


def write_overview(config: Sections, whole: RunPaths) -> None:
    """Write report/index.html and neuroglancer.json of a run of several channels. config: of any of its units."""
    units = units_in(whole.root, config.output)
    first = Plan.load(units[0][0].plan)
    bounds = first.jobs.region or first.block_grid.bounds
    side = config.report.cube_vox
    centre = most_structure(units[0][0].isotropic, ZYX(*first.shape), config.output.pyramid_min_vox, bounds, side)
    shown = [_shown(paths, label, centre, bounds, config.report) for paths, label in units]
    page = build_overview(config.report.title or whole.root.name, shown, first.voxel_size_nm)
    write_json(whole.neuroglancer, viewer(units, first, centre, SHOWN_CUBES * side))
    write_bytes_atomic(whole.report, page.encode("utf-8"))


def viewer(units: list[tuple[RunPaths, str]], plan: Plan, centre: ZYX, extent_vox: float) -> dict:
    """The neuroglancer state: the channels as measured over each other, and beside them as reconstructed."""
    store = units[0][0].store
    views = []
    for paths, label in units:
        intensity = Plan.load(paths.plan).intensity
        window = (intensity["low"], intensity["high"])
        views.append(ChannelView(label, f"{BASE}/{paths.root.name}/measured.ome.zarr", colour_of(len(views)), window))
    return channels_state(
        store if isinstance(store, str) else f"{BASE}/isotropic.ome.zarr",
        views,
        plan.voxel_size_nm,
        plan.shape,
        position_nm=[o + (c + 0.5) * plan.voxel_size_nm for o, c in zip(plan.origin_nm, centre, strict=True)],
        extent_vox=extent_vox,
        isotropic_format="zarr3" if place_of(store, "output.path").size("zarr.json") is not None else "zarr2",
    )


def _shown(paths: RunPaths, label: str, centre: ZYX, bounds: Roi, spec: ReportSpec) -> ChannelShown:
    plan, metrics = Plan.load(paths.plan), read_json(paths.metrics)
    noise = read_json(paths.prior_facts).get("section_noise", 0.0) / 2
    known = figures(metrics, noise) | {k: v for k, v in metrics.get("isotropic", {}).items() if k == "psnr_db"}
    blocks = ", ".join(f"{n} {state}" for state, n in sorted(metrics["n_blocks"].items()))
    page = Path(paths.root.name) / paths.report.relative_to(paths.root)
    return ChannelShown(
        label=label,
        colour=colour_of(paths.channel or 0),
        page=f"../{page.as_posix()}",
        window=(plan.intensity["low"], plan.intensity["high"]),
        planes={name: _plane(paths, axis, centre, bounds, spec.max_picture_vox) for name, axis in PLANES.items()},
        figures={name: known[name] for name in FIGURES if name in known},
        blocks=blocks,
    )


def _plane(paths: RunPaths, axis: int, centre: ZYX, bounds: Roi, at_most: int) -> np.ndarray:
    """The plane through `centre` across an axis, around it: (rows, columns), grey values."""
    part = box_around(centre, at_most, bounds)
    begin, end = list(part.offset), list(part.end)
    begin[axis], end[axis] = centre[axis], centre[axis] + 1
    return np.squeeze(read_region(paths.isotropic, 0, Roi.between(begin, end)), axis=axis)
