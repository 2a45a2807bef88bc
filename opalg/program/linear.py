"""Linear primitives: the linear maps that a step applies as one kernel.

A primitive names plain functions of arrays, its kernels. They are called as ``function(lib, x, *arguments, out=None)``
with ``lib`` a `opalg.arrays.Backend`, act on trailing axes, and return their result (in ``out`` where that was given
and ``in_place`` is true). A kernel that needs room to work in names its shapes, and is handed arrays of them as
``scratch=`` by steps that plan their memory; without, it makes its own. Because a kernel is a plain function, generated
code can carry its text along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opalg.nodes import Node, node

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """A function of arrays and its static arguments.

    Parameters
    ----------
    function : callable
        ``function(lib, x, *arguments, out=None) -> array``, acting on trailing axes.
    arguments : tuple
        Static arguments: numbers, strings, tuples of them, or a `Constant` or `Indices` leaf, which arrives as its
        bound array.
    in_place : bool
        Whether the function writes into ``out``.
    transforms : int
        Number of fast transforms it makes, for the cost model.
    passes : float
        Passes over memory besides the transforms, for the cost model.
    fresh : bool
        Whether a function that does not write into ``out`` returns an array of its own, which no other name holds.
    scratch : tuple of tuple of int
        Trailing shapes of the arrays that the function takes as ``scratch=None``, of the kind of its result and behind
        the batch axes of its argument; their content is arbitrary before and after. Needs ``in_place``.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    in_place: bool = True
    transforms: int = 0
    passes: float = 1.0
    fresh: bool = False
    scratch: tuple[Shape, ...] = ()


class Linear(Node):
    """A linear map with kernels for itself and its adjoint.

    Attributes
    ----------
    in_shape, out_shape : tuple of int
        The trailing axes that it consumes and produces.
    """

    in_shape: Shape
    out_shape: Shape

    def kernel(self) -> Kernel:
        """The kernel of the forward map."""
        raise NotImplementedError(f"{type(self).__name__} is not a primitive")

    def adjoint_kernel(self) -> Kernel:
        """The kernel of the adjoint map."""
        raise NotImplementedError(f"{type(self).__name__} is not a primitive")

    def chosen(self, argument: Any, adjoint: bool, lib: Any) -> Any:
        """The map, or its adjoint, of an expression in steps that suit an array library; None for its kernel."""
        return None

    def out_kind(self, kind: str) -> str:
        """The kind ("real" or "complex") of the result for an argument of the given kind."""
        return kind

    def adjoint_kind(self, kind: str) -> str:
        """The kind of the adjoint's result."""
        return kind


@node
class Window(Linear):
    """The box ``start <= index < stop`` of an array; its adjoint puts the box back among zeros."""

    in_shape: Shape
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    def kernel(self) -> Kernel:
        return Kernel(take_window, (self.start, self.stop), in_place=False, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(place_window, (self.start, self.stop, self.in_shape))

    def __repr__(self) -> str:
        return f"Window({self.in_shape}, {self.start}, {self.stop})"


@node
class Kept(Linear):
    """The identity, which keeps its argument as an array of its own, so that no rule looks through it.

    A number that is to certify another must be computed from the array at hand, not from a formula that equals it up to
    rounding.
    """

    in_shape: Shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.in_shape

    def kernel(self) -> Kernel:
        return Kernel(keep)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(keep)

    def __repr__(self) -> str:
        return "kept"


@node
class Reshaped(Linear):
    """The entries of an array in the same order under another trailing shape of the same size."""

    in_shape: Shape
    out_shape: Shape
    nonnegative = True

    def kernel(self) -> Kernel:
        return Kernel(reshape_trailing, (self.in_shape, self.out_shape), in_place=False, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(reshape_trailing, (self.out_shape, self.in_shape), in_place=False, passes=0.0)

    def __repr__(self) -> str:
        return f"Reshaped({self.in_shape}, {self.out_shape})"


@node
class Take(Linear):
    """The entries at some positions along an axis; its adjoint adds them back to where they came from.

    ``indices`` are `opalg.leaves.Indices` of one axis; ``axis`` is negative.
    """

    in_shape: Shape
    indices: Any
    axis: int = -1

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        out = list(self.in_shape)
        out[self.axis] = len(self.indices.value)
        return tuple(out)

    def kernel(self) -> Kernel:
        return Kernel(take, (self.indices, self.axis), in_place=False, fresh=True)

    def adjoint_kernel(self) -> Kernel:
        arguments = (self.indices, self.in_shape[self.axis], self.axis, not self.indices.distinct)
        return Kernel(add_at, arguments, in_place=False, fresh=True)

    def __repr__(self) -> str:
        return f"Take({self.in_shape}, {self.indices!r}, {self.axis})"


def keep(lib: Any, x: Any, out: Any = None) -> Any:
    """A copy of an array, bit by bit."""
    return lib.copy(x, out=out)


def take_window(lib: Any, x: Any, start: Any, stop: Any, out: Any = None) -> Any:
    """The box ``start <= index < stop`` of the trailing axes, as a view."""
    return x[(..., *(slice(a, b) for a, b in zip(start, stop, strict=True)))]


def place_window(lib: Any, x: Any, start: Any, stop: Any, shape: Any, out: Any = None) -> Any:
    """Put x into the box ``start <= index < stop`` of an array of zeros."""
    out = lib.zeros_like(x, tuple(x.shape[: x.ndim - len(shape)]) + tuple(shape), out=out)
    box = (..., *(slice(a, b) for a, b in zip(start, stop, strict=True)))
    out[box] = x
    return out


def take(lib: Any, x: Any, indices: Any, axis: int, out: Any = None) -> Any:
    """The entries at some positions along an axis."""
    return lib.take(x, indices, axis)


def add_at(lib: Any, x: Any, indices: Any, length: int, axis: int, repeats: bool, out: Any = None) -> Any:
    """Add the entries of x to zeros at some positions along an axis."""
    return lib.add_at(x, indices, length, axis, repeats)


def reshape_trailing(lib: Any, x: Any, source: Any, target: Any, out: Any = None) -> Any:
    """The array with its trailing axes in another shape; a view where its memory allows."""
    return lib.xp.reshape(x, (*x.shape[: x.ndim - len(source)], *target))
