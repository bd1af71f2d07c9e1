"""Random numbers and smooth functions whose bytes are the same on every machine.

Only the raw bits of PCG64 and exactly rounded operations (+ - * / sqrt, comparisons) are used, no transcendental functions
and no sums of unspecified order.
"""

from __future__ import annotations

import numpy as np


class Stream:
    """Random numbers from the raw bits of PCG64, whose stream numpy promises never to change."""

    def __init__(self, seed: np.random.SeedSequence) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(40)
        unit = raw.astype(np.float32) * np.float32(2.0**-24)
        return (unit * (high - low) + low).reshape(shape)

    def normal(self, *shape: int) -> np.ndarray:
        """Near-Gaussian, mean 0, std 1, within 3.5: sums of four 16-bit uniforms, exact in integers."""
        words = self._bits.random_raw(int(np.prod(shape))).view(np.uint16).reshape(-1, 4)
        total = words[:, 0].astype(np.int32)
        for column in (1, 2, 3):
            total += words[:, column]
        return ((total.astype(np.float32) - 131070.0) * np.float32(1 / 37837.0)).reshape(shape)

    def frames(self, n: int) -> np.ndarray:
        """Random directions (n, 3) in orthonormal triples: any three in a row weigh the axes equally."""
        q = self.normal(-(-n // 3), 4) + np.float32(1e-3)
        q /= length(*q.T)[:, None]
        w, x, y, z = q.T
        rows = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=1).reshape(-1, 3)[:n]


def length(*parts: np.ndarray) -> np.ndarray:
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total = total + part * part
    return np.sqrt(total)


def smooth_step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) * (1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def soft_max(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Maximum of two distances with the corner rounded over 6 voxels: never below the sharp one."""
    h = np.clip((a - b) * np.float32(1 / 12) + np.float32(0.5), 0, 1)
    return b + (a - b) * h + 6 * h * (1 - h)


def smooth_field(stream: Stream, shape: tuple[int, ...], spacing: float) -> np.ndarray:
    """Random smooth field of std about 1: cubic B-splines on a shifted lattice of `spacing` voxels."""
    sides = [int(n / spacing) + 6 for n in shape]
    out = stream.normal(*sides) * np.float32(3.0)
    shift = stream.uniform(3)
    for k in (2, 1, 0):
        at = np.arange(shape[k], dtype=np.float32) / np.float32(spacing) + shift[k]
        base = at.astype(np.int64)
        f = (at - base).astype(np.float32)
        g = 1 - f
        weights = (g * g * g, 4 - 3 * f * f * (2 - f), 4 - 3 * g * g * (2 - g), f * f * f)
        column = [-1 if axis == k else 1 for axis in range(3)]
        total = None
        for tap, weight in enumerate(weights):
            term = np.take(out, base + tap, axis=k)
            term *= (weight * np.float32(1 / 6)).reshape(column)
            total = term if total is None else np.add(total, term, out=total)
        out = total
    return out


def blur(volume: np.ndarray, tap: float) -> np.ndarray:
    """Three-tap kernel (tap, 1 - 2 tap, tap) along every axis, edges repeated."""
    for k in range(3):
        moved = np.moveaxis(volume, k, 0)
        wide = np.concatenate([moved[:1], moved, moved[-1:]])
        sides = wide[:-2] + wide[2:]
        sides *= np.float32(tap)
        sides += moved * np.float32(1 - 2 * tap)
        volume = np.moveaxis(sides, 0, k)
    return volume
