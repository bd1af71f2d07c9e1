"""How noisy measured sections are, from themselves."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist

import numpy as np
from scipy.ndimage import convolve1d

_SECOND_DIFFERENCE = np.array([1.0, -2.0, 1.0], np.float32)


def section_noise(stacks: Iterable[np.ndarray]) -> float:
    """Standard deviation of the white noise in sections of stacks (sections, Y, X), in their units; 0 where there is none.

    Second differences along x of second differences along y vanish on whatever is straight and have 6 times the noise
    (Immerkaer, Computer Vision and Image Understanding 64, 1996). Here their median magnitude is taken, which structure in less
    than half of the image moves little, and the median over all sections.
    """
    per_section = []
    for section in (section for stack in stacks for section in stack):
        if min(section.shape) < 3:
            continue
        twice = convolve1d(convolve1d(section.astype(np.float32), _SECOND_DIFFERENCE, axis=0), _SECOND_DIFFERENCE, axis=1)
        per_section.append(np.median(np.abs(twice[1:-1, 1:-1])) / (6 * NormalDist().inv_cdf(0.75)))
    return float(np.median(per_section)) if per_section else 0.0
