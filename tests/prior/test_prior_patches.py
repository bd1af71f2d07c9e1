"""Training patches: the lateral degradation against doing it by hand, and batches that depend on (seed, step) only."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from isofield.geometry import AxialMap
from isofield.interpolation import interpolation_matrix, phase_features
from isofield.measurement import MeasurementModel
from isofield.prior.patches import MAX_PHASES, LateralDegradation, PatchSampler

PATCH = 16
RATIOS = [Fraction(4), Fraction(8), Fraction(15, 4), Fraction(500, 46), Fraction(3, 2)]


@pytest.fixture
def texture():
    """An XY section, float32, no two places alike, smooth enough to interpolate."""
    noise = np.random.default_rng(0).normal(size=(160, 150))
    smooth = ndimage.gaussian_filter(noise, 2.0)
    return (smooth / smooth.std()).astype(np.float32)


def starts(degradation, ratio):
    """Where, in planes, the crops of all phases begin within a volume that goes on and on."""
    p = ratio.numerator
    return [10 * p + (i * p) // degradation.n_phases for i in range(degradation.n_phases)]


def degraded_by_hand(crop, ratio, start, margin, patch):
    """Average the sections that lie wholly within the crop, then interpolate: loops and scipy, no matrices."""
    end = start + len(crop)
    sections = [k for k in range(-(-start // ratio), end) if k * ratio >= start and (k + 1) * ratio <= end]
    averages = []
    for k in sections:
        total = 0.0
        for plane in range(start, end):
            shared = min((k + 1) * ratio, plane + 1) - max(k * ratio, plane)
            total = total + float(max(Fraction(0), shared) / ratio) * crop[plane - start].astype(np.float64)
        averages.append(total)
    at = (np.arange(start + margin, start + margin + patch) + 0.5) / float(ratio) - 0.5 - sections[0]
    columns = [ndimage.map_coordinates(column, at[None], order=3, mode="mirror") for column in np.array(averages).T]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
def test_it_equals_degrading_and_interpolating_by_hand(texture, ratio):
    degradation = LateralDegradation(MeasurementModel(ratio), PATCH)
    crop = texture[: degradation.length, :PATCH]
    assert crop.shape == (degradation.length, PATCH)
    wrong = 0
    for phase, start in enumerate(starts(degradation, ratio)):
        batch = degradation.condition(crop[None, None], np.array([phase]))
        by_hand = degraded_by_hand(crop, ratio, start, degradation.margin, PATCH)
        np.testing.assert_allclose(batch.condition[0, 0], by_hand, atol=1e-5)
        np.testing.assert_array_equal(batch.clean[0, 0], crop[degradation.margin : degradation.margin + PATCH])
        shifted = degraded_by_hand(crop, ratio, start + 1, degradation.margin, PATCH)
        wrong += np.abs(batch.condition[0, 0] - shifted).max() > 1e-2
    # Negative control: sections that begin one plane later would have been noticed, at every phase.
    assert wrong == degradation.n_phases


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
def test_phase_channels_turn_once_per_section(ratio):
    degradation = LateralDegradation(MeasurementModel(ratio), PATCH)
    crop = np.zeros((1, 1, degradation.length, PATCH), np.float32)
    for phase, start in enumerate(starts(degradation, ratio)):
        waves = degradation.condition(crop, np.array([phase])).condition[0, 1:]
        centre = np.arange(PATCH) + start + degradation.margin + 0.5
        # +1 at the centre of a section, -1 on the edges between two.
        turn = 2 * np.pi * (centre / float(ratio) - 0.5)
        np.testing.assert_allclose(waves[0], np.repeat(np.cos(turn)[:, None], PATCH, axis=1), atol=1e-4)
        np.testing.assert_allclose(waves[1], np.repeat(np.sin(turn)[:, None], PATCH, axis=1), atol=1e-4)


def test_constants_stay_what_they_are():
    for ratio in RATIOS:
        degradation = LateralDegradation(MeasurementModel(ratio), PATCH)
        np.testing.assert_allclose(degradation.matrices.sum(axis=2), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "n"), [(Fraction(4), 1), (Fraction(15, 4), 15), (Fraction(1087, 100), MAX_PHASES), (Fraction(1), 1)]
)
def test_there_is_a_phase_for_every_place_a_section_can_begin(ratio, n):
    """One where sections are whole planes thick: patches begin with them."""
    degradation = LateralDegradation(MeasurementModel(ratio), PATCH)
    assert degradation.n_phases == n
    # All different: each phase puts section edges elsewhere.
    assert len({matrix.tobytes() for matrix in degradation.matrices[:n]}) == n


def test_all_phases_are_drawn(texture):
    degradation = LateralDegradation(MeasurementModel(Fraction(15, 4)), PATCH)
    sampler = PatchSampler([texture[None]], degradation, seed=0)
    seen = {wave.tobytes() for step in range(30) for wave in sampler.batch(step, 16).condition[:, 1:]}
    ends = {np.broadcast_to(p[..., None], (2, PATCH, PATCH)).tobytes() for p in degradation.phases[degradation.n_phases :]}
    assert len(seen) == degradation.n_phases + 2
    assert ends <= seen, "patches with which the volume begins and ends are drawn too"


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
def test_at_the_ends_of_the_volume_there_are_no_sections_beyond(ratio):
    degradation = LateralDegradation(MeasurementModel(ratio), PATCH)
    inside, begin, end = degradation.matrices[0], *degradation.matrices[degradation.n_phases :]
    margin, depth = degradation.margin, degradation.depth
    assert not begin[:, :margin].any()
    assert not end[:, margin + depth :].any()
    # Negative control: inside the volume, and at the other side of these, there are.
    assert inside[:, :margin].any()
    assert inside[:, margin + depth :].any()
    assert begin[:, margin + depth :].any()
    assert end[:, :margin].any()
    # What the volume begins with is as it is fitted: from the first section on, its first plane at the section's edge.
    axial = AxialMap(ratio, 40)
    sections = axial.sections_inside(0, margin + depth)
    measure = MeasurementModel(ratio).matrix(axial, sections, 0, margin + depth)
    by_hand = interpolation_matrix(axial, sections, 0, depth) @ measure
    np.testing.assert_allclose(begin[:, margin:], by_hand, atol=1e-6)
    np.testing.assert_allclose(degradation.phases[-2], phase_features(axial, 0, depth), atol=1e-4)


def test_patches_are_whole_sections_deep():
    assert [LateralDegradation(MeasurementModel(Fraction(r)), 80).depth for r in (4, 7, 8, 12)] == [80, 77, 80, 72]
    assert LateralDegradation(MeasurementModel(Fraction(250, 23)), 80).depth == 80


@pytest.fixture
def sampler(texture):
    degradation = LateralDegradation(MeasurementModel(Fraction(4)), PATCH)
    return PatchSampler([texture[None, :80, :70], texture[None, 80:, 70:]], degradation, seed=5)


def test_a_batch_depends_on_seed_and_step_only(sampler, texture):
    first = sampler.batch(7, 6)
    for step in (0, 3, 1, 2):
        sampler.batch(step, 4)
    again = PatchSampler(sampler.pool, sampler.degradation, seed=5).batch(7, 6)
    for name in ("clean", "condition"):
        np.testing.assert_array_equal(getattr(first, name), getattr(sampler.batch(7, 6), name))
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.clean, sampler.batch(8, 6).clean)
    other = PatchSampler(sampler.pool, sampler.degradation, seed=6)
    assert not np.array_equal(first.clean, other.batch(7, 6).clean)


def test_batches_are_float32_patches(sampler):
    batch = sampler.batch(0, 3)
    assert (batch.clean.shape, batch.condition.shape) == ((3, 1, PATCH, PATCH), (3, 3, PATCH, PATCH))
    assert (batch.clean.dtype, batch.condition.dtype) == (np.float32, np.float32)


def test_patches_are_flipped_and_turned():
    """A ramp that climbs ten times as fast along x as along y tells all eight orientations from each other."""
    y, x = np.mgrid[:64, :64].astype(np.float32)
    sampler = PatchSampler([(y + 10 * x)[None]], LateralDegradation(MeasurementModel(Fraction(4)), PATCH), seed=0)
    slopes = set()
    for step in range(8):
        for patch in sampler.batch(step, 16).clean[:, 0]:
            slopes.add((round(float(patch[1, 0] - patch[0, 0])), round(float(patch[0, 1] - patch[0, 0]))))
    assert slopes == {(a, b) for s in (1, -1) for t in (1, -1) for a, b in ((s, 10 * t), (10 * s, t))}


def test_oblong_crops_are_turned_to_fit_and_never_overrun(texture):
    degradation = LateralDegradation(MeasurementModel(Fraction(4)), PATCH)
    need = degradation.length
    for shape in ((need, PATCH), (PATCH, need), (need + 1, PATCH + 3)):
        crop = texture[: shape[0], : shape[1]]
        batch = PatchSampler([crop[None]], degradation, seed=0).batch(0, 8)
        assert np.isin(batch.clean, crop).all()


def test_crops_that_are_too_small_are_refused(texture):
    degradation = LateralDegradation(MeasurementModel(Fraction(4)), PATCH)
    for shape in ((degradation.length - 1, 140), (140, PATCH - 1)):
        small = texture[: shape[0], : shape[1]]
        if max(small.shape) >= degradation.length and min(small.shape) >= PATCH:
            small = small[: degradation.length - 1, : degradation.length - 1]
        with pytest.raises(ValueError, match="at least"):
            PatchSampler([small[None]], degradation, seed=0)
    kept = PatchSampler([texture[None, :10, :10], texture[None]], degradation, seed=0)
    assert [crop.shape for crop in kept.pool] == [(1, *texture.shape)]
