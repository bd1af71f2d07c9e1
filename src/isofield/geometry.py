"""Immutable boxes on the voxel lattice and the exact map between sections and isotropic planes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple


class ZYX(NamedTuple):
    """Three numbers in z, y, x order: a shape, an offset or a voxel size."""

    z: int
    y: int
    x: int

    def __add__(self, other: Iterable[int]) -> ZYX:  # type: ignore[override]
        return ZYX(*(a + b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other: Iterable[int]) -> ZYX:
        return ZYX(*(a - b for a, b in zip(self, other, strict=True)))

    @property
    def volume(self) -> int:
        return self.z * self.y * self.x


@dataclass(frozen=True, order=True)
class Roi:
    """Half-open box of voxels, [offset, offset + shape) on each axis. Shapes are never negative."""

    offset: ZYX
    shape: ZYX

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", ZYX(*self.offset))
        object.__setattr__(self, "shape", ZYX(*self.shape))
        if min(self.shape) < 0:
            raise ValueError(f"Roi shape {tuple(self.shape)} has a negative side")

    @classmethod
    def between(cls, begin: Iterable[int], end: Iterable[int]) -> Roi:
        """The box [begin, end); sides where end < begin become empty."""
        begin, end = ZYX(*begin), ZYX(*end)
        return cls(begin, ZYX(*(max(0, e - b) for b, e in zip(begin, end, strict=True))))

    @property
    def end(self) -> ZYX:
        return self.offset + self.shape

    @property
    def volume(self) -> int:
        return self.shape.volume

    @property
    def empty(self) -> bool:
        return self.volume == 0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of this box in an array whose voxel 0 is the lattice origin."""
        return tuple(slice(b, e) for b, e in zip(self.offset, self.end, strict=True))  # type: ignore[return-value]

    def shifted(self, by: Iterable[int]) -> Roi:
        return Roi(self.offset + by, self.shape)

    def relative_to(self, outer: Roi) -> Roi:
        """This box in coordinates whose origin is the offset of `outer`."""
        return Roi(self.offset - outer.offset, self.shape)

    def grown(self, margin: Iterable[int]) -> Roi:
        margin = ZYX(*margin)
        return Roi.between(self.offset - margin, self.end + margin)

    def intersect(self, other: Roi) -> Roi:
        begin = (max(a, b) for a, b in zip(self.offset, other.offset, strict=True))
        end = (min(a, b) for a, b in zip(self.end, other.end, strict=True))
        return Roi.between(begin, end)

    def contains(self, other: Roi) -> bool:
        return other.empty or self.intersect(other) == other


def exact_nm(value: float | int | str | Fraction) -> Fraction:
    """A length in nm as the rational its decimal text denotes (4.6 is 23/5, not a binary float)."""
    if isinstance(value, Fraction):
        return value
    return Fraction(str(value) if not isinstance(value, float) else format(value, ".12g"))


@dataclass(frozen=True)
class AxialMap:
    """Exact map between measured sections and isotropic planes along z.

    Positions are voxel *edges* in units of isotropic voxels from the start of the volume::

        edges of sections   0         ratio      2 ratio     3 ratio ...
        edges of planes     0 1 2 3 4 5 6 7 8 9 ...

    ratio = section thickness / isotropic voxel size, a rational > 0 (10.87 is 250/23, never 10.869).
    The isotropic volume has ceil(n_sections * ratio) planes, so no measured depth is cut off; when the product
    is not whole, the last plane overhangs by less than one voxel.
    """

    ratio: Fraction
    n_sections: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", Fraction(self.ratio))
        if self.ratio <= 0 or self.n_sections < 1:
            raise ValueError(f"AxialMap needs ratio > 0 and n_sections >= 1, got {self.ratio}, {self.n_sections}")

    @property
    def n_planes(self) -> int:
        return ceil(self.n_sections * self.ratio)

    def section_edges(self, index: int) -> tuple[Fraction, Fraction]:
        """Begin and end of section `index` in isotropic voxels; any integer index, outside the volume too."""
        return index * self.ratio, (index + 1) * self.ratio

    def sections_touching(self, begin: int, end: int) -> range:
        """Sections that share depth with planes [begin, end)."""
        first = max(0, floor(Fraction(begin) / self.ratio))
        last = min(self.n_sections, ceil(Fraction(end) / self.ratio)) if begin < end else first
        return range(first, max(first, last))

    def sections_inside(self, begin: int, end: int) -> range:
        """Sections that lie wholly within planes [begin, end)."""
        first = max(0, ceil(Fraction(begin) / self.ratio))
        last = min(self.n_sections, floor(Fraction(end) / self.ratio))
        return range(first, max(first, last))
