"""The Walsh-Hadamard transform."""

from __future__ import annotations

from functools import lru_cache
from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.facts import UNKNOWN, YES, exact
from opalg.leaves import Constant, Indices
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator, as_shape
from opalg.operators.axes import as_axes
from opalg.operators.knowledge import Facts
from opalg.operators.small_matrices import is_small, multiply_corners
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Kernel, Take

ORDERS = ("natural", "sequency", "dyadic")


@node
class Hadamard(LinearOperator):
    """The orthonormal Walsh-Hadamard transform, ``y_k = n^(-1/2) sum_i (-1)^(k . i) x_i`` along each axis.

    Here ``k . i`` counts the binary digits that k and i share.

    Parameters
    ----------
    shape : int or tuple of int
        The shape it acts on; the sizes of the transformed axes are powers of two.
    axes : tuple of int, optional
        The axes to transform, counted within ``shape``; by default all.
    order : str
        The order of the rows on each axis: ``"natural"`` (that of `scipy.linalg.hadamard`), ``"sequency"`` (by the
        number of sign changes, as Walsh's) or ``"dyadic"`` (Paley's; digits of k reversed).

    Raises
    ------
    ShapeError
        Where a size is no power of two, or there are no such axes.
    ParameterError
        For another order.

    Notes
    -----
    ``H.H = H = H^-1`` in each of the orders, so the norm is 1 (exact). ``n log2 n`` additions and subtractions, with no
    temporary arrays besides one of the size of the image (Fino, Algazi 1976, Unified matrix treatment of the fast
    Walsh-Hadamard transform); images of a few thousand entries are multiplied by the matrix of each axis instead.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Hadamard(4) @ np.array([1.0, 2.0, 3.0, 4.0])
    array([ 5., -1., -2.,  0.])
    >>> oa.Hadamard(4, order="sequency") @ np.array([1.0, 2.0, 3.0, 4.0])
    array([ 5., -2.,  0., -1.])
    """

    shape: Any
    axes: Any = None
    order: str = "natural"

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        axes = tuple(sorted(as_axes(shape, self.axes, "Hadamard")))
        if self.order not in ORDERS:
            raise ParameterError(f"Hadamard has the orders {ORDERS}, but not {self.order!r}")
        if any(shape[axis] & (shape[axis] - 1) for axis in axes):
            fitting = list(shape)
            for axis in axes:
                fitting[axis] = 1 << (shape[axis] - 1).bit_length()
            raise ShapeError(
                f"Hadamard needs powers of two along the axes {axes}, but was given the shape {shape}; pad the image "
                f"with zeros to {tuple(fitting)}, or transform other axes"
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", axes)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    def kernel(self) -> Kernel:
        if is_small(self.shape, self.axes):
            matrices = tuple(_matrix(self.shape[axis]) for axis in self.axes)
            return Kernel(multiply_corners, (self.shape, self.axes, (self.shape,), *matrices))
        return self.butterfly_kernel()

    def butterfly_kernel(self) -> Kernel:
        """The kernel by sums and differences of pairs."""
        sizes = tuple(self.shape[axis] for axis in self.axes)
        passes = 1.0 + sum(n.bit_length() - 1 for n in sizes)
        return Kernel(butterflies, (self.axes, sizes, 1.0 / sqrt(prod(sizes))), passes=passes, scratch=(self.shape,))

    def adjoint_kernel(self) -> Kernel:
        return self.kernel()

    def trace(self, x: Expression) -> Expression:
        if self.order == "natural":
            return ex.Apply(self, x)
        out = Hadamard(self.shape, self.axes).trace(x)
        for axis in self.axes:
            if self.shape[axis] > 2:
                out = ex.Apply(Take(self.shape, _rows(self.shape[axis], self.order), axis), out)
        return out

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.trace(y)

    @property
    def facts(self) -> Facts:
        one = Literal(1.0)
        trivial = all(self.shape[axis] == 1 for axis in self.axes)
        return Facts(
            diagonal=YES if trivial else UNKNOWN,
            self_adjoint=YES,
            positive=YES if trivial else UNKNOWN,
            gram_scale=one,
            cogram_scale=one,
            norm=exact(1.0),
            lowest=one if trivial else Literal(-1.0),
        )

    def inverse(self) -> LinearOperator:
        """The transform itself."""
        return self

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        axes = "" if self.axes == tuple(range(-len(self.shape), 0)) else f", axes={self.axes}"
        return f"Hadamard({self.shape}{axes}" + (")" if self.order == "natural" else f", order={self.order!r})")

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Hadamard(8),
            Hadamard((4, 2)),
            Hadamard((3, 4), axes=1),
            Hadamard((4, 3), axes=0, order="sequency"),
            Hadamard((2, 8), order="sequency"),
            Hadamard(16, order="dyadic"),
            Hadamard((1, 1)),
        ]


@lru_cache(maxsize=64)
def _matrix(n: int) -> Constant:
    """The matrix of the natural order."""
    places = np.arange(n)
    shared = np.bitwise_count(places[:, None] & places)
    return Constant((1.0 - 2.0 * (shared % 2)) / sqrt(n), name="signs")


@lru_cache(maxsize=64)
def _rows(n: int, order: str) -> Indices:
    """The row of the natural order that comes at each place of another one."""
    places = np.arange(n)
    digits = places ^ (places >> 1) if order == "sequency" else places
    found = np.zeros(n, dtype=np.int64)
    for _ in range(n.bit_length() - 1):
        found = (found << 1) | (digits & 1)
        digits = digits >> 1
    return Indices(found)


def _range(axis: int, start: int, stop: int, step: int = 1) -> tuple[Any, ...]:
    return (..., slice(start, stop, step), *(slice(None),) * (-1 - axis))


def butterflies(lib: Any, x: Any, axes: Any, sizes: Any, factor: float, scratch: Any = None, out: Any = None) -> Any:
    """Sums and differences of neighbours go to the two halves of the result, as often as there are binary digits.

    Each step moves the digit it worked on to the front, so that after all of them the order is the natural one.
    """
    steps = [(axis, n) for axis, n in zip(axes, sizes, strict=True) for _ in range(n.bit_length() - 1)]
    out = lib.empty_like(x, tuple(x.shape), out=out)
    other = scratch[0] if scratch else lib.empty_like(x, tuple(x.shape))
    source = x
    for index, (axis, n) in enumerate(steps):
        target = out if (len(steps) - index) % 2 else other
        first, second = source[_range(axis, 0, n, 2)], source[_range(axis, 1, n, 2)]
        lib.add(first, second, out=target[_range(axis, 0, n // 2)])
        lib.subtract(first, second, out=target[_range(axis, n // 2, n)])
        source = target
    return lib.multiply(source, factor, out=out)
