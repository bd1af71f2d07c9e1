"""Cubes of the report: each plane belongs to a section that is there, and too few sections are an error."""

from __future__ import annotations

import numpy as np
import pytest

from isofield.report.content import Cube


def cube(n_sections: int, n_planes: int, ratio: float = 2.5) -> Cube:
    planes, sections = np.zeros((n_planes, 4, 4)), np.zeros((n_sections, 4, 4))
    return Cube("all", (0, 0, 0), ratio, 0, {"isotropic": planes}, {"measured": sections})


def test_a_plane_that_only_begins_in_the_last_section_belongs_to_it():
    """Five sections of 2.5 planes make 13 planes, of which the last one has its centre at the very end of the volume."""
    assert [cube(5, 13).section_of(plane) for plane in (0, 1, 2, 9, 11, 12)] == [0, 0, 1, 3, 4, 4]


def test_sections_that_are_missing_are_an_error():
    with pytest.raises(ValueError, match="must hold sections 0 to 5"):
        cube(5, 14)
    with pytest.raises(ValueError, match="must hold sections 0 to"):
        cube(4, 13)
