"""Small blocks with known truth, and denoisers whose answer is known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from scipy import ndimage

from isofield.field.fit import BlockData
from isofield.field.inputs import block_data, sections_needed
from isofield.geometry import AxialMap, Roi
from isofield.measurement import MeasurementModel

CPU = torch.device("cpu")
FACTOR = 4


def smooth_volume(shape, seed, width=1.5):
    """Random smooth truth (Z, Y, X), standard deviation 0.5."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), width)
    return (0.5 * noise / noise.std()).astype(np.float32)


def measured_block(truth, seed=0, factor=FACTOR):
    """The block that is all of `truth`, seen through the section average of a whole factor."""
    axial = AxialMap(Fraction(factor), truth.shape[0] // factor)
    roi = Roi((0, 0, 0), truth.shape)
    sections = truth.reshape(-1, factor, *truth.shape[1:]).mean(axis=1)
    return block_data(axial, MeasurementModel(Fraction(factor)), roi, sections_needed(axial, roi), sections, seed)


def plain_block(base, seed=0):
    """A block without a single section: nothing but the prior term speaks."""
    z, y, x = base.shape
    nothing = np.zeros((0, y, x), np.float32), np.zeros((0, z), np.float32)
    return BlockData(*nothing, base.astype(np.float32), np.zeros((2, z), np.float32), seed)


class Oracle:
    """A denoiser that knows the truth: it tells slices by the interpolated measurement they are conditioned on."""

    def __init__(self, blocks, truths):
        self.known = {}
        self.sigmas = []
        for block, truth in zip(blocks, truths, strict=True):
            for axis in (1, 2):
                for base, answer in zip(np.moveaxis(block.base, axis, 0), np.moveaxis(truth, axis, 0), strict=True):
                    self.known[np.ascontiguousarray(base, np.float32).tobytes()] = np.array(answer, np.float32)

    def __call__(self, noisy, sigma, condition):
        self.sigmas += sigma.tolist()
        keys = [base.numpy().tobytes() for base in condition[:, 0].contiguous()]
        return torch.from_numpy(np.stack([self.known[key] for key in keys]))[:, None]


def rms(difference):
    return float(np.sqrt(np.square(np.asarray(difference, np.float64)).mean()))
