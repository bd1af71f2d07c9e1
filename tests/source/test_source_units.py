from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isofield.source.units import decimal_of, stated_size

lengths = st.decimals(min_value="0.001", max_value="9999", places=4).filter(lambda d: d > 0)


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("nm", 1),
        ("nanometer", 1),
        ("nanometres", 1),
        ("µm", 1000),
        ("\u03bcm", 1000),
        ("um", 1000),
        ("micron", 1000),
        ("Micrometer", 1000),
        ("mm", 10**6),
        ("cm", 10**7),
        ("meter", 10**9),
        ("Å", Fraction(1, 10)),
        ("\u212b", Fraction(1, 10)),
        ("angstrom", Fraction(1, 10)),
        ("pm", Fraction(1, 1000)),
        ("inch", 25_400_000),
    ],
)
def test_every_unit_is_converted_exactly(unit, nm):
    assert stated_size(["0.05", 0.0046, 3], [unit] * 3).nm == (
        Fraction(5, 100) * nm,
        Fraction(46, 10000) * nm,
        3 * Fraction(nm),
    )


@pytest.mark.parametrize("unit", ["furlong", "Mm", "nM", "micrograms"])
def test_an_unknown_unit_gives_no_size_but_its_name(unit):
    stated = stated_size([1, 1, 1], [unit] * 3)
    assert stated.nm is None
    assert unit in stated.problem


@pytest.mark.parametrize("unit", [None, "", " ", "pixel", "reference frame"])
def test_no_unit_of_length_gives_no_size(unit):
    assert stated_size([1, 1, 1], [unit] * 3).nm is None


@pytest.mark.parametrize("value", [None, 0, -1.0, "nan", "inf", "many", float("nan"), "1e999999999"])
def test_what_is_no_length_gives_no_size(value):
    stated = stated_size([value, 1, 1], ["nm"] * 3)
    assert stated.nm is None
    assert stated.problem


@given(lengths)
def test_the_decimal_survives_text_and_both_float_precisions(length):
    short = Fraction(length)
    assert decimal_of(str(length)) == short
    assert decimal_of(float(length)) == short
    assert decimal_of(repr(float(length))) == short
    if len(length.normalize().as_tuple().digits) <= 6:
        single = float(np.float32(length))
        assert decimal_of(single) == short
        assert decimal_of(repr(single)) == short


def test_single_precision_would_otherwise_shift_the_size():
    """Negative control: the binary value itself is another rational."""
    assert decimal_of(float(np.float32(0.26))) == Fraction(26, 100) != Fraction(float(np.float32(0.26)))
