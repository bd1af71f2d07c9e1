"""Open the result of a run in Python: voxels and their size, a cut along z, another level; in napari if it is there.

python docs/open_result.py results/my_volume [--napari]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import dask.array as da
import zarr


def open_level(image: Path, level: int = 0) -> tuple[da.Array, list[float], list[float]]:
    """A level as a lazy array (z, y, x), its voxel size and the position of its first voxel's centre, in nm."""
    group = zarr.open_group(image, mode="r")
    multiscale = group.attrs["ome"]["multiscales"][0]
    dataset = multiscale["datasets"][level]
    transforms = {transform["type"]: transform[transform["type"]] for transform in dataset["coordinateTransformations"]}
    data = da.from_zarr(group[dataset["path"]])
    return data, transforms["scale"], transforms.get("translation", [0.0] * data.ndim)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("run", type=Path, help="results folder of a run")
    arguments.add_argument("--napari", action="store_true", help="show measured and isotropic in napari")
    options = arguments.parse_args()
    if not (options.run / "measured.ome.zarr").exists() and list(options.run.glob("channel-*")):
        raise SystemExit(f"{options.run} holds several channels, and this opens one: see docs/output.md for reading one of these")
    volume, voxel_nm, first_nm = open_level(options.run / "isotropic.ome.zarr")
    measured, section_nm, section_first_nm = open_level(options.run / "measured.ome.zarr")
    print(f"isotropic  {volume.shape} voxels of {voxel_nm} nm, {volume.dtype}, first centre at {first_nm} nm")
    print(f"measured   {measured.shape} voxels of {section_nm} nm")
    # A lazy array reads what is asked for: here one ZX slice and one small cube.
    middle = [side // 2 for side in volume.shape]
    zx = volume[:, middle[1], :].compute()
    cube = volume[tuple(slice(max(0, m - 16), m + 16) for m in middle)].compute()
    print(f"ZX slice   {zx.shape}, mean {zx.mean():.1f}; central cube {cube.shape}, mean {cube.mean():.1f}")
    if options.napari:
        import napari

        viewer = napari.Viewer()
        viewer.add_image(measured, name="measured", scale=section_nm, translate=section_first_nm)
        viewer.add_image(volume, name="isotropic", scale=voxel_nm, translate=first_nm)
        napari.run()


if __name__ == "__main__":
    main()
