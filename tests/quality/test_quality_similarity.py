"""PSNR and SSIM against scikit-image, and their accumulation block by block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from isofield.blocks import BlockGrid
from isofield.geometry import ZYX, Roi
from isofield.quality.similarity import MARGIN, SSIM_WINDOW, Similarity, data_range, ssim_map

INTERIOR = (slice(MARGIN, -MARGIN),) * 3


@pytest.fixture(scope="module")
def pair():
    """Truth and a noisy, blurred copy of it, uint8 (Z, Y, X)."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(22, 30, 26)), 1.2)
    truth = np.clip(128 + 50 * smooth / smooth.std(), 0, 255)
    image = np.clip(ndimage.gaussian_filter1d(truth, 1.5, axis=0) + rng.normal(0, 6, truth.shape), 0, 255)
    return np.rint(truth).astype(np.uint8), np.rint(image).astype(np.uint8)


def whole(image, truth, full_scale=255.0):
    total = Similarity(full_scale)
    total.add(image, truth, (slice(None),) * 3, INTERIOR)
    return total


def test_the_map_averages_to_scikit_image(pair):
    truth, image = pair
    expected = structural_similarity(truth, image, win_size=SSIM_WINDOW, data_range=255)
    assert ssim_map(image, truth, 255, (7, 7, 7))[INTERIOR].mean() == pytest.approx(expected, abs=1e-6)
    assert whole(image, truth).summary()["ssim"] == pytest.approx(expected, abs=1e-6)
    # Negative control: another window is another number.
    assert abs(ssim_map(image, truth, 255, (5, 5, 5))[INTERIOR].mean() - expected) > 1e-3


@pytest.mark.parametrize(("windows", "axis"), [((7, 1, 7), 1), ((7, 7, 1), 2), ((1, 7, 7), 0)])
def test_flat_windows_are_the_slices_by_themselves(pair, windows, axis):
    truth, image = pair
    values = np.moveaxis(ssim_map(image, truth, 255, windows), axis, 0)
    slices = zip(np.moveaxis(truth, axis, 0), np.moveaxis(image, axis, 0), values, strict=True)
    for a, b, own in slices:
        expected = structural_similarity(a, b, win_size=7, data_range=255)
        assert own[MARGIN:-MARGIN, MARGIN:-MARGIN].mean() == pytest.approx(expected, abs=1e-6)


def test_the_axial_figure_is_the_mean_of_zx_and_zy(pair):
    truth, image = pair
    zx, zy = (ssim_map(image, truth, 255, w)[INTERIOR].mean() for w in ((7, 1, 7), (7, 7, 1)))
    assert whole(image, truth).summary()["ssim_axial"] == pytest.approx((zx + zy) / 2, abs=1e-12)


def test_psnr_is_that_of_scikit_image(pair):
    truth, image = pair
    expected = peak_signal_noise_ratio(truth, image, data_range=255)
    assert whole(image, truth).psnr_db == pytest.approx(expected, abs=1e-9)
    rmse = whole(image, truth).summary()["rmse_grey"]
    assert 20 * np.log10(255 / rmse) == pytest.approx(expected, abs=1e-9)


def test_an_image_equals_itself(pair):
    truth, _ = pair
    same = whole(truth, truth).summary()
    assert (same["psnr_db"], same["rmse_grey"]) == (float("inf"), 0.0)
    assert (same["ssim"], same["ssim_axial"]) == pytest.approx((1.0, 1.0), abs=1e-9)


def by_blocks(image, truth, core, margin=MARGIN):
    """As the measure stage does it: every block with a margin around what it owns."""
    grid = BlockGrid(ZYX(*image.shape), core, ZYX(0, 0, 0))
    inside = grid.bounds.grown((-MARGIN,) * 3)
    total = Similarity(255.0)
    for block in grid:
        region = block.write_roi.grown((margin,) * 3).intersect(grid.bounds)
        own = Similarity(255.0)
        own.add(
            image[region.slices],
            truth[region.slices],
            block.write_roi.relative_to(region).slices,
            block.write_roi.intersect(inside).relative_to(region).slices
            if not block.write_roi.intersect(inside).empty
            else Roi((0, 0, 0), (0, 0, 0)).slices,
        )
        total.merge(own)
    return total


@settings(max_examples=10)
@given(st.tuples(*[st.integers(5, 30)] * 3))
def test_blocks_add_up_to_the_whole(pair, core):
    truth, image = pair
    together, parts = whole(image, truth), by_blocks(image, truth, ZYX(*core))
    assert (parts.n_vox, parts.n_ssim_vox) == (together.n_vox, together.n_ssim_vox)
    assert parts.squared_error == together.squared_error
    assert parts.summary() == pytest.approx(together.summary(), abs=1e-9)


def test_blocks_without_a_margin_do_not_add_up(pair):
    """Negative control: windows that end at block faces see another image."""
    truth, image = pair
    together, parts = whole(image, truth), by_blocks(image, truth, ZYX(11, 10, 13), margin=0)
    assert parts.squared_error == together.squared_error
    assert abs(parts.summary()["ssim"] - together.summary()["ssim"]) > 1e-3


def test_the_full_scale_of_bytes_is_255_and_of_others_their_contrast():
    assert data_range("uint8", 10, 90) == 255.0
    assert data_range(np.uint16, 1000, 5000) == 4000.0
    assert data_range("float32", -1.5, 0.5) == 2.0


def test_grey_values_and_full_scale_scale_together(pair):
    truth, image = (a.astype(np.float64) * 257 for a in pair)
    wide = whole(image, truth, 255.0 * 257).summary()
    narrow = whole(image / 257, truth / 257, 255.0).summary()
    for name in ("psnr_db", "ssim", "ssim_axial"):
        assert wide[name] == pytest.approx(narrow[name], abs=1e-6)
