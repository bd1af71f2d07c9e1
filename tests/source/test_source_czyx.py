from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isofield.errors import InputError
from isofield.source.czyx import OneChannel, joined_chunks
from isofield.source.stored import axes_of

RAMP = np.arange(2 * 3 * 4 * 5, dtype=">u2").reshape(2, 3, 4, 5)
AXES = st.permutations("czyx_").map("".join)


def _as_stored(axes: str) -> np.ndarray:
    return np.transpose(RAMP[..., None], ["czyx_".index(axis) for axis in axes])


def _indices(length: int) -> st.SearchStrategy:
    return st.integers(0, length - 1) | st.slices(length)


class ForwardOnly:
    """An array that refuses what storage libraries refuse: steps, reversal, negative numbers."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.chunks = values, values.shape, values.dtype, values.shape

    def __getitem__(self, index):
        for part in index:
            assert isinstance(part, int) or (part.step in (None, 1) and 0 <= part.start <= part.stop)
        return self.values[index]


@given(axes=AXES, channel=st.integers(0, 1), index=st.tuples(*map(_indices, (1, 3, 4, 5))))
def test_any_axis_order_and_index_gives_the_same_voxels(axes, channel, index):
    view = OneChannel(ForwardOnly(_as_stored(axes)), axes, channel)
    got = view[index]
    np.testing.assert_array_equal(got, RAMP[channel : channel + 1][index])
    assert got.dtype.isnative


def test_a_wrong_axis_order_gives_other_voxels():
    """Negative control of the test above."""
    cube = np.arange(27).reshape(1, 3, 3, 3)
    everything = (slice(None),) * 4
    assert np.array_equal(OneChannel(ForwardOnly(cube), "czyx", 0)[everything], cube)
    assert not np.array_equal(OneChannel(ForwardOnly(cube), "cxyz", 0)[everything], cube)


@given(
    chunks=st.tuples(*[st.integers(1, 3000)] * 3),
    shape=st.tuples(*[st.integers(1, 10**6)] * 3),
    itemsize=st.sampled_from([1, 2, 8]),
)
def test_joined_chunks_are_multiples_of_bounded_size(chunks, shape, itemsize):
    joined = joined_chunks(chunks, shape, itemsize)
    stored = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
    assert joined[0] == stored[0]
    assert all(j % s == 0 or j == n for j, s, n in zip(joined, stored, shape, strict=True))
    n_bytes, limit = np.prod(shape, dtype=float) * itemsize, 4 * 2**20
    assert joined == stored or np.prod(joined) * itemsize <= min(max(limit, n_bytes / 1e5), 16 * limit)


@pytest.mark.parametrize(
    ("names", "shape", "axes"),
    [
        (None, (4, 5, 6), "zyx"),
        (None, (2, 4, 5, 6), "czyx"),
        (None, (1, 2, 4, 5, 6), "_czyx"),
        (["Z", "Y", "X"], (4, 5, 6), "zyx"),
        (["time", "z", "channel", "y", "x", "angle"], (1, 4, 2, 5, 6, 1), "_zcyx_"),
    ],
)
def test_axes(names, shape, axes):
    assert axes_of(names, shape, Path("x")) == axes


@pytest.mark.parametrize(
    ("names", "shape", "reason"),
    [
        (None, (4, 5), "2-D"),
        (None, (3, 1, 4, 5, 6), "3 time points"),
        (["z", "y", "x", "angle"], (4, 5, 6, 2), "angle"),
        (["c", "channel", "z", "y", "x"], (1, 1, 4, 5, 6), "two channel axes"),
        (["z", "y"], (4, 5, 6), "names 2 axes"),
    ],
)
def test_axes_that_are_refused(names, shape, reason):
    with pytest.raises(InputError, match=reason):
        axes_of(names, shape, Path("x"))
