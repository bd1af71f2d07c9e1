"""What every reader owes: the voxels, their order, their type and their size, whole, in parts, and after pickling."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np

from isofield.geometry import Roi
from isofield.source.volume import Volume

SIZE_NM = (50, Fraction(23, 5), Fraction(47, 10))
KEYS = {"voxel_size_nm": (50, 4.6, 4.7)}


def reads_as(volume: Volume, values: np.ndarray, size=SIZE_NM) -> None:
    """Asserts that `volume` is `values` (z, y, x)."""
    assert volume.info.shape == (1, *values.shape)
    assert volume.info.voxel_size_nm == size
    assert volume.info.dtype == values.dtype.name == volume.data.dtype.name
    found = volume.data.compute()
    assert found.dtype.isnative
    np.testing.assert_array_equal(found[0], values)
    begin, end = (1, 2, 3), tuple(n - 1 for n in values.shape)
    part = values[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))]
    np.testing.assert_array_equal(volume.read(Roi.between(begin, end))[0], part)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume.data))[0, ::-1, 2, 3].compute(), values[::-1, 2, 3])
