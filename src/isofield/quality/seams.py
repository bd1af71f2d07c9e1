"""Seams: is the image rougher across faces between blocks than its content makes it?"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import numpy as np

MIN_DISTANCE_VOX = 4
"""Planes closer to a face than this are part of it and not what it is compared with."""


class SeamScore:
    """Mean absolute step across block faces over that across comparable planes, over the same ratio of a reference.

    Axially only planes at the same place within their section as the face are compared, because steps differ within one. The
    reference is an image of the same content that has no blocks (interpolated sections): it takes out what the content alone
    does at these very planes. 1 means no seam.
    """

    def __init__(self, ratio: Fraction) -> None:
        self.ratio = float(ratio)
        self._sums: dict[tuple[int, int], np.ndarray] = defaultdict(lambda: np.zeros(2))
        self._counts: dict[tuple[int, int], int] = defaultdict(int)

    def add(self, image: np.ndarray, reference: np.ndarray, axis: int, face: int) -> float:
        """Count one face. image and reference (Z, Y, X) straddle it, `face` is the index along `axis` of the plane after it.

        Returns the score of this face alone (nan if nothing can be compared).
        """
        steps = np.stack([_plane_steps(values, axis) for values in (image, reference)], axis=1)
        n = image.size // image.shape[axis]
        own: dict[int, np.ndarray] = {}
        for position, mean in enumerate(steps):
            offset = position + 1 - face
            if offset == 0 or self._comparable(axis, offset):
                self._sums[axis, offset] += mean * n
                self._counts[axis, offset] += n
                own[offset] = mean
        return _score(own)

    def merge(self, other: SeamScore) -> None:
        """Count the faces that `other` counted."""
        for place, total in other._sums.items():
            self._sums[place] = self._sums[place] + total
            self._counts[place] += other._counts[place]

    def _comparable(self, axis: int, offset: int) -> bool:
        if abs(offset) < MIN_DISTANCE_VOX:
            return False
        return axis != 0 or abs(offset - round(offset / self.ratio) * self.ratio) <= 0.5

    def by_axis(self) -> dict[str, float]:
        """Score per axis; axes without faces are left out."""
        scores = {}
        for axis, name in enumerate("zyx"):
            means = {o: self._sums[a, o] / n for (a, o), n in self._counts.items() if a == axis}
            if 0 in means and len(means) > 1:
                scores[name] = _score(means)
        return scores

    def profile(self) -> dict[str, dict[str, list[float]]]:
        """Per axis with faces: distance from the face in voxels, and the step there over the mean one elsewhere, over the same
        ratio of the reference. At distance 0 it is the score of the axis."""
        profiles = {}
        for axis, name in enumerate("zyx"):
            means = {o: self._sums[a, o] / n for (a, o), n in sorted(self._counts.items()) if a == axis}
            elsewhere = [mean for offset, mean in means.items() if offset]
            if 0 not in means or not elsewhere:
                continue
            average = np.mean(elsewhere, axis=0)
            if np.all(average > 0) and all(mean[1] > 0 for mean in means.values()):
                ratios = [float(np.divide(*(mean / average))) for mean in means.values()]
                profiles[name] = {"distance_vox": [float(offset) for offset in means], "step_ratio": ratios}
        return profiles

    @property
    def worst(self) -> float:
        """The largest score of any axis; 1.0 when there are no faces to see."""
        scores = [s for s in self.by_axis().values() if np.isfinite(s)]
        return max(scores, default=1.0)


def _plane_steps(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean absolute difference between neighbouring planes along `axis`: (planes - 1,)."""
    steps = np.abs(np.diff(np.moveaxis(values.astype(np.float64), axis, 0), axis=0))
    return steps.reshape(len(steps), -1).mean(axis=1)


def _score(means: dict[int, np.ndarray]) -> float:
    elsewhere = [mean for offset, mean in means.items() if offset != 0]
    if 0 not in means or not elsewhere:
        return float("nan")
    average = np.mean(elsewhere, axis=0)
    if np.any(average == 0) or means[0][1] == 0:
        return float("nan")
    image, reference = means[0] / average
    return float(image / reference)
