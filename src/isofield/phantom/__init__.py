"""Synthetic tissue with known truth: insect neuropil as FIB-SEM sees it, at 8 nm isotropic.

The same arguments give the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np

from isofield.errors import InputError
from isofield.phantom.anatomy import Anatomy, anatomy_of, pack
from isofield.phantom.exact import Stream, blur, length, smooth_field, smooth_step

VOXEL_SIZE_NM = (8.0, 8.0, 8.0)
DEFAULT_NOISE = 4.5
_MIN_SIDE, _MAX_NOISE = 16, 40
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
    structure, texture, shot = (Stream(child) for child in np.random.SeedSequence(seed).spawn(3))
    grey = _clean(structure, texture, tuple(int(n) for n in shape))
    if noise > 0:
        _add_noise(grey, shot, noise)
    return np.rint(np.clip(grey, 0, 255, out=grey), out=grey).astype(np.uint8)


def tissue_clean(shape: tuple[int, int, int] = (160, 160, 160), seed: int = 0) -> np.ndarray:
    """The noise-free truth of `tissue(shape, seed)`, uint8 (Z, Y, X)."""
    return tissue(shape, seed, noise=0.0)


def _clean(structure: Stream, texture: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Grey levels of the noise-free tissue, float32."""
    neurites = pack(structure, shape)
    anatomy = anatomy_of(structure, shape, neurites)
    cytoplasm = 108 + 3.2 * neurites.radius + 14 * texture.normal(len(neurites.radius))
    grey = np.clip(cytoplasm, 98, 184)[anatomy.neurite]
    grey += 6 * smooth_field(texture, shape, 3.0)
    grey += 6 * smooth_field(texture, shape, 7.0)
    grey -= 45 * (1 - smooth_step(anatomy.tubule, 0.4, 1.8))
    grey -= 45 * _reticulum(texture, shape)
    grey -= 42 * _vesicles(structure, anatomy)

    wave = anatomy.lamella + 0.8 * smooth_field(texture, shape, 9.0)
    inner = 74 + 52 * np.abs(wave - np.rint(wave))
    inner += (72 - inner) * smooth_step(anatomy.mitochondrion, -2.8, -1.4)
    grey += (inner - grey) * (1 - smooth_step(anatomy.mitochondrion, -0.8, 0.8))

    synapse = smooth_step(smooth_field(texture, shape, 12.0), 1.5, 2.2)  # membranes are thicker and darker here
    grey += (84 - 10 * synapse - grey) * (1 - smooth_step(anatomy.wall - synapse, -0.1, 2.1))
    grey += (grey - 130) * (0.06 * smooth_field(texture, shape, 45.0))
    grey += 3 * smooth_field(texture, shape, 60.0)
    return blur(grey, 0.22)


def _vesicles(stream: Stream, anatomy: Anatomy) -> np.ndarray:
    """Darkness in 0 to 1 of clustered vesicles: synaptic ones are shells, dense-core ones balls."""
    shape = np.array(anatomy.wall.shape)
    out = np.zeros(shape, np.float32)
    cube = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3, indexing="ij")).reshape(3, -1)
    for centre in stream.uniform(int(np.prod(shape)) // 30_000 + 1, 3) * (shape - 1).astype(np.float32):
        spots = centre + stream.normal(60, 3) * 9
        dense = stream.uniform(60) < 0.12
        apart = length(*(spots[:, None] - spots).T).T
        at = np.floor(spots).astype(np.int64)
        good = ((at >= 5) & (at < shape - 5)).all(axis=1) & ~np.tril(apart < 5, -1).any(axis=1)
        here = tuple(np.where(good, at.T, 0))
        good &= anatomy.neurite[here] == anatomy.neurite[tuple(centre.astype(np.int64))]
        good &= (anatomy.wall[here] > 4) & (anatomy.mitochondrion[here] > 4)
        for spot, cell, core in zip(spots[good], at[good], dense[good], strict=True):
            distance = length(*((cell[:, None] + cube).astype(np.float32) - spot[:, None]))
            mark = 1 - (smooth_step(distance, 2.5, 4.5) if core else smooth_step(np.abs(distance - 2), 0.3, 1.5))
            window = tuple(slice(c - 5, c + 6) for c in cell)
            out[window] = np.maximum(out[window], mark.reshape(11, 11, 11))
    return out


def _reticulum(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Darkness in 0 to 1 of thin curved cisternae: patches of the zero sheets of a smooth field."""
    field = smooth_field(stream, shape, 14.0)
    sheet = np.abs(field) / (length(*np.gradient(field)) + np.float32(0.01))
    return (1 - smooth_step(sheet, 0.3, 1.7)) * smooth_step(smooth_field(stream, shape, 10.0), 0.5, 1.2)


def _add_noise(grey: np.ndarray, stream: Stream, rms: float) -> None:
    """Signal-dependent, mildly correlated noise, in place."""
    kernel_power = (1 - 2 * _NOISE_TAP) ** 2 + 2 * _NOISE_TAP**2
    noise = blur(stream.normal(*grey.shape), _NOISE_TAP)
    noise *= np.float32(rms / kernel_power**1.5)
    noise *= np.sqrt(0.5 + grey * np.float32(0.5 / 136))  # nominal strength at the mean grey level
    grey += noise
