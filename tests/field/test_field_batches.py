"""A block is nobody's business but its own: alone, in any batch, beside one that breaks or one that takes longer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_example import CPU, FINE, FOURIER, GRID, SIREN, fitted, measured_block, smooth_volume

from isofield.field.fit import fit_fields
from isofield.field.spec import FitSpec
from isofield.prior.denoiser import Denoiser
from isofield.prior.precision import native_bfloat16
from isofield.prior.spec import PriorSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (16, 20, 24)
FIELD = ((2, 3), (16, 18))


def shrink(noisy, sigma, condition):
    """A denoiser without memory that reads noise, level and condition alike; every slice by itself."""
    level = sigma[:, None, None, None]
    if condition is None:
        return noisy / (1 + level)
    mean = 0.8 * condition[:, :1] + 0.1 * condition[:, 1:2] + 0.05 * condition[:, -1:]
    return mean if noisy is None else mean + 0.3 * noisy / (1 + level)


def block_at(x, seed):
    return measured_block(smooth_volume(SHAPE, seed), field=FIELD, seed=seed, noise_seed=0, place=(0, x))


@pytest.fixture(scope="module")
def blocks():
    return [block_at(0, 0), block_at(20, 1)]


SPECS = {
    "distill": FitSpec(steps=12, slice_share=0.25),
    "draw": FitSpec(steps=12, slice_share=0.25, detail=0.7),
    "sds": FitSpec(steps=12, mode="sds", slice_share=0.25),
    "data": FitSpec(steps=12, prior_weight=0.0, slice_share=0.25),
}
FIELDS = {"grid": GRID, "fine": FINE, "siren": SIREN, "fourier": FOURIER}


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("name", SPECS)
def test_a_block_fitted_alone_or_in_a_batch_is_the_same(blocks, kind, name):
    """On one CPU thread bit for bit, at any place in the batch."""
    batch = [*blocks, block_at(40, 7)]
    alone = [fitted([block], shrink, SPECS[name], FIELDS[kind]) for block in batch]
    for order in ([0, 1], [1, 0], [2, 0, 1]):
        result, together = fitted([batch[k] for k in order], shrink, SPECS[name], FIELDS[kind])
        for place, k in enumerate(order):
            np.testing.assert_array_equal(together[place], alone[k][1][0])
            for figure in ("losses", "data_rms", "prior_rms"):
                np.testing.assert_array_equal(getattr(result, figure)[..., place], getattr(alone[k][0], figure)[..., 0])
    # Negative control: blocks differ, and so do their fields.
    assert np.abs(alone[0][1] - alone[1][1]).max() > 0.1


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(
            "auto",
            marks=pytest.mark.skipif(
                not native_bfloat16(CPU), reason="this processor does not compute in bfloat16 natively, so auto is float32 here"
            ),
        ),
        "float32",
    ],
)
@pytest.mark.parametrize("name", ["distill", "draw", "sds"])
def test_in_either_precision_of_the_network_a_block_is_the_same_in_any_batch(blocks, name, precision):
    torch.manual_seed(0)
    denoiser = Denoiser(PriorSpec(rounds=1, channels=(8, 8), precision=precision), 0.5, 0.2).requires_grad_(False)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    alone = [fitted([block], denoiser, SPECS[name], FINE)[1][0] for block in blocks]
    _, together = fitted(blocks[::-1], denoiser, SPECS[name], FINE)
    np.testing.assert_array_equal(together[::-1], alone)
    # Negative control: the other precision would be seen.
    if native_bfloat16(CPU):
        denoiser.precision = "auto" if precision == "float32" else "float32"
        _, other = fitted(blocks[:1], denoiser, SPECS[name], FINE)
        assert 0 < np.abs(other[0] - alone[0]).max() < 0.05


@pytest.mark.parametrize("name", SPECS)
def test_the_seed_of_a_block_matters(blocks, name):
    other = replace(blocks[0], seed=123)
    first, again, second = (fitted([b], shrink, SPECS[name])[1] for b in (blocks[0], blocks[0], other))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 1e-5


@pytest.mark.parametrize("name", ["distill", "draw", "sds"])
def test_one_broken_block_is_unsound_and_the_others_are_untouched(blocks, name):
    calls = {"n": 0}

    def broken_for_second(noisy, sigma, condition):
        """Per axis or step the blocks come one after the other; each takes one call at this size, two where it is mirrored."""
        calls["n"] += 1
        answer = shrink(noisy, sigma, condition)
        mirrored = SPECS[name].has_targets and noisy is None
        second = (calls["n"] - 1) // 2 % 2 == 1 if mirrored else calls["n"] % 2 == 0
        return answer * torch.nan if second else answer

    result, values = fitted(blocks, broken_for_second, SPECS[name])
    assert result.sound.tolist() == [True, False]
    assert np.isnan(values[1]).any()
    _, alone = fitted(blocks[:1], shrink, SPECS[name])
    np.testing.assert_array_equal(values[0], alone[0])


def test_a_fit_that_runs_away_is_unsound(blocks):
    start = {"n": 0}

    def runs_away(noisy, sigma, condition):
        start["n"] += 1
        return noisy + 10.0 ** start["n"]

    result = fit_fields(blocks[:1], runs_away, GRID, FitSpec(steps=6, mode="sds", data_weight=0.0), CPU)
    assert result.sound.tolist() == [False]
