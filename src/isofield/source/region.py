"""The part of the volume to reconstruct, in whole measured voxels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi, exact_nm
from isofield.source.spec import Interval
from isofield.source.volume import VolumeInfo


def measured_roi(info: VolumeInfo, roi_nm: Sequence[Interval] | None) -> Roi:
    """The measured voxels that `roi_nm`, ((z0, z1), (y0, y1), (x0, x1)) in nm from the first edge, touches.

    Widened to whole voxels; None is the whole volume. An end up to one voxel past the volume counts as the
    volume's end, because extents are typed rounded. Raises InputError for a region that starts outside or
    reaches further.
    """
    whole = Roi(ZYX(0, 0, 0), info.shape_zyx)
    if roi_nm is None:
        return whole
    begin, end = [], []
    for axis, (first, last), size, extent in zip("zyx", roi_nm, info.voxel_size_nm, info.extent_nm, strict=True):
        lo, hi = exact_nm(first), exact_nm(last)
        if not 0 <= lo < min(hi, extent) or hi > extent + size:
            limits = ", ".join(f"{a} 0 to {float(e):.12g}" for a, e in zip("zyx", info.extent_nm, strict=True))
            raise InputError(
                "source.roi_nm",
                [first, last],
                f"the {axis} interval must ascend and lie inside the volume, which spans {limits} nm",
                "Choose a region inside it",
            )
        begin.append(floor(lo / size))
        end.append(ceil(hi / size))
    return Roi.between(begin, end).intersect(whole)
