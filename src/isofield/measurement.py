"""The measurement model: how sections arise from the isotropic volume, as small matrices along z."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import erf, log, sqrt
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from isofield.geometry import AxialMap
from isofield.spec import Spec

Operator = Literal["section", "skip", "gaussian"]
_FWHM_PER_SIGMA = 2 * sqrt(2 * log(2))


class MeasurementSpec(Spec):
    """How the microscope made a section out of the depth it spans."""

    operator: Operator | None = Field(
        None,
        description="section: a section is the average of the depth it spans (serial sections, FIB milling); "
        "skip: it is the one plane at its centre; gaussian: a Gaussian axial profile (fluorescence); "
        "null: the operator of source.simulate, else section",
    )
    fwhm_nm: PositiveFloat | None = Field(
        None, description="full width at half maximum of the gaussian profile in nm; null: the section thickness"
    )


@dataclass(frozen=True)
class MeasurementModel:
    """The measurement as it applies to one volume: ratio of sections to planes, operator and profile width."""

    ratio: Fraction
    operator: Operator = "section"
    fwhm_vox: float | None = None

    def matrix(self, axial: AxialMap, sections: range, begin: int, end: int) -> np.ndarray:
        return measurement_matrix(axial, sections, begin, end, self.operator, self.fwhm_vox)


def measurement_matrix(
    axial: AxialMap,
    sections: range,
    begin: int,
    end: int,
    operator: Operator = "section",
    fwhm_vox: float | None = None,
) -> np.ndarray:
    """Rows of the axial measurement operator A for `sections`, over isotropic planes [begin, end).

    Returns float64 (len(sections), end - begin). Each row is one section's profile and sums to 1: weight of a plane is
    the share of the profile that falls between the plane's edges. Planes outside the volume take no weight; a profile
    cut off by [begin, end) or by the volume is renormalised. `fwhm_vox` in isotropic voxels (gaussian only; default ratio).

    Raises ValueError if a section has no weight at all within [begin, end).
    """
    matrix = np.zeros((len(sections), end - begin))
    for row, section in enumerate(sections):
        lo, hi = axial.section_edges(section)
        for plane in range(max(begin, 0), min(end, axial.n_planes)):
            matrix[row, plane - begin] = _plane_weight(plane, lo, hi, operator, fwhm_vox or float(axial.ratio))
        total = matrix[row].sum()
        if total <= 0:
            raise ValueError(f"section {section} has no weight in planes [{begin}, {end})")
        matrix[row] /= total
    return matrix


def _plane_weight(plane: int, lo: Fraction, hi: Fraction, operator: Operator, fwhm_vox: float) -> float:
    if operator == "section":
        return float(max(Fraction(0), min(hi, Fraction(plane + 1)) - max(lo, Fraction(plane))))
    centre = (lo + hi) / 2
    if operator == "skip":
        # A centre that falls on an edge between planes belongs to the lower one: one section, one plane.
        return float(plane < centre <= plane + 1)
    scale = _FWHM_PER_SIGMA / (fwhm_vox * sqrt(2))
    weight = 0.5 * (erf((plane + 1 - float(centre)) * scale) - erf((plane - float(centre)) * scale))
    return weight if weight > 1e-6 else 0.0
