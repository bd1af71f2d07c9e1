"""Reader for a folder of TIFF, PNG or JPEG slices: one plane per file, ordered by the number in their names."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.errors import InputError
from isofield.source.stored import Stored, axes_of, files_identity
from isofield.source.tiff import refuse_cut_off
from isofield.source.units import nothing_stated

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PilImage

SUFFIXES = {".tif": "tiff", ".tiff": "tiff", ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
_N_SAMPLED = 64
_MODES = {"L": "uint8", "LA": "uint8", "RGB": "uint8", "RGBA": "uint8", "I;16": "uint16", "I;16B": "uint16", "I;16L": "uint16"}
"""Pillow's names for what a PNG or JPEG holds -> dtype. Palettes and single bits are no grey values."""


def slice_files(folder: Path) -> list[Path]:
    """The slices in `folder` in the order of their numbers: its TIFF files, or where it has none, its PNG or JPEG files.

    Names may differ in their numbers only. The slice number is the number that tells all files apart and
    counts up by one. Raises InputError for names of another pattern and for gaps, naming the slices that are
    missing.
    """
    images = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and f.name[0] != ".")
    kinds = [kind for kind in ("tiff", "png", "jpeg") if any(_kind(f) == kind for f in images)]
    if len(kinds) > 1 and "tiff" not in kinds:
        raise InputError("source.path", str(folder), f"holds slices of {' and '.join(kinds)}", "Keep only the slices there")
    files = [f for f in images if _kind(f) == kinds[0]]
    patterns = Counter(re.sub(r"\d+", "#", f.stem) for f in files)
    if len(patterns) > 1:
        usual = patterns.most_common(1)[0][0]
        odd = next(f.name for f in files if re.sub(r"\d+", "#", f.stem) != usual)
        raise InputError(
            "source.path",
            str(folder),
            f"holds {odd!r} among slices named {usual!r}",
            "Keep only the slices there",
        )
    columns = list(zip(*([int(n) for n in re.findall(r"\d+", f.stem)] for f in files), strict=True))
    numberings = [column for column in columns if len(set(column)) == len(files)]
    if len(files) > 1 and not numberings:
        raise InputError(
            "source.path",
            str(folder),
            f"no number in the names tells the {len(files)} slices apart, e.g. {files[0].name!r}",
            "Keep one channel and one time point, numbered by section",
        )
    if not numberings:
        return files
    numbers = min(numberings, key=_n_missing)
    if _n_missing(numbers):
        _refuse_gaps(folder, numbers)
    return [file for _, file in sorted(zip(numbers, files, strict=True))]


def describe(folder: Path, dataset: str | None) -> Stored:
    """Metadata of the stack. Slices are compared on a sample here, and each one when it is read."""
    files = slice_files(folder)
    first = _header(files[0])
    axes, shape, dtype = first
    for file in _sample(files):
        if (found := _header(file)) != first:
            raise _unequal(folder, file.name, found[1], found[2], shape, dtype)
    if dataset is not None:
        raise InputError("source.dataset", dataset, f"{folder} is a folder of slices", "Leave source.dataset empty")
    return Stored(
        format=f"{_kind(files[0])}-slices",
        path=folder,
        dataset=None,
        axes=axes_of(["z", *axes.lower().replace("s", "c")], (len(files), *shape), folder),
        shape=(len(files), *shape),
        dtype=dtype,
        size=nothing_stated("a folder of slices does not state it"),
        identity=files_identity(folder, files),
    )


def load(stored: Stored) -> SliceArray:
    """The stack, read slice by slice when indexed."""
    return SliceArray(stored.path, slice_files(stored.path), stored.shape, stored.dtype)


class SliceArray:
    """A folder of slices as an array whose chunks are the slices. Can be pickled."""

    def __init__(self, folder: Path, files: list[Path], shape: tuple[int, ...], dtype: str) -> None:
        import numpy as np

        self.shape, self.dtype, self.chunks = shape, np.dtype(dtype), (1, *shape[1:])
        self._folder, self._names = folder, [file.name for file in files]

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        import numpy as np

        sections, *within = index
        names = self._names[sections] if isinstance(sections, slice) else [self._names[sections]]
        planes = [self._plane(name)[tuple(within)] for name in names]
        return np.stack(planes) if isinstance(sections, slice) else planes[0]

    def _plane(self, name: str) -> np.ndarray:
        plane = _read(self._folder / name)
        if plane.shape != self.shape[1:] or plane.dtype != self.dtype:
            raise _unequal(self._folder, name, plane.shape, plane.dtype.name, self.shape[1:], self.dtype.name)
        return plane


def _n_missing(numbers: tuple[int, ...]) -> int:
    return max(numbers) - min(numbers) + 1 - len(numbers)


def _refuse_gaps(folder: Path, numbers: tuple[int, ...]) -> None:
    present = set(numbers)
    missing = []
    for number in range(min(numbers), max(numbers)):
        if number not in present:
            missing.append(str(number))
        if len(missing) == 16:
            break
    more = ", ..." if _n_missing(numbers) > len(missing) else ""
    raise InputError(
        "source.path",
        str(folder),
        f"lacks {_n_missing(numbers)} of its slices: {', '.join(missing)}{more}",
        "Add them (a black slice counts as a lost section), or renumber the files if nothing is missing",
    )


def _kind(file: Path) -> str:
    return SUFFIXES[file.suffix.lower()]


def _read(file: Path) -> np.ndarray:
    import numpy as np

    if _kind(file) == "tiff":
        from tifffile import TiffFile

        with TiffFile(file) as tiff:
            return tiff.pages.first.asarray()
    with _opened(file) as image:
        return np.asarray(image)


def _opened(file: Path) -> PilImage:
    from PIL import Image, UnidentifiedImageError

    # Sections are larger than what Pillow takes for an attack.
    Image.MAX_IMAGE_PIXELS = None
    try:
        # Whatever their names say, files of other formats are not tried: Pillow has other programs read some of them.
        image = Image.open(file, formats=("PNG", "JPEG"))
    except UnidentifiedImageError as error:
        raise InputError("source.path", str(file), "is a damaged image", "Copy it again") from error
    if image.mode not in _MODES:
        limit = f"holds no grey values (mode {image.mode!r})"
        raise InputError("source.path", str(file), limit, "Save the slices as 8 or 16-bit grey values")
    return image


def _header(file: Path) -> tuple[str, tuple[int, ...], str]:
    """Axes, shape and dtype of the single page of a slice."""
    if _kind(file) != "tiff":
        with _opened(file) as image:
            n_samples = len(image.getbands())
            axes, shape = ("YXS", (n_samples,)) if n_samples > 1 else ("YX", ())
            return axes, (image.height, image.width, *shape), _MODES[image.mode]
    from tifffile import TiffFile, TiffFileError

    try:
        tiff = TiffFile(file)
    except TiffFileError as error:
        raise InputError("source.path", str(file), f"is a damaged TIFF ({error})", "Copy it again") from error
    with tiff:
        if not len(tiff.pages):
            raise InputError("source.path", str(file), "is a damaged TIFF (no image found)", "Copy it again")
        if len(tiff.pages) != 1:
            raise InputError(
                "source.path",
                str(file),
                f"has {len(tiff.pages)} pages; a slice has one",
                "Give this file itself as the path",
            )
        page = tiff.pages.first
        refuse_cut_off(file, [page])
        return page.axes, page.shape, page.dtype.name


def _sample(files: list[Path]) -> list[Path]:
    """Slices spread evenly, and those of unusual file size where most are alike (uncompressed slices)."""
    spread = {len(files) - 1, *(i * len(files) // _N_SAMPLED for i in range(_N_SAMPLED))}
    sizes = [file.stat().st_size for file in files]
    usual, n_usual = Counter(sizes).most_common(1)[0]
    if 2 * n_usual > len(files):
        spread |= {i for i, size in enumerate(sizes) if size != usual}
    return [files[i] for i in sorted(spread)]


def _unequal(
    folder: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    first_shape: tuple[int, ...],
    first_dtype: str,
) -> InputError:
    return InputError(
        "source.path",
        str(folder),
        f"its slice {name} is {dtype} {shape}, the first slice is {first_dtype} {first_shape}",
        "Give slices of one shape and dtype",
    )
