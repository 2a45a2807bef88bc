"""Kernels made from a width or a factor."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.leaves import Constant
from opalg.program import expression as ex
from opalg.program.expression import Expression


def gaussian_kernel(sigma: Any, radius: int, ndim: int = 2) -> Expression:
    """A sampled Gaussian that sums to 1, ``exp(-|i|^2 / (2 sigma^2)) / sum``.

    Parameters
    ----------
    sigma : number, Parameter or scalar Expression
        The standard deviation in samples; gradients in it flow.
    radius : int
        The kernel reaches from ``-radius`` to ``radius`` on each axis.
    ndim : int
        Number of axes.

    Returns
    -------
    Expression, shape ``(2 * radius + 1,) * ndim``

    Raises
    ------
    ParameterError
        For a sigma that is no positive scalar, or a negative radius.
    """
    width = ex.as_expression(sigma)
    value = getattr(width, "value", 1.0)
    if width.shape != () or width.kind != "real" or float(value) <= 0:
        raise ParameterError(f"the width of a Gaussian must be one positive number, not {sigma!r}")
    if radius < 0 or ndim < 1:
        raise ParameterError(f"a Gaussian kernel needs radius >= 0 and ndim >= 1, not {radius} and {ndim}")
    steps = np.arange(-radius, radius + 1.0) ** 2
    distances = sum(steps.reshape((-1,) + (1,) * axis) for axis in range(ndim))
    weights = ex.exp(Constant(-0.5 * distances) / ex.square(width))
    return weights / ex.total(weights)


FILTERS = ("box", "triangle", "gaussian", "lanczos")


def anti_alias_kernel(name: str, factor: tuple[int, ...]) -> np.ndarray:
    """A separable low-pass kernel for changing the sampling rate by an integer factor per axis.

    The taps of each phase, ``f`` apart, sum to ``1 / f``: means are kept, and constants are interpolated exactly.

    Parameters
    ----------
    name : str
        ``"box"`` (``f`` equal taps), ``"triangle"`` (``2 f - 1`` taps, linear interpolation), ``"gaussian"`` (standard
        deviation ``f / 2``, cut at three of them) or ``"lanczos"`` (``sinc(t / f) sinc(t / (3 f))``, ``6 f - 1`` taps).
    factor : tuple of int
        The factor ``f`` of each axis; an axis with factor 1 is not filtered.

    Raises
    ------
    ParameterError
        For another name.

    Examples
    --------
    >>> from opalg.operators.kernels import anti_alias_kernel
    >>> anti_alias_kernel("triangle", (2,))
    array([0.25, 0.5 , 0.25])
    """
    if name not in FILTERS:
        raise ParameterError(f"there is no filter {name!r}; there are {FILTERS}, or give a kernel")
    kernel = np.ones(())
    for f in factor:
        kernel = np.multiply.outer(kernel, _taps(name, f))
    return kernel


def _taps(name: str, f: int) -> np.ndarray:
    """The taps along one axis."""
    if f == 1:
        return np.ones(1)
    if name == "box":
        return np.full(f, 1.0 / f)
    reach = {"triangle": f - 1, "gaussian": -(-3 * f // 2), "lanczos": 3 * f - 1}[name]
    t = np.arange(-reach, reach + 1.0) / f
    if name == "triangle":
        taps = 1.0 - np.abs(t)
    elif name == "gaussian":
        taps = np.exp(-2.0 * t**2)
    else:
        taps = np.sinc(t) * np.sinc(t / 3.0)
    phases = np.arange(-reach, reach + 1) % f
    return taps / (f * np.bincount(phases, taps)[phases])
