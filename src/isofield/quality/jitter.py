"""Jitter: are neighbouring axial slices displaced along z against each other more than truth shows?"""

from __future__ import annotations

import numpy as np

WINDOW_VOX = 16
"""Side of the windows along z and along the slice in which one displacement is estimated."""

RIDGE = 0.01
"""Part of the mean sum of squared gradients that is added to every window's, so that flat windows do not move."""


class SliceJitter:
    """Displacement along z between neighbouring ZX slices (axis 1) or ZY slices (axis 2), image less truth, over windows.

    Slices reconstructed each by itself do not agree on heights, and what is smooth in truth wobbles from slice to slice. Two
    figures tell of it; slices shifted at random, each by itself with std s, show about sqrt(2) s and sqrt(1.5) s:

    - `rms_nm`: displacement between two neighbours. What slopes in truth and is lost or flattened in the image counts too.
    - `wobble_nm`: displacement of a slice against the mean of its two neighbours. Slopes cancel, so that it sees less jitter.

    Windows count by their squared axial gradient in truth. The estimate is linear: good to a tenth up to about half a voxel.
    """

    def __init__(self, voxel_size_nm: float) -> None:
        if not voxel_size_nm > 0:
            raise ValueError(f"voxel_size_nm of {voxel_size_nm}, must be positive")
        self.voxel_size_nm = float(voxel_size_nm)
        self._rms = {1: np.zeros(2), 2: np.zeros(2)}
        self._wobble = {1: np.zeros(2), 2: np.zeros(2)}

    def add(self, image: np.ndarray, truth: np.ndarray, axis: int = 1) -> None:
        """Count one region: image and truth (Z, Y, X) of the same place, whose slices follow each other along `axis` (1 or 2).

        Windows that do not fit (Z or the slice's other side not a multiple of 16) are left out at the far ends.
        """
        if image.shape != truth.shape or truth.ndim != 3:
            raise ValueError(f"image of shape {image.shape} and truth of shape {truth.shape}, expected one shape (Z, Y, X)")
        if axis not in self._rms:
            raise ValueError(f"axis {axis}, expected 1 (ZX slices) or 2 (ZY slices)")
        if truth.shape[axis] < 2 or min(truth.shape[0], truth.shape[3 - axis]) < WINDOW_VOX:
            return
        moved, _ = axial_displacement(np.moveaxis(image, axis, 1))
        true, weight = axial_displacement(np.moveaxis(truth, axis, 1))
        excess = moved - true
        self._rms[axis] += _weighted(np.square(excess), weight)
        # (d[y] - d[y - 1]) / 2 is how far a slice lies from the mean of its neighbours.
        bend = np.diff(excess, axis=1) / 2
        self._wobble[axis] += _weighted(np.square(bend), np.minimum(weight[:, 1:], weight[:, :-1]))

    def rms_nm(self, axis: int = 1) -> float:
        """Root mean square displacement of neighbours beyond that of truth, in nm; nan without structure to tell by."""
        return self._root(self._rms[axis])

    def wobble_nm(self, axis: int = 1) -> float:
        """The same of each slice against the mean of its two neighbours, in nm."""
        return self._root(self._wobble[axis])

    def _root(self, sums: np.ndarray) -> float:
        total, weight = sums
        return float(self.voxel_size_nm * np.sqrt(total / weight)) if weight > 0 else float("nan")


def axial_displacement(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacement in voxels towards larger z from slice y to y + 1, and sum of squared gradients, of every window.

    values (Z, Y, X) -> two arrays (Z // 16, Y - 1, X // 16). Least squares of Lucas & Kanade (IJCAI 1981) along z alone:
    d = -sum(g delta) / sum(g^2), delta the difference of the two slices and g the central gradient of their mean.
    """
    values = values.astype(np.float64)
    delta = np.diff(values, axis=1)
    gradient = np.zeros_like(delta)
    mean = (values[:, 1:] + values[:, :-1]) / 2
    gradient[1:-1] = (mean[2:] - mean[:-2]) / 2
    squared, product = _window_sums(gradient * gradient), _window_sums(gradient * delta)
    regular = squared + RIDGE * squared.mean()
    return -np.divide(product, regular, out=np.zeros_like(product), where=regular > 0), squared


def _window_sums(values: np.ndarray) -> np.ndarray:
    """(Z, Y, X) -> sums over windows (Z // 16, Y, X // 16)."""
    n_z, n_x = values.shape[0] // WINDOW_VOX, values.shape[2] // WINDOW_VOX
    fitting = values[: n_z * WINDOW_VOX, :, : n_x * WINDOW_VOX]
    return fitting.reshape(n_z, WINDOW_VOX, -1, n_x, WINDOW_VOX).sum(axis=(1, 4))


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sum and sum of weights."""
    return np.array([(values * weight).sum(), weight.sum()])
