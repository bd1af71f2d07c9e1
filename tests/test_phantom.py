"""The synthetic tissue: same bytes every time, no preferred axis, noise and grey levels like real FIB-SEM."""

from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from isofield import phantom
from isofield.errors import InputError
from isofield.phantom import anatomy, exact

BANDS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 0.5)  # cycles per voxel; the last band is noise


@pytest.fixture(scope="module")
def volumes() -> list[np.ndarray]:
    return [phantom.tissue((80, 80, 80), seed) for seed in range(8)]


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    return phantom.tissue((96, 96, 96), 5)


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return phantom.tissue_clean((96, 96, 96), 5)


def band_power(volume: np.ndarray) -> np.ndarray:
    """Mean power of lines along z, y and x in the octaves between BANDS, (3, 4)."""
    out = np.zeros((3, len(BANDS) - 1))
    for axis in range(3):
        lines = np.moveaxis(volume.astype(np.float32) - volume.mean(), axis, -1)
        n = lines.shape[-1]
        power = (np.abs(np.fft.rfft(lines * np.hanning(n).astype(np.float32))) ** 2).mean(axis=(0, 1))
        band = np.digitize(np.fft.rfftfreq(n), BANDS) - 1
        out[axis] = [power[band == k].mean() for k in range(len(BANDS) - 1)]
    return out


def anisotropy(volumes: list[np.ndarray]) -> float:
    """Largest relative deviation of one axis from the mean of the axes, over the bands."""
    power = np.mean([band_power(v) for v in volumes], axis=0)
    return float(np.abs(power / power.mean(axis=0) - 1).max())


def psnr(truth: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((truth.astype(np.float64) - other) ** 2)))


def cubic_from_sections(volume: np.ndarray, factor: int = 8) -> np.ndarray:
    n = volume.shape[0] // factor
    sections = volume.reshape(n, factor, *volume.shape[1:]).mean(axis=1)
    spline = CubicSpline(np.arange(n) * factor + (factor - 1) / 2, sections, axis=0)
    return np.clip(spline(np.arange(volume.shape[0])), 0, 255)


def lag_one(noise: np.ndarray) -> np.ndarray:
    """Correlation of neighbours along z, y and x."""
    rows = (np.moveaxis(noise, axis, 0) for axis in range(3))
    return np.array([np.mean(r[1:] * r[:-1]) / np.mean(noise**2) for r in rows])


# --- determinism


def test_same_arguments_same_bytes_and_other_arguments_other_tissue():
    first = phantom.tissue((24, 32, 40), 3)
    assert first.shape == (24, 32, 40)
    assert first.dtype == np.uint8
    assert np.array_equal(first, phantom.tissue((24, 32, 40), 3))
    assert not np.array_equal(first, phantom.tissue((24, 32, 40), 4))
    assert not np.array_equal(first, phantom.tissue_clean((24, 32, 40), 3))


def test_bytes_are_those_of_every_other_machine():
    """A change of this digest is a change of the tissue: figures quoted for it must be measured anew."""
    digest = hashlib.sha256(phantom.tissue((24, 32, 40), 3).tobytes()).hexdigest()
    assert digest == "fc6aec000bbefbaffaeff443fc20e38d7aecf441957288037b1cc4db75df0e48"


def test_global_random_state_is_neither_read_nor_moved():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = phantom.tissue((16, 16, 16))
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(2)
    assert np.array_equal(first, phantom.tissue((16, 16, 16)))


def test_bricks_leave_no_trace(monkeypatch):
    whole = phantom.tissue_clean((40, 40, 40), 1)
    monkeypatch.setattr(anatomy, "_BRICK", 11)
    assert np.array_equal(whole, phantom.tissue_clean((40, 40, 40), 1))


def test_a_careless_choice_of_neurites_per_brick_would_show(monkeypatch):
    whole = phantom.tissue_clean((40, 40, 40), 1)
    monkeypatch.setattr(anatomy, "_two_nearest", lambda near, *rest: TWO_NEAREST(near[:2], *rest))
    assert not np.array_equal(whole, phantom.tissue_clean((40, 40, 40), 1))


TWO_NEAREST = anatomy._two_nearest


# --- no preferred axis


def test_spectra_along_all_axes_agree(volumes):
    assert anisotropy(volumes) < 0.15


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blur_along_one_axis_is_caught(volumes, axis):
    blurred = [gaussian_filter1d(v.astype(np.float32), 0.6, axis=axis) for v in volumes]
    assert anisotropy(blurred) > 0.3


# --- noise


@pytest.mark.parametrize("rms", [2.0, 4.5, 9.0])
def test_noise_has_the_level_asked_for(rms):
    noise = phantom.tissue((64, 64, 64), 5, rms).astype(np.float64) - phantom.tissue_clean((64, 64, 64), 5)
    assert abs(noise.mean()) < 0.05
    assert noise.std() == pytest.approx(rms, rel=0.06)


def test_clean_is_noise_zero():
    clean = phantom.tissue_clean((20, 20, 20), 5)
    assert np.array_equal(clean, phantom.tissue((20, 20, 20), 5, noise=0))
    assert not np.array_equal(clean, phantom.tissue((20, 20, 20), 5, noise=1))


def test_noise_correlates_a_little_and_equally_along_all_axes(noisy, clean):
    noise = noisy.astype(np.float64) - clean
    lags = lag_one(noise)
    assert np.ptp(lags) < 0.02
    assert 0.05 < lags.mean() < 0.3
    assert np.ptp(lag_one(gaussian_filter1d(noise, 0.5, axis=0))) > 0.02


def test_noise_grows_with_the_signal(noisy, clean):
    noise = noisy.astype(np.float64) - clean
    dark, bright = clean < 90, clean > 165
    assert 1.1 < noise[bright].std() / noise[dark].std() < 1.5
    shuffled = np.random.default_rng(0).permutation(noise.ravel()).reshape(noise.shape)
    assert shuffled[bright].std() / shuffled[dark].std() == pytest.approx(1, abs=0.03)


# --- grey levels


def clipped_share(volume: np.ndarray) -> float:
    return float(np.mean((volume == 0) | (volume == 255)))


def test_range_is_used_and_not_clipped(volumes):
    for volume in volumes:
        assert clipped_share(volume) < 0.001
    every = np.stack(volumes)
    assert 30 < every.std() < 40
    assert 120 < every.mean() < 145
    low, high = np.percentile(every, [5, 95])
    assert high - low > 90
    stretched = np.clip((every - every.mean()) * 4 + every.mean(), 0, 255).astype(np.uint8)
    assert clipped_share(stretched) > 0.001


# --- anatomy


def wall_slopes() -> np.ndarray:
    """Slope of the distance to the membrane in a shell beside it: 1 where the distance is true."""
    shape = (64, 64, 64)
    structure = exact.Stream(np.random.SeedSequence(0))
    wall = anatomy.anatomy_of(structure, shape, anatomy.pack(structure, shape)).wall
    slope = np.sqrt(sum(g**2 for g in np.gradient(wall)))
    return slope[(wall > 1.5) & (wall < 3.5)]


def test_membranes_have_one_thickness():
    slopes = wall_slopes()
    assert np.median(slopes) == pytest.approx(1, abs=0.06)
    assert np.mean(np.abs(slopes - 1) < 0.25) > 0.8


def test_distances_in_warped_space_would_make_thickness_vary(monkeypatch):
    monkeypatch.setattr(anatomy._Stretch, "__call__", lambda self, gradient: np.float32(1.5))
    assert np.mean(np.abs(wall_slopes() - 1) < 0.25) < 0.6


def test_mitochondria_stay_inside_their_neurites():
    shape = (96, 96, 96)
    structure = exact.Stream(np.random.SeedSequence(0))
    within = anatomy.anatomy_of(structure, shape, anatomy.pack(structure, shape))
    inside = within.mitochondrion < 0
    assert 0.03 < inside.mean() < 0.4
    assert within.wall[inside].min() >= 4
    assert within.wall[np.roll(inside, 12, axis=0)].min() < 4


# --- difficulty and cost


def test_cubic_interpolation_is_far_from_the_noise_floor(noisy, clean):
    for axis in range(3):
        truth = np.moveaxis(noisy, axis, 0)
        assert 22 < psnr(truth, cubic_from_sections(truth)) < 27
    assert psnr(noisy, clean) > 33
    smooth = gaussian_filter1d(noisy.astype(np.float32), 4, axis=0)
    assert psnr(smooth, cubic_from_sections(smooth)) > 33


def test_memory_is_as_promised():
    n = 64
    tracemalloc.start()
    phantom.tissue((n, n, n))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 20 < peak / n**3 <= 70


@pytest.mark.parametrize("shape", [(16, 16, 16), (16, 70, 17), (33, 16, 50)])
def test_any_shape_of_sixteen_or_more(shape):
    volume = phantom.tissue(shape, 2)
    assert volume.shape == shape
    assert volume.std() > 10


@pytest.mark.parametrize(
    ("arguments", "thing"),
    [
        (((15, 16, 16),), "shape"),
        (((64, 64),), "shape"),
        (((16, 16, 16), -1), "seed"),
        (((16, 16, 16), 0, -0.1), "noise"),
        (((16, 16, 16), 0, float("nan")), "noise"),
    ],
)
def test_bad_input_names_the_thing(arguments, thing):
    with pytest.raises(InputError, match=f"phantom {thing}"):
        phantom.tissue(*arguments)
