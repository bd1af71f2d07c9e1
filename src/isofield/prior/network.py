"""The network inside the denoiser: a small U-Net that works on slices folded along their axial axis, section by section."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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

    Levels halve X alone: along z, folded, there is little to halve. Any Z, X: the input is padded by edge values to what the fold
    and the halvings need, the output cropped back.
    """

    def __init__(
        self, n_in: int, channels: tuple[int, ...], n_residual_blocks: int = 1, fold: int = 4, n_embedding: int = 64
    ) -> None:
        super().__init__()
        self.n_levels, self.fold = len(channels), fold
        self.n_embedding = n_embedding
        self.embed = nn.Sequential(nn.Linear(n_embedding, n_embedding), nn.SiLU(), nn.Linear(n_embedding, n_embedding), nn.SiLU())
        self.stem = nn.Conv2d(n_in * fold, channels[0], 3, padding=1)

        def level(width: int) -> nn.ModuleList:
            return nn.ModuleList(ResidualBlock(width, n_embedding) for _ in range(n_residual_blocks))

        self.down_blocks = nn.ModuleList(level(width) for width in channels)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, (1, 2), stride=(1, 2)) for a, b in itertools.pairwise(channels))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, (1, 2), stride=(1, 2)) for a, b in itertools.pairwise(channels))
        self.up_blocks = nn.ModuleList(level(width) for width in channels[:-1])
        self.head = nn.Conv2d(channels[0], fold, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, scalar: Tensor, lead: int = 0) -> Tensor:
        """lead: planes between the begin of a section and the first plane of x."""
        height, width = x.shape[-2:]
        pad_z, pad_x = -(lead + height) % self.fold, -width % 2 ** (self.n_levels - 1)
        if lead or pad_z or pad_x:
            x = F.pad(x, (0, pad_x, lead, pad_z), mode="replicate")
        embedding = self.embed(_fourier(scalar, self.n_embedding))
        h = self.stem(_fold(x, self.fold))
        skips = []
        for index, blocks in enumerate(self.down_blocks):
            for block in blocks:
                h = block(h, embedding)
            if index < self.n_levels - 1:
                skips.append(h)
                h = self.shrink[index](h)
        for index in reversed(range(self.n_levels - 1)):
            h = skips[index] + self.grow[index](h)
            for block in self.up_blocks[index]:
                h = block(h, embedding)
        return _unfold(self.head(F.silu(h)), self.fold)[..., lead : lead + height, :width]


def _fold(x: Tensor, fold: int) -> Tensor:
    """(B, C, Z, X) -> (B, C * fold, Z / fold, X)."""
    b, c, z, w = x.shape
    x = x.reshape(b, c, z // fold, fold, w)
    return x.permute(0, 1, 3, 2, 4).reshape(b, c * fold, z // fold, w)


def _unfold(x: Tensor, fold: int) -> Tensor:
    b, c, z, w = x.shape
    x = x.reshape(b, c // fold, fold, z, w)
    return x.permute(0, 1, 3, 2, 4).reshape(b, c // fold, z * fold, w)


def _fourier(scalar: Tensor, n: int) -> Tensor:
    frequency = torch.exp(torch.linspace(0, math.log(100.0), n // 2, device=scalar.device, dtype=scalar.dtype))
    angle = scalar[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)
