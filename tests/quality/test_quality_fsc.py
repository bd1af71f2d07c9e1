"""Fourier shell correlation: 1 for what equals truth, a known value for known noise, an axial end where detail was cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from isofield.quality.fsc import HALF_ANGLE_DEGREES, DirectionalFsc

SIDE = 32
COSINE = np.cos(np.deg2rad(HALF_ANGLE_DEGREES))


def white(seed, side=SIDE):
    return np.random.default_rng(seed).normal(size=(side,) * 3)


def fsc(pairs, side=SIDE, voxel_size_nm=10.0):
    made = DirectionalFsc(side, voxel_size_nm)
    for image, truth in pairs:
        made.add(image, truth)
    return made


def cut(volume, limit, axis=0):
    """The volume without what lies above `limit` cycles per voxel along `axis`."""
    spectrum = np.moveaxis(np.fft.fftn(volume), axis, 0)
    spectrum[np.abs(np.fft.fftfreq(volume.shape[axis])) > limit] = 0
    return np.fft.ifftn(np.moveaxis(spectrum, 0, axis)).real


@pytest.mark.parametrize("side", [4, 31, 32])
@pytest.mark.parametrize("direction", ["axial", "lateral"])
def test_an_image_equals_itself_down_to_nyquist(direction, side):
    made = fsc([(white(0, side), white(0, side))], side)
    frequency, correlation = made.curve(direction)
    np.testing.assert_allclose(frequency, np.arange(1, side // 2 + 1) / side)
    np.testing.assert_allclose(correlation, 1.0, atol=1e-12)
    assert made.cutoff_nm(direction, 0.5) == 20.0


@pytest.mark.parametrize("direction", ["axial", "lateral"])
@pytest.mark.parametrize("noise_power", [0.25, 1.0, 3.0])
def test_white_noise_of_known_power_leaves_a_known_correlation(direction, noise_power):
    pairs = [(white(i) + np.sqrt(noise_power) * white(100 + i), white(i)) for i in range(8)]
    _, correlation = fsc(pairs).curve(direction)
    # The lowest axial shells hold a handful of vectors only.
    np.testing.assert_allclose(correlation[5:], 1 / np.sqrt(1 + noise_power), atol=0.12)
    assert correlation[8:].mean() == pytest.approx(1 / np.sqrt(1 + noise_power), abs=0.02)


@pytest.mark.parametrize("side", [8, 9])
def test_shells_hold_every_vector_in_their_cone_once(side):
    """The same, vector by vector over the whole spectrum."""
    truth = white(0, side)
    image = truth + white(1, side)
    window = np.sin(np.pi * np.arange(side) / side) ** 2
    a, b = (np.fft.fftn(np.einsum("zyx,z,y,x->zyx", v - v.mean(), window, window, window)) for v in (image, truth))
    sums = {"axial": np.zeros((side // 2, 3)), "lateral": np.zeros((side // 2, 3))}
    for index in np.ndindex(*a.shape):
        k = np.array([i if i <= side // 2 else i - side for i in index])
        shell = round(np.linalg.norm(k))
        if 1 <= shell <= side // 2:
            elevation = np.degrees(np.arcsin(abs(k[0]) / np.linalg.norm(k)))
            direction = "axial" if elevation >= 60 else "lateral" if elevation <= 30 else None
            if direction:
                sums[direction][shell - 1] += (a[index] * b[index].conj()).real, abs(a[index]) ** 2, abs(b[index]) ** 2
    for direction, (cross, one, other) in ((d, s.T) for d, s in sums.items()):
        np.testing.assert_allclose(fsc([(image, truth)], side).curve(direction)[1], cross / np.sqrt(one * other), atol=1e-12)


def test_what_runs_off_the_cube_does_not_leak_into_fine_detail():
    """A slope that image and truth share jumps at the cube's faces; without a window the jump would correlate everywhere."""
    slope = 2 * np.arange(SIDE)[:, None, None]
    made = fsc([(slope + white(i), slope + white(100 + i)) for i in range(4)])
    assert made.curve("axial")[1][0] > 0.99
    assert np.abs(made.curve("axial")[1][8:]).max() < 0.3


def test_independent_images_do_not_correlate():
    made = fsc([(white(i), white(100 + i)) for i in range(8)])
    for direction in ("axial", "lateral"):
        assert np.abs(made.curve(direction)[1][5:]).max() < 0.2
        assert made.cutoff_nm(direction, 0.5) == np.inf


@pytest.mark.parametrize("threshold", [0.143, 0.5])
@pytest.mark.parametrize("limit", [1 / 8, 3 / 16])
def test_detail_that_ends_along_z_ends_the_axial_curve_alone(limit, threshold):
    side = 96
    made = fsc([(cut(white(i, side), limit), white(i, side)) for i in range(2)], side)
    # In a cone around z, a shell of radius f keeps the part of its cap that lies under the limit. The window adds a shell to it.
    kept = COSINE + threshold**2 * (1 - COSINE)
    assert 10 / made.cutoff_nm("axial", threshold) == pytest.approx(limit / kept, abs=2 / side)
    assert made.cutoff_nm("lateral", threshold) == 20.0
    frequency, correlation = made.curve("axial")
    assert correlation[frequency < limit - 1.5 / side].min() > 0.98
    # A limit along x is no axial one: mixing up the axes would change the answer.
    other = fsc([(cut(white(i, side), limit, axis=2), white(i, side)) for i in range(2)], side)
    assert other.cutoff_nm("axial", threshold) == 20.0
    assert other.curve("lateral")[1][-8:].max() < 0.9 < made.curve("axial")[1][0]


def test_the_axial_curve_follows_the_cap_under_the_limit():
    side, limit = 64, 0.25
    made = fsc([(cut(white(i, side), limit), white(i, side)) for i in range(3)], side)
    frequency, correlation = made.curve("axial")
    expected = np.sqrt(np.clip((limit / frequency - COSINE) / (1 - COSINE), 0, 1))
    away = np.abs(frequency - limit / COSINE) > 2.5 / side
    np.testing.assert_allclose(correlation[away & (frequency > 0.1)], expected[away & (frequency > 0.1)], atol=0.12)


def test_blur_alone_leaves_detail_right():
    """Contrast is not correlation; noise on top of what is left of it is what ends the detail."""
    blurred = [(ndimage.gaussian_filter1d(white(i), 1.0, axis=0, mode="wrap"), white(i)) for i in range(3)]
    clean = fsc(blurred)
    noisy = fsc([(image + 0.3 * white(50 + i), truth) for i, (image, truth) in enumerate(blurred)])
    assert clean.curve("axial")[1].min() > 0.85
    assert noisy.cutoff_nm("axial", 0.5) > 1.2 * noisy.cutoff_nm("lateral", 0.5)


def with_curve(correlation, voxel_size_nm=8.0):
    """An object whose axial curve is `correlation`."""
    made = DirectionalFsc(2 * len(correlation), voxel_size_nm)
    made.n_cubes = 1
    made._sums["axial"] = np.stack([correlation, np.ones(len(correlation)), np.ones(len(correlation))])
    return made


def test_the_cutoff_is_the_first_crossing_between_shells():
    # Shells at k / 12: 0.5 lies halfway from the second shell to the third; the curve coming back later does not count.
    made = with_curve([0.9, 0.7, 0.3, 0.9, 0.1, 0.9])
    assert made.cutoff_nm("axial", 0.5) == pytest.approx(8 / (2.5 / 12))
    assert made.cutoff_nm("axial", 0.2) == pytest.approx(8 / ((4 + 7 / 8) / 12))
    assert made.cutoff_nm("axial", 0.1) == 16.0
    assert made.cutoff_nm("axial", 0.95) == np.inf


@given(st.lists(st.floats(0, 1), min_size=4, max_size=20), st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_a_stricter_threshold_never_gives_a_finer_cutoff(correlation, one, other):
    made = with_curve(correlation)
    lax, strict = (made.cutoff_nm("axial", t) for t in sorted((one, other)))
    assert 16.0 <= lax <= strict


@settings(max_examples=15)
@given(st.floats(0.01, 300), st.floats(-1000, 1000), st.integers(0, 99))
def test_grey_values_may_be_scaled_and_shifted(gain, offset, seed):
    truth, image = white(seed, 12), white(seed, 12) + white(seed + 1, 12)
    one, other = fsc([(image, truth)], 12), fsc([(gain * image + offset, truth)], 12)
    negative, swapped = fsc([(-image, truth)], 12), fsc([(truth, image)], 12)
    for direction in ("axial", "lateral"):
        correlation = one.curve(direction)[1]
        assert np.abs(correlation).max() <= 1 + 1e-12
        np.testing.assert_allclose(other.curve(direction)[1], correlation, atol=1e-6)
        np.testing.assert_allclose(negative.curve(direction)[1], -correlation, atol=1e-9)
        np.testing.assert_allclose(swapped.curve(direction)[1], correlation, atol=1e-9)


def test_cubes_count_by_their_power_and_in_any_order():
    pairs = [(white(i) + white(9 + i), white(i)) for i in range(3)]
    one, other = fsc(pairs), fsc(pairs[::-1])
    np.testing.assert_allclose(one.curve("axial")[1], other.curve("axial")[1], atol=1e-12)
    faint = fsc([*pairs, (1e-6 * white(20), 1e-6 * white(21))])
    np.testing.assert_allclose(faint.curve("axial")[1], one.curve("axial")[1], atol=1e-9)


def test_an_image_in_the_wrong_place_or_turned_does_not_correlate():
    truth = ndimage.gaussian_filter(white(0), 1.0, mode="wrap")
    assert fsc([(truth, truth)]).cutoff_nm("axial", 0.5) == 20.0
    for wrong in (np.roll(truth, 4, axis=0), truth[::-1], truth.swapaxes(0, 1)):
        assert fsc([(wrong, truth)]).cutoff_nm("axial", 0.5) > 80


@pytest.mark.parametrize("grey", [0.0, 7.1, 255.0])
def test_a_flat_image_holds_no_detail(grey):
    made = fsc([(np.full((SIDE,) * 3, grey), white(0))])
    np.testing.assert_array_equal(made.curve("axial")[1], 0.0)
    assert made.cutoff_nm("axial", 0.143) == np.inf


def test_without_cubes_there_is_no_curve():
    made = DirectionalFsc(SIDE, 8.0)
    assert np.isnan(made.curve("lateral")[1]).all()
    assert np.isnan(made.cutoff_nm("lateral", 0.5))


def test_bytes_are_as_good_as_floats():
    rng = np.random.default_rng(0)
    image, truth = (rng.integers(0, 256, (SIDE,) * 3) for _ in range(2))
    small = fsc([(image.astype(np.uint8), truth.astype(np.uint8))])
    np.testing.assert_allclose(small.curve("axial")[1], fsc([(image.astype(float), truth.astype(float))]).curve("axial")[1])


def test_what_does_not_fit_is_refused():
    made, cube = DirectionalFsc(SIDE, 8.0), white(0)
    with pytest.raises(ValueError, match=r"image of shape .* expected side 32"):
        made.add(cube[1:], cube)
    with pytest.raises(ValueError, match=r"truth of shape .* expected side 32"):
        made.add(cube, cube[:, 1:])
    with pytest.raises(ValueError, match="'oblique', expected one of axial, lateral"):
        made.curve("oblique")
    with pytest.raises(ValueError, match="at least 4"):
        DirectionalFsc(3, 8.0)
    with pytest.raises(ValueError, match="must be positive"):
        DirectionalFsc(SIDE, 0.0)
    assert made.n_cubes == 0
