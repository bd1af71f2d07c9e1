"""What a block is fitted to, made from the sections around it."""

from __future__ import annotations

import numpy as np

from isofield.field.fit import BlockData
from isofield.geometry import AxialMap, Roi
from isofield.interpolation import SPLINE_REACH, interpolation_matrix, phase_features
from isofield.measurement import MeasurementModel


def sections_needed(axial: AxialMap, roi: Roi) -> range:
    """Sections that shape the interpolation over `roi`: those it touches and SPLINE_REACH more on both sides."""
    touching = axial.sections_touching(roi.offset.z, roi.end.z)
    return range(max(0, touching.start - SPLINE_REACH), min(axial.n_sections, touching.stop + SPLINE_REACH))


def interpolated(axial: AxialMap, roi: Roi, sections: range, grey: np.ndarray) -> np.ndarray:
    """Cubic interpolation over the planes of `roi`; `grey` (len(sections), Y, X). float32 (Z, Y, X)."""
    matrix = interpolation_matrix(axial, sections, roi.offset.z, roi.end.z, "cubic").astype(np.float32)
    return np.tensordot(matrix, grey.astype(np.float32, copy=False), axes=1)


def block_data(
    axial: AxialMap, model: MeasurementModel, read_roi: Roi, sections: range, units: np.ndarray, seed: int
) -> BlockData:
    """Data of one block. `units` (len(sections), Y, X): `sections_needed` over the block's lateral extent, in working units.

    Sections that the block sees only in part shape its interpolation but not its data term.
    """
    begin, end = read_roi.offset.z, read_roi.end.z
    inside = axial.sections_inside(begin, end)
    measure = model.matrix(axial, inside, begin, end) if len(inside) else np.zeros((0, end - begin))
    return BlockData(
        measured=units[inside.start - sections.start : inside.stop - sections.start],
        measure=measure,
        base=interpolated(axial, read_roi, sections, units),
        phase=phase_features(axial, begin, end),
        seed=seed,
    )
