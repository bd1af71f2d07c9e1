"""Where each voxel of a region comes from: a section's centre, between them, a bad section, or a block without a field."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np

from isofield.defects.filling import planes_of
from isofield.geometry import Roi
from isofield.omezarr.labels import BAD, EMPTY, FALLBACK, INFERRED, MEASURED
from isofield.plan import Plan

OF_BLOCKS = {"skipped": EMPTY, "fallback": FALLBACK}
"""State of a block's record -> label of all that the block owns."""


def origin_labels(plan: Plan, roi: Roi, state_of: Callable[[int], str]) -> np.ndarray:
    """Values of `omezarr.labels` over `roi` of the output: uint8 (Z, Y, X). state_of: of a block's record, by its number."""
    labels = np.empty(roi.shape, np.uint8)
    labels[:] = plane_labels(plan, roi.offset.z, roi.end.z)[:, None, None]
    for index in plan.block_grid.touching(roi, 0):
        value = OF_BLOCKS.get(state_of(index))
        if value:
            owned = plan.block_grid[index].write_roi.intersect(roi)
            labels[owned.relative_to(roi).slices] = value
    return labels


def plane_labels(plan: Plan, begin: int, end: int) -> np.ndarray:
    """What planes [begin, end) are where blocks have fields: uint8 (end - begin,)."""
    axial = plan.axial
    line = np.full(end - begin, INFERRED, np.uint8)
    # A centre on an edge between planes belongs to the lower one, as in the measurement of operator skip.
    centres = [ceil(sum(axial.section_edges(section)) / 2) - 1 for section in axial.sections_touching(begin, end)]
    line[[plane - begin for plane in centres if begin <= plane < end]] = MEASURED
    if plan.bad:
        line[planes_of(axial, plan.bad, begin, end)] = BAD
    return line
