"""What the report shows of bad sections: as stored, as reconstructed, and their good neighbours."""

from __future__ import annotations

from math import ceil

import numpy as np

from isofield.defects.detection import WORDS
from isofield.defects.filling import neighbours_of
from isofield.geometry import Roi
from isofield.plan import Plan
from isofield.report.bad_sections import BadSectionView
from isofield.stages.measuring import Measurer

N_PICTURED, PICTURE_VOX = 24, 192


def bad_section_views(plan: Plan, measurer: Measurer) -> list[BadSectionView]:
    """One per bad section of the part that was made; of the first N_PICTURED with pictures, cut from its middle."""
    axial, bounds, first = plan.axial, measurer.bounds, plan.measured_roi.offset.z
    made = axial.sections_touching(bounds.offset.z, bounds.end.z)
    views = []
    for bad in plan.bad_sections:
        section = bad.section - first
        if section not in made:
            continue
        centre = (bad.section + 0.5) * float(axial.ratio) * plan.voxel_size_nm
        images = _images(section, plan, measurer) if len(views) < N_PICTURED else {}
        views.append(BadSectionView(bad.section, centre, bad.kind, WORDS[bad.kind], bad.why, images))
    return views


def _images(section: int, plan: Plan, measurer: Measurer) -> dict[str, np.ndarray]:
    bounds, axial = measurer.bounds, plan.axial
    sides = [min(PICTURE_VOX, n) for n in bounds.shape[1:]]
    corner = [o + (n - s) // 2 for o, n, s in zip(bounds.offset[1:], bounds.shape[1:], sides, strict=True)]
    plane = min(max(ceil(sum(axial.section_edges(section)) / 2) - 1, bounds.offset.z), bounds.end.z - 1)
    at = Roi((plane, *corner), (1, *sides))  # type: ignore[arg-type]
    images = {
        "as stored": measurer.measured.as_stored(range(section, section + 1), at)[0],
        "reconstructed": measurer.image.region(at)[0],
    }
    for good in neighbours_of(section, measurer.measured.bad, axial.n_sections):
        name = "below" if good < section else "above"
        images[name] = measurer.measured.as_stored(range(good, good + 1), at)[0]
    return images
