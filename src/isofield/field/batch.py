"""What fields are fitted to together: a batch of equal blocks as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isofield.field.block import BlockData


@dataclass(frozen=True)
class BlockBatch:
    """N blocks of one shape_key as tensors (N, ...), see BlockData; neighbours depend on the shape alone."""

    base: Tensor
    inner: tuple[int, int]
    measured: Tensor
    measure: Tensor
    weight: Tensor
    phase: Tensor
    neighbours: tuple[Tensor, Tensor]
    noise: Tensor | None

    @classmethod
    def stack(cls, blocks: Sequence[BlockData], device: torch.device) -> BlockBatch:
        def stacked(name: str) -> Tensor:
            return torch.from_numpy(np.stack([np.asarray(getattr(b, name), np.float32) for b in blocks])).to(device)

        first = blocks[0]
        if any(b.shape_key != first.shape_key for b in blocks):
            raise ValueError(f"blocks of unequal shapes in one batch: {sorted({b.shape_key for b in blocks})}")
        return cls(
            base=stacked("base"),
            inner=first.inner,
            measured=stacked("measured"),
            measure=stacked("measure"),
            weight=stacked("weight"),
            phase=stacked("phase"),
            neighbours=tuple(torch.tensor(m, dtype=torch.float32, device=device) for m in first.neighbours),  # type: ignore[arg-type]
            noise=None if first.noise is None else stacked("noise"),
        )

    @property
    def field_slices(self) -> tuple[slice, slice, slice]:
        """Where the field lies within what the block sees."""
        (y, x), (_, height, width) = self.inner, self.measured.shape[1:]
        return slice(None), slice(y, y + height), slice(x, x + width)

    @property
    def field_base(self) -> Tensor:
        """The interpolated measurement over the fields: (N, Z, Y, X)."""
        return self.base[(slice(None), *self.field_slices)]
