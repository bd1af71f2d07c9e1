"""Finding bad sections: each is compared with the sections around it, in cells spread over the volume."""

from __future__ import annotations

from collections import Counter

import numpy as np

from isofield.defects.spec import BadSection, Kind, SectionsSpec

WORDS: dict[Kind, str] = {
    "listed": "named in sections.bad",
    "missing": "nothing was recorded",
    "faint": "without contrast",
    "saturated": "at the highest value",
    "duplicate": "a copy of its neighbour",
    "noisy": "far noisier than its neighbours",
    "outlier": "unlike its neighbours",
}
AROUND = 8
"""Sections on both sides of a section that say what is usual. Where half of them are constant, nothing is expected: runs of
constant sections longer than this, or half as long at an end of the volume, are taken for empty space."""
REACH = 2
"""Sections on both sides that a section is held against: one that is good between two bad ones has like ones beyond them."""
BIN = 4
"""Voxels along y and x that are averaged before sections are correlated: their noise is not to count."""
MIN_LIKENESS = 0.3
"""Correlation that must be usual before a section that has none says anything."""


class Detector:
    """Takes the cells of all sections in order, some sections at a time, and keeps numbers of them alone."""

    def __init__(self, spec: SectionsSpec) -> None:
        self.spec = spec
        self._tables: dict[str, list[np.ndarray]] = {
            name: [] for name in ("deviation", "highest", "at_highest", "noise", "difference")
        }
        self._likeness: list[np.ndarray] = []
        self._last: np.ndarray | None = None
        self._thumbnails: list[np.ndarray] = []

    def add(self, cells: np.ndarray) -> None:
        """cells (sections, cells, Y, X): grey values at the same places in every section. Cells with NaN count as constant."""
        for stored in cells:
            section = np.asarray(stored, np.float32)
            if stored.dtype.kind == "f":
                section = np.where(np.isfinite(section).all(axis=(1, 2), keepdims=True), section, np.float32(0))
            highest = section.max(axis=(1, 2))
            self._tables["deviation"].append(section.std(axis=(1, 2), dtype=np.float64))
            self._tables["highest"].append(highest)
            self._tables["at_highest"].append((section == highest[:, None, None]).mean(axis=(1, 2)))
            self._tables["noise"].append(_noise(section))
            before = section if self._last is None else self._last
            self._tables["difference"].append(np.sqrt(np.square(section - before).mean(axis=(1, 2), dtype=np.float64)))
            self._last = section
            thumbnail = _standardised(section)
            near = [np.einsum("cp,cp->c", thumbnail, other) for other in reversed(self._thumbnails)]
            near += [np.zeros(len(section))] * (REACH - len(near))
            self._likeness.append(np.stack(near))
            self._thumbnails = [*self._thumbnails, thumbnail][-REACH:]

    def bad_sections(self) -> list[BadSection]:
        """Bad sections in ascending order."""
        n = len(self._likeness)
        if n < 3:
            return []
        self.deviation, self.highest, self.at_highest, self.noise, self.difference = (np.stack(t) for t in self._tables.values())
        self.likeness = np.stack(self._likeness)
        self.constant = self.deviation == 0
        usual = _around(self.deviation)
        self.expected = _whole_runs(usual > 0, self.constant)
        found: dict[int, BadSection] = {}
        for kind, marked, what in (
            ("missing", self.constant, "has a single value"),
            ("faint", self.deviation < self.spec.contrast_below * usual, "has lost its contrast"),
            ("saturated", self._saturated(), "is at the highest value"),
            ("noisy", self._noisy(), "is far noisier than usual"),
        ):
            for section, share in self._by_area(marked):
                found.setdefault(section, BadSection(section=section, kind=kind, why=f"{share:.0%} of it {what}"))  # type: ignore[arg-type]
        for bad in [*self._duplicates(found), *self._outliers()]:
            found.setdefault(bad.section, bad)
        return [found[section] for section in sorted(found)]

    def _by_area(self, marked: np.ndarray) -> list[tuple[int, float]]:
        """Sections in which `marked` (sections, cells) holds in enough of the cells where contrast is expected."""
        n_expected = self.expected.sum(axis=1)
        share = (marked & self.expected).sum(axis=1) / np.maximum(n_expected, 1)
        return [(int(i), float(share[i])) for i in np.flatnonzero((n_expected > 0) & (share >= self.spec.area_share))]

    def _saturated(self) -> np.ndarray:
        top = self.highest == self.highest.max()
        usual = _around(np.where(top, self.at_highest, 0.0))
        return top & (self.at_highest > self.spec.saturated_share) & (usual < self.spec.saturated_share / 2)

    def _noisy(self) -> np.ndarray:
        usual = _around(self.noise)
        return (self.noise > self.spec.noise_above * usual) & (usual > 0)

    def _duplicates(self, found: dict[int, BadSection]) -> list[BadSection]:
        """Of equal neighbours the one is believed that is more like what is on its other side."""
        alike = np.zeros(self.constant.shape, bool)
        usual = _around(self.difference[1:])
        alike[1:] = (self.difference[1:] < self.spec.difference_below * usual) & ~self.constant[1:] & ~self.constant[:-1]
        runs: list[list[int]] = []
        for i in [i for i, _ in self._by_area(alike) if i not in found and i - 1 not in found]:
            if runs and runs[-1][-1] == i - 1:
                runs[-1].append(i)
            else:
                runs.append([i - 1, i])
        bad, before = [], self.likeness[:, 0].mean(axis=1)
        for run in runs:
            above = before[run[-1] + 1] if run[-1] + 1 < len(before) else 0.0
            kept = run[-1] if above > before[run[0]] else run[0]
            bad += [BadSection(section=i, kind="duplicate", why=f"equal to section {kept}") for i in run if i != kept]
        return bad

    def _outliers(self) -> list[BadSection]:
        """Sections unlike all around them, where sections are usually like one another."""
        own = np.zeros(self.constant.shape)
        for lag in range(REACH):
            back = self.likeness[:, lag]
            own = np.maximum(own, back)
            own[: -lag - 1] = np.maximum(own[: -lag - 1], back[lag + 1 :])
        usual = _around(own)
        marked = (usual > MIN_LIKENESS) & (own < self.spec.likeness_below * usual)
        why = "correlates {:.2f} with the sections around it, which correlate {:.2f}"
        return [
            BadSection(section=i, kind="outlier", why=why.format(own[i][marked[i]].mean(), usual[i][marked[i]].mean()))
            for i, _ in self._by_area(marked)
        ]


def merged(spec: SectionsSpec, found: list[BadSection]) -> list[BadSection]:
    """Detected and listed ones in ascending order, without those named as good."""
    by_section = {bad.section: bad for bad in found}
    for section in spec.bad:
        by_section.setdefault(section, BadSection(section=section, kind="listed", why="named in sections.bad"))
    return [by_section[section] for section in sorted(by_section) if section not in spec.good]


def counted(bad: list[BadSection]) -> str:
    """Such as "2 missing, 1 outlier"."""
    return ", ".join(f"{n} {kind}" for kind, n in Counter(one.kind for one in bad).items())


def _around(table: np.ndarray) -> np.ndarray:
    """Per row the median of the AROUND rows on both sides, without the row itself."""
    n = len(table)
    medians = []
    for i in range(n):
        begin, end = max(0, i - AROUND), min(n, i + AROUND + 1)
        others = np.concatenate([table[begin:i], table[i + 1 : end]])
        # The lower one of two: where half of what is around is constant, nothing is expected.
        medians.append(np.quantile(others, 0.5, axis=0, method="lower") if len(others) else table[i])
    return np.stack(medians)


def _whole_runs(expected: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """`expected` (sections, cells), withdrawn from runs of constant sections that are not expected from end to end."""
    expected = expected.copy()
    for cell in range(expected.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], constant[:, cell], [False]]).astype(int)))
        for begin, end in edges.reshape(-1, 2):
            expected[begin:end, cell] &= expected[begin:end, cell].all()
    return expected


def _standardised(section: np.ndarray) -> np.ndarray:
    """Cells (C, Y, X) averaged over BIN x BIN voxels, of mean 0 and norm 1: (C, pixels). Constant ones are 0."""
    _, height, width = section.shape
    size = max(1, min(BIN, height // 4)), max(1, min(BIN, width // 4))
    rows, columns = height // size[0], width // size[1]
    binned = section[:, : rows * size[0], : columns * size[1]].reshape(len(section), rows, size[0], columns, size[1])
    flat = binned.mean(axis=(2, 4), dtype=np.float64).reshape(len(section), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return (flat / np.where(norm > 0, norm, 1)).astype(np.float32)


def _noise(section: np.ndarray) -> np.ndarray:
    """White noise of each cell (C, Y, X), up to a factor: what second differences along y of those along x leave."""
    if min(section.shape[1:]) < 3:
        return np.zeros(len(section))
    twice = np.diff(np.diff(section, 2, axis=1), 2, axis=2)
    return np.median(np.abs(twice), axis=(1, 2))
