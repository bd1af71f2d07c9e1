"""Slice jitter: planted shifts come back, slopes and contrast of truth are not taken for any, nor are flat windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from isofield.quality.jitter import SliceJitter, axial_displacement

SHAPE = (64, 48, 48)


@pytest.fixture(scope="module")
def truth():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), (2, 4, 4))
    return 128 + 30 * noise / noise.std()


def shifted(volume, shifts_vox, axis=1):
    """Every slice along `axis` moved along z by its own shift."""
    slices = np.moveaxis(volume, axis, 0)
    moved = [ndimage.shift(s, (shift, 0), order=3, mode="nearest") for s, shift in zip(slices, shifts_vox, strict=True)]
    return np.moveaxis(np.stack(moved), 0, axis)


def jitter(image, truth, axis=1, voxel_size_nm=1.0):
    made = SliceJitter(voxel_size_nm)
    made.add(image, truth, axis)
    return made


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


@pytest.mark.parametrize("axis", [1, 2])
def test_truth_has_no_jitter_against_itself(truth, axis):
    made = jitter(truth, truth, axis)
    assert (made.rms_nm(axis), made.wobble_nm(axis)) == (0.0, 0.0)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("std_vox", [0.1, 0.3, 0.6])
def test_random_shifts_of_slices_come_back(truth, axis, std_vox):
    shifts = np.random.default_rng(1).normal(0, std_vox, SHAPE[axis])
    made = jitter(shifted(truth, shifts, axis), truth, axis, voxel_size_nm=8.0)
    assert made.rms_nm(axis) == pytest.approx(8 * rms(np.diff(shifts)), rel=0.1)
    assert made.wobble_nm(axis) == pytest.approx(8 * rms(np.diff(shifts, 2) / 2), rel=0.1)
    # Of slices along the other axis nothing was counted.
    assert np.isnan(made.rms_nm(3 - axis))


def test_slices_along_the_other_axis_are_shifted_as_one(truth):
    """Negative control: read along the wrong axis, the same shifts bend each slice but hardly move it against the next."""
    shifts = np.random.default_rng(1).normal(0, 0.4, SHAPE[1])
    image = shifted(truth, shifts, 1)
    assert jitter(image, truth, 2).rms_nm(2) < 0.3 * jitter(image, truth, 1).rms_nm(1)
    # The same shifts within the slices, along x, are none along z.
    sideways = shifted(truth.swapaxes(0, 2), shifts).swapaxes(0, 2)
    assert jitter(sideways, truth, 1).rms_nm(1) < 0.5 * jitter(image, truth, 1).rms_nm(1)


def test_one_shift_is_found_with_its_sign(truth):
    shifts = np.zeros(SHAPE[1])
    shifts[20:] = 0.5
    moved = axial_displacement(shifted(truth, shifts))[0] - axial_displacement(truth)[0]
    assert moved.shape == (4, SHAPE[1] - 1, 3)
    assert moved[:, 19].mean() == pytest.approx(0.5, abs=0.06)
    assert rms(np.delete(moved, 19, axis=1)) < 0.06


def test_what_slopes_in_truth_is_not_jitter():
    """Tilted layers are displaced from slice to slice by their slope, in truth as in the image."""
    z, y, _ = np.mgrid[:48, :40, :32].astype(float)
    tilted = np.sin(2 * np.pi * (z - 0.4 * y) / 12)
    np.testing.assert_allclose(axial_displacement(tilted)[0], 0.4, rtol=0.06)
    assert jitter(0.5 * tilted + 3, tilted).rms_nm() < 1e-9
    # An image that lays them flat is wrong between neighbours, but it does not wobble.
    level = np.sin(2 * np.pi * z / 12)
    made = jitter(level, tilted)
    assert made.rms_nm() == pytest.approx(0.4, rel=0.06)
    assert made.wobble_nm() < 0.02


@settings(max_examples=15)
@given(st.floats(0.05, 50), st.floats(-500, 500))
def test_brightness_and_contrast_do_not_matter(truth, gain, offset):
    image = np.roll(truth, 1, axis=1) + truth
    made, other = jitter(image, truth), jitter(gain * image + offset, truth)
    assert other.rms_nm() == pytest.approx(made.rms_nm(), rel=1e-6)
    assert other.wobble_nm() == pytest.approx(made.wobble_nm(), rel=1e-6)


def test_flat_windows_do_not_blow_up(truth):
    """Half of the volume is flat but for a little noise, in which any displacement could be read."""
    rng = np.random.default_rng(2)
    half = np.where(np.arange(SHAPE[2]) < 16, truth, 128.0)
    image, reference = (half + rng.normal(0, 0.2, SHAPE) for _ in range(2))
    assert np.abs(axial_displacement(image)[0][:, :, 1]).max() < 0.05
    shifts = rng.normal(0, 0.3, SHAPE[1])
    assert jitter(shifted(image, shifts), reference).rms_nm() == pytest.approx(rms(np.diff(shifts)), rel=0.1)


def test_blur_alone_does_not_wobble(truth):
    image = ndimage.gaussian_filter1d(truth, 2.0, axis=0)
    noise = np.random.default_rng(1).normal(0, 0.3, SHAPE[1])
    assert jitter(image, truth).wobble_nm() < 0.3 * jitter(shifted(image, noise), truth).wobble_nm()


def test_regions_add_up(truth):
    shifts = np.random.default_rng(1).normal(0, 0.3, SHAPE[1])
    image = shifted(truth, shifts)
    halves = SliceJitter(1.0)
    for part in (np.s_[:, :, :16], np.s_[:, :, 16:]):
        halves.add(image[part], truth[part])
    assert halves.rms_nm() == pytest.approx(jitter(image, truth).rms_nm(), rel=0.02)
    # Negative control: regions of image and truth that do not belong together.
    assert jitter(truth[:, :, :24], truth[:, :, 24:]).rms_nm() > 0.1


def test_nothing_to_tell_by_is_no_jitter(truth):
    made = SliceJitter(8.0)
    assert np.isnan(made.rms_nm())
    made.add(truth[:15], truth[:15])
    made.add(truth[:, :1], truth[:, :1])
    made.add(truth[:, :, :8], truth[:, :, :8])
    made.add(truth, np.full(SHAPE, 7.0))
    assert np.isnan(made.rms_nm())
    assert np.isnan(made.wobble_nm())
    made.add(np.full(SHAPE, 7.0), truth)
    assert np.isfinite(made.rms_nm())


def test_bytes_do_not_wrap(truth):
    image = np.rint(shifted(truth, np.random.default_rng(1).normal(0, 0.3, SHAPE[1]))).clip(0, 255)
    reference = np.rint(truth).clip(0, 255)
    small = jitter(image.astype(np.uint8), reference.astype(np.uint8))
    assert small.rms_nm() == jitter(image, reference).rms_nm()


def test_what_does_not_fit_is_refused(truth):
    with pytest.raises(ValueError, match="expected one shape"):
        jitter(truth[1:], truth)
    with pytest.raises(ValueError, match=r"axis 0, expected 1 \(ZX slices\) or 2"):
        jitter(truth, truth, axis=0)
    with pytest.raises(ValueError, match="must be positive"):
        SliceJitter(-1.0)
