"""The same entries in another order or another shape: flips, rolls, transposes and reshapes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.nodes import node
from opalg.operators.algebra import Composed, Identity, LinearOperator, compose
from opalg.operators.axes import as_shape
from opalg.operators.diagonal import adjacent
from opalg.operators.knowledge import Facts
from opalg.operators.positions import facts_of_selection, flip, own_axes
from opalg.operators.shaped import OnShape, SameShape
from opalg.program.expression import Shape
from opalg.program.linear import Kernel, reshape_trailing
from opalg.rules import rule


@node
class Flip(SameShape):
    """Reverse some axes, ``y_i = x_{n - 1 - i}``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.
    axes : int or tuple of int, optional
        The axes to reverse, counted within ``shape``; by default all.

    Raises
    ------
    ShapeError
        Where there are no such axes, or one is given twice.

    Notes
    -----
    Unitary and its own adjoint and inverse: ``F.H = F``, ``F @ F = I``, ``||F|| = 1`` (exact), lowest eigenvalue -1.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Flip((3,)) @ np.array([1.0, 2.0, 3.0])
    array([3., 2., 1.])
    """

    shape: Shape
    axes: Any = None
    nonnegative = True

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        axes = own_axes(shape, self.axes, "Flip")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", tuple(sorted(axis for axis in axes if shape[axis] > 1)))

    def kernel(self) -> Kernel:
        return Kernel(flip, (self.axes,), in_place=False)

    def adjoint_kernel(self) -> Kernel:
        return self.kernel()

    @property
    def facts(self) -> Facts:
        return facts_of_selection(self.shape, self.shape, identity=not self.axes, involution=True)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Flip({self.shape}, axes={self.axes})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Flip((4, 3)), Flip((5,)), Flip((2, 3, 2), (0, -1)), Flip((1, 4), 0)]


@node
class Roll(SameShape):
    """Shift entries along axes, those that leave at one end entering at the other, ``y_i = x_{(i - s) mod n}``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.
    shift : int or tuple of int
        The shift ``s`` of each axis; any integers.
    axes : int or tuple of int, optional
        The axes to shift, counted within ``shape``; by default all, which takes one shift for each.

    Raises
    ------
    ShapeError
        Where there are no such axes, one is given twice, or there is not one shift for each axis.

    Notes
    -----
    Unitary: ``R.H`` rolls back, ``||R|| = 1`` (exact); self-adjoint where ``2 s`` is a multiple of every length.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Roll((4,), 1) @ np.array([1.0, 2.0, 3.0, 4.0])
    array([4., 1., 2., 3.])
    """

    shape: Shape
    shift: Any
    axes: Any = None
    nonnegative = True

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        axes = own_axes(shape, self.axes, "Roll")
        given = tuple(self.shift) if isinstance(self.shift, (tuple, list, np.ndarray)) else (self.shift,)
        if len(given) != len(axes) or any(not isinstance(s, (int, np.integer)) for s in given):
            raise ShapeError(
                f"Roll of shape {shape} shifts the axes {axes}, so it needs {len(axes)} integers, but was given "
                f"{self.shift!r}; give a tuple of one for each axis, or name the axes to shift with axes="
            )
        moves = sorted((axis, int(s) % shape[axis]) for axis, s in zip(axes, given, strict=True) if shape[axis])
        kept = [(axis, s) for axis, s in moves if s]
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "shift", tuple(s for _, s in kept))
        object.__setattr__(self, "axes", tuple(axis for axis, _ in kept))

    @property
    def shifts(self) -> dict[int, int]:
        """The shift of each axis that is shifted, by its negative number."""
        return dict(zip(self.axes, self.shift, strict=True))

    @property
    def H(self) -> LinearOperator:
        return Roll(self.shape, tuple(-s for s in self.shift), self.axes)

    def kernel(self) -> Kernel:
        return Kernel(roll, (self.shift, self.axes))

    def adjoint_kernel(self) -> Kernel:
        back = tuple(self.shape[axis] - s for axis, s in self.shifts.items())
        return Kernel(roll, (back, self.axes))

    @property
    def facts(self) -> Facts:
        half = all(2 * s == self.shape[axis] for axis, s in self.shifts.items())
        return facts_of_selection(self.shape, self.shape, identity=not self.axes, involution=half)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Roll({self.shape}, {self.shift}, axes={self.axes})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Roll((4, 3), (1, -1)),
            Roll((5,), 2),
            Roll((2, 3, 2), (1, 4), (0, 1)),
            Roll((4, 2), (2, 1)),
            Roll((1, 4), 7, -1),
            Roll((3,), 3),
        ]


@node
class Transpose(OnShape):
    """Axes in another order, ``y[i_{a_0}, i_{a_1}, ...] = x[i_0, i_1, ...]``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.
    axes : tuple of int, optional
        The axis of the argument that each axis of the result is, counted within ``shape``; by default in reverse.

    Raises
    ------
    ShapeError
        Where the axes are not every axis once.

    Notes
    -----
    Unitary: ``T.H`` is the transpose back, ``||T|| = 1`` (exact); self-adjoint where swapping twice the same equal axes
    gives the argument. Batch axes stay in front. (The adjoint of an operator is ``A.H``, its transpose ``A.T``.)

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> (oa.Transpose((2, 3), (1, 0)) @ np.ones((5, 2, 3))).shape
    (5, 3, 2)
    """

    shape: Shape
    axes: Any = None
    nonnegative = True

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        reverse = tuple(range(-1, -len(shape) - 1, -1))
        axes = own_axes(shape, reverse if self.axes is None else self.axes, "Transpose")
        if len(axes) != len(shape):
            raise ShapeError(f"Transpose of shape {shape} needs an order of its {len(shape)} axes, not {self.axes!r}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", axes)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(self.shape[axis] for axis in self.axes)

    @property
    def H(self) -> LinearOperator:
        places = tuple(range(-len(self.shape), 0))
        return Transpose(self.out_shape, tuple(places[self.axes.index(axis)] for axis in places))

    def kernel(self) -> Kernel:
        return Kernel(transpose, (self.axes, tuple(range(-len(self.axes), 0))), in_place=False, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(transpose, (tuple(range(-len(self.axes), 0)), self.axes), in_place=False, passes=0.0)

    @property
    def facts(self) -> Facts:
        places = tuple(range(-len(self.shape), 0))
        twice = tuple(self.axes[axis] for axis in self.axes)
        fits = self.out_shape == self.shape
        identity = fits and _order_of_long(self) == sorted(_order_of_long(self))
        return facts_of_selection(self.shape, self.out_shape, identity=identity, involution=fits and twice == places)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Transpose({self.shape}, {tuple(axis + len(self.shape) for axis in self.axes)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Transpose((4, 3)),
            Transpose((3, 3)),
            Transpose((2, 3, 4), (1, 2, 0)),
            Transpose((2, 2, 2), (1, 2, 0)),
            Transpose((2, 1, 3), (1, 0, 2)),
            Transpose((5,), (0,)),
        ]


def _order_of_long(transposed: Transpose) -> list[int]:
    """The axes of more than one entry, in their new order."""
    return [axis for axis in transposed.axes if transposed.shape[axis] != 1]


@node
class Reshape(LinearOperator):
    """The same entries in another shape, in the order in which the last index runs fastest.

    Parameters
    ----------
    in_shape : tuple of int
        The shape it takes.
    out_shape : tuple of int
        The shape it gives; one entry may be -1 and follows from the others.

    Raises
    ------
    ShapeError
        Where the two hold different numbers of entries.

    Notes
    -----
    Unitary: ``R.H`` reshapes back, ``||R|| = 1`` (exact). Batch axes stay in front, and nothing is copied.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Reshape((2, 2), (4,)) @ np.array([[1.0, 2.0], [3.0, 4.0]])
    array([1., 2., 3., 4.])
    """

    in_shape: Shape
    out_shape: Shape
    nonnegative = True

    def __post_init__(self) -> None:
        source = as_shape(self.in_shape)
        given = (self.out_shape,) if isinstance(self.out_shape, (int, np.integer)) else tuple(self.out_shape)
        known = prod(n for n in given if n != -1)
        if given.count(-1) == 1 and known > 0:
            given = tuple(prod(source) // known if n == -1 else n for n in given)
        target = as_shape(given)
        if prod(source) != prod(target):
            raise ShapeError(
                f"Reshape cannot make {self.out_shape} of {source}: the one holds {prod(target)} entries, the other "
                f"{prod(source)}; write one of the lengths as -1 to let it follow"
            )
        object.__setattr__(self, "in_shape", source)
        object.__setattr__(self, "out_shape", target)

    @property
    def H(self) -> LinearOperator:
        return Reshape(self.out_shape, self.in_shape)

    def kernel(self) -> Kernel:
        return Kernel(reshape_trailing, (self.in_shape, self.out_shape), in_place=False, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(reshape_trailing, (self.out_shape, self.in_shape), in_place=False, passes=0.0)

    @property
    def facts(self) -> Facts:
        same = self.in_shape == self.out_shape
        return facts_of_selection(self.in_shape, self.out_shape, identity=same, involution=same)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Reshape({self.in_shape}, {self.out_shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Reshape((4, 3), (2, 6)), Reshape((6,), (3, 1, -1)), Reshape((2, 3), (6,)), Reshape((2, 2), (2, 2))]


def roll(lib: Any, x: Any, shifts: Any, axes: Any, out: Any = None) -> Any:
    """The array rolled along some axes: a copy of each of the boxes that stay together."""
    if hasattr(lib, "roll") and axes and prod(x.shape) <= 1 << 14:
        return lib.copy(lib.roll(x, shifts, axes), out=out)
    out = lib.empty_like(x, tuple(x.shape), out=out)
    boxes: list[Any] = [((), ())]
    for axis in range(-x.ndim, 0):
        shift = shifts[axes.index(axis)] if axis in axes else 0
        head = [(slice(0, x.shape[axis] - shift), slice(shift, x.shape[axis]))]
        tail = [(slice(x.shape[axis] - shift, x.shape[axis]), slice(0, shift))] if shift else []
        boxes = [((*source, a), (*target, b)) for source, target in boxes for a, b in head + tail]
    for source, target in boxes:
        out[target] = x[source]
    return out


def transpose(lib: Any, x: Any, axes: Any, places: Any, out: Any = None) -> Any:
    """A view of the array with some axes moved to other places."""
    return lib.xp.moveaxis(x, axes, places)


@rule(Flip, group="simplify")
def drop_flip_of_nothing(flipped: Flip) -> LinearOperator | None:
    """Flip(no axes)  ->  I     (axes of one entry count as none)"""
    return None if flipped.axes else Identity(flipped.shape)


@rule(Roll, group="simplify")
def drop_roll_by_nothing(rolled: Roll) -> LinearOperator | None:
    """Roll(by nothing)  ->  I"""
    return None if rolled.axes else Identity(rolled.shape)


@rule(Transpose, group="simplify")
def drop_transpose_of_nothing(transposed: Transpose) -> LinearOperator | None:
    """Transpose(same order)  ->  I, Transpose(only axes of one entry move)  ->  Reshape"""
    order = _order_of_long(transposed)
    if order != sorted(order):
        return None
    same = transposed.out_shape == transposed.shape
    return Identity(transposed.shape) if same else Reshape(transposed.shape, transposed.out_shape)


@rule(Reshape, group="simplify")
def drop_reshape_to_same(reshaped: Reshape) -> LinearOperator | None:
    """Reshape(s, s)  ->  I"""
    return Identity(reshaped.in_shape) if reshaped.in_shape == reshaped.out_shape else None


@rule(Composed, group="merge")
def merge_rearrangements(product: Composed) -> LinearOperator | None:
    """Flip @ Flip -> Flip, Roll(s) @ Roll(t) -> Roll(s + t), likewise Transpose, Reshape"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Flip(), Flip()):
            merged: LinearOperator = Flip(a.in_shape, tuple(set(a.axes) ^ set(b.axes)))
        case (Roll(), Roll()):
            axes = tuple(sorted({*a.axes, *b.axes}))
            shifts = tuple(a.shifts.get(axis, 0) + b.shifts.get(axis, 0) for axis in axes)
            merged = Roll(a.in_shape, shifts, axes)
        case (Transpose(), Transpose()):
            merged = Transpose(b.in_shape, tuple(b.axes[axis] for axis in a.axes))
        case (Reshape(), Reshape()):
            merged = Reshape(b.in_shape, a.out_shape)
        case _:
            return None
    return merged if rest is None else compose(merged, rest)


@rule(Composed, group="simplify")
def order_rearrangements(product: Composed) -> LinearOperator | None:
    """Flip @ Roll(s) -> Roll(-s) @ Flip, Transpose @ Roll -> Roll @ Transpose, Transpose @ Flip -> Flip @ Transpose"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Flip(), Roll()):
            shifts = tuple(-s if axis in a.axes else s for axis, s in b.shifts.items())
            moved: LinearOperator = Roll(b.shape, shifts, b.axes)
        case (Transpose(), Roll()):
            moved = Roll(a.out_shape, b.shift, _moved(a, b.axes))
        case (Transpose(), Flip()):
            moved = Flip(a.out_shape, _moved(a, b.axes))
        case _:
            return None
    return compose(moved, a if rest is None else compose(a, rest))


def _moved(transposed: Transpose, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Where axes of the argument are in the result, as negative numbers."""
    return tuple(transposed.axes.index(axis) - len(transposed.shape) for axis in axes)
