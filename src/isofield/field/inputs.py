"""What a block is fitted to, made from the sections around it."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import numpy as np

from isofield.defects.filling import planes_of
from isofield.field.block import BlockData
from isofield.geometry import AxialMap, Roi
from isofield.interpolation import SPLINE_REACH, interpolation_matrix, phase_features
from isofield.measurement import MeasurementModel, neighbour_matrices

NOISE_CELL = 32


def sections_needed(axial: AxialMap, roi: Roi) -> range:
    """Sections that shape the interpolation over `roi`: those it touches and SPLINE_REACH more on both sides."""
    touching = axial.sections_touching(roi.offset.z, roi.end.z)
    return range(max(0, touching.start - SPLINE_REACH), min(axial.n_sections, touching.stop + SPLINE_REACH))


def interpolated(axial: AxialMap, roi: Roi, sections: range, grey: np.ndarray) -> np.ndarray:
    """Cubic interpolation over the planes of `roi`; `grey` (len(sections), Y, X). float32 (Z, Y, X)."""
    matrix = interpolation_matrix(axial, sections, roi.offset.z, roi.end.z, "cubic").astype(np.float32)
    return np.tensordot(matrix, grey.astype(np.float32, copy=False), axes=1)


def block_data(
    axial: AxialMap,
    model: MeasurementModel,
    read: Roi,
    field: Roi,
    sections: range,
    units: np.ndarray,
    seed: int,
    n_neighbours: int = 1,
    noise_seed: int | None = None,
    bad: Collection[int] = (),
    slice_offsets: tuple[int, ...] = (),
) -> BlockData:
    """Data of a block that sees `read` and has its field over `field`, equal to it along z.

    `units` (len(sections), Yr, Xr): `sections_needed` over the lateral extent of `read`, in working units.

    Sections that the block sees only in part, or whose profile reaches beyond it, shape its interpolation but not its data
    term. n_neighbours, slice_offsets: what the prior looks at beside a slice. noise_seed: of the whole run, None for no noise.
    bad: sections that are not believed; `units` holds what stands in for them, which shapes the interpolation and nothing else.
    """
    begin, end = read.offset.z, read.end.z
    inside = model.whole_sections(axial, begin, end)
    measure = model.matrix(axial, inside, begin, end) if len(inside) else np.zeros((0, end - begin))
    _, y, x = field.relative_to(read).slices
    return BlockData(
        base=interpolated(axial, read, sections, units),
        inner=(y.start, x.start),
        measured=units[inside.start - sections.start : inside.stop - sections.start, y, x],
        measure=measure,
        weight=np.array([section not in bad for section in inside], np.float32),
        phase=phase_features(axial, begin, end, planes_of(axial, bad, begin, end) if bad else None),
        neighbours=tuple(neighbour_matrices(model, side, n_neighbours, slice_offsets) for side in read.shape[1:]),  # type: ignore[arg-type]
        noise=None if noise_seed is None else white_noise(noise_seed, read),
        seed=seed,
    )


def white_noise(seed: int, roi: Roi) -> np.ndarray:
    """Unit white noise over `roi`, a function of seed and position: blocks that overlap draw the same. float32."""
    values = np.empty(roi.shape, np.float32)
    spans = [range(b // NOISE_CELL, -(-e // NOISE_CELL)) for b, e in zip(roi.offset, roi.end, strict=True)]
    for cell in itertools.product(*spans):
        drawn = np.random.default_rng([seed, *cell]).standard_normal((NOISE_CELL,) * 3, np.float32)
        own = Roi(tuple(c * NOISE_CELL for c in cell), (NOISE_CELL,) * 3)  # type: ignore[arg-type]
        part = own.intersect(roi)
        values[part.relative_to(roi).slices] = drawn[part.relative_to(own).slices]
    return values
