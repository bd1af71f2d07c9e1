"""Negative control of all tests of readers: what `reads_as` asserts fails for every other order of the same voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from raw_zarr import raw_v3
from reads_as import KEYS, reads_as

from isofield.source import open_source


@pytest.fixture
def cube(ramp) -> np.ndarray:
    """ZYX uint16 (5, 5, 5): a swapped axis keeps the shape."""
    return ramp[:, :5, :5].copy()


def test_the_right_order_passes(tmp_path, cube, spec):
    raw_v3(tmp_path / "a", cube)
    reads_as(open_source(spec(tmp_path / "a", **KEYS)), cube)


WRONG = {f"axes {order}": lambda a, order=order: a.transpose(order) for order in list(itertools.permutations(range(3)))[1:]}
WRONG |= {f"axis {axis} reversed": lambda a, axis=axis: np.flip(a, axis) for axis in range(3)}
WRONG |= {"byte order": lambda a: a.byteswap(), "sign": lambda a: a.astype(np.int16)}


@pytest.mark.parametrize("how", WRONG)
def test_any_other_fails(tmp_path, cube, spec, how):
    raw_v3(tmp_path / "a", np.ascontiguousarray(WRONG[how](cube)))
    with pytest.raises(AssertionError):
        reads_as(open_source(spec(tmp_path / "a", **KEYS)), cube)


def test_another_voxel_size_fails(tmp_path, cube, spec):
    raw_v3(tmp_path / "a", cube)
    with pytest.raises(AssertionError):
        reads_as(open_source(spec(tmp_path / "a", voxel_size_nm=(50, 4.7, 4.6))), cube)
