"""Image quality measures."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.errors import ShapeError


def _pair(image: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(backend_of(v).to_numpy(v)) for v in (image, reference))
    a, b = (v.astype(np.complex128 if v.dtype.kind == "c" else np.float64) for v in (a, b))
    if a.shape != b.shape:
        raise ShapeError(f"the image has shape {a.shape}, the reference {b.shape}")
    return a, b


def psnr(image: Any, reference: Any, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in decibels, ``10 log10(range^2 / mean |a - b|^2)``.

    Parameters
    ----------
    image, reference : array
        Of the same shape, on any backend.
    data_range : float
        The difference between the largest and the smallest possible value.
    """
    a, b = _pair(image, reference)
    error = float(np.mean(np.abs(a - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def snr(image: Any, reference: Any) -> float:
    """Signal-to-noise ratio in decibels, ``20 log10(|b| / |b - a|)``."""
    a, b = _pair(image, reference)
    error = float(np.linalg.norm(a - b))
    return float("inf") if error == 0 else float(20 * np.log10(np.linalg.norm(b) / error))


def ssim(image: Any, reference: Any, data_range: float = 1.0) -> float:
    """Structural similarity with an 11 x 11 Gaussian window of width 1.5 (Wang et al. 2004); two-dimensional images.

    Colour images are taken with channels first, and the channels' values averaged.
    """
    from scipy.ndimage import gaussian_filter

    a, b = _pair(image, reference)
    if a.ndim == 3:
        return float(np.mean([ssim(p, q, data_range) for p, q in zip(a, b, strict=True)]))

    def blur(v: np.ndarray) -> np.ndarray:
        return gaussian_filter(v, 1.5, truncate=5 / 1.5, mode="reflect")

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))
