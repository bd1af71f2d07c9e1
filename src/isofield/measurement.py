"""The measurement model: how sections arise from the isotropic volume, as small matrices along z."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import ceil, erf, floor, inf, log, pi, sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from isofield.errors import InputError
from isofield.geometry import AxialMap
from isofield.spec import Spec

Operator = Literal["section", "skip", "gaussian", "kernel"]
FAINT = 1e-6
"""Share of a profile on each side that no plane is weighed for."""
NEGLIGIBLE = 1e-3
"""Share of a profile on one side that may lie beyond a block whose data still count as the whole section."""
_FWHM_PER_SIGMA = 2 * sqrt(2 * log(2))
_HALF_MAXIMUM = 1.391557378
"""Where (sin(v) / v)^2 is 1/2."""


class ObjectiveSpec(Spec):
    """A widefield objective, from which the width of its axial profile follows."""

    numerical_aperture: float = Field(gt=0, le=1.7, description="as engraved on the objective; below refractive_index")
    wavelength_nm: float = Field(ge=100, le=3000, description="wavelength of the light that is detected in nm, in vacuum")
    refractive_index: float = Field(ge=1, le=2, description="of the immersion: air 1, water 1.33, glycerol 1.47, oil 1.515")

    @model_validator(mode="after")
    def _light_gets_in(self) -> ObjectiveSpec:
        if self.numerical_aperture >= self.refractive_index:
            limit = f"must be less than refractive_index {self.refractive_index:g}"
            raise InputError("measurement.objective.numerical_aperture", self.numerical_aperture, limit, "Correct one of the two")
        return self

    @property
    def fwhm_nm(self) -> float:
        """Full width at half maximum of the intensity along the axis in nm.

        The axial intensity is (sin(u/4) / (u/4))^2 (Born & Wolf, Principles of Optics, 8.8), at half for u/4 = 1.3916; with u =
        4 pi z (n - sqrt(n^2 - NA^2)) / wavelength, whose small-aperture limit is theirs, the width is 0.886 wavelength over
        (n - sqrt(n^2 - NA^2)). Wilhelm et al. (Confocal Laser Scanning Microscopy, Zeiss, 2003) give 0.88.
        """
        n = self.refractive_index
        return 2 * _HALF_MAXIMUM / pi * self.wavelength_nm / (n - sqrt(n**2 - self.numerical_aperture**2))


class MeasurementSpec(Spec):
    """How the microscope made a section out of the depth it spans."""

    operator: Operator | None = Field(
        None,
        description="section: a section is the average of the depth it spans (serial sections, FIB milling); "
        "skip: it is the one plane at its centre; gaussian: a Gaussian axial profile (fluorescence); "
        "kernel: the axial profile in kernel_file; null: the operator of source.simulate, else section",
    )
    fwhm_nm: PositiveFloat | None = Field(
        None,
        description="full width at half maximum of the gaussian profile in nm; null: from objective, else the section thickness",
    )
    objective: ObjectiveSpec | None = Field(
        None,
        description="the objective of a widefield microscope, which gives the width of the gaussian profile; instead of fwhm_nm",
    )
    kernel_file: str | None = Field(
        None,
        min_length=1,
        description="file with the axial profile of operator kernel. .csv, .tsv, .txt: one column of weights, an output voxel "
        "apart, their middle at the section's centre; or two columns, position in nm from the section's centre and weight, "
        "linear in between; a header line may come first. .npy: one axis of weights, like one column. .tif: stack (z, y, x) of "
        "a measured point spread function without background, summed over y and x, its centre of mass at the section's "
        "centre. $VAR and ${VAR:-default} are expanded; null: that of source.simulate",
    )
    kernel_voxel_nm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        None, description="voxel size z, y, x in nm of a kernel_file that is a stack; null: from its metadata"
    )

    @property
    def width_nm(self) -> float | None:
        """Full width at half maximum of the gaussian profile in nm, however it is given; None: the section thickness."""
        return self.objective.fwhm_nm if self.objective else self.fwhm_nm


@dataclass(frozen=True)
class Kernel:
    """An axial profile over the distance from a section's centre: linear between its points, nought outside of them.

    Positions ascend; two equal ones are a step. Their unit, nm or isotropic voxels, is in the name of what holds the kernel.
    Weights have any scale.
    """

    positions: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.positions) != len(self.weights) or len(self.positions) < 2:
            raise ValueError("a kernel needs as many weights as positions, and two or more")
        if min(np.diff(self.positions)) < 0 or min(self.weights) < 0 or not 0 < self._areas[-1] < inf:
            raise ValueError("a kernel needs positions that ascend and weights >= 0, not all of them 0")

    def scaled(self, factor: float) -> Kernel:
        """The same profile in a unit of 1/factor of this one's."""
        return Kernel(tuple(p * factor for p in self.positions), self.weights)

    def share_below(self, at: np.ndarray | float) -> np.ndarray:
        """Share of the profile at positions below `at`."""
        positions, weights, areas = *self._points, self._areas
        steps = np.diff(positions)
        i = np.clip(np.searchsorted(positions, at, side="right") - 1, 0, len(steps) - 1)
        into = np.clip(at - positions[i], 0, steps[i])
        slope = np.diff(weights)[i] / np.where(steps[i] > 0, steps[i], 1)
        return np.minimum((areas[i] + into * (weights[i] + slope * into / 2)) / areas[-1], 1.0)

    def quantile(self, share: float) -> float:
        """Position below which `share` (0 to 1) of the profile lies; at 0 and 1 the ends of what has weight."""
        positions, weights, areas = *self._points, self._areas
        side, wanted = ("right", share * areas[-1]) if share < 1 else ("left", areas[-1])
        i = min(max(int(np.searchsorted(areas, wanted, side=side)) - 1, 0), len(areas) - 2)
        step, rest = positions[i + 1] - positions[i], wanted - areas[i]
        slope = (weights[i + 1] - weights[i]) / step if step > 0 else 0.0
        root = weights[i] + sqrt(max(0.0, weights[i] ** 2 + 2 * slope * rest))
        return float(positions[i] + (min(2 * rest / root, step) if root > 0 else 0.0))

    @property
    def mean(self) -> float:
        """Centre of mass of the profile."""
        positions, weights = self._points
        steps, left, right = np.diff(positions), weights[:-1], weights[1:]
        moments = steps * (positions[:-1] * (left + right) / 2 + steps * (left / 6 + right / 3))
        return float(moments.sum() / self._areas[-1])

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.positions), np.array(self.weights)

    @cached_property
    def _areas(self) -> np.ndarray:
        """Area of the profile below each point."""
        positions, weights = self._points
        return np.concatenate([[0.0], np.cumsum(np.diff(positions) * (weights[1:] + weights[:-1]) / 2)])


@dataclass(frozen=True)
class MeasurementModel:
    """The measurement as it applies to one volume: ratio of sections to planes, operator and profile.

    fwhm_vox: of operator gaussian (None: ratio). kernel_vox: of operator kernel. Both in isotropic voxels.
    """

    ratio: Fraction
    operator: Operator = "section"
    fwhm_vox: float | None = None
    kernel_vox: Kernel | None = None

    def __post_init__(self) -> None:
        if (self.operator == "kernel") != (self.kernel_vox is not None):
            raise ValueError(f"operator {self.operator!r} with kernel {self.kernel_vox!r}")

    def matrix(self, axial: AxialMap, sections: range, begin: int, end: int) -> np.ndarray:
        """Rows of the axial measurement operator A for `sections`, over isotropic planes [begin, end).

        Returns float64 (len(sections), end - begin). Each row is one section's profile and sums to 1: weight of a plane is
        the share of the profile that falls between the plane's edges. Planes outside the volume take no weight; a profile
        cut off by [begin, end) or by the volume is renormalised.

        Raises ValueError if a section has no weight at all within [begin, end).
        """
        matrix = np.zeros((len(sections), end - begin))
        for row, section in enumerate(sections):
            reached = self.planes(axial, range(section, section + 1))
            first, last = max(begin, reached.start), min(end, reached.stop)
            if first < last:
                matrix[row, first - begin : last - begin] = self._weights(range(first, last), *axial.section_edges(section))
            total = matrix[row].sum()
            if total <= 0:
                raise ValueError(f"section {section} has no weight in planes [{begin}, {end})")
            matrix[row] /= total
        return matrix

    def planes(self, axial: AxialMap, sections: range) -> range:
        """Planes of the volume that the profiles of `sections` (one or more) reach."""
        below, above = self.extent_vox(FAINT)
        (lo, hi), (last_lo, last_hi) = (axial.section_edges(s) for s in (sections.start, sections.stop - 1))
        begin, end = floor((lo + hi) / 2 - below), ceil((last_lo + last_hi) / 2 + above)
        return range(max(0, begin), min(axial.n_planes, end))

    def profile_at(self, centre: Fraction, n_planes: int) -> np.ndarray:
        """The profile centred anywhere, over planes [0, n_planes); what lies outside falls onto the outermost. Sums to 1."""
        below, above = self.extent_vox(FAINT)
        reached = range(floor(centre - below), ceil(centre + above))
        shares = self._weights(reached, centre - self.ratio / 2, centre + self.ratio / 2)
        row = np.zeros(n_planes)
        np.add.at(row, np.clip(np.arange(reached.start, reached.stop), 0, n_planes - 1), shares)
        return row / row.sum()

    def whole_sections(self, axial: AxialMap, begin: int, end: int) -> range:
        """Sections that planes [begin, end) hold with their whole profile, but for a NEGLIGIBLE share.

        What lies outside the volume is not missed: no plane of it is reconstructed.
        """
        inside = axial.sections_inside(begin, end)
        below, above = self.overreach_vox
        first, last = inside.start, inside.stop
        while first < last and begin > 0 and axial.section_edges(first)[0] - below < begin:
            first += 1
        while first < last and end < axial.n_planes and axial.section_edges(last - 1)[1] + above > end:
            last -= 1
        return range(first, last)

    @property
    def overreach_vox(self) -> tuple[float, float]:
        """How far the profile, but for a NEGLIGIBLE share, reaches below and above the section itself; 0 if it does not."""
        below, above = (max(0.0, float(side - self.ratio / 2)) for side in self.extent_vox(NEGLIGIBLE))
        return below, above

    def extent_vox(self, tail: float) -> tuple[Fraction | float, Fraction | float]:
        """Distances below and above the section's centre beyond which at most the share `tail` of the profile lies."""
        if self.kernel_vox:
            return -self.kernel_vox.quantile(tail), self.kernel_vox.quantile(1 - tail)
        if self.operator == "gaussian":
            reach = NormalDist().inv_cdf(1 - tail) * (self.fwhm_vox or float(self.ratio)) / _FWHM_PER_SIGMA
            return reach, reach
        return self.ratio / 2, self.ratio / 2

    def _weights(self, planes: range, lo: Fraction, hi: Fraction) -> np.ndarray | list[float]:
        """Shares of the profile of the section between edges `lo` and `hi` that fall into each of `planes`."""
        if self.operator == "section":
            return [float(max(Fraction(0), min(hi, Fraction(p + 1)) - max(lo, Fraction(p)))) for p in planes]
        centre = (lo + hi) / 2
        if self.operator == "skip":
            # A centre that falls on an edge between planes belongs to the lower one: one section, one plane.
            return [float(p < centre <= p + 1) for p in planes]
        if self.kernel_vox:
            return np.diff(self.kernel_vox.share_below(np.arange(planes.start, planes.stop + 1) - float(centre)))
        scale = _FWHM_PER_SIGMA / ((self.fwhm_vox or float(self.ratio)) * sqrt(2))
        shares = [0.5 * (erf((p + 1 - float(centre)) * scale) - erf((p - float(centre)) * scale)) for p in planes]
        return [share if share > FAINT else 0.0 for share in shares]


def measurement_matrix(
    axial: AxialMap,
    sections: range,
    begin: int,
    end: int,
    operator: Operator = "section",
    fwhm_vox: float | None = None,
    kernel_vox: Kernel | None = None,
) -> np.ndarray:
    """`MeasurementModel.matrix` of the model with these values."""
    return MeasurementModel(axial.ratio, operator, fwhm_vox, kernel_vox).matrix(axial, sections, begin, end)


@lru_cache(maxsize=16)
def neighbour_matrices(model: MeasurementModel, n_vox: int, n_neighbours: int, slice_offsets: tuple[int, ...] = ()) -> np.ndarray:
    """What stands beside a slice as neighbouring sections stand beside a section: float32 (2 n, n_vox, n_vox).

    Kept, and not to be written to: most blocks have the same sides.

    The prior sees an XY section between its neighbours, a section's thickness apart and as thick. Row i of matrix 2k (2k + 1)
    is the section profile laid across a lateral axis, k + 1 thicknesses before (behind) slice i; times the slices it is
    what stands there. At the ends of the block the outermost slice is taken to go on. After these, of n = n_neighbours +
    len(slice_offsets) pairs, come the slices that lie so many voxels before and behind.
    """
    rows = np.zeros((2 * (n_neighbours + len(slice_offsets)), n_vox, n_vox), np.float32)
    for k, i in itertools.product(range(n_neighbours), range(n_vox)):
        for side, sign in enumerate((-1, 1)):
            rows[2 * k + side, i] = model.profile_at(i + Fraction(1, 2) + sign * (k + 1) * model.ratio, n_vox)
    every = np.arange(n_vox)
    for j, offset in enumerate(slice_offsets, start=n_neighbours):
        for side, sign in enumerate((-1, 1)):
            rows[2 * j + side, every, np.clip(every + sign * offset, 0, n_vox - 1)] = 1
    rows.flags.writeable = False
    return rows
