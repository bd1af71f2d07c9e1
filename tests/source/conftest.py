"""Volumes whose axes differ in length and whose grey values count up: a swapped axis cannot pass."""

from __future__ import annotations

import numpy as np
import pytest

from isofield.source.spec import SourceSpec


@pytest.fixture
def ramp() -> np.ndarray:
    """ZYX uint16 (5, 7, 11), no two voxels alike."""
    return np.arange(5 * 7 * 11, dtype=np.uint16).reshape(5, 7, 11)


@pytest.fixture
def two_channels(ramp) -> np.ndarray:
    """CZYX uint16 (2, 5, 7, 11)."""
    return np.stack([ramp, ramp + 1000])


@pytest.fixture
def spec():
    """A SourceSpec from a path and further keys."""
    return lambda path, **keys: SourceSpec(path=str(path), **keys)
