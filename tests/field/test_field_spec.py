"""What follows from the configuration of fields and of their fit where it leaves something open."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from isofield.field.spec import FieldSpec, FitSpec


def test_steps_are_by_mode_unless_they_are_given():
    assert FitSpec().steps is None
    assert (FitSpec().n_steps, FitSpec(mode="sds").n_steps) == (12, 300)
    assert FitSpec(steps=7).n_steps == FitSpec(steps=7, mode="sds").n_steps == 7


@pytest.mark.parametrize(
    ("given", "detail", "ratio", "strides", "features"),
    [
        ({}, 0.0, 8, ((2, 1, 1), 4), (1, 4)),
        ({}, 0.0, 7.5, (1, 4), (1, 4)),
        ({}, 0.1, 8, (1, 4), (1, 4)),
        ({"strides_vox": [4, 8, 2]}, 1.0, 10, (4, 8, 2), (1, 4, 4)),
        ({"strides_vox": [1, 2]}, 0.0, 10, (1, 2), (1, 4)),
        ({"strides_vox": [[4, 2, 1], 8]}, 0.0, 4, ((4, 2, 1), 8), (1, 4)),
        ({"strides_vox": [1, 2], "features": [3, 5]}, 1.0, 4, (1, 2), (3, 5)),
    ],
    ids=str,
)
def test_what_is_left_open_of_the_grids_follows_from_detail_and_ratio(given, detail, ratio, strides, features):
    spec = FieldSpec(hidden=7, **given).decided(detail, ratio)
    assert (spec.strides_vox, spec.features, spec.hidden) == (strides, features, 7)
    # Once decided, it stays.
    assert spec.decided(1.0 - detail, 12 - ratio) == spec


@pytest.mark.parametrize(
    "wrong",
    [
        {"strides_vox": [2, 3]},
        {"strides_vox": [[2, 1, 5]]},
        {"strides_vox": [[2, 1]]},
        {"strides_vox": [0]},
        {"strides_vox": []},
        {"strides_vox": [2, 4], "features": [4]},
        {"features": [4, 4]},
    ],
    ids=str,
)
def test_grids_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError):
        FieldSpec(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"detail": 1.1}, {"detail": -0.1}, {"stop_below": 1.0}, {"stop_below": -0.1}, {"steps": 0}, {"sigmas": [80.0]}],
    ids=str,
)
def test_fits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        FitSpec(**wrong)
