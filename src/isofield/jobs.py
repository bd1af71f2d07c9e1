"""Which job fits which blocks, writes which shards and waits for which others: arithmetic on the layout, never a table.

The workflow asks when it is parsed, before anything is known of the voxels; a job asks again when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from isofield.blocks import BlockGrid
from isofield.geometry import ZYX, Roi


def share(n_items: int, n_parts: int, part: int) -> range:
    """Items of part `part` when `n_items` are cut into runs whose lengths differ by at most one, the longer ones first."""
    small, n_longer = divmod(n_items, n_parts)
    begin = part * small + min(part, n_longer)
    return range(begin, begin + small + (part < n_longer))


def part_of(item: int, n_items: int, n_parts: int) -> int:
    """The part whose `share` holds `item`."""
    small, n_longer = divmod(n_items, n_parts)
    longer = n_longer * (small + 1)
    return item // (small + 1) if item < longer else n_longer + (item - longer) // small


@dataclass(frozen=True)
class CellBox:
    """A box of cells of a grid, counted in C order within the box; cell numbers are those of the whole grid."""

    grid_shape: ZYX
    box: Roi

    @classmethod
    def whole(cls, grid_shape: ZYX) -> CellBox:
        return cls(ZYX(*grid_shape), Roi(ZYX(0, 0, 0), ZYX(*grid_shape)))

    def __len__(self) -> int:
        return self.box.volume

    def position(self, k: int) -> ZYX:
        """Place in the grid of the k-th cell of the box."""
        _, ny, nx = self.box.shape
        return self.box.offset + ZYX(k // (ny * nx), k // nx % ny, k % nx)

    def __contains__(self, number: int) -> bool:
        """Whether the cell of this number in the whole grid lies in the box."""
        _, ny, nx = self.grid_shape
        place = ZYX(number // (ny * nx), number // nx % ny, number % nx)
        return all(begin <= p < end for begin, p, end in zip(self.box.offset, place, self.box.end, strict=True))

    def number(self, position: Sequence[int]) -> int:
        """Number in the whole grid of the cell at `position`."""
        z, y, x = position
        _, ny, nx = self.grid_shape
        return (z * ny + y) * nx + x

    def rank(self, position: Sequence[int]) -> int:
        """k of the cell at `position`, which lies in the box."""
        z, y, x = ZYX(*position) - self.box.offset
        _, ny, nx = self.box.shape
        return (z * ny + y) * nx + x

    def numbers(self, ks: range) -> list[int]:
        return [self.number(self.position(k)) for k in ks]

    def around(self, ks: range) -> Roi:
        """The smallest box of cells, by position in the grid, that holds the cells `ks`; `ks` is not empty."""
        first, last = self.position(ks[0]), self.position(ks[-1])
        lows, highs = list(first), list(last)
        for axis in range(3):
            # A run of cells that goes on in a later row has all columns of the box, and so on.
            if any(first[outer] != last[outer] for outer in range(axis)):
                lows[axis], highs[axis] = self.box.offset[axis], self.box.end[axis] - 1
        return Roi.between(lows, (high + 1 for high in highs))


@dataclass(frozen=True)
class Jobs:
    """The jobs of a run over `region` of the output: None for all of it, else a box made of whole shards.

    Blocks are fitted that reach into the region; shards are written that lie in it.
    """

    grid: BlockGrid
    overlap_vox: int
    shard_vox: int
    region: Roi | None
    n_fit: int
    n_blend: int
    pyramid_span: int
    """Shards of level 0 along each side of what a pyramid job owns, a power of two."""

    @property
    def blocks(self) -> CellBox:
        """The blocks that are fitted."""
        return blocks_reaching(self.grid, self.overlap_vox, self.region)

    @property
    def shards(self) -> CellBox:
        """The shards of level 0 that are written."""
        return shards_in(self.grid.shape, self.shard_vox, self.region)

    def fit_blocks(self, job: int) -> list[int]:
        """Numbers, ascending, of the blocks of a fit job."""
        return self.blocks.numbers(share(len(self.blocks), self.n_fit, job))

    def blend_shards(self, job: int) -> list[Roi]:
        """Boxes of output voxels, whole shards, that a blend job writes, in C order."""
        shards = self.shards
        return [self._shard(shards.position(k)) for k in share(len(shards), self.n_blend, job)]

    def fits_before(self, blend_job: int) -> range:
        """Fit jobs that may hold blocks a blend job needs: all that do, and few others."""
        shards = self.shards
        around = shards.around(share(len(shards), self.n_blend, blend_job))
        blocks = self.blocks
        touched = blocks_reaching(self.grid, self.overlap_vox, self._voxels(around)).box.intersect(blocks.box)
        first, last = blocks.rank(touched.offset), blocks.rank(touched.end - (1, 1, 1))
        return self._parts(first, last, len(blocks), self.n_fit)

    @property
    def pyramid(self) -> CellBox:
        """What pyramid jobs own: cubes of pyramid_span shards, one per job, numbered over the whole volume's grid."""
        whole = ZYX(*(ceil(side / (self.shard_vox * self.pyramid_span)) for side in self.grid.shape))
        box = self.shards.box
        begin = ZYX(*(o // self.pyramid_span for o in box.offset))
        return CellBox(whole, Roi.between(begin, (ceil(e / self.pyramid_span) for e in box.end)))

    def pyramid_region(self, job: int) -> Roi:
        """The part of level 0 that a pyramid job makes the coarser levels of, clipped at the volume."""
        cubes, side = self.pyramid, self.shard_vox * self.pyramid_span
        corner = ZYX(*(p * side for p in cubes.position(job)))
        return Roi(corner, ZYX(side, side, side)).intersect(self.grid.bounds)

    def blends_before(self, pyramid_job: int) -> range:
        """Blend jobs that may write into the region of a pyramid job: all that do, and few others."""
        shards = self.shards
        cells = _cells(self.pyramid_region(pyramid_job), (self.shard_vox,) * 3).intersect(shards.box)
        first, last = shards.rank(cells.offset), shards.rank(cells.end - (1, 1, 1))
        return self._parts(first, last, len(shards), self.n_blend)

    @staticmethod
    def _parts(first: int, last: int, n_items: int, n_parts: int) -> range:
        return range(part_of(first, n_items, n_parts), part_of(last, n_items, n_parts) + 1)

    def _shard(self, position: ZYX) -> Roi:
        return self._voxels(Roi(position, ZYX(1, 1, 1)))

    def _voxels(self, cells: Roi) -> Roi:
        side = self.shard_vox
        return Roi(ZYX(*(o * side for o in cells.offset)), ZYX(*(n * side for n in cells.shape))).intersect(self.grid.bounds)


def blocks_reaching(grid: BlockGrid, overlap_vox: int, region: Roi | None) -> CellBox:
    """The blocks whose windows reach into `region` (None: all)."""
    if region is None:
        return CellBox.whole(grid.grid_shape)
    grown = region.grown((overlap_vox,) * 3).intersect(grid.bounds)
    return CellBox(grid.grid_shape, _cells(grown, grid.core))


def shards_in(shape: ZYX, shard_vox: int, region: Roi | None) -> CellBox:
    """The shards of an array that `region` is made of (None: all)."""
    whole = ZYX(*(ceil(side / shard_vox) for side in shape))
    return CellBox.whole(whole) if region is None else CellBox(whole, _cells(region, (shard_vox,) * 3))


def _cells(region: Roi, side: Sequence[int]) -> Roi:
    """Cells of a grid with this side that `region` meets."""
    begin = [o // s for o, s in zip(region.offset, side, strict=True)]
    return Roi.between(begin, (ceil(e / s) for e, s in zip(region.end, side, strict=True)))
