"""Synthetic tissue with known truth: insect neuropil as FIB-SEM sees it, at 8 nm isotropic.

Neurites are an additively weighted Voronoi partition of random line segments in a smoothly warped space:
packed, curved tubes of varied calibre with membranes of constant thickness between them. All directions are
equally likely, so an XY slice shows what a ZX slice shows.

Only the raw bits of PCG64 and exactly rounded operations (+ - * / sqrt, comparisons) are used, no
transcendental functions and no sums of unspecified order, so that the same arguments give the same bytes on
every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from isofield.errors import InputError

VOXEL_SIZE_NM = (8.0, 8.0, 8.0)
DEFAULT_NOISE = 4.5
_MIN_SIDE, _MAX_NOISE = 16, 40
_BRICK = 16
_MARGIN = 40  # neurites are seeded this far outside the volume, so that its faces look like its middle
_NEURITE_VOLUME = 36_000.0  # voxels per neurite
_WARPS = ((28.0, 5.5), (13.0, 1.7))  # (lattice spacing, rms shift along each axis) in voxels
_NOISE_TAP = 0.08  # weight of each neighbour in the noise kernel: mild correlation, equal on all axes


def tissue(shape: tuple[int, int, int] = (160, 160, 160), seed: int = 0, noise: float = DEFAULT_NOISE) -> np.ndarray:
    """Synthetic neuropil, uint8 (Z, Y, X), 8 nm isotropic voxels, dark membranes on grey cytoplasm.

    `noise` is its rms in grey levels, with a variance that grows with the signal; 0 gives the clean
    truth. The same arguments give the same bytes everywhere; a smaller shape is other tissue, not a
    crop. Needs about 70 bytes per voxel. Raises InputError for a side under 16, a negative seed or a noise
    outside [0, 40].
    """
    if len(shape) != 3 or min(shape) < _MIN_SIDE:
        limit = f"needs three sides of {_MIN_SIDE} voxels or more"
        raise InputError("phantom shape", tuple(shape), limit, "Ask for a larger volume.")
    if not 0 <= noise <= _MAX_NOISE:
        limit = f"must lie in 0 to {_MAX_NOISE} grey levels"
        raise InputError("phantom noise", noise, limit, f"{DEFAULT_NOISE} is that of real FIB-SEM.")
    if seed < 0:
        raise InputError("phantom seed", seed, "must not be negative", "Use 0 or more.")
    structure, texture, shot = (_Stream(child) for child in np.random.SeedSequence(seed).spawn(3))
    grey = _clean(structure, texture, tuple(int(n) for n in shape))
    if noise > 0:
        _add_noise(grey, shot, noise)
    return np.rint(np.clip(grey, 0, 255, out=grey), out=grey).astype(np.uint8)


def tissue_clean(shape: tuple[int, int, int] = (160, 160, 160), seed: int = 0) -> np.ndarray:
    """The noise-free truth of `tissue(shape, seed)`, uint8 (Z, Y, X)."""
    return tissue(shape, seed, noise=0.0)


class _Stream:
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
        q /= _length(*q.T)[:, None]
        w, x, y, z = q.T
        rows = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=1).reshape(-1, 3)[:n]


@dataclass(frozen=True)
class _Capsules:
    """Round-ended rods: segments `centre` +- `half` * `axis`, thickened by `radius`; n of them."""

    centre: np.ndarray  # (n, 3)
    axis: np.ndarray  # (n, 3), unit
    half: np.ndarray  # (n,), as are the rest
    radius: np.ndarray
    owner: np.ndarray  # index of the neurite it belongs to

    def __getitem__(self, which: np.ndarray | slice) -> _Capsules:
        return _Capsules(*(values[which] for values in vars(self).values()))

    def offset(self, points: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Vectors (three arrays) from the segments to `points` (three arrays), and the places along the axes.

        Points (V,) meet V capsules pairwise, or a single one; points (1, V) meet n capsules as (n, V).
        """
        extra = (None,) * (points[0].ndim - 1)
        axis, centre = (values.T[(..., *extra)] for values in (self.axis, self.centre))
        p = [points[k] - centre[k] for k in range(3)]
        along = p[0] * axis[0] + p[1] * axis[1] + p[2] * axis[2]
        inside = np.clip(along, -self.half[(..., *extra)], self.half[(..., *extra)])
        return [p[k] - inside * axis[k] for k in range(3)], along

    def gap(self, points: Sequence[np.ndarray]) -> np.ndarray:
        """Distance from each capsule's surface to `points`, shaped as `offset` says; negative inside."""
        offset, _ = self.offset(points)
        return _length(*offset) - self.radius[(..., *(None,) * (points[0].ndim - 1))]


def _length(*parts: np.ndarray) -> np.ndarray:
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total = total + part * part
    return np.sqrt(total)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) * (1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def _soft_max(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Maximum of two distances with the corner rounded over 6 voxels: never below the sharp one."""
    h = np.clip((a - b) * np.float32(1 / 12) + np.float32(0.5), 0, 1)
    return b + (a - b) * h + 6 * h * (1 - h)


def _smooth_field(stream: _Stream, shape: tuple[int, ...], spacing: float) -> np.ndarray:
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


def _warped_space(stream: _Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Warped coordinates (3, Z + 2, Y + 2, X + 2) of every voxel centre and one more voxel around."""
    padded = tuple(n + 2 for n in shape)
    out = np.empty((3, *padded), np.float32)
    for k in range(3):
        column = [-1 if axis == k else 1 for axis in range(3)]
        out[k] = np.arange(-1, shape[k] + 1, dtype=np.float32).reshape(column)
        for spacing, rms in _WARPS:
            field = _smooth_field(stream, padded, spacing)
            field *= np.float32(rms)
            out[k] += field
    return out


def _pack(stream: _Stream, shape: tuple[int, ...]) -> _Capsules:
    """Neurites, thick ones first, each put where it has most room among a dozen random places."""
    box = np.array(shape, np.float32) + 2 * _MARGIN
    n = int(box[0] * box[1] * box[2] / _NEURITE_VOLUME) // 3 * 3 + 3
    rank = (np.arange(n, dtype=np.float32) + 0.5) / n
    radius = 4 + 24 * (1 - rank) * (1 - rank) * (1 - rank)
    half = radius * stream.uniform(n, low=1.5, high=4.5)
    out = _Capsules(np.zeros((n, 3), np.float32), stream.frames(n), half, radius, np.arange(n))
    places = stream.uniform(n, 12, 3) * box - _MARGIN
    ends = np.array([-0.8, 0.0, 0.8], np.float32)
    out.centre[0] = places[0, 0]
    for i in range(1, n):
        probes = places[i, :, None, :] + (ends * half[i])[:, None] * out.axis[i]
        gap = out[:i].gap(probes.reshape(1, -1, 3).transpose(2, 0, 1))
        room = gap.min(axis=0).reshape(12, 3).min(axis=1)
        out.centre[i] = places[i, int(np.argmax(room))]
    return out


def _furnish(
    stream: _Stream,
    neurites: _Capsules,
    min_radius: float,
    per_voxel: float,
    spread: float,
    length: tuple[float, float],
    thickness: tuple[float, float],
) -> _Capsules:
    """Rods along the neurites thicker than `min_radius`, sized and spread in units of their radius."""
    count = 2 * neurites.half * np.float32(per_voxel) * (neurites.radius > min_radius)
    host = neurites[np.repeat(neurites.owner, (count + stream.uniform(len(count))).astype(np.int64))]
    n = len(host.owner)
    along = stream.uniform(n, low=-1, high=1) * host.half
    aside = stream.normal(n, 3) * np.float32(spread) * host.radius[:, None]
    half = stream.uniform(n, low=length[0], high=length[1]) * np.minimum(host.radius, 14)
    radius = stream.uniform(n, low=thickness[0], high=thickness[1]) * np.minimum(host.radius, 24)
    return _Capsules(host.centre + along[:, None] * host.axis + aside, host.axis, half, radius, host.owner)


@dataclass(frozen=True)
class _Anatomy:
    """What lies where, (Z, Y, X) each. Distances in voxels, negative inside."""

    neurite: np.ndarray  # index, int32; the others are float32
    wall: np.ndarray  # distance to the nearest membrane
    mitochondrion: np.ndarray  # distance to the nearest mitochondrion's surface
    lamella: np.ndarray  # position across its cristae, in periods
    tubule: np.ndarray  # distance to the nearest microtubule


def _anatomy(stream: _Stream, shape: tuple[int, ...], neurites: _Capsules) -> _Anatomy:
    """Neurites and their contents, by bricks: each looks only at the capsules that can matter there."""
    warped = _warped_space(stream, shape)
    mitochondria = _furnish(stream, neurites, 7.5, 0.018, 0.2, (0.8, 2.4), (0.35, 0.75))
    tubules = _furnish(stream, neurites, 6.0, 0.05, 0.3, (2.0, 5.0), (0.1, 0.1))
    out = _Anatomy(np.empty(shape, np.int32), *(np.empty(shape, np.float32) for _ in range(4)))
    for corner in product(*(range(0, n, _BRICK) for n in shape)):
        brick = tuple(slice(b, min(b + _BRICK, n)) for b, n in zip(corner, shape, strict=True))
        space = warped[(slice(None), *(slice(s.start, s.stop + 2) for s in brick))]
        stretch = _Stretch(space)
        inner = space[:, 1:-1, 1:-1, 1:-1]
        points = inner.reshape(3, -1)
        low, high = points.min(axis=1), points.max(axis=1)
        middle, reach = (low + high)[:, None] / 2, _length(*((high - low) / 2))

        gap = neurites.gap(middle[:, None])[:, 0]
        near = neurites[np.flatnonzero(gap <= np.partition(gap, 1)[1] + 2 * reach)]
        owner, wall = _two_nearest(near, points, stretch)
        body, tubule = (np.full(wall.shape, 9, np.float32) for _ in range(2))
        lamella = np.zeros(wall.shape, np.float32)
        for i in np.flatnonzero(mitochondria.gap(middle) < reach + 4):
            offset, along = mitochondria[i : i + 1].offset(points)
            distance = _length(*offset)
            slope = stretch([part / (distance + np.float32(1e-3)) for part in offset])
            surface = _soft_max((distance - mitochondria.radius[i]) / slope, 4 - wall)
            surface = np.where(owner == mitochondria.owner[i], surface, 9)
            lamella = np.where(surface < body, (along + distance) * np.float32(1 / 8), lamella)
            body = np.minimum(body, surface)
        for i in np.flatnonzero(tubules.gap(middle) < reach + 4):
            offset, _ = tubules[i : i + 1].offset(points)
            tubule = np.minimum(tubule, np.where(owner == tubules.owner[i], _length(*offset), 9))
        for whole, part in zip(vars(out).values(), (owner, wall, body, lamella, tubule), strict=True):
            whole[brick] = part.reshape(inner.shape[1:])
    return out


class _Stretch:
    """Length per voxel of gradients given in warped space, so that distances come out in voxels."""

    def __init__(self, space: np.ndarray) -> None:
        mid = (slice(1, -1),) * 3
        self._jacobian = [[slope[mid].reshape(-1) for slope in np.gradient(part)] for part in space]

    def __call__(self, gradient: Sequence[np.ndarray]) -> np.ndarray:
        j = self._jacobian
        parts = (gradient[0] * j[0][k] + gradient[1] * j[1][k] + gradient[2] * j[2][k] for k in range(3))
        return np.maximum(_length(*parts), np.float32(0.1))


def _two_nearest(near: _Capsules, points: np.ndarray, stretch: _Stretch) -> tuple[np.ndarray, np.ndarray]:
    """Owner of each point and its distance in voxels to the face between its two nearest neurites."""
    gap = near.gap(points[:, None])
    every = np.arange(points.shape[1])
    ranked, gaps, normals = [], [], []
    for _ in range(2):
        nearest = np.argmin(gap, axis=0)
        ranked.append(nearest)
        gaps.append(gap[nearest, every])
        gap[nearest, every] = np.inf
        offset, _ = near[nearest].offset(points)
        scale = 1 / (_length(*offset) + np.float32(1e-3))
        normals.append([part * scale for part in offset])
    wall = (gaps[1] - gaps[0]) / stretch([b - a for a, b in zip(*normals, strict=True)])
    return near.owner[ranked[0]].astype(np.int32), wall


def _vesicles(stream: _Stream, anatomy: _Anatomy) -> np.ndarray:
    """Darkness in 0 to 1 of clustered vesicles: synaptic ones are shells, dense-core ones balls."""
    shape = np.array(anatomy.wall.shape)
    out = np.zeros(shape, np.float32)
    cube = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3, indexing="ij")).reshape(3, -1)
    for centre in stream.uniform(int(np.prod(shape)) // 30_000 + 1, 3) * (shape - 1).astype(np.float32):
        spots = centre + stream.normal(60, 3) * 9
        dense = stream.uniform(60) < 0.12
        apart = _length(*(spots[:, None] - spots).T).T
        at = np.floor(spots).astype(np.int64)
        good = ((at >= 5) & (at < shape - 5)).all(axis=1) & ~np.tril(apart < 5, -1).any(axis=1)
        here = tuple(np.where(good, at.T, 0))
        good &= anatomy.neurite[here] == anatomy.neurite[tuple(centre.astype(np.int64))]
        good &= (anatomy.wall[here] > 4) & (anatomy.mitochondrion[here] > 4)
        for spot, cell, core in zip(spots[good], at[good], dense[good], strict=True):
            distance = _length(*((cell[:, None] + cube).astype(np.float32) - spot[:, None]))
            mark = 1 - (_step(distance, 2.5, 4.5) if core else _step(np.abs(distance - 2), 0.3, 1.5))
            window = tuple(slice(c - 5, c + 6) for c in cell)
            out[window] = np.maximum(out[window], mark.reshape(11, 11, 11))
    return out


def _clean(structure: _Stream, texture: _Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Grey levels of the noise-free tissue, float32."""
    neurites = _pack(structure, shape)
    anatomy = _anatomy(structure, shape, neurites)
    cytoplasm = 108 + 3.2 * neurites.radius + 14 * texture.normal(len(neurites.radius))
    grey = np.clip(cytoplasm, 98, 184)[anatomy.neurite]
    grey += 6 * _smooth_field(texture, shape, 3.0)
    grey += 6 * _smooth_field(texture, shape, 7.0)
    grey -= 45 * (1 - _step(anatomy.tubule, 0.4, 1.8))
    grey -= 45 * _reticulum(texture, shape)
    grey -= 42 * _vesicles(structure, anatomy)

    wave = anatomy.lamella + 0.8 * _smooth_field(texture, shape, 9.0)
    inner = 74 + 52 * np.abs(wave - np.rint(wave))
    inner += (72 - inner) * _step(anatomy.mitochondrion, -2.8, -1.4)
    grey += (inner - grey) * (1 - _step(anatomy.mitochondrion, -0.8, 0.8))

    synapse = _step(_smooth_field(texture, shape, 12.0), 1.5, 2.2)  # membranes are thicker and darker here
    grey += (84 - 10 * synapse - grey) * (1 - _step(anatomy.wall - synapse, -0.1, 2.1))
    grey += (grey - 130) * (0.06 * _smooth_field(texture, shape, 45.0))
    grey += 3 * _smooth_field(texture, shape, 60.0)
    return _blur(grey, 0.22)


def _reticulum(stream: _Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Darkness in 0 to 1 of thin curved cisternae: patches of the zero sheets of a smooth field."""
    field = _smooth_field(stream, shape, 14.0)
    sheet = np.abs(field) / (_length(*np.gradient(field)) + np.float32(0.01))
    return (1 - _step(sheet, 0.3, 1.7)) * _step(_smooth_field(stream, shape, 10.0), 0.5, 1.2)


def _blur(volume: np.ndarray, tap: float) -> np.ndarray:
    """Three-tap kernel (tap, 1 - 2 tap, tap) along every axis, edges repeated."""
    for k in range(3):
        moved = np.moveaxis(volume, k, 0)
        wide = np.concatenate([moved[:1], moved, moved[-1:]])
        sides = wide[:-2] + wide[2:]
        sides *= np.float32(tap)
        sides += moved * np.float32(1 - 2 * tap)
        volume = np.moveaxis(sides, 0, k)
    return volume


def _add_noise(grey: np.ndarray, stream: _Stream, rms: float) -> None:
    """Signal-dependent, mildly correlated noise, in place."""
    kernel_power = (1 - 2 * _NOISE_TAP) ** 2 + 2 * _NOISE_TAP**2
    noise = _blur(stream.normal(*grey.shape), _NOISE_TAP)
    noise *= np.float32(rms / kernel_power**1.5)
    noise *= np.sqrt(0.5 + grey * np.float32(0.5 / 136))  # nominal strength at the mean grey level
    grey += noise
