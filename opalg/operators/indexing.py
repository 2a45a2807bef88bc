"""The operator that stands for indexing, ``x[index]``."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ShapeError
from opalg.leaves import Constant
from opalg.nodes import Node
from opalg.operators.algebra import LinearOperator, compose
from opalg.operators.positions import host_array
from opalg.operators.rearrangement import Reshape
from opalg.operators.selection import Gather, Restrict
from opalg.operators.windows import sliced
from opalg.program.expression import Shape

_BASIC = (int, np.integer, slice, type(None), type(...))


def indexed(shape: Shape, index: Any) -> LinearOperator:
    """The operator ``x -> x[index]`` on arrays of a shape.

    Parameters
    ----------
    shape : tuple of int
        The shape of ``x``; no axes are a batch.
    index : object
        What basic indexing takes; or an array of integers or a boolean mask, alone or among slices that may stand
        before and after it.

    Returns
    -------
    LinearOperator
        `Identity`, `Crop`, `Flip`, `Slice`, `Restrict` (a mask over all axes), or a `Gather` along the axis of the
        array, after a slice of the other axes.

    Raises
    ------
    ShapeError, DtypeError
        For what is no index of such an array, for two arrays in one index, and for an array next to integers and None.

    Examples
    --------
    >>> from opalg.operators.indexing import indexed
    >>> indexed((4, 3), (slice(1, None), [2, 0, 2]))
    Gather((3, 3), 3 positions, axis=-1) @ Crop((4, 3), (1, 0), (4, 3))
    """
    parts = index if isinstance(index, tuple) else (index,)
    places = [k for k, part in enumerate(parts) if not isinstance(part, _BASIC)]
    if not places:
        return sliced(shape, index)
    if len(places) > 1 or any(not isinstance(p, slice) and p is not ... for k, p in enumerate(parts) if k != places[0]):
        raise ShapeError(
            f"an index may hold one array, with slices beside it, but {index!r} holds more; index in several steps, "
            f"such as x[0][:, positions]"
        )
    array = _array(parts[places[0]])
    used = array.ndim if array.dtype.kind == "b" else 1
    whole = (slice(None),) * used
    window = sliced(shape, (*parts[: places[0]], *whole, *parts[places[0] + 1 :]))
    before = parts[: places[0]]
    axis = len(before) if ... not in before else len(shape) - used - (len(parts) - places[0] - 1)
    return compose(_taken(window.out_shape, array, axis), window)


def _array(given: Any) -> np.ndarray:
    """An array of integers or booleans, from whatever library."""
    if isinstance(given, Node) and not isinstance(given, Constant):
        raise DtypeError(
            f"{given!r} cannot stand in an index, which is fixed; give a plain array of integers or booleans"
        )
    array = host_array(given)
    if array.dtype.kind not in "iub" or not array.size:
        raise DtypeError(
            f"an index holds integers, slices, Ellipsis, None, an array of integers or a boolean mask, not {given!r}"
        )
    return array


def _taken(shape: Shape, array: np.ndarray, axis: int) -> LinearOperator:
    """The entries that a mask keeps over the axes from ``axis`` on, or those at positions along that one."""
    if array.dtype.kind != "b":
        return Gather(shape, array, axis)
    behind = axis + array.ndim
    if array.shape != shape[axis:behind]:
        raise ShapeError(f"a mask of shape {array.shape} cannot index the axes {shape[axis:behind]} of {shape}")
    if array.shape == shape:
        return Restrict(array)
    if not array.any():
        raise ShapeError(f"a mask of shape {array.shape} keeps nothing")
    merged = (*shape[:axis], prod(array.shape), *shape[behind:])
    positions = Gather(merged, np.flatnonzero(array), axis)
    return compose(positions, Reshape(shape, merged)) if array.ndim > 1 else positions
