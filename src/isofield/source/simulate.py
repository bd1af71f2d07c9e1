"""A simulated measurement without its voxels: what may be simulated, and the volume that comes of it."""

from __future__ import annotations

from dataclasses import replace
from math import floor

from isofield.errors import InputError
from isofield.geometry import exact_nm
from isofield.source.paths import kernel_identity
from isofield.source.spec import SimulateSpec
from isofield.source.volume import VolumeInfo

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
