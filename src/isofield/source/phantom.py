"""Reader for `phantom:tissue`: the synthetic volume of the demo and the tests, made when it is read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from isofield.errors import InputError
from isofield.source.stored import Stored
from isofield.source.units import StatedSize, decimal_of

if TYPE_CHECKING:
    import numpy as np

DEFAULT_SHAPE = (160, 160, 160)
MIN_SIDE = 16
_PLANES_PER_CHUNK = 32


def describe(path: Path, dataset: str | None) -> Stored:
    """Metadata of `phantom:tissue` or `phantom:tissue?shape=160,160,160&seed=3` (z, y, x voxels of 8 nm)."""
    shape, seed = parse(str(path))
    if dataset is not None:
        raise InputError("source.dataset", dataset, f"{path} has no datasets", "Leave source.dataset empty")
    canonical = f"phantom:tissue?shape={','.join(map(str, shape))}&seed={seed}"
    return Stored(
        format="phantom",
        path=Path(canonical),
        dataset=None,
        axes="zyx",
        shape=shape,
        dtype="uint8",
        size=_voxel_size(),
        identity={"path": canonical},
    )


def load(stored: Stored) -> PhantomArray:
    """The phantom, made on the first read."""
    return PhantomArray(*parse(str(stored.path)))


class PhantomArray:
    """A phantom as an array; indexing makes it once per process. Can be pickled."""

    def __init__(self, shape: tuple[int, int, int], seed: int) -> None:
        import numpy as np

        self.shape, self._seed, self.dtype = shape, seed, np.dtype(np.uint8)
        self.chunks = (min(_PLANES_PER_CHUNK, shape[0]), *shape[1:])

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        return _tissue(self.shape, self._seed)[index]


def parse(uri: str) -> tuple[tuple[int, int, int], int]:
    """Shape and seed in a phantom's address. Raises InputError for another phantom, key or number."""
    name, _, query = uri.removeprefix("phantom:").partition("?")
    form = "Write phantom:tissue or phantom:tissue?shape=160,160,160&seed=0"
    if name != "tissue":
        raise InputError("source.path", uri, f"there is no phantom {name!r}", form)
    shape: tuple[int, ...] = DEFAULT_SHAPE
    seed = 0
    for key, value in parse_qsl(query, keep_blank_values=True):
        numbers = value.split(",")
        if key not in ("shape", "seed") or not all(n.isdecimal() for n in numbers):
            raise InputError("source.path", uri, f"{key}={value} is not understood", form)
        if key == "shape":
            shape = tuple(int(n) for n in numbers)
        else:
            seed = int(numbers[0])
    if len(shape) != 3 or min(shape) < MIN_SIDE:
        raise InputError("source.path", uri, f"a phantom needs three sides of {MIN_SIDE} voxels or more", form)
    return (shape[0], shape[1], shape[2]), seed


def _voxel_size() -> StatedSize:
    from isofield.phantom import VOXEL_SIZE_NM

    z, y, x = (decimal_of(side) for side in VOXEL_SIZE_NM)
    return StatedSize((z, y, x))  # type: ignore[arg-type]


@lru_cache(maxsize=2)
def _tissue(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    from isofield.phantom import tissue

    return tissue(shape, seed)
