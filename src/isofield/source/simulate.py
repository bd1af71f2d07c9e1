"""From an isotropic volume to the anisotropic one that thicker sections would have given."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import floor
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.geometry import AxialMap, exact_nm
from isofield.source.paths import kernel_identity
from isofield.source.spec import SimulateSpec
from isofield.source.volume import VolumeInfo

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from isofield.measurement import Kernel, MeasurementModel

_TOLERANCE_PERCENT = 1


def simulated_info(info: VolumeInfo, spec: SimulateSpec) -> VolumeInfo:
    """`info` after simulation: floor(n_planes / factor) sections, each factor planes thick.

    Raises InputError if the voxels are not isotropic within 1 %, or the depth gives fewer than 2 sections.
    """
    z, y, x = info.voxel_size_nm
    if (max(z, y, x) - min(z, y, x)) * 100 > min(z, y, x) * _TOLERANCE_PERCENT:
        raise InputError(
            "source.simulate",
            f"voxels of {float(z):g} x {float(y):g} x {float(x):g} nm",
            f"needs a volume that is isotropic within {_TOLERANCE_PERCENT} %",
            "Leave source.simulate empty, or give an isotropic volume",
        )
    factor, n_planes = exact_nm(spec.factor), info.shape[1]
    n_sections = floor(n_planes / factor)
    if n_sections < 2:
        raise InputError(
            "source.simulate.factor",
            spec.factor,
            f"leaves {n_sections} sections of the {n_planes} planes",
            "Choose a smaller factor or a deeper volume",
        )
    shape = (info.shape[0], n_sections, *info.shape[2:])
    return replace(
        info,
        shape=shape,
        voxel_size_nm=(z * factor, y, x),
        identity=info.identity | {"simulate": f"{spec.operator} {factor}"} | kernel_identity(spec.kernel),
    )


def simulate(isotropic: da.Array, spec: SimulateSpec, kernel_vox: Kernel | None = None) -> tuple[da.Array, da.Array]:
    """Measured volume and truth, CZYX, lazy, dtype of `isotropic`, which spans 2 sections or more.

    Truth is cropped to the planes that the sections cover. Integers are clipped and rounded, never wrapped. `kernel_vox`: the
    profile of operator kernel, in planes.
    """
    import dask.array as da

    from isofield.measurement import MeasurementModel

    factor = exact_nm(spec.factor)
    axial = AxialMap(factor, floor(isotropic.shape[1] / factor))
    model = MeasurementModel(factor, spec.operator, kernel_vox=kernel_vox)
    truth = isotropic[:, : axial.n_planes]
    sections = [_section(truth, axial, index, model) for index in range(axial.n_sections)]
    return da.concatenate(sections, axis=1), truth


def _section(truth: da.Array, axial: AxialMap, index: int, model: MeasurementModel) -> da.Array:
    """Section `index` as (C, 1, Y, X), from the planes its profile reaches."""
    one = range(index, index + 1)
    reached = model.planes(axial, one)
    profile = model.matrix(axial, one, reached.start, reached.stop)[0]
    planes = truth[:, reached.start : reached.stop].rechunk({1: -1})
    chunks = (planes.chunks[0], (1,), *planes.chunks[2:])
    return planes.map_blocks(partial(_weigh, profile=profile), dtype=truth.dtype, chunks=chunks, meta=truth._meta)


def _weigh(planes: np.ndarray, profile: np.ndarray) -> np.ndarray:
    import numpy as np

    from isofield.intensity import to_dtype

    return to_dtype(np.einsum("czyx,z->cyx", planes, profile)[:, None], planes.dtype)
