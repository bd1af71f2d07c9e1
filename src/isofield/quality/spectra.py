"""Spectra along and across the axial direction: how much detail there is, band by band."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


class DirectionalSpectra:
    """Mean power spectra along z and along y and x, over cubes of one side. Frequencies in cycles per voxel, 0 excluded."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.frequency = np.fft.rfftfreq(side)[1:]
        self._axial = np.zeros(len(self.frequency))
        self._lateral = np.zeros(len(self.frequency))
        self.n_cubes = 0

    def add(self, cube: np.ndarray) -> None:
        """Count one cube (side, side, side)."""
        if cube.shape != (self.side,) * 3:
            raise ValueError(f"cube of shape {cube.shape}, expected side {self.side}")
        cube = cube.astype(np.float64) - cube.mean()
        window = np.hanning(self.side)

        def power(axis: int) -> np.ndarray:
            lines = np.moveaxis(cube, axis, -1)
            lines = (lines - lines.mean(axis=-1, keepdims=True)) * window
            return np.square(np.abs(np.fft.rfft(lines, axis=-1))).mean(axis=(0, 1))[1:]

        self._axial += power(0)
        self._lateral += (power(1) + power(2)) / 2
        self.n_cubes += 1

    def ratio(self) -> np.ndarray:
        """Axial over lateral power per frequency; 1 is isotropic, less is blur along z. nan without cubes."""
        if not self.n_cubes:
            return np.full(len(self.frequency), np.nan)
        return self._axial / np.maximum(self._lateral, 1e-12)

    def band_ratio(self, begin: float, end: float) -> float:
        """Axial over lateral power between two frequencies (begin excluded)."""
        band = (self.frequency > begin) & (self.frequency <= end)
        total = self._lateral[band].sum()
        return float(self._axial[band].sum() / total) if self.n_cubes and total > 0 else float("nan")

    def band_ratios(self, n_bands: int = 4) -> list[float]:
        """Axial over lateral power in `n_bands` equally wide frequency bands up to Nyquist, lowest first.

        nan for bands that hold no frequency or no lateral power, and without cubes.
        """
        if n_bands < 1:
            raise ValueError(f"n_bands of {n_bands}, must be at least 1")
        edges = np.linspace(0.0, 0.5, n_bands + 1)
        return [self.band_ratio(begin, end) for begin, end in pairwise(edges)]
