"""What operators that pick entries of an array share: checked axes and positions, facts, and kernels."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.errors import DtypeError, ShapeError
from opalg.facts import NO, UNKNOWN, YES, exact
from opalg.leaves import Constant, Indices
from opalg.operators.axes import as_axes
from opalg.operators.knowledge import Facts
from opalg.program.expression import Expression, Literal, Shape


def own_axes(shape: Shape, axes: Any, name: str) -> tuple[int, ...]:
    """Different axes of a shape, all by default, none where an empty tuple is given, as negative numbers in order.

    Raises
    ------
    ShapeError
        For axes that there are not, or that come twice, and for shapes that hold a zero.
    """
    return () if isinstance(axes, tuple) and not axes else as_axes(shape, axes, name)


def facts_of_selection(source: Shape, target: Shape, *, identity: bool = False, involution: bool = False) -> Facts:
    """The facts of a map that takes every entry of its argument at most once."""
    one = Literal(1.0)
    known = YES if identity else UNKNOWN if source == target else NO
    return Facts(
        diagonal=known,
        self_adjoint=YES if involution else known,
        positive=known,
        gram_scale=one if prod(source) == prod(target) else None,
        cogram_scale=one,
        norm=exact(1.0),
        lowest=one if identity else Literal(-1.0) if involution else None,
    )


def host_array(value: Any) -> np.ndarray:
    """Positions or a mask, from whatever library, as a NumPy array."""
    if isinstance(value, (Constant, Indices)):
        value = value.value
    if hasattr(value, "detach") or hasattr(value, "get") or type(value).__module__.startswith("array_api_strict"):
        return backend_of(value).to_numpy(value)
    return np.asarray(value)


def positions_within(value: Any, length: int, owner: str) -> Indices:
    """Integer positions along an axis; negative ones count from its end.

    Raises
    ------
    ShapeError
        Where there are none, or one lies outside.
    DtypeError
        Where they are no integers.
    """
    if isinstance(value, Expression):
        raise DtypeError(f"{owner} takes integer positions, but was given {value!r}; give a plain array of integers")
    found = Indices(host_array(value)).value
    if found.size == 0:
        raise ShapeError(f"{owner} was given no positions; it needs at least one")
    wrong = found[(found < -length) | (found >= length)]
    if wrong.size:
        raise ShapeError(f"{owner} was given the position {wrong[0]}, which lies outside {length} entries")
    return Indices(np.where(found < 0, found + length, found))


def progression(positions: Indices) -> tuple[int, int, int] | None:
    """The start, stop and step of the slice that takes the same positions, where there is one with a positive step."""
    p = positions.value
    if p.ndim != 1:
        return None
    step = int(p[1] - p[0]) if len(p) > 1 else 1
    if step < 1 or not np.array_equal(p, np.arange(p[0], p[0] + step * len(p), step)):
        return None
    return int(p[0]), int(p[-1]) + 1, step


def flip(lib: Any, x: Any, axes: Any, out: Any = None) -> Any:
    """The array with some axes reversed; a view where the library has views that run backwards."""
    if not axes:
        return x
    return x.flip(axes) if hasattr(x, "flip") else lib.xp.flip(x, axis=axes)


def take_last(lib: Any, x: Any, order: Any, out: Any = None) -> Any:
    """The entries at some positions along the last axis."""
    return lib.take(x, order, -1)


def take_flat(lib: Any, x: Any, shape: Any, size: int, positions: Any, out: Any = None) -> Any:
    """The entries at some positions in the flattened trailing axes."""
    return lib.take(lib.xp.reshape(x, (*x.shape[: x.ndim - len(shape)], size)), positions, -1)


def place_flat(lib: Any, x: Any, shape: Any, size: int, positions: Any, out: Any = None) -> Any:
    """Put x at some positions, all different, of an array of zeros."""
    return lib.xp.reshape(lib.add_at(x, positions, size, -1, False), (*x.shape[: x.ndim - 1], *shape))


def take_steps(lib: Any, x: Any, shape: Any, size: int, steps: Any, out: Any = None) -> Any:
    """Evenly spaced entries of the flattened trailing axes."""
    return lib.xp.reshape(x, (*x.shape[: x.ndim - len(shape)], size))[(..., slice(*steps))]


def place_steps(lib: Any, x: Any, shape: Any, size: int, steps: Any, out: Any = None) -> Any:
    """Put x at evenly spaced positions of an array of zeros."""
    batch = tuple(x.shape[: x.ndim - 1])
    if out is None:
        flat = lib.zeros_like(x, (*batch, size))
        flat[(..., slice(*steps))] = x
        return lib.xp.reshape(flat, (*batch, *shape))
    out[...] = 0
    lib.xp.reshape(out, (*batch, size))[(..., slice(*steps))] = x
    return out


def view_along(lib: Any, x: Any, steps: Any, axis: int, out: Any = None) -> Any:
    """Evenly spaced entries along an axis, as a view."""
    return x[(..., slice(*steps), *(slice(None),) * (-1 - axis))]


def place_along(lib: Any, x: Any, steps: Any, axis: int, shape: Any, out: Any = None) -> Any:
    """Put x at evenly spaced positions along an axis of an array of zeros."""
    out = lib.zeros_like(x, (*x.shape[: x.ndim - len(shape)], *shape), out=out)
    out[(..., slice(*steps), *(slice(None),) * (-1 - axis))] = x
    return out


def gather(lib: Any, x: Any, positions: Any, axis: int, ndim: int, new: Any, out: Any = None) -> Any:
    """The entries at some positions along an axis, in the trailing shape ``new``."""
    taken = lib.take(x, positions, axis)
    return taken if len(new) == ndim else lib.xp.reshape(taken, (*x.shape[: x.ndim - ndim], *new))


def scatter(
    lib: Any, x: Any, positions: Any, axis: int, length: int, given: Any, met: Any, repeats: bool, out: Any = None
) -> Any:
    """The adjoint of `gather`: entries added up where they came from."""
    if len(given) != len(met):
        x = lib.xp.reshape(x, (*x.shape[: x.ndim - len(given)], *met))
    return lib.add_at(x, positions, length, axis, repeats)
