"""Blocks that cover a volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from isofield.geometry import ZYX, Roi
from isofield.spec import Spec


class BlocksSpec(Spec):
    """How the volume is cut into blocks."""

    write_vox: PositiveInt = Field(
        128,
        ge=16,
        description="longest side of the region a block solely owns, in output voxels; "
        "blocks are made equal, so the actual side may be smaller",
    )
    context_vox: int = Field(16, ge=0, description="margin a block sees beyond what it owns, on each side, in output voxels")
    overlap_vox: int = Field(
        8,
        ge=0,
        description="half width of the ramp over which neighbouring blocks are blended, in output voxels; "
        "a field reaches as far beyond what its block owns",
    )
    empty_below: float | None = Field(
        None,
        description="blocks in which no measured grey value exceeds this are not fitted but interpolated; "
        "null: only blocks without any contrast are",
    )

    @model_validator(mode="after")
    def _margins(self) -> BlocksSpec:
        if self.overlap_vox > self.context_vox:
            raise ValueError(
                f"overlap_vox {self.overlap_vox} exceeds context_vox {self.context_vox}; "
                "blocks can only be blended where both see: raise context_vox or lower overlap_vox"
            )
        return self


@dataclass(frozen=True)
class Block:
    """One block: `index` counts in C order over the grid.

    write_roi is what it owns, field_roi where it has a field, read_roi what it sees; each holds the one before it and is
    clipped at the volume.
    """

    index: int
    write_roi: Roi
    field_roi: Roi
    read_roi: Roi


@dataclass(frozen=True)
class BlockGrid:
    """Blocks that cover a volume: write_rois tile it, field_rois add a margin in which neighbours blend, read_rois context.

    One axis of 21 voxels, core 6, margin 1, context 2 (w = owned, f = field as well, r = read only)::

        wwwwwwfr                 block 0
            rfwwwwwwfr           block 1
                  rfwwwwwwfr     block 2
                        rfwww    block 3: shrunk, never overhanging
    """

    shape: ZYX
    core: ZYX
    context: ZYX
    margin: ZYX | None = None
    """None: the context."""

    def __post_init__(self) -> None:
        if self.margin is None:
            object.__setattr__(self, "margin", self.context)
        for name in ("shape", "core", "context", "margin"):
            object.__setattr__(self, name, ZYX(*getattr(self, name)))
        if min(self.shape) < 1 or min(self.core) < 1 or min(self.context) < 0:
            raise ValueError(f"BlockGrid needs shape, core >= 1 and context >= 0, got {self}")
        if any(not 0 <= m <= c for m, c in zip(self.margin, self.context, strict=True)):
            raise ValueError(f"BlockGrid needs a margin between 0 and the context, got {self}")

    @classmethod
    def even(cls, shape: ZYX, spec: BlocksSpec) -> BlockGrid:
        """As few blocks as `spec.write_vox` allows, as equal as they can be."""
        core = ZYX(*(_even_side(length, spec.write_vox) for length in shape))
        # Along z a field spans all that its block sees: the sections it is fitted to have to lie within it whole.
        return cls(shape, core, ZYX(*(spec.context_vox,) * 3), ZYX(spec.context_vox, spec.overlap_vox, spec.overlap_vox))

    @property
    def grid_shape(self) -> ZYX:
        return ZYX(*(ceil(length / core) for length, core in zip(self.shape, self.core, strict=True)))

    @property
    def n_blocks(self) -> int:
        return self.grid_shape.volume

    @property
    def bounds(self) -> Roi:
        return Roi(ZYX(0, 0, 0), self.shape)

    def __len__(self) -> int:
        return self.n_blocks

    def __iter__(self) -> Iterator[Block]:
        return (self[index] for index in range(self.n_blocks))

    def __getitem__(self, index: int) -> Block:
        if not 0 <= index < self.n_blocks:
            raise IndexError(f"block {index} of {self.n_blocks}")
        write = Roi(ZYX(*(p * c for p, c in zip(self.position(index), self.core, strict=True))), self.core)
        write = write.intersect(self.bounds)
        field, read = (write.grown(by).intersect(self.bounds) for by in (self.margin, self.context))
        return Block(index, write, field, read)

    def position(self, index: int) -> ZYX:
        """Place of a block in the grid, counted in blocks."""
        _, ny, nx = self.grid_shape
        return ZYX(index // (ny * nx), index // nx % ny, index % nx)

    def spans(self, axis: int, margin: int = 0) -> np.ndarray:
        """(n, 2) begin and end of what the blocks along one axis own, grown by `margin` within the volume."""
        begin = np.arange(0, self.shape[axis], self.core[axis])
        end = np.minimum(begin + self.core[axis], self.shape[axis])
        return np.stack([np.maximum(begin - margin, 0), np.minimum(end + margin, self.shape[axis])], axis=1)

    def touching(self, roi: Roi, margin: int = 0) -> list[int]:
        """Indices, ascending, of the blocks whose write_roi grown by `margin` meets `roi`."""
        grown = roi.grown(ZYX(margin, margin, margin)).intersect(self.bounds)
        if roi.empty or grown.empty:
            return []
        spans = [
            range(begin // core, (end - 1) // core + 1)
            for begin, end, core in zip(grown.offset, grown.end, self.core, strict=True)
        ]
        _, ny, nx = self.grid_shape
        return [(z * ny + y) * nx + x for z in spans[0] for y in spans[1] for x in spans[2]]


def _even_side(length: int, longest: int) -> int:
    n = ceil(length / longest)
    side = ceil(length / n)
    # Sides of whole fours keep the shapes of nearly all blocks alike, so that they can be fitted in one batch.
    rounded = -(-side // 4) * 4
    remainder = length - (n - 1) * rounded
    return rounded if rounded <= longest and remainder >= rounded / 2 else side
