"""Small blocks with known truth, and denoisers whose answer is known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from scipy import ndimage

from isofield.field.batch import BlockBatch
from isofield.field.block import BlockData
from isofield.field.fit import fit_fields, render_fields
from isofield.field.inputs import block_data, sections_needed
from isofield.field.spec import FieldSpec
from isofield.geometry import AxialMap, Roi
from isofield.measurement import MeasurementModel, neighbour_matrices

CPU = torch.device("cpu")
FACTOR = 4
GRID = FieldSpec(strides_vox=(2, 4), features=(4, 4), hidden=16)
FINE = FieldSpec(strides_vox=(1, 4), features=(1, 4), hidden=16)
SIREN = FieldSpec(kind="siren", hidden=32, n_hidden_layers=2, frequency=8.0)
FOURIER = FieldSpec(kind="fourier", hidden=32, n_hidden_layers=2, n_frequencies=32, frequency=1.0)


def smooth_volume(shape, seed, width=1.5):
    """Random smooth truth (Z, Y, X), standard deviation 0.5."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), width)
    return (0.5 * noise / noise.std()).astype(np.float32)


def measured_block(truth, seed=0, planes=None, field=None, n_neighbours=1, noise_seed=None, place=(0, 0)):
    """A block of `truth`, seen through the section average of FACTOR planes: all of it, or planes (begin, end) only.

    field: ((y, x), (Y, X)), where the field lies within what the block sees; None: it is all of it. place: (y, x) of what the
    block sees within a larger volume.
    """
    axial = AxialMap(Fraction(FACTOR), truth.shape[0] // FACTOR)
    begin, end = planes or (0, truth.shape[0])
    read = Roi((begin, *place), (end - begin, *truth.shape[1:]))
    (y, x), (height, width) = field or ((0, 0), truth.shape[1:])
    inner = Roi((begin, place[0] + y, place[1] + x), (end - begin, height, width))
    sections = truth.reshape(-1, FACTOR, *truth.shape[1:]).mean(axis=1)
    needed = sections_needed(axial, read)
    units = sections[needed.start : needed.stop]
    return block_data(axial, MeasurementModel(Fraction(FACTOR)), read, inner, needed, units, seed, n_neighbours, noise_seed)


def plain_block(base, seed=0):
    """A block without a single section: nothing but the prior term speaks."""
    z, y, x = base.shape
    model = MeasurementModel(Fraction(FACTOR))
    return BlockData(
        base=base.astype(np.float32),
        inner=(0, 0),
        measured=np.zeros((0, y, x), np.float32),
        measure=np.zeros((0, z), np.float32),
        weight=np.zeros(0, np.float32),
        phase=np.zeros((2, z), np.float32),
        neighbours=(neighbour_matrices(model, y, 1), neighbour_matrices(model, x, 1)),
        noise=None,
        seed=seed,
    )


def stacked(*blocks):
    return BlockBatch.stack(blocks, CPU)


class Oracle:
    """A denoiser that knows the truth: it tells slices by the interpolated measurement they are conditioned on.

    truths: over all that the blocks see. sigmas: of every slice it was asked for; noisy: whether a noisy slice came along.
    """

    def __init__(self, blocks, truths):
        self.known = {}
        self.sigmas = []
        self.noisy = []
        for block, truth in zip(blocks, truths, strict=True):
            for axis in (1, 2):
                for base, answer in zip(np.moveaxis(block.base, axis, 0), np.moveaxis(truth, axis, 0), strict=True):
                    for turn in (1, -1):  # the slice and its mirror image
                        key = np.ascontiguousarray(base[:, ::turn], np.float32).tobytes()
                        self.known[key] = np.array(answer[:, ::turn], np.float32)

    def __call__(self, noisy, sigma, condition):
        self.sigmas += sigma.tolist()
        self.noisy += [noisy is not None] * len(sigma)
        keys = [base.numpy().tobytes() for base in condition[:, 0].contiguous()]
        return torch.from_numpy(np.stack([self.known[key] for key in keys]))[:, None]


def fitted(blocks, denoise, spec, field=GRID, **kwargs):
    """The result of a fit, and all voxels of every field, numpy (N, Z, Y, X)."""
    result = fit_fields(blocks, denoise, field, spec, CPU, **kwargs)
    return result, render_fields(result.fields, stacked(*blocks).field_base).numpy()


def rms(difference):
    return float(np.sqrt(np.square(np.asarray(difference, np.float64)).mean()))
