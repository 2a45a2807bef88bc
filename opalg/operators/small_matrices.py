"""Separable transforms of small images as products with small matrices: few calls, where calls cost more than sums."""

from __future__ import annotations

from math import prod
from typing import Any

from opalg.program.expression import Shape

_MOST_ENTRIES, _LONGEST = 1 << 12, 64


def is_small(shape: Shape, axes: tuple[int, ...]) -> bool:
    """Whether products with matrices along these axes are the quickest way."""
    return prod(shape) <= _MOST_ENTRIES and max((shape[axis] for axis in axes), default=0) <= _LONGEST


def multiply_along(lib: Any, x: Any, matrix: Any, axis: int, out: Any = None) -> Any:
    """``y_(..., k, ...) = sum_i m_(k, i) x_(..., i, ...)`` along an axis, a negative number."""
    if axis == -1:
        return lib.matmul(x, matrix.T, out=out)
    if axis == -2:
        return lib.matmul(matrix, x, out=out)
    lead = tuple(x.shape[: x.ndim + axis + 1])
    flat = lib.xp.reshape(x, (*lead, prod(x.shape[len(lead) :])))
    y = lib.xp.reshape(lib.matmul(matrix, flat), tuple(x.shape))
    return y if out is None else lib.copy(y, out=out)


def of_kind(lib: Any, x: Any, matrix: Any) -> Any:
    """A real matrix in the kind of an array."""
    return matrix + lib.zeros_like(x, ()) if lib.kind_of(x) == "complex" else matrix


def multiply_corners(lib: Any, x: Any, shape: Any, axes: Any, corners: Any, *matrices: Any, out: Any = None) -> Any:
    """Matrices along all axes, for one corner of the image after the other; those of the whole image go to ``out``."""
    whole, owned = x, False
    for index, corner in enumerate(corners):
        box = (..., *(slice(0, n) for n in corner))
        entire = corner == shape
        part = whole if entire else whole[box]
        for i, axis in enumerate(axes):
            last = entire and i == len(axes) - 1
            matrix = of_kind(lib, x, matrices[index * len(axes) + i])
            part = multiply_along(lib, part, matrix, axis, out=out if last else None)
        if entire:
            whole = part
        else:
            whole = whole if owned else lib.copy(whole)
            whole[box] = part
        owned = True
    return whole
