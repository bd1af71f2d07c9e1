"""One global map between grey values and the units the prior and the fields work in."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from pydantic import Field, model_validator

from isofield.spec import Spec


class IntensitySpec(Spec):
    """How grey values are mapped to working units, once for the whole volume."""

    low_percentile: float = Field(1.0, ge=0, le=100, description="percentile of the grey values that maps to -1")
    high_percentile: float = Field(99.0, ge=0, le=100, description="percentile of the grey values that maps to +1")
    n_sample_vox: int = Field(
        4_000_000, ge=10_000, description="voxels sampled from all over the volume to estimate the percentiles"
    )

    @model_validator(mode="after")
    def _ordered(self) -> IntensitySpec:
        if self.low_percentile >= self.high_percentile:
            raise ValueError(f"low_percentile {self.low_percentile} must be below high_percentile {self.high_percentile}")
        return self


@dataclass(frozen=True)
class Intensity:
    """Linear map: grey value `low` -> -1, `high` -> +1. Values outside are kept, not clipped; the inverse is exact."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ValueError(f"Intensity needs high > low, got low={self.low}, high={self.high}")

    @classmethod
    def from_samples(cls, grey: np.ndarray, spec: IntensitySpec) -> Intensity:
        """Percentiles of `grey` (any shape). A volume whose percentiles coincide falls back to its full range.

        Raises ValueError for a constant sample: there is no contrast to reconstruct.
        """
        low, high = (float(p) for p in np.percentile(grey, [spec.low_percentile, spec.high_percentile]))
        if high <= low:
            low, high = float(grey.min()), float(grey.max())
        return cls(low, high)

    @property
    def grey_per_unit(self) -> float:
        """Grey levels per working unit."""
        return (self.high - self.low) / 2

    def normalise(self, grey: np.ndarray) -> np.ndarray:
        """Grey values to working units, float32."""
        return ((np.asarray(grey, np.float32) - np.float32(self.low)) / np.float32(self.grey_per_unit)) - np.float32(1)

    def restore(self, units: np.ndarray) -> np.ndarray:
        """Working units to grey values, float32, neither clipped nor rounded."""
        return (np.asarray(units, np.float32) + np.float32(1)) * np.float32(self.grey_per_unit) + np.float32(self.low)

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def to_dtype(values: np.ndarray, dtype: np.dtype | str) -> np.ndarray:
    """Clip, then round to nearest even, then cast: integers (up to 32 bits) never wrap. Floating dtypes are only cast."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.asarray(values, dtype)
    info = np.iinfo(dtype)
    # float32 cannot hold the limits of 32-bit integers; the common dtype, float64, can.
    values = np.asarray(values, np.result_type(values, dtype))
    return np.rint(np.clip(values, info.min, info.max)).astype(dtype)


def clipped_count(values: np.ndarray, dtype: np.dtype | str) -> int:
    """Number of values that `to_dtype` moves because they lie outside the dtype's range (half a level is rounding)."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return 0
    info = np.iinfo(dtype)
    return int(np.count_nonzero((values < info.min - 0.5) | (values > info.max + 0.5)))
