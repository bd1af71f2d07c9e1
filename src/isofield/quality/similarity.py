"""PSNR and SSIM against truth, accumulated region by region so that no volume is ever held whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

SSIM_WINDOW = 7
MARGIN = SSIM_WINDOW // 2
K1, K2 = 0.01, 0.03


def data_range(dtype: np.dtype | str, low: float, high: float) -> float:
    """Grey levels that PSNR and SSIM count as the full scale: 255 for 8-bit data, else the contrast range high - low."""
    return 255.0 if np.dtype(dtype) in (np.uint8, np.int8) else float(high - low)


def ssim_map(a: np.ndarray, b: np.ndarray, full_scale: float, windows: tuple[int, int, int]) -> np.ndarray:
    """Structural similarity at every voxel of two (Z, Y, X) arrays (Wang et al. 2004, uniform window, sample covariance).

    `windows` is the window's side per axis: (7, 7, 7) is 3-D, (7, 1, 7) the SSIM of each ZX slice by itself.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    n = int(np.prod(windows))
    sample = n / (n - 1)
    mean_a, mean_b = uniform_filter(a, windows), uniform_filter(b, windows)
    var_a = sample * (uniform_filter(a * a, windows) - mean_a * mean_a)
    var_b = sample * (uniform_filter(b * b, windows) - mean_b * mean_b)
    covariance = sample * (uniform_filter(a * b, windows) - mean_a * mean_b)
    c1, c2 = (K1 * full_scale) ** 2, (K2 * full_scale) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * covariance + c2) / (var_a + var_b + c2)


@dataclass
class Similarity:
    """Running sums of squared error and SSIM; `psnr_db`, `ssim` (3-D) and `ssim_axial` (mean of ZX and ZY slices) at any time."""

    full_scale: float
    squared_error: float = 0.0
    n_vox: int = 0
    ssim_sum: float = 0.0
    ssim_axial_sum: float = 0.0
    n_ssim_vox: int = 0

    def add(self, image: np.ndarray, truth: np.ndarray, inner: tuple[slice, ...], interior: tuple[slice, ...]) -> None:
        """Count the voxels `inner` of a region; SSIM over `interior`, where windows do not leave the region.

        image and truth (Z, Y, X) in grey values, of one shape.
        """
        difference = image[inner].astype(np.float64) - truth[inner]
        self.squared_error += float(np.square(difference).sum())
        self.n_vox += difference.size
        whole = ssim_map(image, truth, self.full_scale, (SSIM_WINDOW,) * 3)[interior]
        sides = ((SSIM_WINDOW, 1, SSIM_WINDOW), (SSIM_WINDOW, SSIM_WINDOW, 1))
        axial = sum(ssim_map(image, truth, self.full_scale, side)[interior] for side in sides) / 2
        self.ssim_sum += float(whole.sum())
        self.ssim_axial_sum += float(axial.sum())
        self.n_ssim_vox += whole.size

    def merge(self, other: Similarity) -> None:
        for name in ("squared_error", "n_vox", "ssim_sum", "ssim_axial_sum", "n_ssim_vox"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def psnr_db(self) -> float:
        mean = self.squared_error / max(1, self.n_vox)
        return float("inf") if mean == 0 else float(10 * np.log10(self.full_scale**2 / mean))

    def summary(self) -> dict[str, float]:
        n = max(1, self.n_ssim_vox)
        return {
            "psnr_db": self.psnr_db,
            "ssim": self.ssim_sum / n,
            "ssim_axial": self.ssim_axial_sum / n,
            "rmse_grey": float(np.sqrt(self.squared_error / max(1, self.n_vox))),
        }
