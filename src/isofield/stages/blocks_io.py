"""Reading the measured sections that a block needs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from isofield.defects.filling import neighbours_of
from isofield.errors import InputError
from isofield.field.block import BlockData
from isofield.field.inputs import block_data, interpolated, sections_needed
from isofield.geometry import ZYX, Roi
from isofield.interpolation import interpolation_rows
from isofield.plan import Plan
from isofield.source.volume import Volume
from isofield.stages.sampling import is_empty


class MeasuredBlocks:
    """The measured volume seen through the plan: sections in grey values or working units, per output region."""

    def __init__(self, volume: Volume, plan: Plan) -> None:
        self.volume, self.plan = planned(volume, plan), plan
        self.axial, self.contrast, self.origin, self.bad = plan.axial, plan.contrast, plan.measured_roi.offset, plan.bad

    def grey(self, sections: range, roi: Roi) -> np.ndarray:
        """Sections (of the planned region) over the lateral extent of `roi`: (len(sections), Y, X).

        As stored; where some are bad as float32, with what stands in for these: the line between their good neighbours.
        """
        grey = self.as_stored(sections, roi)
        missing = [section for section in sections if section in self.bad]
        if not missing:
            return grey
        filled, beyond = grey.astype(np.float32), {}
        for section in missing:
            filled[section - sections.start] = 0
            for other, weight in neighbours_of(section, self.bad, self.axial.n_sections).items():
                if other not in sections and other not in beyond:
                    beyond[other] = self.as_stored(range(other, other + 1), roi)[0]
                known = grey[other - sections.start] if other in sections else beyond[other]
                filled[section - sections.start] += np.float32(weight) * known.astype(np.float32)
        return filled

    def as_stored(self, sections: range, roi: Roi) -> np.ndarray:
        """Sections (of the planned region) over the lateral extent of `roi`, bad ones too: (len(sections), Y, X)."""
        region = Roi(ZYX(sections.start, roi.offset.y, roi.offset.x), ZYX(len(sections), roi.shape.y, roi.shape.x)).shifted(
            self.origin
        )
        return self.volume.read(region)[0]

    def block(
        self, index: int, seed: int, n_neighbours: int, noisy: bool, slice_offsets: tuple[int, ...] = ()
    ) -> BlockData | None:
        """What block `index` is fitted to; None where its sections are empty.

        The seed of the block is drawn from the run's seed and its index alone.
        """
        block = self.plan.block_grid[index]
        sections = sections_needed(self.axial, block.read_roi)
        grey = self.grey(sections, block.read_roi)
        touched = self.axial.sections_touching(block.read_roi.offset.z, block.read_roi.end.z)
        if is_empty(grey[touched.start - sections.start : touched.stop - sections.start], self.plan.empty_below):
            return None
        return block_data(
            self.axial,
            self.plan.model,
            block.read_roi,
            block.field_roi,
            sections,
            self.contrast.normalise(grey),
            block_seed(seed, index),
            n_neighbours,
            noise_seed=seed if noisy else None,
            bad=self.bad,
            slice_offsets=slice_offsets,
        )

    def base(self, roi: Roi) -> np.ndarray:
        """The interpolated measurement over `roi`, working units: what fields are built over. float32 (Z, Y, X)."""
        sections = sections_needed(self.axial, roi)
        return interpolated(self.axial, roi, sections, self.contrast.normalise(self.grey(sections, roi)))

    def base_at(self, points: Sequence[np.ndarray]) -> np.ndarray:
        """The interpolated measurement at positions along z, y, x in output voxels: what `base` is at voxel centres. float32.

        Along z the spline between sections; along y and x linear, as the fields are that take the sections' noise away again.
        Beyond the outermost centres of the volume it is held constant.
        """
        z, *lateral = points
        planes = Roi.between((int(z.min()), 0, 0), (min(int(z.max()) + 1, self.plan.shape[0]), 1, 1))
        sections = sections_needed(self.axial, planes)
        near = [_neighbours(at, side) for at, side in zip(lateral, self.plan.shape[1:], strict=True)]
        (top, bottom), (left, right) = ((int(lower.min()), int(upper.max()) + 1) for lower, upper, _ in near)
        units = self.contrast.normalise(self.grey(sections, Roi.between((0, top, left), (1, bottom, right))))
        rows = interpolation_rows(z / float(self.axial.ratio) - 0.5 - sections.start, len(sections))
        values = np.tensordot(rows.astype(np.float32), units, axes=1)
        for axis, ((lower, upper, weight), first) in enumerate(zip(near, (top, left), strict=True), start=1):
            low, high = (np.take(values, index - first, axis=axis) for index in (lower, upper))
            values = low + (high - low) * weight.reshape([-1 if d == axis else 1 for d in range(3)])
        return values


def _neighbours(at: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels whose centres lie about the positions `at`, and the weight of the second, float32."""
    centre = np.clip(at - 0.5, 0, side - 1)
    lower = centre.astype(int)
    return lower, np.minimum(lower + 1, side - 1), (centre - lower).astype(np.float32)


def planned(volume: Volume, plan: Plan) -> Volume:
    """`volume`. Raises InputError if it is another one than was planned for, or has changed since."""
    then = plan.source["identity"]
    # Machines of a cluster may reach the same file by different paths.
    changed = [key for key, now in volume.info.identity.items() if key != "path" and then.get(key) != now]
    if changed:
        limit = f"is not as it was when it was planned for ({', '.join(changed)} differ)"
        raise InputError("source.path", volume.info.uri, limit, "Run isofield plan, or snakemake, again")
    return volume


def block_seed(seed: int, index: int) -> int:
    """A seed in [0, 2**63) for one block, independent of all others."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:8], "little") >> 1
