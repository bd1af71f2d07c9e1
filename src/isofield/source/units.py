"""Lengths as files state them, turned into exact nanometres."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import isfinite

from isofield.geometry import exact_nm
from isofield.source.volume import VoxelSize

_NM = {
    "nm": Fraction(1),
    "µm": Fraction(10**3),
    "um": Fraction(10**3),
    "mm": Fraction(10**6),
    "cm": Fraction(10**7),
    "m": Fraction(10**9),
    "pm": Fraction(1, 10**3),
    "å": Fraction(1, 10),
    "in": Fraction(25_400_000),
}
_NAMES = {
    "nanometer": "nm",
    "nanometre": "nm",
    "micrometer": "µm",
    "micrometre": "µm",
    "micron": "µm",
    "millimeter": "mm",
    "millimetre": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
    "picometer": "pm",
    "picometre": "pm",
    "angstrom": "å",
    "ångström": "å",
    "inch": "in",
}
_NO_LENGTH = {"", "pixel", "px", "voxel", "reference frame"}
_EXACT_DIGITS = 12


@dataclass(frozen=True)
class StatedSize:
    """The voxel size a file states, z, y, x in nm; or None and the reason why none can be taken from it."""

    nm: VoxelSize | None
    problem: str = ""


def nothing_stated(problem: str = "its metadata state none") -> StatedSize:
    return StatedSize(None, problem)


def stated_size(values: Sequence[object], units: Sequence[str | None]) -> StatedSize:
    """Voxel size from three numbers (z, y, x; text, int or float; None: not stated) and their units.

    Never raises and never guesses: an absent number, an absent or unknown unit, or a number that is no
    positive length gives a StatedSize that says so.
    """
    if all(value is None for value in values):
        return nothing_stated()
    sizes = []
    for axis, value, unit in zip("zyx", values, units, strict=True):
        if value is None:
            return nothing_stated(f"its metadata state no size along {axis}")
        factor, problem = _factor(unit)
        if factor is None:
            return nothing_stated(problem)
        number = decimal_of(value)
        if number is None or number <= 0:
            return nothing_stated(f"its metadata state {_shown(value)} along {axis}, which is no length")
        sizes.append(number * factor)
    return StatedSize((sizes[0], sizes[1], sizes[2]))


def _shown(value: object) -> str:
    return f"{float(value):g}" if isinstance(value, Fraction) else repr(value)


def decimal_of(value: object) -> Fraction | None:
    """The short decimal that a stored number stands for, exactly; None if it is no finite number.

    Text of up to 12 digits is taken as written. Longer text and floats carry the rounding of the float they
    went through, which is undone: the 32-bit float nearest 0.26 reads as 0.25999999046325684 and means
    26/100.
    """
    if isinstance(value, Fraction):
        return value
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if not isfinite(number):
        return None
    if isinstance(value, str) and number != 0:
        written = Decimal(value.strip().replace("_", ""))
        if len(written.as_tuple().digits) <= _EXACT_DIGITS:
            return Fraction(written)
    if float(format(number, f".{_EXACT_DIGITS}g")) != number:
        number = _undo_single_precision(number)
    return exact_nm(number)


def _undo_single_precision(number: float) -> float:
    try:
        single = struct.pack("f", number)
    except OverflowError:
        return number
    if struct.unpack("f", single)[0] != number:
        return number
    texts = (format(number, f".{digits}g") for digits in range(1, 10))
    return next(float(text) for text in texts if struct.pack("f", float(text)) == single)


def _factor(unit: str | None) -> tuple[Fraction | None, str]:
    """Nanometres in one `unit`, or None and what is wrong with it. Look-alike mu and Angstrom signs count."""
    text = (unit or "").strip().replace("μ", "µ").replace("\u212b", "Å").replace("Å", "å")
    if text.lower() in _NO_LENGTH:
        return None, f"its metadata give no unit of length ({unit!r})"
    long_name = text.lower()
    symbol = _NAMES.get(long_name) or _NAMES.get(long_name.removesuffix("s")) or text
    if symbol not in _NM:
        return None, f"its metadata give the unknown unit {unit!r}"
    return _NM[symbol], ""
