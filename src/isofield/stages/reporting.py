"""Stage report: the page, the measured image for the viewer, and the viewer's state."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pandas as pd
import yaml

from isofield import __version__
from isofield.config import Config
from isofield.geometry import Roi
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import create_canvas, read_region, shard_rois, write_shard
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import read_json, to_plain, write_bytes_atomic, write_json
from isofield.report.content import ReportContent, Slice, loss_curve, spectrum_curve
from isofield.report.neuroglancer import BASE, viewer_state
from isofield.report.page import build_page
from isofield.stages.measuring import BASELINES, Measurer

SEAM_LIMIT = 1.1
CITATION = (
    "Lee, K. & Jeong, W.-K. Reference-free Axial Super-resolution of 3D Microscopy Images using Implicit Neural "
    "Representation with a 2D Diffusion Prior. MICCAI 2024. arXiv:2408.08616"
)


def write_report(config: Config, paths: RunPaths) -> None:
    """Write report/index.html, measured.ome.zarr and neuroglancer.json."""
    plan = Plan.load(paths.plan)
    metrics = read_json(paths.metrics)
    blocks = pd.read_parquet(paths.block_metrics)
    measurer = Measurer(config, plan, paths)  # type: ignore[arg-type]
    write_measured(config, paths, plan, measurer)
    content = ReportContent(
        run_name=plan.run_name,
        voxel_size_nm=plan.voxel_size_nm,
        summary=_summary(plan, metrics),
        facts=_facts(plan, metrics),
        methods={name: metrics[name] for name in (*BASELINES, "isotropic") if name in metrics},
        figures=_figures(metrics),
        slices=_slices(config, plan, measurer),
        curves=_curves(paths, metrics),
        blocks=blocks,
        stages=stage_times(paths),
        warnings=_warnings(plan, metrics, blocks),
        config_yaml=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        provenance={"isofield": __version__, "source": str(plan.source["uri"]), **plan.fingerprints},
        citations=[CITATION],
        spec=config.report,
    )
    write_bytes_atomic(paths.report, build_page(content).encode("utf-8"))
    low, high = plan.intensity["low"], plan.intensity["high"]
    window = (round(low), round(high)) if np.dtype(plan.dtype).kind in "iu" else (low, high)
    state = viewer_state(
        f"{BASE}/measured.ome.zarr",
        paths.isotropic if isinstance(paths.isotropic, str) else f"{BASE}/isotropic.ome.zarr",
        plan.voxel_size_nm,
        plan.shape,
        position_nm=[
            o + (b + s / 2) * plan.voxel_size_nm
            for o, b, s in zip(plan.origin_nm, measurer.bounds.offset, measurer.bounds.shape, strict=True)
        ],
        windows={"measured": window, "isotropic": window},
        isotropic_format="zarr2" if config.output.ome_zarr == "0.4" else "zarr3",
    )
    write_json(paths.neuroglancer, state)


def write_measured(config: Config, paths: RunPaths, plan: Plan, measurer: Measurer) -> None:
    """The measured sections under the image as an OME-Zarr of their own, for viewing beside the result.

    Of a large volume the part around its middle, at most report.max_measured_vox voxels.
    """
    part = measured_part(plan, measurer.bounds, config.report.max_measured_vox)
    shape = part.shape
    z = float(plan.axial.ratio) * plan.voxel_size_nm
    corner = zip(plan.origin_nm, part.offset, (z, plan.voxel_size_nm, plan.voxel_size_nm), strict=True)
    fresh = create_canvas(
        paths.measured,
        shape,
        plan.dtype,
        OutputSpec(shard_vox=config.output.shard_vox, chunk_vox=config.output.chunk_vox),
        voxel_size_nm=(z, plan.voxel_size_nm, plan.voxel_size_nm),
        origin_nm=[origin + o * side for origin, o, side in corner],
        name="measured",
        n_levels=1,
    )
    mark, written = {"volume": plan.fingerprints["volume"], "roi": plan.roi, "part": part}, paths.root / "jobs" / "measured.json"
    if not fresh and written.exists() and read_json(written) == json.loads(json.dumps(to_plain(mark))):
        return
    for roi in shard_rois(shape, config.output.shard_vox):
        there = roi.shifted(part.offset)
        values = measurer.measured.grey(range(there.offset.z, there.end.z), there)
        write_shard(paths.measured, 0, roi, np.ascontiguousarray(values))
    write_json(written, mark)


def measured_part(plan: Plan, bounds: Roi, at_most: int) -> Roi:
    """Sections and lateral voxels under `bounds` of the output; if these are more than `at_most`, those around the middle."""
    sections = plan.axial.sections_touching(bounds.offset.z, bounds.end.z)
    begin = (sections.start, *bounds.offset[1:])
    whole = Roi(begin, (len(sections), *bounds.shape[1:]))  # type: ignore[arg-type]
    share = min(1.0, (at_most / whole.volume) ** (1 / 3))
    shape = tuple(max(1, int(side * share)) for side in whole.shape)
    return Roi(tuple(b + (n - s) // 2 for b, n, s in zip(begin, whole.shape, shape, strict=True)), shape)  # type: ignore[arg-type]


def _summary(plan: Plan, metrics: dict) -> list[str]:
    z, y, x = plan.roi[1]
    sentence = (
        f"{z} measured sections of {y} x {x} voxels became {' x '.join(map(str, plan.shape))} isotropic voxels of "
        f"{plan.voxel_size_nm:g} nm, {float(plan.axial.ratio):g} times finer along z."
    )
    residual = (
        f"Pushed back through the measurement, they differ from what was measured by {100 * metrics['residual_rms']:.2f} % of "
        "the contrast (root mean square)."
    )
    return [sentence, residual]


def _facts(plan: Plan, metrics: dict) -> list[tuple[str, str]]:
    voxel = [f"{float(Fraction(v)):g}" for v in plan.source["voxel_size_nm"]]
    return [
        ("Source", str(plan.source["uri"])),
        ("Measured voxel (z, y, x)", f"{' x '.join(voxel)} nm"),
        ("Isotropic voxel", f"{plan.voxel_size_nm:g} nm"),
        ("Measurement model", plan.operator),
        ("Blocks", ", ".join(f"{n} {state}" for state, n in metrics["n_blocks"].items())),
        ("Truth", "known (simulated measurement)" if plan.has_truth else "not known"),
    ]


def _figures(metrics: dict) -> dict[str, float]:
    names = ("residual_rms", "seam_score", "overlap_rms", "clipped_fraction")
    return {**{name: metrics[name] for name in names}, "spectral_ratio": metrics["spectral_ratio"]["isotropic"]}


def _slices(config: Config, plan: Plan, measurer: Measurer) -> list[Slice]:
    """Evenly spread slices per orientation, at most max_picture_vox wide, cut from the middle of the volume."""
    limit = config.report.max_picture_vox
    bounds = measurer.bounds
    begin = [o + max(0, (side - limit) // 2) for o, side in zip(bounds.offset, bounds.shape, strict=True)]
    end = [min(e, b + limit) for e, b in zip(bounds.end, begin, strict=True)]
    slices = []
    for axis, plane in enumerate(("XY", "ZX", "ZY")):
        for k in range(config.report.n_slices):
            at = begin[axis] + int((end[axis] - begin[axis]) * (k + 0.5) / config.report.n_slices)
            lo, hi = list(begin), list(end)
            lo[axis], hi[axis] = at, at + 1
            region = Roi.between(lo, hi)
            images = {
                "measured": measurer.baseline("nearest", region),
                "cubic": measurer.baseline("cubic", region),
                "isotropic": read_region(measurer.paths.isotropic, 0, region).astype(np.float32),
            }
            if measurer.truth is not None:
                truth = measurer.truth_region(region)
                if truth.shape == tuple(region.shape):
                    images["truth"] = truth.astype(np.float32)
                    images["error"] = np.abs(images["truth"] - images["isotropic"])
            flat = {key: np.squeeze(image, axis=axis) for key, image in images.items()}
            slices.append(Slice(plane, at, flat))
    return slices


def _curves(paths: RunPaths, metrics: dict) -> list:
    curves = []
    if paths.prior_losses.exists():
        losses = pd.read_csv(paths.prior_losses)
        if len(losses):
            curves.append(loss_curve(losses["step"].to_numpy(), losses["loss"].to_numpy()))
    spectra = dict(metrics["spectra"])
    frequency = np.asarray(spectra.pop("frequency_per_vox"))
    curves.append(spectrum_curve(frequency, {k: np.asarray(v, float) for k, v in spectra.items()}))
    return curves


def stage_times(paths: RunPaths) -> list[tuple[str, float, str]]:
    """(stage, seconds, note) from the workflow's benchmark files, jobs of a stage added up."""
    rows = []
    for stage in ("plan", "train", "canvas", "fit", "blend", "pyramid", "finish", "measure"):
        files = sorted(paths.benchmarks.glob(f"{stage}*.tsv"))
        seconds = [float(pd.read_csv(file, sep="\t")["s"].iloc[-1]) for file in files]
        if seconds:
            rows.append((stage, sum(seconds), f"{len(seconds)} jobs" if len(seconds) > 1 else ""))
    return rows


def _warnings(plan: Plan, metrics: dict, blocks: pd.DataFrame) -> list[str]:
    warnings = []
    isotropic, cubic = metrics.get("isotropic"), metrics.get("cubic")
    if isotropic and cubic and isotropic["psnr_db"] < cubic["psnr_db"]:
        warnings.append("The result is further from the truth than cubic interpolation: do not use it.")
    if metrics["seam_score"] > SEAM_LIMIT:
        warnings.append(
            f"Faces between blocks are {metrics['seam_score']:.2f} times as rough as comparable planes: seams may be visible."
        )
    if metrics["clipped_fraction"] > 1e-3:
        warnings.append(f"{100 * metrics['clipped_fraction']:.2f} % of the voxels were clipped to the range of {plan.dtype}.")
    not_done = blocks[~blocks["state"].isin(["done", "skipped"])]
    if len(not_done):
        warnings.append(f"{len(not_done)} blocks are not done: {', '.join(map(str, not_done['block_id'].head(10)))}.")
    if plan.n_empty_blocks:
        warnings.append(f"{plan.n_empty_blocks} blocks have no contrast; they were interpolated, not reconstructed.")
    return warnings
