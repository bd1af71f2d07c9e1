"""Axial over lateral spectra: 1 for what is isotropic, less for what is blurred along z, more for what is streaked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from isofield.quality.spectra import DirectionalSpectra

SIDE = 32


def spectra(volumes):
    made = DirectionalSpectra(SIDE)
    for volume in volumes:
        made.add(volume)
    return made


def white(n=3):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(SIDE,) * 3) for _ in range(n)]


def test_white_noise_is_isotropic():
    made = spectra(white())
    assert made.n_cubes == 3
    np.testing.assert_allclose(made.ratio(), 1.0, atol=0.15)
    assert made.band_ratio(0.125, 0.5) == pytest.approx(1.0, abs=0.03)


def test_blur_along_z_is_seen_where_it_acts():
    made = spectra(ndimage.gaussian_filter1d(v, 1.5, axis=0) for v in white())
    assert made.band_ratio(0.125, 0.5) < 0.1
    ratio = made.ratio()
    assert ratio[-1] < 0.01 < 0.5 < ratio[1]
    # The other way round: blurred along y and x, it is z that has more.
    assert spectra(ndimage.gaussian_filter(v, (0, 1.5, 1.5)) for v in white()).band_ratio(0.125, 0.5) > 3


def test_blur_alike_along_all_axes_is_isotropic():
    made = spectra(ndimage.gaussian_filter(v, 1.0) for v in white())
    assert made.band_ratio(0.05, 0.3) == pytest.approx(1.0, abs=0.1)


def test_frequencies_are_cycles_per_voxel():
    made = DirectionalSpectra(SIDE)
    assert (made.frequency[0], made.frequency[-1]) == (1 / SIDE, 0.5)
    z, _, x = np.mgrid[:SIDE, :SIDE, :SIDE]
    made.add(np.sin(2 * np.pi * z / 4) + 0.1 * np.sin(2 * np.pi * x / 8))
    assert made.frequency[np.argmax(made.ratio())] == pytest.approx(1 / 4, abs=1 / SIDE)
    assert made.band_ratio(0.2, 0.3) > 10
    assert made.band_ratio(0.1, 0.15) < 0.1


def test_without_cubes_there_is_no_ratio():
    made = DirectionalSpectra(SIDE)
    assert np.isnan(made.ratio()).all()
    assert np.isnan(made.band_ratio(0.1, 0.5))


def test_cubes_of_another_side_are_refused():
    with pytest.raises(ValueError, match="expected side 32"):
        DirectionalSpectra(SIDE).add(np.zeros((SIDE, SIDE, SIDE - 1)))


def test_bytes_are_as_good_as_floats():
    volume = np.random.default_rng(0).integers(0, 256, (SIDE,) * 3)
    np.testing.assert_allclose(spectra([volume.astype(np.uint8)]).ratio(), spectra([volume.astype(float)]).ratio())


def test_bands_are_equally_wide_and_lowest_first():
    made = spectra(ndimage.gaussian_filter1d(v, 1.0, axis=0) for v in white())
    bands = made.band_ratios()
    assert bands == [made.band_ratio(b / 8, (b + 1) / 8) for b in range(4)]
    assert bands == sorted(bands, reverse=True)
    assert made.band_ratios(1) == [made.band_ratio(0, 0.5)]
    # Negative control: blurred along x instead, the order turns round.
    turned = spectra(ndimage.gaussian_filter1d(v, 1.0, axis=2) for v in white()).band_ratios()
    assert turned[0] < turned[-1]


@settings(max_examples=25)
@given(st.integers(8, 60), st.integers(1, 8))
def test_every_frequency_is_in_one_band(side, n_bands):
    made = DirectionalSpectra(side)
    made.add(np.random.default_rng(side).normal(size=(side,) * 3))
    for k in range(len(made.frequency)):
        made._axial[:] = np.arange(len(made.frequency)) == k
        assert sum(r > 0 for r in made.band_ratios(n_bands)) == 1


def test_bands_without_frequencies_have_no_ratio():
    assert np.isnan(DirectionalSpectra(SIDE).band_ratios()).all()
    made = DirectionalSpectra(4)
    made.add(np.random.default_rng(0).normal(size=(4, 4, 4)))
    assert np.isnan(made.band_ratios(4)).tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match="n_bands of 0"):
        made.band_ratios(0)
