"""Sums, means and running sums along axes."""

from __future__ import annotations

from math import pi, prod, sin, sqrt
from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.facts import exact
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, Identity, LinearOperator, scale
from opalg.operators.axes import as_shape
from opalg.operators.diagonal import adjacent, merged_neighbours
from opalg.operators.difference import FiniteDifference
from opalg.operators.knowledge import Facts
from opalg.operators.positions import facts_of_selection, flip, own_axes
from opalg.operators.rearrangement import Reshape
from opalg.operators.shaped import OnShape, SameShape
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Reduce, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule


def _reduced(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    places = range(-len(shape), 0)
    return tuple(1 if p in axes else n for p, n in zip(places, shape, strict=True) if keepdims or p not in axes)


def _sum_over(x: Expression, shape: Shape, axes: tuple[int, ...]) -> Expression:
    """The sum over some of the trailing axes, which are dropped."""
    kept = _reduced(shape, axes, True)
    summed = Reduce("sum", x, axes, keepdims=True) if axes else x
    return ex.Apply(Reshape(kept, _reduced(shape, axes, False)), summed)


@node
class _OverAxes(OnShape):
    """What `Sum` and `Mean` share: the axes that they go over."""

    shape: Shape
    axes: Any = None
    keepdims: bool = False

    def __post_init__(self) -> None:
        name, shape = type(self).__name__, as_shape(self.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", tuple(sorted(own_axes(shape, self.axes, name))))
        object.__setattr__(self, "keepdims", bool(self.keepdims))
        if 0 in shape:
            raise ShapeError(f"{name} needs a shape without zeros, not {shape}")

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return _reduced(self.shape, self.axes, self.keepdims)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape}, axes={self.axes}{', keepdims=True' if self.keepdims else ''})"


@node
class Sum(_OverAxes):
    """The sum over some axes, ``y_i = sum_j x_ij``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on; batch axes in front of it are never summed over.
    axes : int or tuple of int, optional
        The axes to sum over, counted within ``shape``; by default all.
    keepdims : bool
        Whether these axes stay, with one entry each.

    Raises
    ------
    ShapeError
        Where there are no such axes, or one is given twice.

    Notes
    -----
    ``S.H`` repeats its argument along the axes. With N entries in each sum, ``S @ S.H = N I`` and ``||S|| = sqrt(N)``
    (exact).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Sum((2, 3), axes=0) @ np.ones((2, 3))
    array([2., 2., 2.])
    """

    @property
    def count(self) -> int:
        """The number of entries in each sum."""
        return prod(self.shape[axis] for axis in self.axes)

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.shape, self)
        if not self.keepdims:
            return _sum_over(x, self.shape, self.axes)
        return Reduce("sum", x, self.axes, keepdims=True) if self.axes else x

    def trace_adjoint(self, y: Expression) -> Expression:
        batch = ex.batch_shape(y.shape, self.out_shape, self)
        kept = _reduced(self.shape, self.axes, True)
        full = y if self.keepdims else ex.Apply(Reshape(self.out_shape, kept), y)
        return ex.broadcast_to(full, batch + self.shape)

    @property
    def facts(self) -> Facts:
        if self.count == 1:
            return facts_of_selection(self.shape, self.out_shape, identity=self.shape == self.out_shape)
        return Facts(cogram_scale=Literal(float(self.count)), norm=exact(sqrt(self.count)))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Sum((4, 3)),
            Sum((5,), keepdims=True),
            Sum((2, 3, 4), (0, -1)),
            Sum((2, 3, 2), 1, keepdims=True),
            Sum((1, 4), 0),
            Sum((3, 1), 1, keepdims=True),
        ]


@node
class Mean(_OverAxes):
    """The mean over some axes, ``y_i = (1 / N) sum_j x_ij``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on; batch axes in front of it are never averaged over.
    axes : int or tuple of int, optional
        The axes to average over, counted within ``shape``; by default all.
    keepdims : bool
        Whether these axes stay, with one entry each.

    Raises
    ------
    ShapeError
        As for `Sum`.

    Notes
    -----
    ``M.H`` repeats its argument along the axes and divides it by the number N of entries in each mean. So
    ``M @ M.H = I / N`` and ``||M|| = 1 / sqrt(N)`` (exact).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Mean((2, 2), axes=1) @ np.array([[1.0, 2.0], [4.0, 8.0]])
    array([1.5, 6. ])
    """

    @property
    def total(self) -> Sum:
        """The sum that is divided by the number of entries."""
        return Sum(self.shape, self.axes, self.keepdims)

    @property
    def as_multiple(self) -> LinearOperator:
        """The mean written as a number times a `Sum`."""
        return scale(1.0 / self.total.count, self.total)

    def trace(self, x: Expression) -> Expression:
        return self.as_multiple.trace(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.as_multiple.trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        return self.as_multiple.facts

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Mean((4, 3)), Mean((2, 3, 4), (0, -1)), Mean((2, 5), 1, keepdims=True), Mean((1, 4), 0)]


@node
class CumulativeSum(SameShape):
    """The running sum along an axis, ``y_i = x_0 + ... + x_i``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on; the result has it too.
    axis : int
        The axis, counted within ``shape``.

    Raises
    ------
    ShapeError
        Where there is no such axis, or ``shape`` has a zero.

    Notes
    -----
    The adjoint sums from the other end. The inverse is the backward `FiniteDifference` with zeros outside, whose
    singular values give ``||C|| = 1 / (2 sin(pi / (4 n + 2)))`` for n entries (exact).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.CumulativeSum((4,)) @ np.array([1.0, 2.0, 3.0, 4.0])
    array([ 1.,  3.,  6., 10.])
    """

    shape: Shape
    axis: int = -1

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        if not isinstance(self.axis, (int, np.integer)) or 0 in shape:
            raise ShapeError(f"CumulativeSum needs one axis of a shape without zeros, not {self.axis!r} of {shape}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axis", own_axes(shape, self.axis, "CumulativeSum")[0])

    def kernel(self) -> Kernel:
        return Kernel(cumulative_sum, (self.axis,), in_place=False, fresh=True)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(cumulative_sum_from_end, (self.axis,), in_place=False, fresh=True)

    @property
    def facts(self) -> Facts:
        n = self.shape[self.axis]
        if n == 1:
            return facts_of_selection(self.shape, self.shape, identity=True)
        return Facts(norm=exact(1.0 / (2.0 * sin(pi / (4 * n + 2)))))

    def inverse(self) -> LinearOperator:
        """Backward differences with a zero in front of the first entry."""
        return FiniteDifference(self.shape, self.axis, "backward", "dirichlet")

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"CumulativeSum({self.shape}, {self.axis})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [CumulativeSum((4, 3), 0), CumulativeSum((5,)), CumulativeSum((2, 3, 2), 1), CumulativeSum((3, 1), 1)]


def cumulative_sum(lib: Any, x: Any, axis: int, out: Any = None) -> Any:
    """The running sum along an axis."""
    run = lib.xp.cumulative_sum if hasattr(lib.xp, "cumulative_sum") else lib.xp.cumsum
    return run(x, axis=axis)


def cumulative_sum_from_end(lib: Any, x: Any, axis: int, out: Any = None) -> Any:
    """The running sum along an axis, from its last entry to its first."""
    return flip(lib, cumulative_sum(lib, flip(lib, x, (axis,)), axis), (axis,))


@rule(Sum, group="simplify")
def drop_sum_of_one(total: Sum) -> LinearOperator | None:
    """Sum(axes of one entry)  ->  I or Reshape"""
    if total.count != 1:
        return None
    same = total.shape == total.out_shape
    return Identity(total.shape) if same else Reshape(total.shape, total.out_shape)


@rule(Mean, group="simplify")
def mean_is_scaled_sum(mean: Mean) -> LinearOperator | None:
    """Mean  ->  (1 / N) Sum"""
    return mean.as_multiple


@rule(CumulativeSum, group="simplify")
def drop_cumulative_sum_of_one(running: CumulativeSum) -> LinearOperator | None:
    """CumulativeSum(axis of one entry)  ->  I"""
    return Identity(running.shape) if running.shape[running.axis] == 1 else None


@rule(Composed, group="merge")
def merge_sums(product: Composed) -> LinearOperator | None:
    """Sum(a) @ Sum(b)  ->  Sum(a and b)     (both keep their axes, or both drop them); the same for their adjoints"""
    return merged_neighbours(product, Sum, _merged_sums)


def _merged_sums(a: Sum, b: Sum) -> LinearOperator | None:
    if a.keepdims != b.keepdims:
        return None
    if a.keepdims:
        return Sum(b.shape, tuple({*a.axes, *b.axes}), keepdims=True)
    left = [axis for axis in range(-len(b.shape), 0) if axis not in b.axes]
    return Sum(b.shape, (*b.axes, *(left[axis] for axis in a.axes)))


@rule(Composed, group="simplify")
def cancel_cumulative_sum(product: Composed) -> LinearOperator | None:
    """D @ CumulativeSum -> I, CumulativeSum @ D -> I     (D its inverse, a backward difference); likewise adjoints"""
    a, b, rest = adjacent(product)
    pair = (b.operator, a.operator) if isinstance(a, Adjoint) and isinstance(b, Adjoint) else (a, b)
    running = next((o for o in pair if isinstance(o, CumulativeSum)), None)
    if running is None or running.inverse() not in pair:
        return None
    return Identity(b.in_shape) if rest is None else rest
