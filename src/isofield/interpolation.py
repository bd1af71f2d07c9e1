"""Interpolation between sections as matrices along z: the baselines, and what fields are built over."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from isofield.geometry import AxialMap

Kind = Literal["nearest", "linear", "cubic"]
SPLINE_REACH = 6
"""Sections beyond which a cubic spline forgets: each section further away weighs 0.268 times less, 4e-4 in all."""

GAP_AMPLITUDE = 0.25
"""How the prior is told of a missing section: above 0, for the place in it is told by the angle."""


def section_positions(axial: AxialMap, begin: int, end: int) -> np.ndarray:
    """Centres of planes [begin, end) in units of sections: 0.0 is the centre of section 0. float64 (end - begin,)."""
    return (np.arange(begin, end) + 0.5) / float(axial.ratio) - 0.5


def interpolation_matrix(axial: AxialMap, sections: range, begin: int, end: int, kind: Kind = "cubic") -> np.ndarray:
    """Matrix (end - begin, len(sections)) that interpolates `sections` at the centres of planes [begin, end).

    Rows sum to 1. Beyond the centres of the first and last section the value is held constant. cubic is the interpolating
    B-spline with mirror boundary (scipy.ndimage's), so give SPLINE_REACH more sections than the planes touch.
    """
    return interpolation_rows(section_positions(axial, begin, end) - sections.start, len(sections), kind)


def interpolation_rows(at: np.ndarray, n: int, kind: Kind = "cubic") -> np.ndarray:
    """Matrix (len(at), n) that interpolates n samples at the positions `at`: 0.0 is the first, n - 1 the last. See above."""
    at = np.clip(at, 0, n - 1)
    if kind == "nearest":
        nearest = np.clip(np.floor(at + 0.5).astype(int), 0, n - 1)
        return np.eye(n)[nearest]
    if kind == "linear" or n < 3:
        lower = np.minimum(np.floor(at).astype(int), max(n - 2, 0))
        fraction = (at - lower)[:, None]
        eye = np.eye(n)
        return (1 - fraction) * eye[lower] + fraction * eye[np.minimum(lower + 1, n - 1)]
    coefficients = ndimage.spline_filter1d(np.eye(n), 3, axis=0, mode="mirror")
    columns = [ndimage.map_coordinates(coefficients[:, i], at[None], order=3, mode="mirror", prefilter=False) for i in range(n)]
    return np.stack(columns, axis=1)


def phase_features(axial: AxialMap, begin: int, end: int, in_gap: np.ndarray | None = None) -> np.ndarray:
    """Where planes [begin, end) lie within their section: cosine and sine of one turn per section. float32 (2, planes).

    in_gap: bool per plane, whether its section is missing; there the amplitude is GAP_AMPLITUDE instead of 1.
    """
    angle = 2 * np.pi * section_positions(axial, begin, end)
    features = np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
    return features if in_gap is None else features * np.where(in_gap, np.float32(GAP_AMPLITUDE), np.float32(1))
