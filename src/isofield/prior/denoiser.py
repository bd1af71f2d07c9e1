"""The denoiser: EDM preconditioning around the network, with an unconditional and a measurement-conditioned mode."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor, nn

from isofield.prior.network import UNet2d
from isofield.prior.precision import mixed_precision
from isofield.prior.spec import PriorSpec, axial_fold


class Denoiser(nn.Module):
    """EDM preconditioning (Karras et al. 2022, Table 1): D(x, sigma) = c_skip x + c_out F(c_in x, c_noise).

    Unconditional: x (B, 1, Z, X) in working units with standard deviation `sigma_data`; sigma (B,).
    Conditional: everything is relative to the interpolated measurement, whose residual has standard deviation
    `sigma_residual`: D = c + c_skip (x - c) + c_out F(c_in (x - c), condition). From `sigma_max` on (infinity included)
    the noisy input says nothing; it is replaced by zero and D is the posterior mean given the measurement.
    """

    def __init__(
        self,
        spec: PriorSpec,
        sigma_data: float,
        sigma_residual: float,
        ratio: Fraction = Fraction(1),
    ) -> None:
        """ratio: section thickness in planes, of the sections that conditions stem from."""
        super().__init__()
        self.ratio = Fraction(ratio)
        self.sigma_data, self.sigma_residual, self.sigma_max = sigma_data, sigma_residual, spec.sigma_max
        self.precision = spec.precision
        self.n_condition = spec.n_condition
        network = UNet2d(2 + self.n_condition, spec.channels, spec.n_residual_blocks, axial_fold(self.ratio))
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor | None, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """Denoised slices (B, 1, Z, X).

        x (B, 1, Z, X), or None where every sigma >= sigma_max; sigma (B,); condition (B, n_condition, Z, X) or None. Axis 2
        is axial.
        """
        if condition is None:
            if x is None:
                raise ValueError("the unconditional denoiser needs a noisy slice")
            zeros = x.new_zeros(x.shape[0], self.n_condition, *x.shape[2:])
            return self.precondition(x, torch.zeros_like(x), sigma, zeros, x.new_zeros(x.shape[0]))
        base = condition[:, :1]
        lead = self._lead(condition)
        return self.precondition(base if x is None else x, base, sigma, condition, sigma.new_ones(sigma.shape[0]), lead)

    def _lead(self, condition: Tensor) -> int:
        """Planes of the first section that lie before the slices, told from where their first plane lies in it."""
        if self.ratio.denominator > 1 or self.ratio == 1:
            return 0
        cosine, sine = condition[0, -2:, 0, 0].tolist()
        # The angle is 0 in the middle of a section and half a turn at its edges.
        place = (math.atan2(sine, cosine) / (2 * math.pi) + 0.5) % 1
        return round(place * self.ratio - 0.5) % int(self.ratio)

    def precondition(self, x: Tensor, base: Tensor, sigma: Tensor, condition: Tensor, flag: Tensor, lead: int = 0) -> Tensor:
        """D for a batch of both modes: `flag` (B,) is 1 where a slice is conditional, and base and condition are then set.

        lead: planes between the begin of a section and the first plane of the slices.
        """
        c_skip, c_out, scaled, c_noise = self.coefficients(x - base, sigma, flag)
        inputs = torch.cat([scaled, flag[:, None, None, None].expand_as(scaled), condition], dim=1)
        with mixed_precision(x.device, self.precision):
            correction = self.network(inputs.contiguous(memory_format=torch.channels_last), c_noise, lead)
        return base + c_skip * (x - base) + c_out * correction.float()

    def coefficients(self, residual: Tensor, sigma: Tensor, flag: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_skip, c_out (B, 1, 1, 1), the scaled input (as residual) and c_noise (B,)."""
        spread = torch.where(flag > 0, self.sigma_residual, self.sigma_data)
        blind = sigma >= self.sigma_max
        level = sigma.clamp(max=self.sigma_max)
        total = level.square() + spread.square()
        c_skip = torch.where(blind, torch.zeros_like(total), spread.square() / total)[:, None, None, None]
        c_out = torch.where(blind, spread, level * spread / total.sqrt())[:, None, None, None]
        c_in = torch.where(blind, torch.zeros_like(total), total.rsqrt())[:, None, None, None]
        return c_skip, c_out, c_in * residual, level.log() / 4
