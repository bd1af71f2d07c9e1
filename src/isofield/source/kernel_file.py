"""Axial profiles from files: tables, arrays, and stacks of a measured point spread function."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from isofield.errors import InputError
from isofield.measurement import Kernel
from isofield.source.paths import MAX_KERNEL_BYTES, kernel_path
from isofield.source.spec import KernelFile
from isofield.source.tiff_sizes import size_in_tiff

TABLES, STACKS = (".csv", ".tsv", ".txt"), (".tif", ".tiff")
MAX_POINTS = 10_000
MAX_BYTES = {**dict.fromkeys((*TABLES, ".npy"), 2**20), **dict.fromkeys(STACKS, MAX_KERNEL_BYTES)}
"""Readable file types, and how large a file of each may be."""
MAX_END_SHARE = 0.1
"""Sum of a stack's first and of its last plane, relative to its brightest, that background or a spot cut off would exceed."""
_SEPARATOR = re.compile(r"\s*[,;\t]\s*|\s+")


def read_kernel(choice: KernelFile, voxel_nm: float) -> Kernel:
    """The profile in a file over positions in nm; `voxel_nm` is how far apart the weights of one column are.

    One column, and .npy: every weight holds for a voxel's depth. Two columns and stacks: linear from point to point. Weights
    are relative to the largest. Raises InputError naming the key, the file, what is wrong with it and the remedy.
    """
    path = kernel_path(choice)
    kind = path.suffix.lower()
    if not path.is_file():
        raise _refused(choice, f"is not there (looked for {path.absolute()})", "Correct the path")
    if kind not in MAX_BYTES:
        raise _refused(choice, f"is of no known type; known are {', '.join(MAX_BYTES)}", "Convert it, or rename it")
    if (n_bytes := path.stat().st_size) > MAX_BYTES[kind]:
        limit = f"has {n_bytes} bytes, more than {MAX_BYTES[kind]}, and cannot be a profile"
        raise _refused(choice, limit, "Give the profile alone; of a stack, the surroundings of one spot")
    if choice.voxel_nm and kind not in STACKS:
        key, limit = f"{choice.section}.kernel_voxel_nm", f"is given but {choice.file} is no stack"
        raise InputError(key, list(choice.voxel_nm), limit, "Drop it: weights are an output voxel apart, or have positions")
    if kind in STACKS:
        return _from_stack(choice, path)
    positions, weights = _from_table(choice, path) if kind in TABLES else (None, _from_array(choice, path))
    weights = _checked(choice, weights)
    if positions is None:
        edges = (np.arange(len(weights) + 1) - len(weights) / 2) * voxel_nm
        return _kernel(choice, np.repeat(edges, 2)[1:-1], np.repeat(weights, 2))
    return _kernel(choice, positions, weights)


def _from_table(choice: KernelFile, path: Path) -> tuple[np.ndarray | None, np.ndarray]:
    """Positions, None for a table of one column, and weights."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _refused(choice, f"is not text ({error.reason})", "Save it as UTF-8") from None
    rows: list[list[float]] = []
    header: int | None = None
    for number, line in enumerate(lines, 1):
        words = _SEPARATOR.split(line.strip())
        if words == [""] or words[0].startswith("#"):
            continue
        values = [_number(word) for word in words]
        if not rows and header is None and all(value is None for value in values):
            header = number
            continue
        if None in values or len(words) > 2 or (rows and len(words) != len(rows[0])):
            wanted = ("one number", "two numbers")[len(rows[0]) - 1] if rows else "one number or two"
            limit = f"its line {number}, {line.strip()[:60]!r}, is not {wanted}"
            raise _refused(choice, limit, "Give a weight per line, or position and weight, with decimal points")
        rows.append([value for value in values if value is not None])
    columns = np.array(rows, float).reshape(len(rows), -1 if rows else 1).T
    if len(columns) == 1:
        return None, columns[0]
    if len(rows) == 1:
        limit = "holds one line of two numbers, which may be two weights or a position and a weight"
        raise _refused(choice, limit, "Give one weight per line, or two positions or more")
    positions = columns[0]
    if not (likely := np.abs(positions) < 1e12).all():
        raise _refused(choice, f"its position {_first(~likely, positions)} is no position in nm", "Mend it")
    if (descends := np.diff(positions) <= 0).any():
        i = int(descends.argmax())
        limit = f"its positions do not ascend: {positions[i]:g} nm is followed by {positions[i + 1]:g} nm"
        raise _refused(choice, limit, "Sort its lines by position, one line per position")
    return positions, columns[1]


def _from_array(choice: KernelFile, path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise _refused(choice, f"is not an array of numbers ({error})", "Save it with numpy.save") from None
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        limit = f"holds {array.dtype} of shape {array.shape}, not numbers along one axis"
        raise _refused(choice, limit, "Save one axis of weights; for positions, write a table of two columns")
    return array.astype(float)


def _from_stack(choice: KernelFile, path: Path) -> Kernel:
    """The profile of a stack, summed over y and x, its centre of mass at 0."""
    sums, step = _plane_sums(choice, path)
    weights = _checked(choice, sums)
    brighter_end = max(weights[0], weights[-1]) / weights.max()
    if brighter_end > MAX_END_SHARE:
        raise _refused(
            choice,
            f"its first or last plane holds {brighter_end:.0%} of what its brightest holds, more than {MAX_END_SHARE:.0%}",
            "Subtract the background, and take in all of the spot along z and little else along y and x",
        )
    positions = np.arange(len(weights)) * step
    return _kernel(choice, positions - _kernel(choice, positions, weights).mean, weights)


def _plane_sums(choice: KernelFile, path: Path) -> tuple[np.ndarray, float]:
    """Sum of every plane of a stack, and how far apart planes are in nm."""
    from tifffile import TiffFile, TiffFileError

    try:
        with TiffFile(path) as tiff:
            if not tiff.series:
                raise _refused(choice, "is a damaged TIFF (no image found)", "Copy it again")
            if len(tiff.series) > 1:
                raise _refused(choice, f"holds {len(tiff.series)} series, one is needed", "Save the stack alone")
            series = tiff.series[0]
            lengths = [(axis, n) for axis, n in zip(series.axes.lower(), series.shape, strict=True) if n > 1]
            if "".join(axis for axis, _ in lengths) not in ("zyx", "qyx", "iyx") or series.dtype.kind not in "iuf":
                limit = f"holds {series.dtype} of axes {series.axes} and shape {series.shape}, not a stack z, y, x of one channel"
                raise _refused(choice, limit, "Save one channel of one spot as a stack z, y, x")
            size = size_in_tiff(tiff, 0)
            planes = series.asarray().reshape([n for _, n in lengths])
    except (TiffFileError, ValueError, OSError, RuntimeError) as error:
        raise _refused(choice, f"is a damaged TIFF ({error})", "Copy it again") from None
    if not choice.voxel_nm and not size.nm:
        key, limit = f"{choice.section}.kernel_voxel_nm", f"the voxel size of {choice.file} is not known: {size.problem}"
        raise InputError(key, None, limit, f"Set {key} to its z, y, x in nm")
    step = choice.voxel_nm[0] if choice.voxel_nm else float(size.nm[0])  # type: ignore[index]
    return planes.sum(axis=(1, 2), dtype=float), step


def _checked(choice: KernelFile, weights: np.ndarray) -> np.ndarray:
    """`weights` if they are a profile's: two or more, finite, none negative, not all 0."""
    if len(weights) < 2:
        raise _refused(choice, f"holds {len(weights)} weights, two or more are needed", "Give the whole profile")
    if len(weights) > MAX_POINTS:
        raise _refused(choice, f"holds {len(weights)} weights, {MAX_POINTS} at most are accepted", "Sample it less finely")
    if not np.isfinite(weights).all():
        raise _refused(choice, f"its weight {_first(~np.isfinite(weights), weights)} is no finite number", "Mend it")
    if (weights < 0).any():
        limit = f"its weight {_first(weights < 0, weights)} is negative"
        raise _refused(choice, limit, "Cut the profile where it ends, and set what is below 0 to 0 if it is noise")
    if not weights.any():
        raise _refused(choice, "all its weights are 0", "Give the profile of a section, whose weights are its sensitivity")
    return weights


def _kernel(choice: KernelFile, positions: np.ndarray, weights: np.ndarray) -> Kernel:
    try:
        return Kernel(tuple(positions.tolist()), tuple((weights / weights.max()).tolist()))
    except ValueError as error:
        raise _refused(choice, f"is no profile ({error})", "Give positions in nm and their weights") from None


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _first(wrong: np.ndarray, values: np.ndarray) -> str:
    """Which of `values` is the first that is wrong, counted from 1, and what it is."""
    i = int(wrong.argmax())
    return f"number {i + 1}, {values[i]:g},"


def _refused(choice: KernelFile, limit: str, remedy: str) -> InputError:
    return InputError(f"{choice.section}.kernel_file", choice.file, limit, remedy)
