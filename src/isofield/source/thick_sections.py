"""From an isotropic volume to the anisotropic one that thicker sections would have given, computed as it is read."""

from __future__ import annotations

from math import floor

import numpy as np

from isofield.geometry import AxialMap, exact_nm
from isofield.intensity import to_dtype
from isofield.measurement import Kernel, MeasurementModel
from isofield.source.czyx import envelope
from isofield.source.spec import SimulateSpec
from isofield.source.volume import Voxels

_BYTES_AT_ONCE = 64 * 2**20
"""Of planes that are held while sections are made of them."""


def simulate(isotropic: Voxels, spec: SimulateSpec, kernel_vox: Kernel | None = None) -> tuple[SimulatedSections, FirstPlanes]:
    """Measured volume and truth, both read when they are indexed, of an isotropic volume that spans 2 sections or more.

    Truth is cropped to the planes that the sections cover. Integers are clipped and rounded, never wrapped. `kernel_vox`: the
    profile of operator kernel, in planes.
    """
    factor = exact_nm(spec.factor)
    axial = AxialMap(factor, floor(isotropic.shape[1] / factor))
    truth = FirstPlanes(isotropic, axial.n_planes)
    return SimulatedSections(truth, axial, MeasurementModel(factor, spec.operator, kernel_vox=kernel_vox)), truth


class FirstPlanes:
    """The first `n` planes of a volume."""

    ndim = 4

    def __init__(self, volume: Voxels, n: int) -> None:
        self.shape = (volume.shape[0], n, *volume.shape[2:])
        self.chunks, self.dtype, self._volume = volume.chunks, volume.dtype, volume

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        envelopes, within = zip(*map(envelope, index, self.shape), strict=True)
        return self._volume[envelopes][within]


class SimulatedSections:
    """Sections of an isotropic volume, each computed from the planes that its profile reaches, and no others."""

    ndim = 4

    def __init__(self, planes: Voxels, axial: AxialMap, model: MeasurementModel) -> None:
        self.shape = (planes.shape[0], axial.n_sections, *planes.shape[2:])
        self.chunks, self.dtype = (1, *planes.chunks[1:]), planes.dtype
        self._planes, self._axial, self._model = planes, axial, model

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        envelopes, within = zip(*map(envelope, index, self.shape), strict=True)
        c, z, y, x = envelopes
        values = np.empty([part.stop - part.start for part in envelopes], self.dtype)
        plane_bytes = values[:, :1].nbytes
        at_once = max(1, int(_BYTES_AT_ONCE / max(1, plane_bytes * float(self._axial.ratio))))
        for first in range(z.start, z.stop, at_once):
            sections = range(first, min(first + at_once, z.stop))
            reached = self._model.planes(self._axial, sections)
            planes = np.asarray(self._planes[c, reached.start : reached.stop, y, x])
            for section in sections:
                values[:, section - z.start] = self._weighed(planes, reached.start, section)
        return values[within]

    def _weighed(self, planes: np.ndarray, first: int, section: int) -> np.ndarray:
        """The section (C, Y, X) from planes (C, Z, Y, X), of which the first is plane `first` of the volume."""
        one = range(section, section + 1)
        reached = self._model.planes(self._axial, one)
        profile = self._model.matrix(self._axial, one, reached.start, reached.stop)[0]
        own = planes[:, reached.start - first : reached.stop - first]
        return to_dtype(np.einsum("czyx,z->cyx", own, profile), self.dtype)
