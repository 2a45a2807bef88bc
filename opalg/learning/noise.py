"""Noise of exact size: by its standard deviation, or by the signal-to-noise ratio of the data."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.errors import NonFiniteError, ParameterError


def gaussian(shape: Any, std: float = 1.0, *, like: Any = None, rng: Any = None) -> Any:
    """White Gaussian noise.

    Parameters
    ----------
    shape : int or tuple of int
    std : float
        Standard deviation of a real entry; of a complex one, whose real and imaginary parts are independent and each
        have ``std / sqrt(2)``, so that ``mean |e|^2`` is ``std^2`` either way (circular noise).
    like : array, optional
        Gives library, device and dtype; NumPy's float64 by default.
    rng : numpy.random.Generator, torch.Generator or int, optional
        Where randomness comes from, or a seed.

    Returns
    -------
    array

    Raises
    ------
    ParameterError
        For what is no shape, no size or no generator.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> e = oa.noise.gaussian((1000,), 0.5, like=np.zeros(1, dtype=complex), rng=0)
    >>> bool(abs(np.mean(abs(e) ** 2) - 0.25) < 0.02)
    True
    """
    if not _is_number(std) or not 0 <= std < np.inf:
        raise ParameterError(f"the standard deviation of noise is a finite number, not negative, but not {std!r}")
    like = np.zeros(0) if like is None else like
    lib = backend_of(like)
    kind = lib.kind_of(like)
    draw, shape = _drawer(rng), _shape(shape)
    values = (draw(shape) + 1j * draw(shape)) / np.sqrt(2.0) if kind == "complex" else draw(shape)
    return lib.asarray(std * values, kind)


def at_snr(y: Any, snr: float, *, rng: Any = None) -> Any:
    """Data plus Gaussian noise, scaled so that their signal-to-noise ratio is exact.

    Parameters
    ----------
    y : array
        Data without noise; noise on complex data is circular.
    snr : float
        ``20 log10(|y| / |e|)`` in decibels.
    rng : numpy.random.Generator, torch.Generator or int, optional

    Returns
    -------
    array
        ``y + e``, of the dtype and library of y.

    Raises
    ------
    ParameterError
        Where y is zero, so that no noise has that ratio.
    NonFiniteError
        Where y is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> y = np.linspace(0.0, 1.0, 50)
    >>> round(oa.metrics.snr(oa.noise.at_snr(y, 30.0, rng=0), y), 6)
    30.0
    """
    lib = backend_of(y)
    if not _is_number(snr) or not np.isfinite(snr):
        raise ParameterError(f"the signal-to-noise ratio is a finite number of decibels, not {snr!r}")
    e = lib.to_numpy(gaussian(tuple(y.shape), like=y, rng=rng)).astype(np.complex128)
    signal = np.linalg.norm(np.ravel(lib.to_numpy(y)).astype(np.complex128))
    if signal == 0:
        raise ParameterError(
            "data that are zero have no signal-to-noise ratio, so no noise has that of them; add noise of a given size "
            "by oa.noise.gaussian(y.shape, std, like=y)"
        )
    if not np.isfinite(signal):
        raise NonFiniteError("data that hold NaN or infinity have no signal-to-noise ratio")
    with np.errstate(over="ignore"):
        size = signal / np.linalg.norm(np.ravel(e)) * np.float64(10.0) ** (-snr / 20.0)
    if not np.isfinite(size):
        raise ParameterError(f"noise of {snr!r} decibels is beyond all numbers")
    scaled = e * size
    kind = lib.kind_of(y)
    return y + lib.asarray(scaled if kind == "complex" else scaled.real, kind)


def _shape(given: Any) -> tuple[int, ...]:
    """A shape, also of a single number."""
    try:
        sizes = None if isinstance(given, str) else (given,) if isinstance(given, Integral) else tuple(given)
    except TypeError:
        sizes = None
    if sizes is None or any(isinstance(n, bool) or not isinstance(n, Integral) or n < 0 for n in sizes):
        raise ParameterError(
            f"the shape of noise is a number of entries or a tuple of them, such as (64, 64) or y.shape, not {given!r}"
        )
    return tuple(int(n) for n in sizes)


def _drawer(rng: Any) -> Any:
    """Standard normal numbers as NumPy arrays, from a generator of either library."""
    if type(rng).__module__.startswith("torch"):
        import torch

        if not isinstance(rng, torch.Generator):
            raise ParameterError(f"rng is a generator of NumPy or Torch, or a seed, not {type(rng).__name__}")
        return lambda shape: torch.randn(shape, generator=rng, dtype=torch.float64, device=rng.device).cpu().numpy()
    try:
        return np.random.default_rng(rng).standard_normal
    except (TypeError, ValueError) as error:
        raise ParameterError(f"rng is a generator of NumPy or Torch, or a seed, not {rng!r}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


__all__ = ["at_snr", "gaussian"]
