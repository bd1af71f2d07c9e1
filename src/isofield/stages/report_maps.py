"""Images that lie beside the result for viewing: the measured sections, and the map of errors or residuals."""

from __future__ import annotations

import json
from math import ceil, prod
from pathlib import Path

import numpy as np

from isofield.config import Config
from isofield.geometry import ZYX, Roi
from isofield.omezarr.canvas import create_canvas, set_provenance
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import shard_rois, write_shard
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import read_json, to_plain, write_json
from isofield.stages.measuring import Measurer
from isofield.stages.places import box_around
from isofield.stages.report_images import residual

STEP = 1e-3
"""One level of a map: a thousandth of the contrast range."""
SLAB_VOX = 2**22
"""Output voxels that are compared at once."""


def write_measured(config: Config, paths: RunPaths, plan: Plan, measurer: Measurer) -> None:
    """The measured sections under the image as an OME-Zarr of their own, for viewing beside the result.

    Of a large volume the part around its middle, at most report.max_measured_vox voxels.
    """
    part = measured_part(plan, measurer.bounds, config.report.max_measured_vox)
    fresh = _canvas(config, paths.measured, plan, part, True, plan.dtype, "measured")
    mark, written = {"volume": plan.fingerprints["volume"], "roi": plan.roi, "part": part}, paths.root / "jobs" / "measured.json"
    if not fresh and written.exists() and read_json(written) == json.loads(json.dumps(to_plain(mark))):
        return
    for roi in shard_rois(part.shape, config.output.shard_vox):
        there = roi.shifted(part.offset)
        values = measurer.measured.as_stored(range(there.offset.z, there.end.z), there)
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


def write_map(config: Config, paths: RunPaths, plan: Plan, measurer: Measurer, centre: ZYX) -> str:
    """An OME-Zarr of |truth - result| on the isotropic grid, or of |A x - y| on that of the sections where truth is not known.

    uint16, in thousandths of the contrast range, saturating. Of a large volume the part around `centre`, at most
    report.max_map_vox output voxels. Returns its name: error or residual.
    """
    name = "residual" if measurer.truth is None else "error"
    path = paths.root / f"{name}.ome.zarr"
    side = ceil(config.report.max_map_vox ** (1 / 3)) if measurer.bounds.volume > config.report.max_map_vox else None
    made = measurer.bounds if side is None else box_around(centre, side, measurer.bounds)
    part = measured_part(plan, made, plan.axial.n_sections * prod(plan.shape)) if name == "residual" else made
    fresh = _canvas(config, path, plan, part, name == "residual", "uint16", name)
    # The plan says what was measured, the fingerprint of the fit what was made of it.
    fit = read_json(paths.current_fit)["fingerprint"]
    mark, written = {"volume": plan.fingerprints, "fit": fit, "part": part}, paths.root / "jobs" / f"{name}.json"
    if not fresh and written.exists() and read_json(written) == json.loads(json.dumps(to_plain(mark))):
        return name
    contrast = plan.intensity["high"] - plan.intensity["low"]
    for roi in shard_rois(part.shape, config.output.shard_vox):
        levels = np.zeros(roi.shape, np.uint16)
        for slab in _slabs(roi, float(plan.axial.ratio) if name == "residual" else 1.0):
            there = slab.shifted(part.offset)
            found = _residual(measurer, there) if name == "residual" else _error(measurer, there)
            scaled = np.nan_to_num(found / (contrast * STEP), nan=0.0)
            levels[slab.relative_to(roi).slices] = np.clip(np.rint(scaled), 0, 65535)
        write_shard(path, 0, roi, levels)
    unit = f"one level is {STEP:g} of the contrast range of {contrast:g} grey values"
    set_provenance(path, {"what": f"absolute {name}", "unit": unit, "fit": fit})
    write_json(written, mark)
    return name


def _canvas(config: Config, path: Path, plan: Plan, part: Roi, sections: bool, dtype: str, name: str) -> bool:
    """An empty image over `part`, which counts sections or planes along z."""
    z = plan.voxel_size_nm * (float(plan.axial.ratio) if sections else 1.0)
    size = (z, plan.voxel_size_nm, plan.voxel_size_nm)
    origin = [edge + o * side for edge, o, side in zip(plan.origin_nm, part.offset, size, strict=True)]
    spec = OutputSpec(shard_vox=config.output.shard_vox, chunk_vox=config.output.chunk_vox)
    return create_canvas(path, part.shape, dtype, spec, voxel_size_nm=size, origin_nm=origin, name=name, n_levels=1)


def _slabs(roi: Roi, planes_each: float) -> list[Roi]:
    """`roi` cut along z, so that a slab stands for at most SLAB_VOX output voxels, or is one plane or section."""
    depth = max(1, int(SLAB_VOX / (roi.shape.y * roi.shape.x * planes_each)))
    begins = range(roi.offset.z, roi.end.z, depth)
    return [Roi.between((z, *roi.offset[1:]), (min(z + depth, roi.end.z), *roi.end[1:])) for z in begins]


def _residual(measurer: Measurer, sections: Roi) -> np.ndarray:
    return residual(measurer, range(sections.offset.z, sections.end.z), sections)


def _error(measurer: Measurer, planes: Roi) -> np.ndarray:
    """|truth - result|; NaN where the last plane reaches past the truth."""
    image = measurer.image.region(planes).astype(np.float32)
    truth = measurer.truth_region(planes)
    found = np.full(image.shape, np.nan, np.float32)
    found[: len(truth)] = np.abs(image[: len(truth)] - truth)
    return found
