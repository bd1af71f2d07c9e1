"""The denoiser around its network: EDM coefficients, the posterior mean, and the Gaussian case with a known answer."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from isofield.geometry import AxialMap
from isofield.interpolation import phase_features
from isofield.prior.denoiser import Denoiser
from isofield.prior.spec import PriorSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SIGMA_DATA, SIGMA_RESIDUAL = 0.5, 0.2
SPEC = PriorSpec(channels=(8, 8), precision="float32")


class Nothing(nn.Module):
    """The network's place, filled with zeros."""

    def forward(self, x, scalar, lead):
        return torch.zeros_like(x[:, :1])


class Inputs(nn.Module):
    """The network's place, handing back its first channel: the scaled noisy input."""

    def forward(self, x, scalar, lead):
        return x[:, :1]


@pytest.fixture
def denoiser():
    """A denoiser with random weights everywhere: fresh ones have a zero head and say nothing."""
    torch.manual_seed(0)
    made = Denoiser(SPEC, SIGMA_DATA, SIGMA_RESIDUAL)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made.requires_grad_(False)


@pytest.fixture
def slices():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 1, 16, 20, generator=generator)


@pytest.fixture
def condition():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, SPEC.n_condition, 16, 20, generator=generator)


def coefficients(denoiser, sigma, flag=0.0):
    """c_skip, c_out, c_in, c_noise at one sigma, as numbers."""
    one = torch.ones(1, 1, 1, 1)
    values = denoiser.coefficients(one, torch.tensor([sigma]), torch.tensor([flag]))
    return [float(v.flatten()[0]) for v in values]


@pytest.mark.parametrize(("flag", "spread"), [(0.0, SIGMA_DATA), (1.0, SIGMA_RESIDUAL)])
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 20.0])
def test_coefficients_are_those_of_table_1(denoiser, flag, spread, sigma):
    c_skip, c_out, c_in, c_noise = coefficients(denoiser, sigma, flag)
    total = sigma**2 + spread**2
    assert c_skip == pytest.approx(spread**2 / total, rel=1e-5)
    assert c_out == pytest.approx(sigma * spread / math.sqrt(total), rel=1e-5)
    assert c_in == pytest.approx(1 / math.sqrt(total), rel=1e-5)
    assert c_noise == pytest.approx(math.log(sigma) / 4, rel=1e-5)


def test_coefficients_at_their_limits(denoiser):
    c_skip, c_out, c_in, _ = coefficients(denoiser, 1e-6)
    assert (c_skip, c_out, c_in) == pytest.approx((1.0, 0.0, 1 / SIGMA_DATA), abs=1e-5)
    for sigma in (SPEC.sigma_max, 1e6, math.inf):
        c_skip, c_out, c_in, c_noise = coefficients(denoiser, sigma)
        assert (c_skip, c_out, c_in) == pytest.approx((0.0, SIGMA_DATA, 0.0))
        assert c_noise == pytest.approx(math.log(SPEC.sigma_max) / 4)
    # Just below, the formula is in force and has nearly arrived there: no jump at sigma_max.
    c_skip, c_out, _, _ = coefficients(denoiser, SPEC.sigma_max * 0.999)
    assert 0 < c_skip < 1e-4
    assert c_out == pytest.approx(SIGMA_DATA, rel=1e-4)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_without_a_network_the_input_is_only_shrunk(denoiser, slices, condition, sigma):
    denoiser.network = Nothing()
    level = torch.full((3,), sigma)
    for given, base, spread in ((None, 0.0, SIGMA_DATA), (condition, condition[:, :1], SIGMA_RESIDUAL)):
        c_skip = spread**2 / (sigma**2 + spread**2)
        torch.testing.assert_close(denoiser(slices, level, given), base + c_skip * (slices - base))


def test_the_network_sees_unit_variance(denoiser):
    """c_in does its work: data of sigma_data plus noise of sigma enter with standard deviation 1."""
    denoiser.network = Inputs()
    generator = torch.Generator().manual_seed(0)
    for sigma in (0.05, 0.5, 5.0):
        noisy = math.hypot(SIGMA_DATA, sigma) * torch.randn(1, 1, 200, 200, generator=generator)
        c_skip, c_out, _, _ = coefficients(denoiser, sigma)
        seen = (denoiser(noisy, torch.tensor([sigma])) - c_skip * noisy) / c_out
        assert float(seen.std()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("sigma", [SPEC.sigma_max, 1e4, math.inf])
def test_the_posterior_mean_ignores_the_noisy_input(denoiser, slices, condition, sigma):
    level = torch.full((3,), sigma)
    mean = denoiser(None, level, condition)
    assert torch.equal(mean, denoiser(slices, level, condition))
    assert torch.equal(mean, denoiser(100 * slices.flip(0), level, condition))
    assert not torch.equal(mean, denoiser(None, level, condition.flip(0)))


def test_below_sigma_max_the_noisy_input_counts(denoiser, slices, condition):
    level = torch.full((3,), 0.3)
    assert not torch.allclose(denoiser(None, level, condition), denoiser(slices, level, condition), atol=1e-3)


def test_one_batch_may_hold_both_modes(denoiser, slices, condition):
    level = torch.tensor([0.3, math.inf, 0.3])
    flag = torch.tensor([1.0, 1.0, 0.0])
    given = condition * flag[:, None, None, None]
    mixed = denoiser.precondition(slices, given[:, :1], level, given, flag)
    for k, alone in ((0, condition[:1]), (1, condition[1:2]), (2, None)):
        one = denoiser(slices[k : k + 1], level[k : k + 1], alone)
        torch.testing.assert_close(mixed[k : k + 1], one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("neighbours", "channels"), [(0, 3), (1, 5), (3, 9)])
def test_every_neighbour_on_each_side_is_a_channel_of_the_condition(slices, neighbours, channels):
    spec = PriorSpec(channels=(8, 8), neighbours=neighbours, rounds=1)
    assert spec.n_condition == channels
    made = Denoiser(spec, SIGMA_DATA, SIGMA_RESIDUAL).requires_grad_(False)
    level = torch.full((3,), 0.3)
    for given in (torch.zeros(3, channels, 16, 20), None):
        assert made(slices, level, given).shape == slices.shape
    with pytest.raises(RuntimeError):
        made(slices, level, torch.zeros(3, channels + 1, 16, 20))


def test_neighbours_are_looked_at(denoiser, slices, condition):
    level = torch.full((3,), torch.inf)
    other = condition.clone()
    other[:, 1] += 1.0
    assert not torch.allclose(denoiser(None, level, condition), denoiser(None, level, other), atol=1e-3)


def test_unconditional_without_input_is_an_error(denoiser):
    with pytest.raises(ValueError, match="needs a noisy slice"):
        denoiser(None, torch.ones(1))


# --- Gaussian data: the best denoiser is linear, D = x s^2 / (s^2 + sigma^2), which is the network at zero ---


def sampled_std(denoiser, n_steps, n=40_000):
    """Standard deviation of what Euler steps down the probability-flow ODE make of pure noise (Karras et al. 2022, eq. 3)."""
    ramp = torch.linspace(0, 1, n_steps)
    rho, high, low = 7, 70.0, 0.002
    sigmas = [float(s) for s in (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho] + [0.0]
    x = sigmas[0] * torch.randn(1, 1, 4, n // 4, generator=torch.Generator().manual_seed(0))
    for sigma, after in itertools.pairwise(sigmas):
        slope = (x - denoiser(x, torch.tensor([sigma]))) / sigma
        x = x + (after - sigma) * slope
    return float(x.std())


def test_the_sampler_recovers_the_spread_of_gaussian_data(denoiser):
    denoiser.network = Nothing()
    errors = [abs(sampled_std(denoiser, n) / SIGMA_DATA - 1) for n in (20, 80, 320)]
    # First order: four times the steps, about a quarter of the error.
    assert errors[0] > 2.5 * errors[1] > 2.5 * 2.5 * errors[2]
    assert errors[2] < 0.01


def test_a_denoiser_of_another_spread_samples_that_spread():
    """Negative control: the figure above comes from the denoiser, not from the sampler."""
    other = Denoiser(SPEC, 2 * SIGMA_DATA, SIGMA_RESIDUAL).requires_grad_(False)
    other.network = Nothing()
    assert sampled_std(other, 320) == pytest.approx(2 * SIGMA_DATA, rel=0.01)


@pytest.mark.parametrize("begin", [0, 3, 5, 8, 20, 21])
def test_the_network_is_told_where_sections_begin(monkeypatch, begin):
    """From the condition alone, which says where in its section the first plane lies."""
    ratio = Fraction(8)
    made = Denoiser(SPEC, SIGMA_DATA, SIGMA_RESIDUAL, ratio).requires_grad_(False)
    told = []
    monkeypatch.setattr(made.network, "forward", lambda x, scalar, lead: told.append(lead) or x[:, :1] * 0)
    waves = torch.from_numpy(phase_features(AxialMap(ratio, 10), begin, begin + 16))
    condition = torch.zeros(2, SPEC.n_condition, 16, 12)
    condition[:, -2:] = waves[None, :, :, None]
    made(None, torch.full((2,), torch.inf), condition)
    assert told == [begin % 8]


def test_where_sections_are_no_whole_planes_thick_there_is_nothing_to_tell():
    made = Denoiser(SPEC, SIGMA_DATA, SIGMA_RESIDUAL, Fraction(250, 23))
    assert made._lead(torch.rand(1, SPEC.n_condition, 16, 12)) == 0
