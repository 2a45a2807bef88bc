"""Groups of entries: the axes that run inside one, and data that have one number for each."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import numpy as np

from opalg.errors import ShapeError
from opalg.functionals.threshold import group_shape
from opalg.program.expression import Apply, Expression, Shape
from opalg.program.linear import Reshaped

Axis: TypeAlias = int | tuple[int, ...]


def as_axis(axis: Any, owner: str) -> Axis:
    """The axis or axes that a user names, as an integer or a tuple of two integers or more.

    Raises
    ------
    ShapeError
        Where one is no integer, or none is named.
    """
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    if not given or any(isinstance(a, bool) or not isinstance(a, (int, np.integer)) for a in given):
        raise ShapeError(f"the axis of {owner} must be an integer or a tuple of integers, not {axis!r}")
    return tuple(int(a) for a in given) if len(given) > 1 else int(given[0])


def axes_of(axis: Axis) -> tuple[int, ...]:
    """One axis or several as a tuple."""
    return axis if isinstance(axis, tuple) else (axis,)


def behind_batch(axis: Axis | None, batch: int) -> Axis | None:
    """The axes of arrays with that many batch axes in front: nonnegative ones move to the right."""
    return None if axis is None else as_axis(tuple(a if a < 0 else a + batch for a in axes_of(axis)), "a functional")


def check_axes(axis: Axis, shape: Shape, owner: Any) -> None:
    """Raise ShapeError where axes are out of the range of a shape, or named twice."""
    axes = axes_of(axis)
    inside = all(-len(shape) <= a < len(shape) for a in axes)
    if not inside or len({a % len(shape) for a in axes}) < len(axes):
        raise ShapeError(
            f"{owner!r} was given an argument of shape {shape}; its axes must be distinct and lie between "
            f"{-len(shape)} and {len(shape) - 1}"
        )


def on_groups(data: Expression, shape: Shape, axes: tuple[int, ...] | None, owner: Any, name: str) -> Expression:
    """Data with one number for each group, so that they broadcast to the groups with one entry along each axis inside.

    Parameters
    ----------
    data : Expression
        A number; or as many as there are groups, with one entry along the axes inside a group, or without these axes.
    shape : tuple of int
        The shape of the array that is made of groups.
    axes : tuple of int or None
        The axes inside a group, counted from the end; None where the whole array is one group.
    owner, name : object, str
        Whose data they are, and how they are called.

    Raises
    ------
    ShapeError
        Where they fit in neither way.
    """
    if data.shape == ():
        return data
    groups = group_shape(shape, axes)
    if _fits(data.shape, groups):
        return data
    inside = set() if axes is None else {a % len(shape) for a in axes}
    outside = tuple(n for i, n in enumerate(shape) if i not in inside)
    if axes is None or not _fits(data.shape, outside):
        kept = "one number" if axes is None else f"one number, or {name} of shape {groups} or {outside}"
        raise ShapeError(
            f"{owner!r} has {name} of shape {data.shape}, but its argument of shape {shape} has {prod(groups)} "
            f"group{'s' if prod(groups) > 1 else ''}; give {kept}"
        )
    left, spread = list(data.shape), []
    for i in reversed(range(len(shape))):
        if not left:
            break
        spread.append(1 if i in inside else left.pop())
    return Apply(Reshaped(data.shape, tuple(reversed(spread))), data)


def _fits(shape: Shape, target: Shape) -> bool:
    if len(shape) > len(target):
        return False
    return all(a in (1, b) for a, b in zip(shape, target[len(target) - len(shape) :], strict=True))


__all__ = ["Axis", "as_axis", "axes_of", "behind_batch", "check_axes", "on_groups"]
