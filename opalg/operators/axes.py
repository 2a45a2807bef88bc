"""Shapes and axes as they are given: shapes as tuples, axes as the negative numbers under which kernels know them."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.program.expression import Shape


def as_shape(shape: Any) -> Shape:
    """A shape as a tuple of nonnegative integers; raises ShapeError for anything else."""
    given = (shape,) if isinstance(shape, (int, np.integer)) else shape
    try:
        out = tuple(index(n) for n in given)
    except (TypeError, ValueError):
        raise ShapeError(f"a shape must be a tuple of integers, not {shape!r}") from None
    if any(n < 0 for n in out):
        raise ShapeError(f"a shape must hold nonnegative integers, not {shape!r}")
    return out


def as_axes(shape: Shape, axes: Any, owner: str) -> tuple[int, ...]:
    """Axes within a shape, all of them for None, as different negative numbers in the order given.

    Raises
    ------
    ShapeError
        Where there is no such axis, one is named twice, there is none at all, or the shape holds a zero.

    Examples
    --------
    >>> from opalg.operators.axes import as_axes
    >>> as_axes((4, 5, 6), (0, -1), "FFT")
    (-3, -1)
    """
    ndim = len(shape)
    given = range(ndim) if axes is None else (axes,) if isinstance(axes, (int, np.integer)) else tuple(axes)
    if any(not isinstance(axis, (int, np.integer)) or not -ndim <= axis < ndim for axis in given):
        raise ShapeError(f"{owner} of shape {shape} has no axes {tuple(given)}; name axes from {-ndim} to {ndim - 1}")
    found = tuple(int(axis) % ndim - ndim for axis in given)
    if not found or len(set(found)) != len(found) or 0 in shape:
        raise ShapeError(
            f"{owner} needs one or more different axes of a shape without zeros, not the axes {tuple(given)} of {shape}"
        )
    return found
