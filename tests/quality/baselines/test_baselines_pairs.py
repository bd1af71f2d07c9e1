"""Training pairs: sections made of XY crops are those the measurement would make of a volume."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from isofield.measurement import MeasurementModel
from isofield.quality.baselines.pairs import LateralPairs

RATIOS = [Fraction(1), Fraction(4), Fraction(15, 4), Fraction(250, 23), Fraction("4.88599")]
N = 6


@pytest.fixture(scope="module")
def texture():
    noise = np.random.default_rng(0).normal(size=(150, 140))
    return ndimage.gaussian_filter(noise, 3.0).astype(np.float32) * 10


@pytest.mark.parametrize("operator", ["section", "gaussian", "skip"])
@pytest.mark.parametrize("ratio", RATIOS, ids=str)
def test_a_ramp_lands_where_the_positions_say(ratio, operator):
    """On a ramp along the degraded axis a section is its own centre, so sections, planes and positions must agree."""
    ramp = np.repeat(np.arange(150, dtype=np.float32)[:, None], 20, axis=1)
    pairs = LateralPairs([ramp], MeasurementModel(ratio, operator), N, 20)
    # 20 columns and a length over 20 for all but the smallest ratio, where the ramp may be turned.
    batch = pairs.batch((0, 0), 24)
    assert batch.sections.shape == (24, N, 20)
    assert batch.planes.shape == batch.cubic.shape == (24, int(N * ratio), 20)
    assert batch.positions.min() >= -0.5 - 1e-9
    assert batch.positions.max() <= N - 0.5 + 1e-9
    for sections, planes, positions in zip(batch.sections, batch.planes, batch.positions, strict=True):
        slope = (sections[-1] - sections[0]) / (N - 1)
        expected = sections[0] + slope * positions[:, None]
        # A skipped plane is half a voxel off its section's centre at most; planes that a section shares with another count with
        # their own centres.
        np.testing.assert_allclose(planes, expected, atol=1.0 if operator == "skip" else 0.05)


def test_constants_stay_what_they_are():
    for ratio in RATIOS:
        batch = LateralPairs([np.full((120, 110), 0.7, np.float32)], MeasurementModel(ratio), N, 16).batch((1,), 8)
        for values in (batch.sections, batch.planes, batch.cubic):
            np.testing.assert_allclose(values, 0.7, atol=1e-5)


def test_a_batch_depends_on_its_seed_only(texture):
    pairs = LateralPairs([texture, texture[:100]], MeasurementModel(Fraction(15, 4)), N, 16)
    first = pairs.batch((3, 7), 5)
    pairs.batch((3, 8), 5)
    again = pairs.batch((3, 7), 5)
    np.testing.assert_array_equal(first.sections, again.sections)
    np.testing.assert_array_equal(first.planes, again.planes)
    assert not np.array_equal(first.planes, pairs.batch((3, 8), 5).planes)


def test_all_phases_and_orientations_are_drawn():
    y, x = np.mgrid[:80, :80].astype(np.float32)
    pairs = LateralPairs([y + 10 * x], MeasurementModel(Fraction(15, 4)), N, 16)
    batch = pairs.batch((0,), 200)
    assert len({positions.tobytes() for positions in batch.positions}) == 4
    slopes = {(round(float(p[1, 0] - p[0, 0])), round(float(p[0, 1] - p[0, 0]))) for p in batch.planes}
    assert slopes == {(a, b) for s in (1, -1) for t in (1, -1) for a, b in ((s, 10 * t), (10 * s, t))}


def test_sections_that_are_too_small_are_refused(texture):
    model = MeasurementModel(Fraction(8))
    assert LateralPairs([texture[:48, :16]], model, N, 16).length == 48
    assert LateralPairs([texture[:16, :48], texture[:9]], model, N, 16).batch((0,), 4).planes.shape == (4, 48, 16)
    for shape in ((47, 140), (140, 15)):
        with pytest.raises(ValueError, match="at least 48 x 16"):
            LateralPairs([texture[: shape[0], : min(shape[1], 47)]], model, N, 16)
