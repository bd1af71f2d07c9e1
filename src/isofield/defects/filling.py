"""What stands in for bad sections until they are reconstructed: the line between the good ones around them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from isofield.geometry import AxialMap


def neighbours_of(section: int, bad: Collection[int], n_sections: int) -> dict[int, float]:
    """Nearest good section on either side and their weights, which sum to 1 and fall with the distance; one at an end.

    Raises ValueError when no section of the volume is good.
    """
    below = next((k for k in range(section - 1, -1, -1) if k not in bad), None)
    above = next((k for k in range(section + 1, n_sections) if k not in bad), None)
    if below is None or above is None:
        known = below if above is None else above
        if known is None:
            raise ValueError(f"none of {n_sections} sections is good")
        return {known: 1.0}
    return {below: (above - section) / (above - below), above: (section - below) / (above - below)}


def fill_matrix(sections: range, bad: Collection[int]) -> np.ndarray:
    """Square matrix that replaces the bad ones of `sections` by their neighbours among these. float64, rows sum to 1."""
    matrix = np.eye(len(sections))
    missing = [k for k, section in enumerate(sections) if section in bad]
    for row in missing:
        matrix[row] = 0
        for column, weight in neighbours_of(row, missing, len(sections)).items():
            matrix[row, column] = weight
    return matrix


def planes_of(axial: AxialMap, bad: Iterable[int], begin: int, end: int) -> np.ndarray:
    """Which of planes [begin, end) have their centre in a bad section: bool (end - begin,)."""
    sections = [int((2 * plane + 1) / (2 * axial.ratio)) for plane in range(begin, end)]
    return np.isin(np.minimum(sections, axial.n_sections - 1), sorted(bad))


def run_lengths(bad: Collection[int]) -> tuple[int, ...]:
    """Lengths of the runs of bad sections, each once, ascending."""
    lengths, run = set(), 0
    for section in sorted(bad):
        run = run + 1 if section - 1 in bad else 1
        if section + 1 not in bad:
            lengths.add(run)
    return tuple(sorted(lengths))
