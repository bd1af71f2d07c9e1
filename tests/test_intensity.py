"""One global map of grey values; integers clip and never wrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from isofield.intensity import Intensity, IntensitySpec, clipped_count, to_dtype

quick = settings(max_examples=80)
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
EVERY_GREY = np.arange(65536, dtype=np.uint16)


@quick
@given(st.integers(0, 65000), st.integers(1, 65535))
def test_every_grey_value_comes_back(low, contrast):
    intensity = Intensity(low, low + contrast)
    back = to_dtype(intensity.restore(intensity.normalise(EVERY_GREY)), np.uint16)
    assert np.array_equal(back, EVERY_GREY)


def test_low_and_high_map_to_minus_one_and_one_and_nothing_is_clipped():
    intensity = Intensity(50, 150)
    units = intensity.normalise(np.array([50, 100, 150, 250], np.uint8))
    assert units.dtype == np.float32
    assert units.tolist() == [-1, 0, 1, 3]
    assert intensity.grey_per_unit == 50
    assert intensity.restore(np.float32([-3, 0.5])).tolist() == [-50, 125]
    assert Intensity(**intensity.to_dict()) == intensity


def test_another_map_does_not_give_the_grey_values_back():
    back = to_dtype(Intensity(0, 101).restore(Intensity(0, 100).normalise(EVERY_GREY)), np.uint16)
    assert not np.array_equal(back, EVERY_GREY)


def test_percentiles_of_the_sample_are_taken():
    grey = np.random.default_rng(0).permutation(np.arange(1001, dtype=np.uint16))
    assert Intensity.from_samples(grey, IntensitySpec(low_percentile=10, high_percentile=90)) == Intensity(100, 900)


def test_a_volume_that_is_nearly_all_background_falls_back_to_its_range():
    grey = np.zeros(1000, np.uint8)
    grey[:3] = 200
    assert Intensity.from_samples(grey, IntensitySpec()) == Intensity(0, 200)


def test_no_contrast_and_upside_down_are_refused():
    with pytest.raises(ValueError, match="high > low"):
        Intensity.from_samples(np.full(100, 7), IntensitySpec())
    with pytest.raises(ValueError, match="high > low"):
        Intensity(3, 3)
    with pytest.raises(ValidationError, match="must be below high_percentile"):
        IntensitySpec(low_percentile=60, high_percentile=40)


# Integers


def limits(dtype: str) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


@quick
@given(
    hnp.arrays(st.sampled_from(["float32", "float64"]), 12, elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    st.sampled_from(INTEGERS),
)
def test_integers_never_wrap(values, dtype):
    low, high = limits(dtype)
    expected = [min(max(round(float(v)), low), high) for v in values]
    cast = to_dtype(values, dtype)
    assert cast.dtype == dtype
    assert cast.tolist() == expected


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_just_beyond_the_limits(dtype, kind):
    low, high = limits(dtype)
    beyond = np.array([low - 1, high + 1, low - 1e6, high + 1e6, -np.inf, np.inf, 3e9, -3e9], kind)
    assert to_dtype(beyond[:6], dtype).tolist() == [low, high] * 3
    assert (np.diff(to_dtype(np.sort(beyond), dtype).astype(np.int64)) >= 0).all()


def test_plain_casting_wraps():
    assert np.array([300, -1]).astype(np.uint8).tolist() == [44, 255]
    assert to_dtype(np.array([300, -1]), np.uint8).tolist() == [255, 0]


def test_rounding_is_to_the_nearest_even():
    assert to_dtype(np.float32([0.5, 1.5, 2.5, 2.51, -0.5]), np.int16).tolist() == [0, 2, 2, 3, 0]


def test_floats_are_only_cast():
    values = np.array([-1e30, 0.25, 1e30])
    assert to_dtype(values, np.float32).tolist() == values.astype(np.float32).tolist()
    assert clipped_count(values, np.float32) == 0


@quick
@given(hnp.arrays("float32", 30, elements=st.floats(-400, 400, width=32)))
def test_clipped_are_those_more_than_half_a_level_outside(values):
    expected = sum(v < -0.5 or v > 255.5 for v in values.tolist())
    assert clipped_count(values, np.uint8) == expected
    kept = values[(values >= -0.5) & (values <= 255.5)]
    assert clipped_count(kept, np.uint8) == 0
    assert abs(to_dtype(kept, np.uint8).astype(float) - kept).max(initial=0) <= 0.5
