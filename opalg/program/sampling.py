"""Multilinear sampling of a grid at positions that are data: linear in the grid, differentiable in the positions.

`sample` reads a grid at positions, `splat` is its adjoint. Both are nodes `Call` whose function is a `Sampler`, and the
derivatives of each, of any order, are samplers again: along one axis the two weights ``1 - f`` and ``f`` become ``-1``
and ``1``. At whole positions, where the interpolant has a kink, that is the derivative from the right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from opalg.nodes import node
from opalg.program.expression import Call, Expression, Shape, batch_shape, broadcast_to, pointwise
from opalg.program.linear import Kernel, Linear

BOUNDARIES = ("zero", "edge", "periodic", "reflect", "symmetric")
_FARTHEST = 1e9  # positions beyond are moved there before they become integers

Tangent = Expression | None


@dataclass(frozen=True)
class Sampler:
    """What `sample` and `splat` compute, and its derivatives.

    Attributes
    ----------
    shape : tuple of int
        The shape of the grid.
    boundary : str
        What lies outside of it, one of `BOUNDARIES`, as `numpy.pad` names it.
    relative : bool
        Whether positions count from the grid points themselves, one for each.
    slopes : tuple of int
        The axes along which the weights are differentiated.
    adjoint : bool
        Whether it splats.
    """

    shape: Shape
    boundary: str
    relative: bool
    slopes: tuple[int, ...] = ()
    adjoint: bool = False

    def __call__(self, argument: Expression, positions: Sequence[Expression]) -> Expression:
        """The node for an argument and its positions, one expression for each axis."""
        consumed, produced = positions[0].shape, self.shape
        if not self.adjoint:
            consumed, produced = produced, consumed
        batch = batch_shape(argument.shape, consumed, self)
        return Call(self, (argument, *positions), batch + produced, argument.kind)

    def evaluate(self, lib: Any, argument: Any, *positions: Any) -> Any:
        """The value at arrays."""
        points = tuple(positions[0].shape)
        consumed, produced = (points, self.shape) if self.adjoint else (self.shape, points)
        batch = tuple(argument.shape[: argument.ndim - len(consumed)])
        flat = lib.xp.reshape(argument, (*batch, prod(consumed)))
        total = None
        for places, weights in corners(lib, positions, self.shape, self.boundary, self.relative, self.slopes):
            places, weights = lib.xp.reshape(places, (-1,)), lib.xp.reshape(weights, (-1,))
            if self.adjoint:
                part = lib.add_at(flat * weights, places, prod(self.shape), -1)
            else:
                part = lib.take(flat, places, -1) * weights
            total = part if total is None else total + part
        return lib.xp.reshape(total, batch + produced)

    def push(self, call: Call, tangents: list[Tangent]) -> Tangent:
        """The directional derivative, as a node."""
        argument, *positions = call.arguments
        moved = None if tangents[0] is None else self(broadcast_to(tangents[0], argument.shape), positions)
        for axis, tangent in enumerate(tangents[1:]):
            if tangent is None or axis in self.slopes:
                continue
            steeper = self._steeper(axis)
            part = steeper(argument * tangent, positions) if self.adjoint else steeper(argument, positions) * tangent
            moved = part if moved is None else moved + part
        return moved

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Tangent]:
        """The transposed derivative, as nodes."""
        argument, *positions = call.arguments
        amounts: list[Tangent] = [replace(self, adjoint=not self.adjoint)(cotangent, positions) if active[0] else None]
        for axis, wanted in enumerate(active[1:]):
            if not wanted or axis in self.slopes:
                amounts.append(None)
                continue
            reading = replace(self._steeper(axis), adjoint=False)
            grid, points = (cotangent, argument) if self.adjoint else (argument, cotangent)
            amounts.append(pointwise("conj", reading(grid, positions)) * points)
        return amounts

    def _steeper(self, axis: int) -> Sampler:
        return replace(self, slopes=tuple(sorted((*self.slopes, axis))))

    def __repr__(self) -> str:
        slopes = "".join(f", slope {axis}" for axis in self.slopes)
        return f"{'splat' if self.adjoint else 'sample'}[{self.boundary}{slopes}]"


def sample(
    x: Expression, positions: Sequence[Expression], shape: Shape, boundary: str, relative: bool = False
) -> Expression:
    """A grid read at positions, by multilinear interpolation.

    Parameters
    ----------
    x : Expression, shape ``batch + shape``
        The grid.
    positions : sequence of Expression
        For each axis of the grid the coordinates of all points, in index units; real, of one shape.
    shape : tuple of int
        The shape of the grid.
    boundary : str
        One of `BOUNDARIES`.
    relative : bool
        Whether the coordinates are displacements of the grid points, so that they have the shape of the grid.

    Returns
    -------
    Expression, shape ``batch + positions[0].shape``
    """
    return Sampler(shape, boundary, relative)(x, positions)


def splat(
    y: Expression, positions: Sequence[Expression], shape: Shape, boundary: str, relative: bool = False
) -> Expression:
    """The adjoint of `sample`: each value added to the grid points around its position, by their weights."""
    return Sampler(shape, boundary, relative, adjoint=True)(y, positions)


def corners(
    lib: Any,
    positions: Sequence[Any],
    shape: Shape,
    boundary: str,
    relative: bool = False,
    slopes: tuple[int, ...] = (),
) -> Iterator[tuple[Any, Any]]:
    """For each corner of the grid cells around the points: its flat index in the grid, and its weight."""
    ends = [_ends(lib, p, axis, shape, boundary, relative, axis in slopes) for axis, p in enumerate(positions)]
    for choice in product((0, 1), repeat=len(shape)):
        places, weights = ends[0][choice[0]]
        for axis in range(1, len(shape)):
            index, weight = ends[axis][choice[axis]]
            places, weights = places * shape[axis] + index, weights * weight
        yield places, weights


def _ends(lib: Any, position: Any, axis: int, shape: Shape, boundary: str, relative: bool, slope: bool) -> list[Any]:
    """Index and weight of the lower and of the upper neighbour along one axis."""
    xp = lib.xp
    n = shape[axis]
    below = xp.floor(position)
    share = position - below
    base = xp.astype(xp.clip(below, -_FARTHEST, _FARTHEST), xp.int64)
    if relative:
        # Whole and fractional part stay apart, so that single precision does not lose digits on large grids.
        base = base + lib.indices(np.arange(n).reshape((n,) + (1,) * (len(shape) - 1 - axis)))
    one = xp.ones_like(share)
    weights = (-one, one) if slope else (one - share, share)
    ends = []
    for offset, weight in enumerate(weights):
        index, inside = fold(xp, base + offset, n, boundary)
        ends.append((index, weight if inside is None else weight * xp.astype(inside, weight.dtype)))
    return ends


def fold(xp: Any, index: Any, n: int, boundary: str) -> tuple[Any, Any]:
    """Indices outside of ``0 <= i < n`` brought inside, and which ones count (None where all do)."""
    if boundary == "periodic":
        return xp.remainder(index, n), None
    if boundary == "symmetric":
        turned = xp.remainder(index, 2 * n)
        return xp.minimum(turned, 2 * n - 1 - turned), None
    if boundary == "reflect":
        period = max(2 * n - 2, 1)
        turned = xp.remainder(index, period)
        return xp.minimum(turned, period - turned) if n > 1 else turned, None
    inside = None if boundary == "edge" else (index >= 0) & (index < n)
    return xp.clip(index, 0, n - 1), inside


@node
class Component(Linear):
    """One entry of a negative axis, which is dropped; its adjoint puts it back among zeros."""

    in_shape: Shape
    axis: int
    index: int

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        place = len(self.in_shape) + self.axis
        return self.in_shape[:place] + self.in_shape[place + 1 :]

    def kernel(self) -> Kernel:
        return Kernel(take_component, (self.axis, self.index))

    def adjoint_kernel(self) -> Kernel:
        return Kernel(place_component, (self.axis, self.index, self.in_shape))

    def __repr__(self) -> str:
        return f"Component({self.in_shape}, {self.axis}, {self.index})"


def take_component(lib: Any, x: Any, axis: int, index: int, out: Any = None) -> Any:
    """Copy one entry of an axis."""
    return lib.copy(x[(..., index, *(slice(None),) * (-1 - axis))], out=out)


def place_component(lib: Any, x: Any, axis: int, index: int, shape: Any, out: Any = None) -> Any:
    """Put x at one entry of an axis among zeros."""
    out = lib.zeros_like(x, tuple(x.shape[: x.ndim - len(shape) + 1]) + tuple(shape), out=out)
    out[(..., index, *(slice(None),) * (-1 - axis))] = x
    return out
