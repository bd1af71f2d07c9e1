"""What lies where in the synthetic tissue: neurites, and within them mitochondria and microtubules.

Neurites are an additively weighted Voronoi partition of random line segments in a smoothly warped space: packed, curved tubes
of varied calibre with membranes of constant thickness between them. All directions are equally likely, so an XY slice shows
what a ZX slice shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from isofield.phantom.exact import Stream, length, smooth_field, soft_max

_BRICK = 16
_MARGIN = 40  # neurites are seeded this far outside the volume, so that its faces look like its middle
_NEURITE_VOLUME = 36_000.0  # voxels per neurite
_WARPS = ((28.0, 5.5), (13.0, 1.7))  # (lattice spacing, rms shift along each axis) in voxels


@dataclass(frozen=True)
class Capsules:
    """Round-ended rods: segments `centre` +- `half` * `axis`, thickened by `radius`; n of them."""

    centre: np.ndarray  # (n, 3)
    axis: np.ndarray  # (n, 3), unit
    half: np.ndarray  # (n,), as are the rest
    radius: np.ndarray
    owner: np.ndarray  # index of the neurite it belongs to

    def __getitem__(self, which: np.ndarray | slice) -> Capsules:
        return Capsules(*(values[which] for values in vars(self).values()))

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
        return length(*offset) - self.radius[(..., *(None,) * (points[0].ndim - 1))]


def _warped_space(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Warped coordinates (3, Z + 2, Y + 2, X + 2) of every voxel centre and one more voxel around."""
    padded = tuple(n + 2 for n in shape)
    out = np.empty((3, *padded), np.float32)
    for k in range(3):
        column = [-1 if axis == k else 1 for axis in range(3)]
        out[k] = np.arange(-1, shape[k] + 1, dtype=np.float32).reshape(column)
        for spacing, rms in _WARPS:
            field = smooth_field(stream, padded, spacing)
            field *= np.float32(rms)
            out[k] += field
    return out


def pack(stream: Stream, shape: tuple[int, ...]) -> Capsules:
    """Neurites, thick ones first, each put where it has most room among a dozen random places."""
    box = np.array(shape, np.float32) + 2 * _MARGIN
    n = int(box[0] * box[1] * box[2] / _NEURITE_VOLUME) // 3 * 3 + 3
    rank = (np.arange(n, dtype=np.float32) + 0.5) / n
    radius = 4 + 24 * (1 - rank) * (1 - rank) * (1 - rank)
    half = radius * stream.uniform(n, low=1.5, high=4.5)
    out = Capsules(np.zeros((n, 3), np.float32), stream.frames(n), half, radius, np.arange(n))
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
    stream: Stream,
    neurites: Capsules,
    min_radius: float,
    per_voxel: float,
    spread: float,
    half_length: tuple[float, float],
    thickness: tuple[float, float],
) -> Capsules:
    """Rods along the neurites thicker than `min_radius`, sized and spread in units of their radius."""
    count = 2 * neurites.half * np.float32(per_voxel) * (neurites.radius > min_radius)
    host = neurites[np.repeat(neurites.owner, (count + stream.uniform(len(count))).astype(np.int64))]
    n = len(host.owner)
    along = stream.uniform(n, low=-1, high=1) * host.half
    aside = stream.normal(n, 3) * np.float32(spread) * host.radius[:, None]
    half = stream.uniform(n, low=half_length[0], high=half_length[1]) * np.minimum(host.radius, 14)
    radius = stream.uniform(n, low=thickness[0], high=thickness[1]) * np.minimum(host.radius, 24)
    return Capsules(host.centre + along[:, None] * host.axis + aside, host.axis, half, radius, host.owner)


@dataclass(frozen=True)
class Anatomy:
    """What lies where, (Z, Y, X) each. Distances in voxels, negative inside."""

    neurite: np.ndarray  # index, int32; the others are float32
    wall: np.ndarray  # distance to the nearest membrane
    mitochondrion: np.ndarray  # distance to the nearest mitochondrion's surface
    lamella: np.ndarray  # position across its cristae, in periods
    tubule: np.ndarray  # distance to the nearest microtubule


def anatomy_of(stream: Stream, shape: tuple[int, ...], neurites: Capsules) -> Anatomy:
    """Neurites and their contents, by bricks: each looks only at the capsules that can matter there."""
    warped = _warped_space(stream, shape)
    mitochondria = _furnish(stream, neurites, 7.5, 0.018, 0.2, (0.8, 2.4), (0.35, 0.75))
    tubules = _furnish(stream, neurites, 6.0, 0.05, 0.3, (2.0, 5.0), (0.1, 0.1))
    out = Anatomy(np.empty(shape, np.int32), *(np.empty(shape, np.float32) for _ in range(4)))
    for corner in product(*(range(0, n, _BRICK) for n in shape)):
        brick = tuple(slice(b, min(b + _BRICK, n)) for b, n in zip(corner, shape, strict=True))
        space = warped[(slice(None), *(slice(s.start, s.stop + 2) for s in brick))]
        stretch = _Stretch(space)
        inner = space[:, 1:-1, 1:-1, 1:-1]
        points = inner.reshape(3, -1)
        low, high = points.min(axis=1), points.max(axis=1)
        middle, reach = (low + high)[:, None] / 2, length(*((high - low) / 2))

        gap = neurites.gap(middle[:, None])[:, 0]
        near = neurites[np.flatnonzero(gap <= np.partition(gap, 1)[1] + 2 * reach)]
        owner, wall = _two_nearest(near, points, stretch)
        body, tubule = (np.full(wall.shape, 9, np.float32) for _ in range(2))
        lamella = np.zeros(wall.shape, np.float32)
        for i in np.flatnonzero(mitochondria.gap(middle) < reach + 4):
            offset, along = mitochondria[i : i + 1].offset(points)
            distance = length(*offset)
            slope = stretch([part / (distance + np.float32(1e-3)) for part in offset])
            surface = soft_max((distance - mitochondria.radius[i]) / slope, 4 - wall)
            surface = np.where(owner == mitochondria.owner[i], surface, 9)
            lamella = np.where(surface < body, (along + distance) * np.float32(1 / 8), lamella)
            body = np.minimum(body, surface)
        for i in np.flatnonzero(tubules.gap(middle) < reach + 4):
            offset, _ = tubules[i : i + 1].offset(points)
            tubule = np.minimum(tubule, np.where(owner == tubules.owner[i], length(*offset), 9))
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
        return np.maximum(length(*parts), np.float32(0.1))


def _two_nearest(near: Capsules, points: np.ndarray, stretch: _Stretch) -> tuple[np.ndarray, np.ndarray]:
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
        scale = 1 / (length(*offset) + np.float32(1e-3))
        normals.append([part * scale for part in offset])
    wall = (gaps[1] - gaps[0]) / stretch([b - a for a, b in zip(*normals, strict=True)])
    return near.owner[ranked[0]].astype(np.int32), wall
