"""The network inside the denoiser: a small U-Net that works on slices folded along their axial axis."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AXIAL_FOLD = 4
"""Planes folded into channels before the first convolution. What is known along z is smooth, what matters is lateral:
folding buys four times the channels, and reach along z, at the price of full-resolution convolutions."""


class ResidualBlock(nn.Module):
    """x + conv(act(film(conv(act(x))))), without normalisation.

    Statistics over a slice would make the answer depend on how far the slice reaches, and blocks would disagree.
    """

    def __init__(self, channels: int, n_embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(n_embedding, 2 * channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.first(F.silu(x)) * (1 + scale) + shift
        return x + self.second(F.silu(hidden))


class UNet2d(nn.Module):
    """U-Net over slices (B, n_in, Z, X) with axis 2 axial, FiLM-conditioned on a scalar per slice; returns (B, 1, Z, X).

    Any Z, X: the input is padded by edge values to what the folds and halvings need, the output cropped back.
    """

    def __init__(self, n_in: int, channels: tuple[int, ...], n_residual_blocks: int = 1, n_embedding: int = 64) -> None:
        super().__init__()
        self.n_levels = len(channels)
        self.n_embedding = n_embedding
        self.embed = nn.Sequential(nn.Linear(n_embedding, n_embedding), nn.SiLU(), nn.Linear(n_embedding, n_embedding), nn.SiLU())
        self.stem = nn.Conv2d(n_in * AXIAL_FOLD, channels[0], 3, padding=1)

        def level(width: int) -> nn.ModuleList:
            return nn.ModuleList(ResidualBlock(width, n_embedding) for _ in range(n_residual_blocks))

        self.down_blocks = nn.ModuleList(level(width) for width in channels)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in itertools.pairwise(channels))
        self.grow = nn.ModuleList(nn.Conv2d(b, a * 4, 1) for a, b in itertools.pairwise(channels))
        self.up_blocks = nn.ModuleList(level(width) for width in channels[:-1])
        self.head = nn.Conv2d(channels[0], AXIAL_FOLD, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, scalar: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        halvings = 2 ** (self.n_levels - 1)
        pad_z, pad_x = -height % (AXIAL_FOLD * halvings), -width % halvings
        if pad_z or pad_x:
            x = F.pad(x, (0, pad_x, 0, pad_z), mode="replicate")
        embedding = self.embed(_fourier(scalar, self.n_embedding))
        h = self.stem(_fold(x))
        skips = []
        for index, blocks in enumerate(self.down_blocks):
            for block in blocks:
                h = block(h, embedding)
            if index < self.n_levels - 1:
                skips.append(h)
                h = self.shrink[index](h)
        for index in reversed(range(self.n_levels - 1)):
            h = skips[index] + F.pixel_shuffle(self.grow[index](h), 2)
            for block in self.up_blocks[index]:
                h = block(h, embedding)
        return _unfold(self.head(F.silu(h)))[..., :height, :width]


def _fold(x: Tensor) -> Tensor:
    """(B, C, Z, X) -> (B, C * AXIAL_FOLD, Z / AXIAL_FOLD, X)."""
    b, c, z, w = x.shape
    x = x.reshape(b, c, z // AXIAL_FOLD, AXIAL_FOLD, w)
    return x.permute(0, 1, 3, 2, 4).reshape(b, c * AXIAL_FOLD, z // AXIAL_FOLD, w)


def _unfold(x: Tensor) -> Tensor:
    b, c, z, w = x.shape
    x = x.reshape(b, c // AXIAL_FOLD, AXIAL_FOLD, z, w)
    return x.permute(0, 1, 3, 2, 4).reshape(b, c // AXIAL_FOLD, z * AXIAL_FOLD, w)


def _fourier(scalar: Tensor, n: int) -> Tensor:
    frequency = torch.exp(torch.linspace(0, math.log(100.0), n // 2, device=scalar.device, dtype=scalar.dtype))
    angle = scalar[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)
