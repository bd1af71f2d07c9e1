"""The noise of a draw: white, and the same wherever blocks overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.field.inputs import NOISE_CELL, white_noise
from isofield.geometry import Roi

rois = st.builds(Roi, st.tuples(*(st.integers(0, 2 * NOISE_CELL + 3),) * 3), st.tuples(*(st.integers(1, NOISE_CELL + 5),) * 3))


@settings(max_examples=15)
@given(rois, rois, st.integers(0, 2**31 - 1))
def test_blocks_that_overlap_draw_the_same_noise_there(one, other, seed):
    shared = one.intersect(other)
    first, second = (white_noise(seed, roi)[shared.relative_to(roi).slices] for roi in (one, other))
    np.testing.assert_array_equal(first, second)


def test_noise_drawn_region_by_region_would_differ_where_they_overlap():
    """Negative control: this is what the lattice of cells is for."""

    def naive(seed, roi):
        return np.random.default_rng(seed).standard_normal(roi.shape, np.float32)

    one, other = Roi((0, 0, 0), (8, 8, 8)), Roi((4, 0, 0), (8, 8, 8))
    assert (naive(0, one)[4:] != naive(0, other)[:4]).mean() > 0.99
    assert (white_noise(0, one)[4:] == white_noise(0, other)[:4]).all()


def test_noise_is_white_and_of_unit_variance():
    roi = Roi((NOISE_CELL // 2, 3, NOISE_CELL - 1), (70, 66, 68))
    noise = white_noise(11, roi)
    assert (noise.shape, noise.dtype) == (roi.shape, np.float32)
    n = noise.size
    assert abs(noise.mean()) < 5 / np.sqrt(n)
    assert noise.var() == pytest.approx(1, abs=5 * np.sqrt(2 / n))
    # Neither next to each other, nor a cell apart do voxels know of one another.
    for axis in range(3):
        for apart in (1, NOISE_CELL):
            a, b = (np.moveaxis(noise, axis, 0)[cut] for cut in (slice(apart, None), slice(-apart)))
            assert abs(float((a * b).mean())) < 5 / np.sqrt(a.size)


def test_every_seed_draws_noise_of_its_own():
    roi = Roi((30, 0, 0), (40, 20, 20))
    a, b = white_noise(0, roi), white_noise(1, roi)
    assert abs(float(np.corrcoef(a.ravel(), b.ravel())[0, 1])) < 5 / np.sqrt(a.size)
    np.testing.assert_array_equal(a, white_noise(0, roi))
