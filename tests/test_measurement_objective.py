"""The axial width of an objective: against the diffraction integral, the paraxial limit and a textbook; what contradicts."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.integrate import quad

from isofield.config import make_config
from isofield.measurement import ObjectiveSpec
from test_config import changed, complaint

OIL = {"numerical_aperture": 1.4, "wavelength_nm": 520, "refractive_index": 1.515}


@pytest.mark.parametrize(("na", "n"), [(0.1, 1.0), (0.3, 1.0), (0.8, 1.33), (1.2, 1.33), (1.4, 1.515)])
def test_width_is_that_of_the_diffraction_integral(na, n):
    """Plane waves of all directions in the aperture, of equal weight per cos(theta), interfere along the axis."""
    width = ObjectiveSpec(numerical_aperture=na, wavelength_nm=520, refractive_index=n).fwhm_nm
    steepest = sqrt(1 - (na / n) ** 2)

    def intensity(z: float) -> float:
        k = 2 * np.pi * n / 520
        parts = (quad(lambda c, f=f: f(k * z * c), steepest, 1, limit=1000)[0] for f in (np.cos, np.sin))
        return sum(part**2 for part in parts)

    assert intensity(width / 2) == pytest.approx(intensity(0) / 2, rel=1e-6)
    assert intensity(width / 2 * 1.01) < 0.499 * intensity(0), "another width is another intensity"


def test_small_apertures_follow_the_paraxial_formula():
    spec = ObjectiveSpec(numerical_aperture=0.05, wavelength_nm=500, refractive_index=1)
    assert spec.fwhm_nm == pytest.approx(2 * 0.8859 * 500 / 0.05**2, rel=1e-3)


def test_a_figure_that_microscopists_know():
    """Wilhelm et al. (2003), formula 2: 0.88 wavelength / (n - sqrt(n^2 - NA^2))."""
    assert ObjectiveSpec(**OIL).fwhm_nm == pytest.approx(0.88 * 520 / (1.515 - sqrt(1.515**2 - 1.4**2)), rel=0.01)


def test_it_is_the_width_of_the_profile():
    measurement = {"operator": "gaussian", "objective": OIL}
    config = make_config(changed(measurement=measurement))
    assert config.measurement.width_nm == pytest.approx(492.2, abs=0.1)
    assert make_config(changed(measurement={"operator": "gaussian", "fwhm_nm": 489})).measurement.width_nm == 489
    assert make_config(changed(measurement={"operator": "gaussian"})).measurement.width_nm is None


@pytest.mark.parametrize(
    ("measurement", "thing", "limit"),
    [
        ({"objective": OIL}, "measurement.objective", "operator is 'section'"),
        ({"operator": "gaussian", "fwhm_nm": 500, "objective": OIL}, "measurement.objective", "beside measurement.fwhm_nm 500"),
        (
            {"operator": "gaussian", "objective": OIL | {"refractive_index": 1.33}},
            "measurement.objective.numerical_aperture",
            "less than refractive_index 1.33",
        ),
        ({"operator": "gaussian", "objective": {"numerical_aperture": 1.4}}, "measurement.objective.wavelength_nm", "required"),
        ({"operator": "gaussian", "objective": OIL | {"wavelength_nm": 0.52}}, "measurement.objective.wavelength_nm", "100"),
    ],
)
def test_what_cannot_be_is_refused(measurement, thing, limit):
    error = complaint(changed(measurement=measurement))
    assert error.thing == thing
    assert limit in error.limit
