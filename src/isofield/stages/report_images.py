"""What the report shows of a volume: slices, cubes, and how far they are from the sections."""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd

from isofield.config import Config
from isofield.geometry import ZYX, Roi
from isofield.report.content import PLANES, Cube, Slice
from isofield.stages.measuring import Measurer
from isofield.stages.places import box_around, worst_block


def slices(config: Config, measurer: Measurer, centre: ZYX) -> list[Slice]:
    """Evenly spread slices per orientation, at most max_picture_vox wide, of the part of the volume around `centre`."""
    part = box_around(centre, config.report.max_picture_vox, measurer.bounds)
    found = []
    for axis, plane in enumerate(PLANES):
        for k in range(config.report.n_slices):
            at = part.offset[axis] + int(part.shape[axis] * (k + 0.5) / config.report.n_slices)
            begin, end = list(part.offset), list(part.end)
            begin[axis], end[axis] = at, at + 1
            flat = {key: np.squeeze(image, axis=axis) for key, image in _images(measurer, Roi.between(begin, end)).items()}
            found.append(Slice(plane, at, flat))
    return found


def _images(measurer: Measurer, region: Roi) -> dict[str, np.ndarray]:
    images = {
        "measured": measurer.baseline("nearest", region),
        "cubic": measurer.baseline("cubic", region),
        "isotropic": measurer.image.region(region).astype(np.float32),
    }
    truth = None if measurer.truth is None else measurer.truth_region(region)
    if truth is not None and truth.shape == tuple(region.shape):
        images["truth"] = truth.astype(np.float32)
        images["error"] = np.abs(images["truth"] - images["isotropic"])
    axial = measurer.axial
    sections = axial.sections_touching(region.offset.z, region.end.z)
    centres = np.arange(region.offset.z, region.end.z) + 0.5
    below = np.clip((centres / float(axial.ratio)).astype(int) - sections.start, 0, len(sections) - 1)
    images["residual"] = residual(measurer, sections, region)[below]
    return images


def cubes(config: Config, measurer: Measurer, centre: ZYX, blocks: pd.DataFrame) -> list[Cube]:
    """The place with the most structure, and the worst block where it is another one."""
    side = config.report.cube_vox
    places = [("most structure", box_around(centre, side, measurer.bounds))]
    worst = worst_block(blocks)
    if worst is not None:
        number, middle = worst
        box = box_around(middle, side, measurer.bounds)
        if box == places[0][1] or _share_in_common(box, places[0][1]) > 0.5:
            places[0] = (f"most structure, near the worst block ({number})", places[0][1])
        else:
            places.append((f"worst block ({number})", box))
    return [_cube(measurer, label, roi) for label, roi in places]


def _share_in_common(a: Roi, b: Roi) -> float:
    common = a.intersect(b)
    return common.volume / a.volume if all(side > 0 for side in common.shape) else 0.0


def _cube(measurer: Measurer, label: str, roi: Roi) -> Cube:
    planes = {"isotropic": measurer.image.region(roi)}
    truth = None if measurer.truth is None else measurer.truth_region(roi)
    if truth is not None and truth.shape == tuple(roi.shape):
        planes["truth"] = truth
    sections = measurer.axial.sections_touching(roi.offset.z, roi.end.z)
    stacks = {"measured": measurer.measured.as_stored(sections, roi), "residual": residual(measurer, sections, roi)}
    return Cube(label, tuple(roi.offset), float(measurer.axial.ratio), sections.start, planes, stacks)  # type: ignore[arg-type]


def residual(measurer: Measurer, sections: range, roi: Roi) -> np.ndarray:
    """|A x - y| in grey values over the lateral extent of `roi`, float32 (len(sections), Y, X).

    NaN for bad sections, and where a section needs planes that the run has not made.
    """
    model, axial, made = measurer.plan.model, measurer.axial, measurer.bounds
    found = np.full((len(sections), *roi.shape[1:]), np.nan, np.float32)
    whole = [s for s in sections if made.offset.z <= model.planes(axial, range(s, s + 1)).start]
    whole = [s for s in whole if model.planes(axial, range(s, s + 1)).stop <= made.end.z]
    if whole:
        known = range(whole[0], whole[-1] + 1)
        reached = model.planes(axial, known)
        region = Roi(ZYX(reached.start, *roi.offset[1:]), ZYX(len(reached), *roi.shape[1:]))
        image = measurer.image.region(region).astype(np.float32)
        matrix = model.matrix(axial, known, reached.start, reached.stop).astype(np.float32)
        pushed = np.tensordot(matrix, image, axes=1)
        found[known.start - sections.start :][: len(known)] = np.abs(pushed - measurer.measured.grey(known, roi))
        found[[section in measurer.measured.bad for section in sections]] = np.nan
    return found


def histograms(
    measurer: Measurer, n_bins: int = 64, n_cubes: int = 32, side: int = 64
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Edges of at most `n_bins` bins, and the share of voxels in each of measured, isotropic and, where known, truth.

    Over cubes spread at random, and the sections that they touch. The outermost bins hold what lies beyond; bins that are
    empty at either end are left out.
    """
    contrast = measurer.plan.intensity["high"] - measurer.plan.intensity["low"]
    low, high = measurer.plan.intensity["low"] - 0.5 * contrast, measurer.plan.intensity["high"] + 0.5 * contrast
    if np.dtype(measurer.plan.dtype).kind in "iu":
        # Whole grey values per bin: others would make a comb.
        step = max(1, ceil((high - low) / n_bins))
        low = np.floor(max(low, np.iinfo(measurer.plan.dtype).min)) - 0.5
        edges = low + step * np.arange(n_bins + 1)
    else:
        edges = np.linspace(low, high, n_bins + 1)
    counts: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(0)
    sides = ZYX(*(min(side, n) for n in measurer.bounds.shape))
    for _ in range(n_cubes):
        corner = ZYX(*(int(rng.integers(n - s + 1)) for n, s in zip(measurer.bounds.shape, sides, strict=True)))
        cube = Roi(corner, sides).shifted(measurer.bounds.offset)
        images = {
            "measured": measurer.measured.as_stored(measurer.axial.sections_touching(cube.offset.z, cube.end.z), cube),
            "isotropic": measurer.image.region(cube),
        }
        if measurer.truth is not None:
            images["truth"] = measurer.truth_region(cube)
        for name, values in images.items():
            inside = np.clip(values.astype(np.float64), edges[0], edges[-1])
            counts[name] = counts.get(name, 0) + np.histogram(inside, edges)[0]
    used = np.flatnonzero(sum(counts.values()))
    kept = slice(used[0], used[-1] + 1)
    return edges[kept.start : kept.stop + 1], {name: n[kept] / n.sum() for name, n in counts.items()}
