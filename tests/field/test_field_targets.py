"""What fields are drawn to: over the field and nothing else, the posterior mean at detail 0, a draw from the posterior above."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from fit_example import measured_block, smooth_volume, stacked

from isofield.field.representation import X, Y
from isofield.field.spec import CUDA_VOX_PER_CALL, SLICES_PER_CALL, slices_per_call
from isofield.field.targets import DRAW_SIGMAS, distillation_targets
from isofield.measurement import MeasurementModel, neighbour_matrices

pytestmark = pytest.mark.usefixtures("one_thread")

SEEN = (12, 41, 44)
FIELD = ((3, 5), (36, 34))
"""Where the field lies: on each side another margin, and along both axes more slices than one call takes."""


@pytest.fixture(scope="module")
def truth():
    return smooth_volume(SEEN, 0)


def cut(volume, field=FIELD):
    """The part of a volume (Z, Yr, Xr) over which the field lies."""
    (y, x), (height, width) = field
    return volume[:, y : y + height, x : x + width]


def channel(which):
    """A denoiser that hands back one channel of its condition."""
    return lambda noisy, sigma, condition: condition[:, which : which + 1]


class Recorder:
    """A denoiser that passes on what it is asked, and remembers it."""

    def __init__(self, denoise):
        self.denoise, self.asked = denoise, []

    def __call__(self, noisy, sigma, condition):
        self.asked.append((noisy, sigma, condition))
        return self.denoise(noisy, sigma, condition)

    def levels(self):
        """Sigma of each call."""
        assert all(len(set(sigma.tolist())) == 1 for _, sigma, _ in self.asked)
        return [float(sigma[0]) for _, sigma, _ in self.asked]


# --- the posterior mean ---


def test_a_denoiser_that_hands_back_the_base_gives_the_base_over_the_field(truth):
    blocks = [measured_block(truth, field=FIELD), measured_block(truth[:, ::-1].copy(), field=FIELD)]
    batch = stacked(*blocks)
    targets = distillation_targets(batch, channel(0))
    for axis in (Y, X):
        assert targets[axis].shape == (2, 12, 36, 34)
        assert torch.equal(targets[axis], batch.field_base)
        for n, block in enumerate(blocks):
            np.testing.assert_array_equal(targets[axis][n].numpy(), cut(block.base))
            # Negative control: a field that lay one voxel elsewhere would have been noticed.
            for offset in ((2, 5), (4, 5), (3, 4), (3, 6)):
                assert (targets[axis][n].numpy() != cut(block.base, (offset, FIELD[1]))).mean() > 0.9


def test_mirrored_is_the_mean_of_a_slice_and_of_its_mirror_image_along_the_section(truth):
    """With a denoiser that shifts slices to the right, which is to the left in the mirror image."""

    def shifted(noisy, sigma, condition):
        return condition[:, :1].roll(1, dims=-1)

    batch = stacked(measured_block(truth, field=FIELD))
    once, twice = (distillation_targets(batch, shifted, mirrored=mirrored) for mirrored in (False, True))
    base = batch.base[0]
    for axis, along in ((Y, 2), (X, 1)):
        left, right = (cut(base.roll(step, dims=along)) for step in (-1, 1))
        assert torch.equal(once[axis][0], right)
        torch.testing.assert_close(twice[axis][0], (left + right) / 2)
        assert (twice[axis] - once[axis]).abs().max() > 0.1


@pytest.mark.parametrize("n_neighbours", [0, 1, 2])
def test_conditions_hold_the_slice_its_neighbours_and_its_place_in_that_order(truth, n_neighbours):
    block = measured_block(truth, field=FIELD, n_neighbours=n_neighbours)
    n_channels = 3 + 2 * n_neighbours
    found = []
    for which in range(n_channels):
        recorder = Recorder(channel(which))
        found.append(distillation_targets(stacked(block), recorder))
        assert {condition.shape[1] for _, _, condition in recorder.asked} == {n_channels}
    waves = np.broadcast_to(block.phase[:, :, None, None], (2, *SEEN))
    for axis in (Y, X):
        # Neighbours at the field's edge are made of all that the block sees, not of the field alone.
        beside = neighbour_matrices(MeasurementModel(4), SEEN[axis], n_neighbours)
        seen = [np.moveaxis(np.tensordot(matrix, block.base, axes=(1, axis)), 0, axis) for matrix in beside]
        for which, expected in enumerate([block.base, *seen, *waves]):
            np.testing.assert_allclose(found[which][axis][0].numpy(), cut(expected), atol=1e-5)
    # Negative control: neighbours across the other axis are something else.
    if n_neighbours:
        wrong = np.moveaxis(np.tensordot(neighbour_matrices(MeasurementModel(4), SEEN[X], 1)[0], block.base, axes=(1, X)), 0, X)
        assert np.abs(found[1][Y][0].numpy() - cut(wrong)).max() > 0.1


def test_only_slices_of_the_field_are_denoised_but_each_over_all_that_is_seen(truth):
    recorder = Recorder(channel(0))
    distillation_targets(stacked(measured_block(truth, field=FIELD)), recorder)
    assert all(noisy is None for noisy, _, _ in recorder.asked)
    assert recorder.levels() == [math.inf] * 4
    shapes = [tuple(condition.shape) for _, _, condition in recorder.asked]
    assert shapes == [(32, 5, 12, 44), (4, 5, 12, 44), (32, 5, 12, 41), (2, 5, 12, 41)]


def test_no_call_holds_slices_of_two_blocks_or_too_many(truth):
    """What a slice shares a call with can change how its answer is rounded."""
    blocks = [measured_block(truth + k, field=FIELD, seed=k, noise_seed=0) for k in range(2)]
    together, alone = Recorder(channel(0)), [Recorder(channel(0)) for _ in blocks]
    distillation_targets(stacked(*blocks), together, detail=1.0)
    for block, recorder in zip(blocks, alone, strict=True):
        distillation_targets(stacked(block), recorder, detail=1.0)
    calls = [condition.numpy().tobytes() for _, _, condition in together.asked]
    assert sorted(calls) == sorted(c.numpy().tobytes() for r in alone for _, _, c in r.asked)
    assert max(len(condition) for _, _, condition in together.asked) == SLICES_PER_CALL


# --- a draw from the posterior ---


def gaussian(spread):
    """The denoiser of a posterior that is Gaussian, independent at every voxel, with the base as mean."""

    def denoise(noisy, sigma, condition):
        mean = condition[:, :1]
        if noisy is None:
            return mean
        level = sigma[:, None, None, None]
        return mean + spread**2 / (spread**2 + level**2) * (noisy - mean)

    return denoise


def gain(spread):
    """What becomes of unit noise: every step is linear, so the answer of all of them is a product."""
    steps = [(spread**2 + a * b) / (spread**2 + a**2) for a, b in itertools.pairwise(DRAW_SIGMAS)]
    return DRAW_SIGMAS[0] * math.prod(steps) * spread**2 / (spread**2 + DRAW_SIGMAS[-1] ** 2)


def texture(block, denoise, detail):
    """By axis, what a draw adds to the base over the field."""
    targets = distillation_targets(stacked(block), denoise, detail)
    return {axis: targets[axis][0].numpy() - cut(block.base) for axis in (Y, X)}


def test_the_noise_of_a_draw_falls():
    assert all(b < a for a, b in itertools.pairwise(DRAW_SIGMAS))
    assert DRAW_SIGMAS[-1] > 0


@pytest.mark.parametrize("detail", [0.2, 1.0])
@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_with_a_gaussian_posterior_a_draw_is_what_the_equations_say(truth, spread, detail):
    block = measured_block(truth, field=FIELD, noise_seed=7)
    for drawn in texture(block, gaussian(spread), detail).values():
        np.testing.assert_allclose(drawn, cut(detail * gain(spread) * block.noise), atol=1e-5)


@pytest.mark.parametrize("spread", [0.1, 0.2])
def test_a_draw_has_about_the_spread_of_the_posterior(truth, spread):
    block = measured_block(truth, field=FIELD, noise_seed=7)
    for drawn in texture(block, gaussian(spread), 1.0).values():
        assert drawn.std() == pytest.approx(spread, rel=0.2)
    # Negative control: one sweep alone, from most noise to least, is far from it.
    step = (spread**2 + DRAW_SIGMAS[0] * DRAW_SIGMAS[-1]) / (spread**2 + DRAW_SIGMAS[0] ** 2)
    assert DRAW_SIGMAS[0] * step < 0.7 * spread


def test_texture_grows_with_detail_from_none_at_all(truth):
    block = measured_block(truth, field=FIELD, noise_seed=7)
    most = texture(block, gaussian(0.2), 1.0)[X]
    for detail in (0.0, 0.1, 0.6):
        np.testing.assert_allclose(texture(block, gaussian(0.2), detail)[X], detail * most, atol=1e-5)
    assert not texture(block, gaussian(0.2), 0.0)[X].any()


def leaning(noisy, sigma, condition):
    """A denoiser that answers louder on ZX slices than on ZY slices, told apart by their width."""
    answer = gaussian(0.2)(noisy, sigma, condition)
    return answer * (1.1 if answer.shape[-1] == SEEN[X] else 0.7)


def test_the_directions_take_turns_in_shaping_one_texture(truth):
    block = measured_block(truth, field=FIELD, noise_seed=7)
    recorder = Recorder(leaning)
    targets = distillation_targets(stacked(block), recorder, detail=1.0)
    noisy = 0.9 * block.base + DRAW_SIGMAS[0] * block.noise  # the mean of both directions' means
    for sweep, (sigma, following) in enumerate(itertools.pairwise(DRAW_SIGMAS)):
        loudness = 0.7 if sweep % 2 else 1.1
        denoised = loudness * (block.base + 0.04 / (0.04 + sigma**2) * (noisy - block.base))
        noisy = denoised + following / sigma * (noisy - denoised)
    last = block.base + 0.04 / (0.04 + DRAW_SIGMAS[-1] ** 2) * (noisy - block.base)
    np.testing.assert_allclose(targets[Y][0].numpy(), cut(1.1 * last), atol=1e-4)
    np.testing.assert_allclose(targets[X][0].numpy(), cut(0.7 * last), atol=1e-4)
    # Two calls per direction of this block: of the mean and in the end for both directions, in between for one.
    n_calls = [4, *[2] * (len(DRAW_SIGMAS) - 1), 4]
    levels = [math.inf, *DRAW_SIGMAS]
    assert recorder.levels() == pytest.approx([s for s, n in zip(levels, n_calls, strict=True) for _ in range(n)])


def test_in_the_end_both_directions_denoise_the_same_volume(truth):
    recorder = Recorder(leaning)
    distillation_targets(stacked(measured_block(truth, field=FIELD, noise_seed=7)), recorder, detail=1.0)
    calls = [noisy[:, 0] for noisy, _, _ in recorder.asked[-4:]]
    zx, zy = torch.cat(calls[:2]).movedim(0, Y), torch.cat(calls[2:]).movedim(0, X)
    assert zx.shape == (12, 36, 44)
    assert zy.shape == (12, 41, 34)
    assert torch.equal(zx[:, :, 5:39], zy[:, 3:39])
    assert not torch.equal(zx[:, :, 4:38], zy[:, 3:39])


def test_blocks_that_overlap_draw_the_same_texture():
    """Neighbours share their noise, so where both have fields the denoiser is asked the same and there is no seam."""
    tissue = smooth_volume((12, 20, 50), 1)

    def drawn(x, noise_seed):
        block = measured_block(tissue[:, :, x : x + 30].copy(), field=((0, 4), (20, 22)), noise_seed=noise_seed, place=(0, x))
        return distillation_targets(stacked(block), gaussian(0.2), detail=1.0)[Y][0].numpy()

    # Fields over columns 4 to 26 and 14 to 36.
    first, second, other_noise = drawn(0, 3), drawn(10, 3), drawn(10, 4)
    np.testing.assert_allclose(first[..., 10:], second[..., :-10], atol=1e-5)
    assert np.abs(first[..., 10:] - other_noise[..., :-10]).mean() > 0.1


def test_a_draw_without_noise_is_an_error(truth):
    with pytest.raises(ValueError, match="needs the noise"):
        distillation_targets(stacked(measured_block(truth)), gaussian(0.1), detail=0.1)
    assert distillation_targets(stacked(measured_block(truth)), gaussian(0.1))[Y].shape == (1, *SEEN)


def test_on_cuda_calls_are_large_and_depend_on_the_shape_alone():
    assert {slices_per_call(False, n) for n in (1, 10**4, 10**9)} == {SLICES_PER_CALL}
    for side in (64, 176, 272, 2000):
        at_once = slices_per_call(True, side * side)
        assert at_once == SLICES_PER_CALL or at_once * side * side <= CUDA_VOX_PER_CALL < (at_once + 1) * side * side
