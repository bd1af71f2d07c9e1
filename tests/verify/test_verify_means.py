"""Means by integer sums are those that the pyramid is written with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.intensity import to_dtype
from isofield.omezarr.canvas import DTYPES
from isofield.omezarr.pyramid import mean_2x2x2
from isofield.verify.means import rounded_means


@settings(max_examples=150)
@given(st.sampled_from(DTYPES), st.tuples(*[st.integers(1, 7)] * 3), st.integers(0, 10**6), st.booleans())
def test_they_agree_for_every_dtype_and_shape(dtype, shape, seed, extreme):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        fine = rng.normal(size=shape).astype(dtype)
    else:
        info = np.iinfo(dtype)
        ends = np.array([info.min, info.min + 1, info.max - 1, info.max])
        fine = (rng.choice(ends, shape) if extreme else rng.integers(info.min, info.max, shape, endpoint=True)).astype(dtype)
    expected = to_dtype(mean_2x2x2(fine), dtype)
    found = rounded_means(fine)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("eight", "mean"), [([0, 0, 0, 0, 1, 1, 1, 1], 0), ([1, 1, 1, 1, 2, 2, 2, 2], 2), ([0, 0, 0, 1, 1, 1, 1, 1], 1)]
)
def test_halves_go_to_the_even_number(eight, mean):
    for sign, dtype in ((1, np.uint8), (-1, np.int16)):
        assert rounded_means(sign * np.array(eight, dtype).reshape(2, 2, 2)).item() == sign * mean
