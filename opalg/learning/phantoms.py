"""Random phantoms of tomography, and coils and sampling of magnetic resonance imaging."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError


def ellipses(
    count: int, size: int, rng: Any = None, *, parts: tuple[int, int] = (4, 10), dtype: Any = "float32"
) -> np.ndarray:
    """Random phantoms: a body that is an ellipse, with brighter and darker ellipses inside.

    Parameters
    ----------
    count : int
    size : int
        Pixels each way.
    rng : numpy.random.Generator or int, optional
        Where randomness comes from, or a seed.
    parts : tuple of int
        The least and the largest number of ellipses inside.
    dtype : dtype

    Returns
    -------
    array, shape ``(count, size, size)``
        Between 0 and 1, and 0 outside of the disc of radius ``0.45 size``, so that every ray of a tomograph is seen.

    Raises
    ------
    ParameterError
        Where count or size is no positive integer.

    Examples
    --------
    >>> from opalg.learning import datasets
    >>> phantoms = datasets.ellipses(2, 32, rng=0)
    >>> phantoms.shape, bool((phantoms >= 0).all() and (phantoms <= 1).all())
    ((2, 32, 32), True)
    """
    for name, value in (("count", count), ("size", size)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ParameterError(f"{name} of ellipses must be a positive integer, not {value!r}")
    rng = np.random.default_rng(rng)
    middles = (np.arange(size) + 0.5) * (2.0 / size) - 1.0
    x, y = np.meshgrid(middles, middles)
    return np.stack([_phantom(x, y, rng, parts) for _ in range(count)]).astype(dtype)


def _phantom(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, parts: tuple[int, int]) -> np.ndarray:
    axes = rng.uniform(0.6, 0.9, 2)
    body = _ellipse(x, y, (0.0, 0.0), axes, rng.uniform(0.0, np.pi))
    image = rng.uniform(0.2, 0.5) * body
    for _ in range(rng.integers(parts[0], parts[1] + 1)):
        place, turn = rng.uniform(0.0, 0.6), rng.uniform(0.0, 2.0 * np.pi)
        part = _ellipse(
            x,
            y,
            (place * np.cos(turn), place * np.sin(turn)),
            rng.uniform(0.06, 0.3, 2),
            rng.uniform(0.0, np.pi),
        )
        image += rng.uniform(-0.3, 0.5) * (part & body)
    return np.clip(image, 0.0, 1.0)


def _ellipse(x: np.ndarray, y: np.ndarray, middle: Any, axes: Any, turn: float) -> np.ndarray:
    """Which points lie in an ellipse with half-axes, turned by an angle."""
    u, v = x - middle[0], y - middle[1]
    along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    return (along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1.0


def coil_maps(coils: int, shape: tuple[int, int], *, width: float = 0.8, dtype: Any = "complex128") -> np.ndarray:
    """Smooth sensitivities of receiver coils around an image, with ``sum_c |s_c|^2 = 1`` at every pixel.

    Parameters
    ----------
    coils : int
    shape : tuple of int
        Of an image.
    width : float
        How far a coil sees, in halves of the image: a large width makes coils alike.
    dtype : dtype
        complex128 by default, so that `CoilSensitivities` knows that the maps are normalised; data of a lower
        precision are not changed by it.

    Returns
    -------
    array, shape ``(coils, *shape)``
        Coil c sits at the angle ``2 pi c / coils`` on a circle of 1.2 halves of the image; its magnitude is a Gaussian
        of the distance before maps are normalised, and its phase a plane wave towards it.

    Raises
    ------
    ShapeError
        Where the shape does not have two axes.
    ParameterError
        Where there is no coil, or the width is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.learning import datasets
    >>> maps = datasets.coil_maps(4, (16, 16))
    >>> bool(np.allclose(np.sum(abs(maps) ** 2, axis=0), 1.0))
    True
    """
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise ShapeError(f"coil_maps(coils, shape) takes a shape with two axes, not {shape!r}")
    if isinstance(coils, bool) or not isinstance(coils, Integral) or coils < 1 or not width > 0:
        raise ParameterError(f"coil_maps needs one or more coils and a positive width, not {coils} and {width!r}")
    down, across = np.meshgrid(*((np.arange(n) + 0.5) * (2.0 / n) - 1.0 for n in shape), indexing="ij")
    turns = 2.0 * np.pi * np.arange(coils)[:, None, None] / coils
    distance = (across - 1.2 * np.cos(turns)) ** 2 + (down - 1.2 * np.sin(turns)) ** 2
    # The nearest coil's distance is taken off, so that small widths do not underflow.
    magnitude = np.exp((distance.min(axis=0) - distance) / (2.0 * width**2))
    maps = magnitude * np.exp(1j * (turns + 0.5 * np.pi * (across * np.cos(turns) + down * np.sin(turns))))
    return (maps / np.sqrt(np.sum(magnitude**2, axis=0))).astype(dtype)


def cartesian_mask(
    shape: tuple[int, int], factor: float, centre: float = 0.08, rng: Any = None, *, axis: int = -1
) -> np.ndarray:
    """Which frequencies a Cartesian scan measures: all lines in the middle and random lines elsewhere.

    Parameters
    ----------
    shape : tuple of int
        Of an image.
    factor : float
        One of so many lines is measured: ``round(n / factor)`` of n, the middle included.
    centre : float
        The share of lines in the middle that are all measured.
    rng : numpy.random.Generator or int, optional
        Where randomness comes from, or a seed.
    axis : int
        The axis along which lines are chosen; a line runs along the other one.

    Returns
    -------
    boolean array of the shape
        Frequency zero is at index ``n // 2``, as `ParallelMRI` has it by default.

    Raises
    ------
    ShapeError
        Where the shape does not have two axes.
    ParameterError
        Where factor is below 1, or the middle alone has more lines than are measured.

    Examples
    --------
    >>> from opalg.learning import datasets
    >>> mask = datasets.cartesian_mask((64, 48), 4, rng=0)
    >>> mask.shape, int(mask[0].sum()), bool(mask[:, 24].all())
    ((64, 48), 12, True)
    """
    if len(shape) != 2:
        raise ShapeError(f"cartesian_mask takes a shape with two axes, not {tuple(shape)}")
    n = shape[axis]
    measured, middle = round(n / factor) if factor >= 1 else 0, round(centre * n)
    if not 0 <= middle <= measured or measured == 0:
        raise ParameterError(
            f"a factor of {factor!r} measures {measured} of {n} lines, and the share {centre!r} in the middle is "
            f"{middle} of them; take another factor or centre"
        )
    lines = np.zeros(n, dtype=bool)
    start = n // 2 - middle // 2
    lines[start : start + middle] = True
    others = np.flatnonzero(~lines)
    lines[np.random.default_rng(rng).choice(others, measured - middle, replace=False)] = True
    return np.broadcast_to(lines if axis in (-1, 1) else lines[:, None], shape).copy()


__all__ = ["cartesian_mask", "coil_maps", "ellipses"]
