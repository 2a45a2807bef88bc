"""Image quality measures, of one image or of many at once."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.errors import DtypeError, ParameterError, ShapeError


def _pair(image: Any, reference: Any, sample_axes: int = 0) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(backend_of(v).to_numpy(v)) for v in (image, reference))
    a, b = (v.astype(np.complex128 if v.dtype.kind == "c" else np.float64) for v in (a, b))
    if a.shape != b.shape:
        raise ShapeError(f"the image has shape {a.shape}, the reference {b.shape}")
    if isinstance(sample_axes, bool) or not isinstance(sample_axes, Integral):
        raise ParameterError(f"sample_axes is how many leading axes count images, 0 or more, not {sample_axes!r}")
    if not 0 <= sample_axes <= a.ndim:
        raise ShapeError(f"images of shape {a.shape} do not have {sample_axes} leading axes of samples")
    if not a.size:
        raise ShapeError(f"images of shape {a.shape} have no entries to compare")
    return a, b


def _check_range(data_range: Any) -> None:
    if isinstance(data_range, bool) or not isinstance(data_range, Real) or not float(data_range) > 0:
        raise ParameterError(
            f"data_range is the largest possible value less the smallest, a positive number, not {data_range!r}"
        )


def _power(v: np.ndarray, sample_axes: int) -> np.ndarray:
    """The mean of ``|v|^2`` over an image."""
    return np.asarray(np.mean(np.abs(v) ** 2, axis=tuple(range(sample_axes, v.ndim))))


def _decibels(signal: Any, error: np.ndarray) -> Any:
    """``10 log10(signal / error)``, infinite without an error, as a float for a single image."""
    with np.errstate(divide="ignore"):
        ratio = np.where(error == 0, np.inf, 10 * np.log10(signal / np.where(error == 0, 1.0, error)))
    return ratio if ratio.ndim else float(ratio)


def psnr(image: Any, reference: Any, data_range: float = 1.0, *, sample_axes: int = 0) -> Any:
    """Peak signal-to-noise ratio in decibels, ``10 log10(range^2 / mean |a - b|^2)``.

    Parameters
    ----------
    image, reference : array
        Of the same shape, on any backend.
    data_range : float
        The difference between the largest and the smallest possible value.
    sample_axes : int
        How many leading axes count images.

    Returns
    -------
    float, or array of the shape of the sample axes

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.metrics.psnr(np.full((2, 8, 8), 0.1), np.zeros((2, 8, 8)), sample_axes=1).round(6).tolist()
    [20.0, 20.0]
    """
    _check_range(data_range)
    a, b = _pair(image, reference, sample_axes)
    return _decibels(data_range**2, _power(a - b, sample_axes))


def snr(image: Any, reference: Any, *, sample_axes: int = 0) -> Any:
    """Signal-to-noise ratio in decibels, ``20 log10(|b| / |b - a|)``.

    Parameters
    ----------
    image, reference : array
        Of the same shape, on any backend.
    sample_axes : int
        How many leading axes count images.

    Returns
    -------
    float, or array of the shape of the sample axes
    """
    a, b = _pair(image, reference, sample_axes)
    return _decibels(_power(b, sample_axes), _power(a - b, sample_axes))


def ssim(image: Any, reference: Any, data_range: float = 1.0, *, sample_axes: int = 0) -> Any:
    """Structural similarity with an 11 x 11 Gaussian window of width 1.5 (Wang et al. 2004); two-dimensional images.

    Parameters
    ----------
    image, reference : array
        Of the same shape, on any backend. Colour images are taken with channels first, and the channels' values
        averaged.
    data_range : float
        The difference between the largest and the smallest possible value.
    sample_axes : int
        How many leading axes count images.

    Returns
    -------
    float, or array of the shape of the sample axes

    Raises
    ------
    ShapeError
        For what are no images, and for images of different shapes.
    DtypeError
        For complex images.
    ParameterError
        For a range that is not positive.
    """
    _check_range(data_range)
    a, b = _pair(image, reference, sample_axes)
    shape = a.shape[sample_axes:]
    if len(shape) not in (2, 3):
        raise ShapeError(
            f"the structural similarity is that of images (h, w) or (channels, h, w), not of {shape}; say how many "
            f"leading axes count images with sample_axes="
        )
    if a.dtype.kind == "c" or b.dtype.kind == "c":
        raise DtypeError("the structural similarity is that of real images; compare sizes, abs(image), or real parts")
    values = np.empty(a.shape[:sample_axes])
    for i in np.ndindex(values.shape):
        values[i] = _ssim(a[i], b[i], data_range)
    return values if sample_axes else float(values)


def _ssim(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    from scipy.ndimage import gaussian_filter

    if a.ndim == 3:
        return float(np.mean([_ssim(p, q, data_range) for p, q in zip(a, b, strict=True)]))

    def blur(v: np.ndarray) -> np.ndarray:
        return gaussian_filter(v, 1.5, truncate=5 / 1.5, mode="reflect")

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))
