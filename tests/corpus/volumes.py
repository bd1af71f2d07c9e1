"""Makers of small volumes, whole and damaged: each returns a function that writes into a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr
from scipy import ndimage

SHAPE = (12, 64, 64)
Maker = Callable[[Path], None]


def tissue(shape: Sequence[int] = SHAPE, dtype: Any = np.uint8, low: float = 30, high: float = 220) -> np.ndarray:
    """Smooth noise between `low` and `high`, the same every time."""
    noise = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=shape), (0,) * (len(shape) - 3) + (0.5, 1.5, 1.5))
    noise = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-9)
    return (low + (high - low) * noise).astype(dtype)


def h5(values: np.ndarray | None = None, name: str = "volume.h5", dataset: str = "raw", **attributes: Any) -> Maker:
    def make(folder: Path) -> None:
        with h5py.File(folder / name, "w") as file:
            file[dataset] = tissue() if values is None else values
            file[dataset].attrs.update(attributes)

    return make


def tiff(values: np.ndarray | None = None, name: str = "volume.tif", **options: Any) -> Maker:
    def make(folder: Path) -> None:
        tifffile.imwrite(folder / name, tissue() if values is None else values, **options)

    return make


def slices(names: Sequence[str], values: Callable[[int], np.ndarray] | None = None) -> Maker:
    """A folder `slices` of TIFF slices, one per name."""

    def make(folder: Path) -> None:
        (folder / "slices").mkdir()
        stack = tissue((len(names), *SHAPE[1:]))
        for index, name in enumerate(names):
            tifffile.imwrite(folder / "slices" / name, values(index) if values else stack[index])

    return make


def array(values: np.ndarray | None = None, name: str = "volume.zarr", version: int = 3, **options: Any) -> Maker:
    """A plain Zarr array of chunks of 4 x 32 x 32."""

    def make(folder: Path) -> None:
        content = tissue() if values is None else values
        settings = {"chunks": (4, 32, 32)[-content.ndim :] if content.ndim <= 3 else None, **options}
        made = zarr.create_array(
            folder / name, shape=content.shape, dtype=content.dtype, zarr_format=version, overwrite=True, **settings
        )
        made[...] = content

    return make


def image(name: str = "image.zarr", scale: Any = (0.032, 0.008, 0.008), unit: str | None = "micrometer", **more: Any) -> Maker:
    """An OME-Zarr 0.5 image of one level; `more` replaces entries of its multiscales."""

    def make(folder: Path) -> None:
        array(name=f"{name}/0")(folder)
        axes = [{"name": axis, "type": "space", **({"unit": unit} if unit else {})} for axis in "zyx"]
        level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        entry = {"axes": axes, "datasets": [level], **more}
        attributes = {"ome": {"version": "0.5", "multiscales": [entry]}}
        document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / name / "zarr.json").write_text(json.dumps(document))

    return make


def edited(make: Maker, path: str, change: Callable[[dict], Any]) -> Maker:
    """What `make` makes, with the JSON file at `path` changed in place, or replaced by what `change` returns."""

    def made(folder: Path) -> None:
        make(folder)
        document = json.loads((folder / path).read_text())
        replaced = change(document)
        (folder / path).write_text(json.dumps(document if replaced is None else replaced))

    return made


def cut(make: Maker, path: str, share: float) -> Maker:
    """What `make` makes, with only the first `share` of the bytes of the file at `path` left."""

    def made(folder: Path) -> None:
        make(folder)
        data = (folder / path).read_bytes()
        (folder / path).write_bytes(data[: int(share * len(data))])

    return made


def spoiled(make: Maker, path: str, at: float, n: int = 64) -> Maker:
    """What `make` makes, with `n` bytes from `at` (a share of the file) replaced by 0xA5."""

    def made(folder: Path) -> None:
        make(folder)
        data = bytearray((folder / path).read_bytes())
        begin = int(at * len(data))
        data[begin : begin + n] = b"\xa5" * len(data[begin : begin + n])
        (folder / path).write_bytes(data)

    return made


def without(make: Maker, *paths: str) -> Maker:
    """What `make` makes, with some files or folders removed."""

    def made(folder: Path) -> None:
        make(folder)
        for path in paths:
            target = folder / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    return made


def file(name: str, content: bytes | str) -> Maker:
    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def folder_of(*names: str) -> Maker:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).mkdir(parents=True)

    return make


def both(*makers: Maker) -> Maker:
    def make(folder: Path) -> None:
        for one in makers:
            one(folder)

    return make


def mode(make: Maker, path: str, bits: int) -> Maker:
    """What `make` makes, with the permissions of `path` changed."""

    def made(folder: Path) -> None:
        make(folder)
        (folder / path).chmod(bits)

    return made
