"""The seam score: 1 where there is no seam, more where there is one, and not taken in by the rhythm of the sections."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from isofield.geometry import AxialMap
from isofield.interpolation import interpolation_matrix
from isofield.quality.seams import SeamScore

FACTOR, SHAPE = 4, (96, 48, 48)
FACES = (24, 48, 72)
REACH = 20


@pytest.fixture(scope="module")
def truth():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 1.5)
    return 128 + 30 * noise / noise.std()


def interpolated(truth, kind):
    """What the measured sections of `truth` give between them."""
    sections = truth.reshape(-1, FACTOR, *truth.shape[1:]).mean(axis=1)
    axial = AxialMap(Fraction(FACTOR), len(sections))
    return np.tensordot(interpolation_matrix(axial, range(len(sections)), 0, axial.n_planes, kind), sections, axes=1)


def seams(image, reference, axis=0, faces=FACES):
    score = SeamScore(Fraction(FACTOR))
    for face in faces:
        begin, end = max(0, face - REACH), min(image.shape[axis], face + REACH)
        cut = [slice(None)] * 3
        cut[axis] = slice(begin, end)
        score.add(image[tuple(cut)], reference[tuple(cut)], axis, face - begin)
    return score


def stepped(image, axis, faces, height):
    """Every block has a brightness of its own: the image with steps of `height` at the faces."""
    index = np.searchsorted(faces, np.arange(image.shape[axis]), side="right") % 2
    shape = [1, 1, 1]
    shape[axis] = -1
    return image + height * index.reshape(shape)


def naive(image, faces=FACES):
    """Mean absolute step across the faces over that across all planes."""
    steps = np.abs(np.diff(image, axis=0)).mean(axis=(1, 2))
    return steps[[f - 1 for f in faces]].mean() / steps.mean()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_image_without_seams_scores_one(truth, axis):
    faces = FACES if axis == 0 else (16, 32)
    score = seams(truth, interpolated(truth, "cubic"), axis, faces)
    assert score.worst == pytest.approx(1.0, abs=0.06)
    assert list(score.by_axis()) == ["zyx"[axis]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_brightness_step_at_the_faces_scores_more(truth, axis):
    faces = FACES if axis == 0 else (16, 32)
    reference = interpolated(truth, "cubic")
    scores = [seams(stepped(truth, axis, faces, h), reference, axis, faces).worst for h in (0, 10, 20, 40)]
    assert scores == sorted(scores)
    assert scores[2] > 1.2
    assert scores[3] > 2 * scores[0]


def test_the_rhythm_of_the_sections_is_not_a_seam(truth):
    """Stairs: every section is constant along z, and every face lies on the edge of a section."""
    stairs = interpolated(truth, "nearest")
    assert seams(stairs, interpolated(truth, "cubic")).worst == pytest.approx(1.0, abs=0.1)
    # Negative control: comparing with all planes would have cried wolf.
    assert naive(stairs) > 2.5
    # A seam on top of the rhythm is still seen.
    assert seams(stepped(stairs, 0, FACES, 60), interpolated(truth, "cubic")).worst > 1.3


def test_content_that_is_rough_at_the_faces_is_not_a_seam(truth):
    """A real edge along the face was measured too: the reference shows it and takes it out."""
    rough = stepped(truth, 1, (16, 32), 40)
    assert seams(rough, interpolated(rough, "cubic"), 1, (16, 32)).worst < 1.05
    # Negative control: the same edge, had it not been measured.
    assert seams(rough, interpolated(truth, "cubic"), 1, (16, 32)).worst > 1.5


def test_a_seam_where_there_is_no_face_does_not_count(truth):
    elsewhere = stepped(truth, 0, (30, 54, 78), 40)
    assert seams(elsewhere, interpolated(truth, "cubic")).worst < 1.05


def test_one_face_is_scored_by_itself_too(truth):
    reference = interpolated(truth, "cubic")
    image = stepped(truth, 0, (48,), 40)
    own = [SeamScore(Fraction(FACTOR)).add(image[f - 20 : f + 20], reference[f - 20 : f + 20], 0, 20) for f in FACES]
    assert own[1] > 2 * max(own[0], own[2])


def test_nothing_to_compare_is_no_score():
    score = SeamScore(Fraction(FACTOR))
    assert score.worst == 1.0
    assert score.by_axis() == {}
    flat = np.full((40, 8, 8), 7.0)
    assert np.isnan(score.add(flat, flat, 0, 20))
    assert np.isnan(score.add(flat[:6], flat[:6], 0, 3))
    assert score.worst == 1.0


def test_bytes_do_not_wrap(truth):
    image = np.rint(stepped(truth, 0, FACES, 20)).clip(0, 255)
    reference = interpolated(truth, "cubic")
    assert seams(image.astype(np.uint8), reference).worst == pytest.approx(seams(image, reference).worst)
