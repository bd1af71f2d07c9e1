"""Fourier shell correlation against truth: down to what size detail is right, along z and across it."""

from __future__ import annotations

from typing import Literal

import numpy as np

HALF_ANGLE_DEGREES = 30.0
"""How far from the z axis (axial) or from the xy plane (lateral) a frequency vector may point."""

Direction = Literal["axial", "lateral"]


class DirectionalFsc:
    """Correlation of image and truth in shells of spatial frequency, summed over isotropic cubes of one side.

    Axial shells hold the frequency vectors within 30 degrees of the z axis, lateral ones those within 30 degrees of the xy
    plane. 1 is detail that agrees with truth, 0 detail that has nothing to do with it. Contrast does not count: what is blurred
    but right still correlates. An image that holds all frequencies up to f along z and none above keeps a rest of axial
    correlation up to f / cos(30 degrees), where the cone leaves the slab |k_z| < f.

    Source: Harauz & van Heel, Optik 73:146 (1986); in cones Diebolder et al., Biophys. J. 109:1669 (2015).
    """

    def __init__(self, side: int, voxel_size_nm: float) -> None:
        if side < 4:
            raise ValueError(f"side of {side} voxels, at least 4 are needed")
        if not voxel_size_nm > 0:
            raise ValueError(f"voxel_size_nm of {voxel_size_nm}, must be positive")
        self.side = side
        self.voxel_size_nm = float(voxel_size_nm)
        self.n_cubes = 0
        # Periodic, so that the spectrum of a wave reaches no further than one shell.
        hann = np.hanning(side + 1)[:-1]
        self._window = hann[:, None, None] * hann[:, None] * hann
        whole, half = np.fft.fftfreq(side, 1 / side), np.fft.rfftfreq(side, 1 / side)
        self._shells = _shells(whole[:, None, None], whole[:, None], half, side // 2)
        # Half of the spectrum stands for the other half too, its first plane and that of Nyquist for themselves.
        self._multiplicity = np.where((half == 0) | (half == side / 2), 1.0, 2.0)
        self._sums = {direction: np.zeros((3, side // 2)) for direction in self._shells}

    def add(self, image: np.ndarray, truth: np.ndarray) -> None:
        """Count one cube: image and truth (side, side, side) of the same place, in any grey values."""
        for name, cube in (("image", image), ("truth", truth)):
            if cube.shape != (self.side,) * 3:
                raise ValueError(f"{name} of shape {cube.shape}, expected side {self.side}")
        a, b = self._spectrum(image), self._spectrum(truth)
        products = [self._multiplicity * p for p in ((a * b.conj()).real, np.square(np.abs(a)), np.square(np.abs(b)))]
        for direction, shell in self._shells.items():
            n = self.side // 2 + 1
            self._sums[direction] += [np.bincount(shell, p.ravel(), minlength=n)[1:] for p in products]
        self.n_cubes += 1

    def _spectrum(self, cube: np.ndarray) -> np.ndarray:
        values = cube.astype(np.float64)
        # Less its first value before its mean: what is flat becomes exactly 0, and no rounding is left that could correlate.
        values -= values[0, 0, 0]
        return np.fft.rfftn((values - values.mean()) * self._window)

    def curve(self, direction: Direction) -> tuple[np.ndarray, np.ndarray]:
        """Frequency in cycles per voxel (side // 2,), 0 excluded, and the correlation there, in -1..1.

        0 where image or truth has no power, nan without cubes.
        """
        if direction not in self._sums:
            raise ValueError(f"direction {direction!r}, expected one of {', '.join(self._sums)}")
        frequency = np.arange(1, self.side // 2 + 1) / self.side
        if not self.n_cubes:
            return frequency, np.full(len(frequency), np.nan)
        cross, image, truth = self._sums[direction]
        power = np.sqrt(image) * np.sqrt(truth)
        return frequency, np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)

    def cutoff_nm(self, direction: Direction, threshold: float) -> float:
        """Resolution in nm: the period at which the correlation first falls below `threshold`, linear between shells.

        Two voxels (Nyquist) if it never does, inf if it has done so in the lowest shell, nan without cubes. Thresholds in use:
        0.5, and 0.143 (Rosenthal & Henderson, J. Mol. Biol. 333:721, 2003), which there is meant for two halves of the data.
        """
        frequency, correlation = self.curve(direction)
        if not self.n_cubes:
            return float("nan")
        below = np.flatnonzero(correlation < threshold)
        if not len(below):
            return self.voxel_size_nm / 0.5
        first = below[0]
        if first == 0:
            return float("inf")
        high, low = correlation[first - 1], correlation[first]
        step = frequency[first] - frequency[first - 1]
        return float(self.voxel_size_nm / (frequency[first - 1] + step * (high - threshold) / (high - low)))


def _shells(kz: np.ndarray, ky: np.ndarray, kx: np.ndarray, n_shells: int) -> dict[str, np.ndarray]:
    """Shell of every frequency vector per direction, flat: its length rounded to 1..n_shells, 0 for what is not counted."""
    length = np.sqrt(kz**2 + ky**2 + kx**2)
    shell = np.rint(length).astype(np.intp)
    shell[shell > n_shells] = 0
    angle = np.deg2rad(HALF_ANGLE_DEGREES)
    axial, lateral = np.abs(kz) >= length * np.cos(angle), np.abs(kz) <= length * np.sin(angle)
    return {"axial": np.where(axial, shell, 0).ravel(), "lateral": np.where(lateral, shell, 0).ravel()}
