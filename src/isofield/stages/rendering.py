"""Fields rendered at any voxel size, without fitting anything again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
import torch

from isofield.blend import Windows, gather
from isofield.errors import InputError
from isofield.field.checkpoint import unpack_field
from isofield.field.points import values_at
from isofield.field.representation import Fields
from isofield.fieldstore import FieldStore
from isofield.geometry import ZYX, Roi, exact_nm
from isofield.intensity import to_dtype
from isofield.plan import Plan
from isofield.stages.blending import INTERPOLATED, BlockRenderer
from isofield.stages.blocks_io import MeasuredBlocks

KEPT_FIELDS = 8
SAMPLES_AT_ONCE = 2**21
"""Points that are blended together: 8 MB each of values, weights and base."""
FINEST, COARSEST = Fraction(1, 16), 64


@dataclass(frozen=True)
class Lattice:
    """The voxels of a rendering: `step` (z, y, x) output voxels of the run wide, voxel 0 beginning where the run's image does.

    roi: the part of it that is rendered; it may overhang the run's image by less than a voxel at the end.
    """

    step: tuple[Fraction, Fraction, Fraction]
    roi: Roi

    @classmethod
    def over(
        cls, shape: Sequence[int], voxel_nm: Fraction, size_nm: Sequence[Fraction], region: Sequence | None = None
    ) -> Lattice:
        """Voxels of size_nm (z, y, x) over an image of `shape` and `voxel_nm`, or over what meets `region` of it.

        region: begin and end along z, y, x in nm from the image's first edge. Raises InputError for sizes and regions that
        make no sense.
        """
        step = tuple(size / voxel_nm for size in size_nm)
        if not all(FINEST <= s <= COARSEST for s in step):
            limit = f"is not between {float(FINEST * voxel_nm):g} and {float(COARSEST * voxel_nm):g} nm along every axis"
            raise InputError("--voxel-size-nm", [float(size) for size in size_nm], limit, "Give a size nearer to the image's")
        whole = Roi(ZYX(0, 0, 0), ZYX(*(ceil(n / s) for n, s in zip(shape, step, strict=True))))
        roi = whole
        if region is not None:
            sides = list(zip(region, size_nm, strict=True))
            wanted = Roi.between((floor(b / size) for (b, _), size in sides), (ceil(e / size) for (_, e), size in sides))
            roi = wanted.intersect(whole)
            if roi.empty:
                shown = [[float(end) for end in pair] for pair in region]
                limit = f"does not meet the image of {[float(n * voxel_nm) for n in shape]} nm"
                raise InputError("--roi", shown, limit, "Give begin and end along z, y, x")
        return cls(step, roi)  # type: ignore[arg-type]

    @property
    def native(self) -> bool:
        """Whether its voxels are those of the run."""
        return self.step == (1, 1, 1)

    @property
    def n_points(self) -> tuple[int, int, int]:
        """Points along z, y, x that a voxel is the mean of: as many as it is voxels of the run wide, rounded up."""
        return tuple(ceil(s) for s in self.step)  # type: ignore[return-value]

    def points(self, part: Roi) -> list[np.ndarray]:
        """Where `part` of the rendering is evaluated, along z, y, x, in output voxels of the run: evenly within each voxel."""
        begin = part.offset + self.roi.offset
        axes = []
        for first, n, step, k in zip(begin, part.shape, self.step, self.n_points, strict=True):
            index = np.arange(n)[:, None] + float(first)
            axes.append(((index + (np.arange(k) + 0.5) / k) * step.numerator / step.denominator).ravel())
        return axes


class PointRenderer:
    """The blended image of a run's fields as a function of position."""

    def __init__(self, store: FieldStore, measured: MeasuredBlocks, device: torch.device) -> None:
        self.blocks = BlockRenderer(store, measured, device)
        self.measured, self.device = measured, device
        self.windows = Windows(measured.plan.block_grid, measured.plan.overlap_vox)
        self.kept: OrderedDict[int, Fields | None] = OrderedDict()

    def values(self, points: Sequence[np.ndarray]) -> np.ndarray:
        """float32 in working units on the lattice of positions along z, y, x, ascending, in output voxels."""
        grid = self.windows.grid
        points = [np.clip(at, 0, side) for at, side in zip(points, grid.shape, strict=True)]
        out = np.zeros([len(at) for at in points], np.float32)
        reached = Roi.between((floor(at[0]) for at in points), (floor(at[-1]) + 1 for at in points)).intersect(grid.bounds)
        # A position at the very end lies in the last voxel.
        reached = reached if not reached.empty else Roi(ZYX(*(n - 1 for n in grid.shape)), ZYX(1, 1, 1))
        for index in grid.touching(reached, self.windows.overlap):
            weights = self.windows.weights_at(index, points)
            inside = [np.flatnonzero(w) for w in weights]
            if not all(len(where) for where in inside):
                continue
            part = tuple(slice(where[0], where[-1] + 1) for where in inside)
            wz, wy, wx = (w[one] for w, one in zip(weights, part, strict=True))
            values = self._block(index, [at[one] for at, one in zip(points, part, strict=True)])
            out[part] += wz[:, None, None] * wy[None, :, None] * wx[None, None, :] * values
        return out

    def _block(self, index: int, points: Sequence[np.ndarray]) -> np.ndarray:
        field = self.field(index)
        if field is None:
            return self.measured.base_at(points)
        offset = self.windows.grid[index].field_roi.offset
        local = [torch.from_numpy(at - o).to(self.device) for at, o in zip(points, offset, strict=True)]
        values = values_at(field, local)[0].cpu().numpy()
        return values + self.measured.base_at(points) if field.over_interpolation else values

    def field(self, index: int) -> Fields | None:
        """The field of a block; None where sections are interpolated. Raises InputError where it is missing or was not kept."""
        if index not in self.kept:
            while len(self.kept) >= KEPT_FIELDS:
                self.kept.popitem(last=False)
            self.blocks.mark(index)
            interpolated = self.blocks.state(index) in INTERPOLATED
            self.kept[index] = None if interpolated else unpack_field(kept_payload(self.blocks.store, index), self.device)
        self.kept.move_to_end(index)
        return self.kept[index]


def kept_payload(store: FieldStore, index: int) -> bytes:
    """The field of a block that is done. Raises InputError, naming the key to set, if it was removed after blending."""
    payload = store.payload(index)
    if payload is None:
        limit = f"is no longer in {store.folder}: fields are removed once the image is complete"
        raise InputError("field of block", index, limit, "Set run.keep_fields: true and run again; fields are fitted anew")
    return payload


def require_fields(store: FieldStore, plan: Plan) -> None:
    """Raise InputError unless the first block that has a field still has it: said before anything is written."""
    blocks = plan.jobs.blocks
    for index in (blocks.number(blocks.position(k)) for k in range(len(blocks))):
        record = store.read(index)
        if record is not None and record.state == "done":
            kept_payload(store, index)
            return


def render_part(renderer: PointRenderer, lattice: Lattice, plan: Plan, part: Roi) -> np.ndarray:
    """Voxels of `part` of a rendering, in the run's dtype; its offset counts from where the rendering begins.

    At the run's own voxel size these are the voxels of its image, to the last bit. A voxel that is wider is the mean over its
    extent, of one evaluation per voxel of the run along each axis; one that is narrower is the value at its centre.
    """
    if lattice.native:
        blended = gather(part.shifted(lattice.roi.offset), renderer.windows, renderer.blocks.render)
        return to_dtype(plan.contrast.restore(blended.values), plan.dtype)
    out = np.empty(part.shape, plan.dtype)
    for piece in _pieces(part, lattice.n_points):
        values = renderer.values(lattice.points(piece))
        for axis, k in enumerate(lattice.n_points):
            split = (*values.shape[:axis], -1, k, *values.shape[axis + 1 :])
            values = values.reshape(split).mean(axis=axis + 1, dtype=np.float32) if k > 1 else values
        out[piece.relative_to(part).slices] = to_dtype(plan.contrast.restore(values), plan.dtype)
    return out


def _pieces(part: Roi, n_points: Sequence[int]) -> Iterator[Roi]:
    """`part`, halved along its longest side until a piece has at most SAMPLES_AT_ONCE points."""
    points = [n * k for n, k in zip(part.shape, n_points, strict=True)]
    if np.prod(points, dtype=float) <= SAMPLES_AT_ONCE or max(part.shape) == 1:
        yield part
        return
    axis = max((a for a in range(3) if part.shape[a] > 1), key=lambda a: points[a])
    middle, begin, end = list(part.offset), list(part.offset), list(part.end)
    middle[axis] += part.shape[axis] // 2
    end[axis] = middle[axis]
    yield from _pieces(Roi.between(begin, end), n_points)
    begin[axis], end[axis] = middle[axis], part.end[axis]
    yield from _pieces(Roi.between(begin, end), n_points)


def size_nm(values: Sequence[str]) -> tuple[Fraction, Fraction, Fraction]:
    """Voxel sizes z, y, x from one number or three. Raises InputError for anything else."""
    try:
        sizes = [exact_nm(value.strip()) for value in values]
    except (ValueError, ZeroDivisionError):
        sizes = []
    if len(sizes) not in (1, 3) or min(sizes) <= 0:
        raise InputError("--voxel-size-nm", ",".join(values), "is not one or three numbers above 0", "Write it like 4 or 40,4,4")
    return (sizes[0],) * 3 if len(sizes) == 1 else tuple(sizes)  # type: ignore[return-value]
