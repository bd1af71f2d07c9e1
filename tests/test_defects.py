"""Detecting bad sections: what is planted is found, by its kind, and nothing else is; what stands in for them."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isofield.config import load_config
from isofield.defects.detection import AROUND, Detector, merged
from isofield.defects.filling import fill_matrix, neighbours_of, planes_of, run_lengths
from isofield.defects.spec import BadSection, SectionsSpec
from isofield.geometry import AxialMap
from isofield.interpolation import GAP_AMPLITUDE, phase_features
from isofield.phantom import tissue
from isofield.source import open_source
from isofield.stages.inspecting import detected

DATA = Path(os.environ.get("ISOFIELD_DATA", Path(__file__).parents[2] / "shared" / "data"))
RATIO, SIDE = 4, 128
SECTIONS = np.rint(tissue((28 * RATIO, SIDE, SIDE)).reshape(28, RATIO, SIDE, SIDE).mean(axis=1)).astype(np.uint8)
RNG = np.random.default_rng(0)


def cells_of(sections):
    half = sections.shape[1] // 2
    return np.stack([sections[:, y : y + half, x : x + half] for y in (0, half) for x in (0, half)], axis=1)


def found_in(sections, step=5, **spec):
    detector = Detector(SectionsSpec(**spec))
    cells = cells_of(sections)
    for begin in range(0, len(cells), step):
        detector.add(cells[begin : begin + step])
    return {bad.section: bad.kind for bad in detector.bad_sections()}


def shuffled(own, before):
    return RNG.permutation(own.ravel()).reshape(own.shape)


PLANTED = {
    "missing": lambda own, before: 0 * own,
    "faint": lambda own, before: RNG.normal(5, 1, own.shape),
    "saturated": lambda own, before: np.where(own > np.percentile(own, 25), 255, own),
    "duplicate": lambda own, before: before,
    "noisy": lambda own, before: own + RNG.normal(0, 120, own.shape),
    "outlier": lambda own, before: own[::-1, ::-1],
}


@pytest.mark.parametrize("at", [0, 13, 27])
@pytest.mark.parametrize("kind", PLANTED)
def test_a_bad_section_is_found_by_its_kind_and_no_other_is(kind, at):
    if kind == "duplicate" and at == 0:
        pytest.skip("has nothing before it to be a copy of")
    spoilt = SECTIONS.copy()
    spoilt[at] = np.clip(PLANTED[kind](SECTIONS[at].astype(float), SECTIONS[at - 1]), 0, 255)
    assert found_in(spoilt) == {at: kind}


def test_sound_sections_are_let_be():
    assert found_in(SECTIONS) == {}
    # However bright: a gain or an offset from section to section is no defect.
    gains = (SECTIONS * np.linspace(0.5, 1, 28)[:, None, None] + 10 * (np.arange(28) % 2)[:, None, None]).astype(np.uint8)
    assert found_in(gains) == {}


def test_several_in_a_row_are_found():
    spoilt = SECTIONS.copy()
    spoilt[9:12], spoilt[20] = 0, 0
    assert found_in(spoilt) == dict.fromkeys((9, 10, 11, 20), "missing")
    assert run_lengths({9, 10, 11, 20}) == (1, 3)


def test_a_good_section_between_two_bad_ones_is_believed():
    spoilt = SECTIONS.copy()
    for at in (9, 11):
        spoilt[at] = shuffled(SECTIONS[at], None)
    assert set(found_in(spoilt)) == {9, 11}


def test_a_jump_in_alignment_is_no_bad_section():
    """Sections are like their neighbours on one side: both sides of the jump are good."""
    moved = SECTIONS.copy()
    moved[14:] = np.roll(moved[14:], (40, 25), axis=(1, 2))
    assert found_in(moved) == {}


def test_empty_space_is_not_missing():
    empty = SECTIONS.copy()
    empty[: AROUND + 1] = 0
    assert found_in(empty) == {}
    empty[: AROUND + 1] = SECTIONS[: AROUND + 1]
    empty[5 : 5 + 2 * AROUND] = 0
    assert found_in(empty) == {}
    empty[: AROUND // 2], empty[AROUND // 2 :] = 0, SECTIONS[AROUND // 2 :]
    assert found_in(empty) == dict.fromkeys(range(AROUND // 2), "missing")
    partly = SECTIONS.copy()
    partly[:, :, SIDE // 2 :] = 0
    assert found_in(partly) == {}
    # What is missing is judged by the rest.
    partly[13] = 0
    assert found_in(partly) == {13: "missing"}


def test_half_a_section_decides():
    torn = SECTIONS.copy()
    torn[13, : SIDE // 2] = 0
    assert found_in(torn) == {13: "missing"}
    assert found_in(torn, area_share=0.6) == {}


def test_of_equal_sections_the_one_in_its_place_is_kept():
    """A copy of what comes after is a copy too, and it is the one farther from what lies before."""
    after = SECTIONS.copy()
    after[12] = SECTIONS[13]
    assert found_in(after) == {12: "duplicate"}
    twice = SECTIONS.copy()
    twice[13:15] = SECTIONS[12]
    assert found_in(twice) == {13: "duplicate", 14: "duplicate"}


@pytest.mark.parametrize("step", [1, 7, 28])
def test_how_many_are_read_at_once_does_not_matter(step):
    spoilt = SECTIONS.copy()
    spoilt[7], spoilt[15] = SECTIONS[7, ::-1, ::-1], SECTIONS[14]
    assert found_in(spoilt, step) == {7: "outlier", 15: "duplicate"}


def test_sections_of_floats_with_nan_are_missing():
    floats = SECTIONS.astype(np.float32)
    floats[5] = np.nan
    assert found_in(floats) == {5: "missing"}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_of_a_few_sections_nothing_is_said_or_little(n):
    assert found_in(SECTIONS[:n]) == {}


def test_lists_add_and_remove():
    found = [BadSection(section=3, kind="missing", why=""), BadSection(section=5, kind="faint", why="")]
    both = merged(SectionsSpec(bad=[5, 9], good=[3]), found)
    assert [(bad.section, bad.kind) for bad in both] == [(5, "faint"), (9, "listed")]
    with pytest.raises(ValueError, match="both bad and good"):
        SectionsSpec(bad=[1], good=[1])


# What stands in for them


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**12 - 2), st.integers(0, 11))
def test_neighbours_are_the_nearest_good_ones_and_weigh_by_distance(bits, section):
    bad = {k for k in range(12) if bits >> k & 1}
    weights = neighbours_of(section, bad, 12) if bad != set(range(12)) - {section} else {0: 1.0}
    assert sum(weights.values()) == pytest.approx(1)
    if len(weights) == 2:
        assert sum(other * weight for other, weight in weights.items()) == pytest.approx(section)
        assert not weights.keys() & bad
        assert set(range(min(weights) + 1, max(weights))) <= bad | {section}


def test_without_a_good_section_there_is_nothing_to_fill_with():
    with pytest.raises(ValueError, match="none of 3 sections is good"):
        neighbours_of(1, {0, 1, 2}, 3)


def test_a_ramp_is_filled_with_a_ramp():
    ramp = np.arange(10.0)
    spoilt = np.where(np.isin(ramp, (3, 6, 7)), 99, ramp)
    np.testing.assert_allclose(fill_matrix(range(10), {3, 6, 7}) @ spoilt, ramp)
    np.testing.assert_array_equal(fill_matrix(range(10), {3, 6, 7})[:, [3, 6, 7]], 0)
    np.testing.assert_array_equal(fill_matrix(range(10), ()), np.eye(10))


@pytest.mark.parametrize("ratio", ["4", "250/23"])
def test_planes_belong_to_the_section_that_holds_their_centre(ratio):
    axial = AxialMap(Fraction(ratio), 6)
    inside = planes_of(axial, {2, 5}, 0, axial.n_planes)
    for plane, found in enumerate(inside):
        held = [s for s in (2, 5) if axial.section_edges(s)[0] <= plane + Fraction(1, 2) < axial.section_edges(s)[1]]
        assert found == bool(held) or plane == axial.n_planes - 1
    assert abs(inside.sum() - 2 * float(axial.ratio)) <= 2


def test_the_prior_is_told_of_a_gap_by_the_amplitude_alone():
    axial = AxialMap(Fraction(4), 6)
    plain, told = (phase_features(axial, 0, 24, gap) for gap in (None, planes_of(axial, {2}, 0, 24)))
    np.testing.assert_allclose(told[:, 8:12], GAP_AMPLITUDE * plain[:, 8:12])
    np.testing.assert_array_equal(np.delete(told, range(8, 12), 1), np.delete(plain, range(8, 12), 1))
    np.testing.assert_allclose(np.arctan2(*told), np.arctan2(*plain), atol=1e-6)


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder ISOFIELD_DATA is not there")
@pytest.mark.parametrize(
    "name", ["cremi_sstem", "vnc_sstem", "mousebrain_fluorescence", "nuclei_fluorescence", "chromosomes_fluorescence"]
)
def test_real_volumes_without_defects_have_none(name):
    """Looked at by eye: no section of these is lost."""
    volume = open_source(
        load_config(json.dumps({"run": {"name": "look"}, "source": {"path": str(DATA / f"{name}.ome.tif")}})).source
    )
    assert detected(volume, SectionsSpec()) == []
