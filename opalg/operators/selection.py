"""Entries at given positions: restrictions, gathers with repeated positions, permutations."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ShapeError
from opalg.facts import exact
from opalg.leaves import Constant, Indices
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, Identity, LinearOperator, compose
from opalg.operators.axes import as_shape
from opalg.operators.diagonal import adjacent, merged_neighbours
from opalg.operators.knowledge import Facts
from opalg.operators.positions import (
    facts_of_selection,
    gather,
    host_array,
    place_along,
    place_flat,
    place_steps,
    positions_within,
    progression,
    scatter,
    take_flat,
    take_last,
    take_steps,
    view_along,
)
from opalg.operators.rearrangement import Reshape
from opalg.operators.shaped import OnShape
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule


@node
class Restrict(OnShape):
    """Some entries of an array as a vector, ``y_k = x_{p_k}``.

    Parameters
    ----------
    selection : boolean array, or array of integers
        Which entries to keep: a mask of the shape of the argument (they keep their order, the last index runs fastest),
        or the positions ``p``, all different, in the flattened array.
    shape : int or tuple of int, optional
        The shape it acts on; needed with positions.

    Raises
    ------
    ShapeError
        Where nothing is kept, a position lies outside or comes twice (use `Gather`), or the mask has another shape.
    DtypeError
        Where the selection is neither boolean nor integer.

    Notes
    -----
    ``R.H`` puts the entries back among zeros; ``R @ R.H = I``, ``||R|| = 1`` (exact), and ``R.H @ R`` is a `Mask`.
    Evenly spaced positions are taken by a slice, without a copy.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> R = oa.Restrict(np.array([[True, False], [True, True]]))
    >>> R @ np.array([[1.0, 2.0], [3.0, 4.0]])
    array([1., 3., 4.])
    >>> R.H @ np.array([5.0, 6.0, 7.0])
    array([[5., 0.],
           [6., 7.]])
    """

    selection: Any
    shape: Any = None
    nonnegative = True

    def __post_init__(self) -> None:
        shape = None if self.shape is None else as_shape(self.shape)
        given = self.selection if isinstance(self.selection, Indices) else host_array(self.selection)
        if isinstance(given, np.ndarray) and given.dtype.kind == "b":
            if shape is not None and shape != given.shape:
                raise ShapeError(f"Restrict was given a mask of shape {given.shape} for arrays of shape {shape}")
            shape, given = given.shape, np.flatnonzero(given)
            if not given.size:
                raise ShapeError(f"Restrict was given a mask of shape {shape} that keeps nothing")
        if shape is None:
            raise ShapeError("Restrict was given positions without the shape they count in; write Restrict(p, shape)")
        positions = positions_within(given, prod(shape), "Restrict")
        if positions.value.ndim != 1 or not positions.distinct:
            raise ShapeError(
                "Restrict takes positions with one axis that are all different; Gather takes any, also repeated ones"
            )
        object.__setattr__(self, "selection", positions)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "_steps", progression(positions))

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (len(self.selection.value),)

    def kernel(self) -> Kernel:
        steps = self._steps  # type: ignore[attr-defined]
        if steps is not None:
            return Kernel(take_steps, (self.shape, prod(self.shape), steps), in_place=False, passes=0.0)
        return Kernel(take_flat, (self.shape, prod(self.shape), self.selection), in_place=False, fresh=True)

    def adjoint_kernel(self) -> Kernel:
        steps = self._steps  # type: ignore[attr-defined]
        if steps is not None:
            return Kernel(place_steps, (self.shape, prod(self.shape), steps))
        return Kernel(place_flat, (self.shape, prod(self.shape), self.selection), in_place=False, fresh=True)

    @property
    def facts(self) -> Facts:
        identity = self._steps == (0, self.out_shape[0], 1) and self.shape == self.out_shape  # type: ignore[attr-defined]
        return facts_of_selection(self.shape, self.out_shape, identity=identity)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Restrict({self.out_shape[0]} positions, {self.shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        mask = rng.random((3, 4)) < 0.5
        mask[0, :2] = True, False
        return [
            Restrict(mask),
            Restrict(np.array([5, 0, 3]), (2, 3)),
            Restrict(np.array([4]), 5),
            Restrict(np.array([1, 3, 5]), (3, 2)),
            Restrict(np.ones((2, 2), bool)),
            Restrict(np.array([2, 0, 1]), 3),
        ]


@node
class Gather(OnShape):
    """Entries at given positions along an axis, ``y_k = x_{p_k}``; positions may repeat.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.
    indices : array of integers
        The positions ``p`` along the axis; negative ones count from the end. The axis is replaced by the axes of ``p``.
    axis : int
        The axis, counted within ``shape``.

    Raises
    ------
    ShapeError
        Where there is no such axis, no position, or one that lies outside.
    DtypeError
        Where the positions are no integers.

    Notes
    -----
    ``G.H`` adds entries up where positions repeat. ``G.H @ G`` is diagonal and holds how often each position occurs, so
    ``||G||`` is the root of the largest number of repeats (exact).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> G = oa.Gather((3,), [2, 0, 2])
    >>> G @ np.array([1.0, 2.0, 3.0])
    array([3., 1., 3.])
    >>> G.H @ np.array([1.0, 2.0, 3.0])
    array([2., 0., 4.])
    """

    shape: Shape
    indices: Any
    axis: int = 0
    nonnegative = True

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        if not isinstance(self.axis, (int, np.integer)) or not -len(shape) <= self.axis < len(shape):
            raise ShapeError(f"Gather needs one axis of the shape {shape}, not {self.axis!r}")
        axis = int(self.axis) % len(shape) - len(shape)
        given = self.indices if isinstance(self.indices, (Indices, Expression)) else host_array(self.indices)
        if isinstance(given, np.ndarray) and given.dtype.kind == "b":
            raise DtypeError("Gather takes integer positions, but was given booleans; use Restrict for masks")
        positions = positions_within(given, shape[axis], "Gather")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "indices", positions)
        object.__setattr__(self, "axis", axis)
        object.__setattr__(self, "_flat", Indices(positions.value.reshape(-1)))
        object.__setattr__(self, "_steps", progression(positions))

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        at = len(self.shape) + self.axis
        return (*self.shape[:at], *self.indices.shape, *self.shape[at + 1 :])

    def kernel(self) -> Kernel:
        if self._steps is not None:  # type: ignore[attr-defined]
            return Kernel(view_along, (self._steps, self.axis), in_place=False, passes=0.0)  # type: ignore[attr-defined]
        lengths = (len(self.shape), self.out_shape)
        return Kernel(gather, (self._flat, self.axis, *lengths), in_place=False, fresh=True)  # type: ignore[attr-defined]

    def adjoint_kernel(self) -> Kernel:
        if self._steps is not None:  # type: ignore[attr-defined]
            return Kernel(place_along, (self._steps, self.axis, self.shape))  # type: ignore[attr-defined]
        flat = self._flat  # type: ignore[attr-defined]
        at = len(self.shape) + self.axis
        if flat.distinct and self.indices.shape == (self.shape[at],):
            back = Indices(np.argsort(flat.value))
            return Kernel(gather, (back, self.axis, len(self.shape), self.shape), in_place=False, fresh=True)
        met = (*self.shape[:at], len(flat.value), *self.shape[at + 1 :])
        arguments = (flat, self.axis, self.shape[at], self.out_shape, met, not flat.distinct)
        return Kernel(scatter, arguments, in_place=False, fresh=True)

    @property
    def multiplicity(self) -> Constant:
        """How often each position occurs, ready to broadcast to the shape of the argument; made once."""
        if "_multiplicity" not in self.__dict__:
            counts = np.bincount(self._flat.value, minlength=self.shape[self.axis])  # type: ignore[attr-defined]
            column = counts.astype(float).reshape((-1, *(1,) * (-1 - self.axis)))
            object.__setattr__(self, "_multiplicity", Constant(column, name="multiplicity", copy=False))
        return self.__dict__["_multiplicity"]  # type: ignore[no-any-return]

    @property
    def facts(self) -> Facts:
        counts = self.multiplicity.value
        least, most = float(counts.min()), float(counts.max())
        if most == 1.0:
            identity = self._steps == (0, self.shape[self.axis], 1)  # type: ignore[attr-defined]
            return facts_of_selection(self.shape, self.out_shape, identity=identity)
        return Facts(gram_scale=Literal(most) if least == most else None, norm=exact(sqrt(most)))

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        count = self.indices.shape[0] if len(self.indices.shape) == 1 else self.indices.shape
        return f"Gather({self.shape}, {count} positions, axis={self.axis})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Gather((4, 3), [3, 0, 3, 1, 3]),
            Gather((3, 4), np.array([[0, -1], [2, 2]]), axis=1),
            Gather((2, 3, 2), [0, 2], axis=-2),
            Gather((3,), [2, 0, 1, 2, 1, 0]),
            Gather((1, 2), [0, 0], axis=0),
            Gather((3, 2), [2, 0, 1]),
            Gather((2,), 1),
        ]


@node
class Permutation(LinearOperator):
    """The entries of a vector in another order, ``y_i = x_{p_i}``.

    Parameters
    ----------
    order : array of integers
        The positions ``p``: each of ``0 ... n - 1`` once.

    Raises
    ------
    ShapeError
        Where the order has more than one axis, or does not hold each position once.
    DtypeError
        Where it holds no integers.

    Notes
    -----
    Unitary: ``P.H`` is the inverse permutation, ``||P|| = 1`` (exact); self-adjoint where the order is its own inverse.
    An axis in front of others is permuted by `Gather`.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> P = oa.Permutation([2, 0, 1])
    >>> P @ np.array([1.0, 2.0, 3.0])
    array([3., 1., 2.])
    >>> (P.H @ P).simplify()
    Identity((3,))
    """

    order: Any
    nonnegative = True

    def __post_init__(self) -> None:
        given = self.order if isinstance(self.order, (Indices, Expression)) else host_array(self.order)
        length = given.value.size if isinstance(given, Indices) else prod(given.shape)
        positions = positions_within(given, length, "Permutation")
        if positions.value.ndim != 1 or not positions.distinct:
            raise ShapeError(
                f"the order of a Permutation must hold each of 0 ... {length - 1} once, on one axis; use Gather for "
                f"positions that repeat"
            )
        object.__setattr__(self, "order", positions)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return (len(self.order.value),)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.in_shape

    @property
    def H(self) -> LinearOperator:
        return Permutation(self._inverse)

    @property
    def _inverse(self) -> Indices:
        return Indices(np.argsort(self.order.value))

    def kernel(self) -> Kernel:
        return Kernel(take_last, (self.order,), in_place=False, fresh=True)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(take_last, (self._inverse,), in_place=False, fresh=True)

    @property
    def facts(self) -> Facts:
        p, places = self.order.value, np.arange(self.in_shape[0])
        identity = np.array_equal(p, places)
        return facts_of_selection(
            self.in_shape, self.in_shape, identity=identity, involution=np.array_equal(p[p], places)
        )

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        n = self.in_shape[0]
        return f"Permutation({self.order.value.tolist() if n <= 8 else f'an order of {n} entries'})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        orders = (rng.permutation(6), [1, 0, 3, 2], [0, 1, 2], [2, 0, 1], [0])
        return [Permutation(order) for order in orders]


def _flat_positions(operator: LinearOperator) -> Indices | None:
    """Which entries of its flattened argument an operator lists; None where it does something else."""
    match operator:
        case Restrict(selection=positions) | Permutation(order=positions):
            return positions  # type: ignore[no-any-return]
        case Gather(indices=positions) if len(operator.in_shape) == len(operator.out_shape) == 1:
            return positions  # type: ignore[no-any-return]
        case Reshape(out_shape=(n,)):
            return Indices(np.arange(n))
    return None


def _listing(positions: np.ndarray, shape: Shape) -> LinearOperator | None:
    """The simplest operator that lists entries of an array of some shape; None where there is none."""
    size = prod(shape)
    if len(positions) == size and np.array_equal(positions, np.arange(size)):
        return Identity(shape) if len(shape) == 1 else Reshape(shape, (size,))
    indices = Indices(positions)
    if not indices.distinct:
        return Gather(shape, indices) if len(shape) == 1 else None
    return Permutation(indices) if shape == (len(positions),) else Restrict(indices, shape)


@rule(LinearOperator, group="simplify")
def simplify_listing(operator: LinearOperator) -> LinearOperator | None:
    """Restrict(all in order) -> Reshape, Permutation(same order) -> I, Gather(each once, on one axis) -> Restrict"""
    if not isinstance(operator, (Restrict, Permutation, Gather)):
        return None
    positions = _flat_positions(operator)
    if positions is None:
        return None
    simple = _listing(positions.value, operator.in_shape)
    return None if simple is operator else simple


@rule(Composed, group="merge")
def merge_listings(product: Composed) -> LinearOperator | None:
    """Restrict(p) @ Restrict(q) -> Restrict(q[p]), Permutation(p) @ Permutation(q) -> Permutation(q[p]), and mixed"""
    a, b, rest = adjacent(product)
    if isinstance(a, Reshape) and isinstance(b, Reshape):
        return None
    merged = _merged_listings(a, b)
    if merged is None and all(isinstance(o, (Adjoint, Permutation, Reshape)) for o in (a, b)):
        back = _merged_listings(b.H, a.H)
        merged = None if back is None else back.H
    if merged is None:
        return None
    return merged if rest is None else compose(merged, rest)


def _merged_listings(a: LinearOperator, b: LinearOperator) -> LinearOperator | None:
    outer, inner = _flat_positions(a), _flat_positions(b)
    if outer is None or inner is None or len(a.in_shape) != 1:
        return None
    return _listing(inner.value[outer.value], b.in_shape)


@rule(Composed, group="merge")
def merge_gathers(product: Composed) -> LinearOperator | None:
    """Gather(p) @ Gather(q)  ->  Gather(q[p])     (on the same axis); the same for their adjoints"""
    return merged_neighbours(product, Gather, _merged_gathers)


def _merged_gathers(a: Gather, b: Gather) -> LinearOperator | None:
    if len(b.indices.shape) != 1 or a.axis != b.axis:
        return None
    return Gather(b.shape, Indices(b.indices.value[a.indices.value]), b.axis)
