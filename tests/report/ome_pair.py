"""A measured and an isotropic OME-Zarr 0.5 of the same object, written with zarr alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

VOXEL_NM = 8.0
FACTOR = 8
SHAPE = (64, 48, 96)
# An L, seen in XZ: a long bar along x and a short one along z, both whole sections thick. (z, x) intervals in
# voxels.
BARS = (((16, 24), (20, 72)), ((24, 48), (20, 32)))
GREY, BRIGHT = 60, 240


def write_pair(folder: Path, measured_shift_nm: float = 0.0) -> None:
    """measured.ome.zarr (64 x 8 x 8 nm), isotropic.ome.zarr and error.ome.zarr (8 nm) below `folder`, over the same region.

    The error is 100 where the object is bright.

    Voxel 0 of each starts at 0 nm, so its centre, which OME-Zarr's translation names, is half a voxel in.
    `measured_shift_nm` misplaces the measured volume along z.
    """
    isotropic = np.full(SHAPE, GREY, np.uint8)
    for (z0, z1), (x0, x1) in BARS:
        isotropic[z0:z1, :, x0:x1] = BRIGHT
    measured = isotropic.reshape(-1, FACTOR, *SHAPE[1:]).mean(1).astype(np.uint8)
    thickness = FACTOR * VOXEL_NM
    write_image(folder / "measured.ome.zarr", measured, (thickness, VOXEL_NM, VOXEL_NM), measured_shift_nm)
    write_image(folder / "isotropic.ome.zarr", isotropic, (VOXEL_NM,) * 3)
    write_image(folder / "error.ome.zarr", (isotropic == BRIGHT).astype(np.uint8) * 100, (VOXEL_NM,) * 3)


def write_image(path: Path, image: np.ndarray, voxel_size_nm: tuple[float, ...], shift_z_nm: float = 0.0) -> None:
    """A one-level OME-Zarr 0.5 with shards of 64 and chunks of 32 voxels."""
    translation = [size / 2 for size in voxel_size_nm]
    translation[0] += shift_z_nm
    multiscale = {
        "name": path.name,
        "axes": [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(voxel_size_nm)},
                    {"type": "translation", "translation": translation},
                ],
            }
        ],
    }
    group = zarr.create_group(path, zarr_format=3, attributes={"ome": {"version": "0.5", "multiscales": [multiscale]}})
    array = group.create_array(
        "0",
        shape=image.shape,
        dtype=image.dtype,
        chunks=(32, 32, 32),
        shards=(64, 64, 64),
        dimension_names=["z", "y", "x"],
    )
    array[...] = image
