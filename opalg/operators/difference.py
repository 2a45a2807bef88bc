"""Finite differences, gradients and divergences."""

from __future__ import annotations

from math import cos, pi, sqrt
from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.facts import exact
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose
from opalg.operators.axes import as_axes, as_shape
from opalg.operators.diagonal import adjacent
from opalg.operators.knowledge import Facts
from opalg.operators.local import one
from opalg.operators.shaped import OnShape, SameShape
from opalg.operators.spectral import DiagonalIn, diagonal_form
from opalg.operators.stencil_spectra import PERIODIC, basis_of, family_of, squares_over, symbol_along
from opalg.program.expression import Shape
from opalg.program.linear import Kernel
from opalg.rules import rule

SCHEMES = ("forward", "backward", "central")
BOUNDARIES = ("periodic", "neumann", "dirichlet")


@node
class FiniteDifference(SameShape):
    """Differences of neighbours along one axis.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on; the result has it too.
    axis : int
        The axis, counted within ``shape``.
    scheme : str
        ``"forward"`` (``x[i+1] - x[i]``), ``"backward"`` (``x[i] - x[i-1]``) or ``"central"``
        (``(x[i+1] - x[i-1]) / 2``).
    boundary : str
        What lies outside: ``"periodic"`` (the array repeats), ``"neumann"`` (the border value repeats) or
        ``"dirichlet"`` (zeros).

    Raises
    ------
    ShapeError
        Where there is no such axis.
    UnsupportedError
        For another scheme or boundary.

    Notes
    -----
    The adjoint sums by parts: for one-sided differences it is minus the difference of the other side, with the border
    that makes it so. The norm is exact, since sines and cosines diagonalise the gram: with n entries it is ``2 cos(pi /
    (2 n))`` for one-sided Neumann differences (Strang 1999, The discrete cosine transform).

    ``D.H D`` is diagonal in the `RFFT` for "periodic", in the `DCT` of type 2 for "neumann", in the `DCT` of type 8 for
    "forward" and the `DST` of type 7 for "backward" with "dirichlet"; ``D D.H`` in the `RFFT`, and with the last two
    changed over; for "central" with "neumann" in the `DST` of type 2. Nothing fits "central" with "dirichlet".

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.FiniteDifference((4,), 0) @ np.array([1.0, 3.0, 6.0, 10.0])
    array([2., 3., 4., 0.])
    """

    shape: Shape
    axis: int
    scheme: str = "forward"
    boundary: str = "neumann"

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axis", as_axes(shape, self.axis, "FiniteDifference")[0])
        check_boundary(self.boundary, "FiniteDifference")
        if self.scheme not in SCHEMES:
            raise UnsupportedError(f"FiniteDifference has the schemes {SCHEMES}, but not {self.scheme!r}")

    def kernel(self) -> Kernel:
        return Kernel(difference, (self.axis, self.scheme, self.boundary))

    def adjoint_kernel(self) -> Kernel:
        return Kernel(adjoint_difference, (self.axis, self.scheme, self.boundary))

    @property
    def facts(self) -> Facts:
        return Facts(norm=exact(largest_difference(self.shape[self.axis], self.scheme, self.boundary)))

    def __repr__(self) -> str:
        return f"FiniteDifference({self.shape}, {self.axis}, {self.scheme!r}, {self.boundary!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        every = [FiniteDifference((4, 3), 0, scheme, boundary) for scheme in SCHEMES for boundary in BOUNDARIES]
        small = [FiniteDifference((2, 2), -1, "central", "periodic"), FiniteDifference((3, 1), 1)]
        return [*every, *small, FiniteDifference((2, 5), 1, "backward", "periodic")]


@node
class Gradient(OnShape):
    """Forward differences along several axes, as components on a new first axis.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image; the result has shape ``(len(axes), *shape)``.
    boundary : str
        ``"periodic"``, ``"neumann"`` (the border value repeats, so the last difference is zero) or ``"dirichlet"``.
    axes : tuple of int, optional
        The axes to differentiate, counted within ``shape``; by default all.

    Raises
    ------
    ShapeError, UnsupportedError
        As for `FiniteDifference`.

    Notes
    -----
    The adjoint is minus the `Divergence`. ``||G||^2`` is the sum of the axes' squared norms (exact: one basis
    diagonalises all axes, that of `FiniteDifference`), and ``G.H G`` is diagonal in that basis.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> (oa.Gradient((2, 2)) @ np.array([[1.0, 2.0], [4.0, 8.0]])).tolist()
    [[[3.0, 6.0], [0.0, 0.0]], [[1.0, 0.0], [4.0, 0.0]]]
    """

    shape: Shape
    boundary: str = "neumann"
    axes: Any = None

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", as_axes(shape, self.axes, "Gradient"))
        check_boundary(self.boundary, "Gradient")

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (len(self.axes), *self.shape)

    def kernel(self) -> Kernel:
        return Kernel(gradient, (self.axes, len(self.shape), self.boundary), passes=float(len(self.axes)))

    def adjoint_kernel(self) -> Kernel:
        passes = 2.0 * len(self.axes) - 1.0
        return Kernel(adjoint_gradient, (self.axes, len(self.shape), self.boundary), passes=passes)

    @property
    def facts(self) -> Facts:
        squares = (largest_difference(self.shape[axis], "forward", self.boundary) ** 2 for axis in self.axes)
        return Facts(norm=exact(sqrt(sum(squares))))

    def __repr__(self) -> str:
        axes = "" if self.axes == tuple(range(-len(self.shape), 0)) else f", axes={self.axes}"
        return f"Gradient({self.shape}, boundary={self.boundary!r}{axes})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        shapes: tuple[tuple[Shape, Any], ...] = (((4, 3), None), ((2, 1, 3), None), ((3, 4), (1,)))
        return [Gradient(shape, boundary, axes) for shape, axes in shapes for boundary in BOUNDARIES]


def Divergence(shape: Any, boundary: str = "neumann", axes: Any = None) -> LinearOperator:
    """The divergence of a field of vectors: minus the adjoint of `Gradient`.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image; the divergence takes ``(len(axes), *shape)`` to ``shape``.
    boundary, axes
        Those of the `Gradient`.

    Returns
    -------
    LinearOperator

    Notes
    -----
    ``div = -grad.H``, so ``<grad x, p> = -<x, div p>`` at the border too; its norm is that of the gradient (exact).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Divergence((3,)) @ np.array([[1.0, 3.0, 6.0]])
    array([ 1.,  2., -3.])
    """
    return -Gradient(shape, boundary, axes).H


def check_boundary(boundary: str, name: str) -> None:
    """Raise UnsupportedError for a boundary that differences have not."""
    if boundary not in BOUNDARIES:
        raise UnsupportedError(f"{name} has the boundaries {BOUNDARIES}, but not {boundary!r}")


def largest_difference(n: int, scheme: str, boundary: str) -> float:
    """The largest singular value of a one-dimensional difference of n entries."""
    if boundary == "dirichlet":
        if scheme == "central":
            return 0.0 if n == 1 else cos(pi / (n + 1))
        return 2.0 * cos(pi / (2 * n + 1))
    if n == 1 or (n == 2 and scheme == "central" and boundary == "periodic"):
        return 0.0
    scale = 1.0 if scheme == "central" else 2.0
    if boundary == "neumann" and scheme != "central":
        return scale * cos(pi / (2 * n))
    if boundary == "periodic" and scheme == "central":
        return 1.0 if n % 4 == 0 else cos(pi / n / (1 if n % 4 == 2 else 2))
    return scale if n % 2 == 0 else scale * cos(pi / (2 * n))


def _part(axis: int, start: int | None, stop: int | None) -> tuple[Any, ...]:
    """The index of a range along a negative axis."""
    return (..., slice(start, stop), *(slice(None),) * (-1 - axis))


def difference(lib: Any, x: Any, axis: int, scheme: str, boundary: str, out: Any = None) -> Any:
    """Differences along one axis, with no temporary arrays."""
    out = lib.empty_like(x, tuple(x.shape), out=out)
    if scheme == "central":
        return _central(lib, x, axis, boundary, out, 0.5)
    if scheme == "forward":
        return _step_down(lib, x, axis, boundary, out)
    lib.subtract(x[_part(axis, 1, None)], x[_part(axis, None, -1)], out=out[_part(axis, 1, None)])
    first, last = _part(axis, 0, 1), _part(axis, -1, None)
    if boundary == "periodic":
        lib.subtract(x[first], x[last], out=out[first])
    else:
        out[first] = 0.0 if boundary == "neumann" else x[first]
    return out


def _step_down(lib: Any, x: Any, axis: int, boundary: str, out: Any) -> Any:
    """Forward differences into ``out``."""
    lib.subtract(x[_part(axis, 1, None)], x[_part(axis, None, -1)], out=out[_part(axis, None, -1)])
    first, last = _part(axis, 0, 1), _part(axis, -1, None)
    if boundary == "periodic":
        lib.subtract(x[first], x[last], out=out[last])
    elif boundary == "neumann":
        out[last] = 0.0
    else:
        lib.negative(x[last], out=out[last])
    return out


def _central(lib: Any, x: Any, axis: int, boundary: str, out: Any, scale: float) -> Any:
    n = x.shape[axis]
    first, second = _part(axis, 0, 1), _part(axis, 1 % n, 1 % n + 1)
    last, before = _part(axis, n - 1, n), _part(axis, (n - 2) % n, (n - 2) % n + 1)
    lib.subtract(x[_part(axis, min(2, n), n)], x[_part(axis, 0, max(0, n - 2))], out=out[_part(axis, 1, max(1, n - 1))])
    if boundary == "periodic":
        lib.subtract(x[second], x[last], out=out[first])
        lib.subtract(x[first], x[before], out=out[last])
    elif n == 1:
        out[first] = 0.0
    elif boundary == "neumann":
        lib.subtract(x[second], x[first], out=out[first])
        lib.subtract(x[last], x[before], out=out[last])
    else:
        lib.copy(x[second], out=out[first])
        lib.negative(x[before], out=out[last])
    return lib.multiply(out, scale, out=out)


def adjoint_difference(lib: Any, x: Any, axis: int, scheme: str, boundary: str, out: Any = None) -> Any:
    """The adjoint of `difference`, with no temporary arrays."""
    out = lib.empty_like(x, tuple(x.shape), out=out)
    if scheme == "forward":
        return _step_up(lib, x, axis, boundary, out)
    n = x.shape[axis]
    first, last = _part(axis, 0, 1), _part(axis, n - 1, n)
    if scheme == "backward":
        lib.subtract(x[_part(axis, None, -1)], x[_part(axis, 1, None)], out=out[_part(axis, None, -1)])
        if boundary == "periodic":
            lib.subtract(x[last], x[first], out=out[last])
        elif boundary == "dirichlet":
            lib.copy(x[last], out=out[last])
        elif n == 1:
            out[first] = 0.0
        else:
            lib.copy(x[last], out=out[last])
            lib.negative(x[_part(axis, 1, 2)], out=out[first])
        return out
    if boundary != "neumann" or n == 1:
        return _central(lib, x, axis, boundary, out, -0.5)
    lib.subtract(x[_part(axis, 0, n - 2)], x[_part(axis, 2, n)], out=out[_part(axis, 1, n - 1)])
    lib.add(x[first], x[_part(axis, 1, 2)], out=out[first])
    lib.negative(out[first], out=out[first])
    lib.add(x[_part(axis, n - 2, n - 1)], x[last], out=out[last])
    return lib.multiply(out, 0.5, out=out)


def _step_up(lib: Any, x: Any, axis: int, boundary: str, out: Any) -> Any:
    """The adjoint of forward differences into ``out``."""
    n = x.shape[axis]
    first, last = _part(axis, 0, 1), _part(axis, n - 1, n)
    lib.subtract(x[_part(axis, None, -1)], x[_part(axis, 1, None)], out=out[_part(axis, 1, None)])
    if boundary == "periodic":
        lib.subtract(x[last], x[first], out=out[first])
    elif boundary == "dirichlet":
        lib.negative(x[first], out=out[first])
    elif n == 1:
        out[first] = 0.0
    else:
        lib.negative(x[first], out=out[first])
        lib.copy(x[_part(axis, n - 2, n - 1)], out=out[last])
    return out


def _add_step_up(lib: Any, x: Any, axis: int, boundary: str, out: Any) -> Any:
    """Add the adjoint of forward differences to ``out``."""
    head, tail = _part(axis, None, -1), _part(axis, 1, None)
    lib.add(out[tail], x[head], out=out[tail])
    if boundary == "neumann":
        lib.subtract(out[head], x[head], out=out[head])
        return out
    lib.subtract(out, x, out=out)
    if boundary == "periodic":
        first = _part(axis, 0, 1)
        lib.add(out[first], x[_part(axis, -1, None)], out=out[first])
    return out


def gradient(lib: Any, x: Any, axes: Any, ndim: int, boundary: str, out: Any = None) -> Any:
    """Forward differences along several axes, each written straight into its component."""
    split = x.ndim - ndim
    out = lib.empty_like(x, (*x.shape[:split], len(axes), *x.shape[split:]), out=out)
    for index, axis in enumerate(axes):
        _step_down(lib, x, axis, boundary, out[(..., index, *(slice(None),) * (ndim))])
    return out


def adjoint_gradient(lib: Any, x: Any, axes: Any, ndim: int, boundary: str, out: Any = None) -> Any:
    """The adjoint of `gradient`: the first component sets ``out``, the others are added to it."""
    split = x.ndim - ndim - 1
    out = lib.empty_like(x, (*x.shape[:split], *x.shape[split + 1 :]), out=out)
    for index, axis in enumerate(axes):
        part = x[(..., index, *(slice(None),) * (ndim))]
        (_step_up if index == 0 else _add_step_up)(lib, part, axis, boundary, out)
    return out


@diagonal_form.register
def _(operator: FiniteDifference) -> DiagonalIn | None:
    if operator.boundary != "periodic":
        return None
    shape, axis = operator.shape, operator.axis
    symbol = symbol_along(shape[axis], axis, operator.scheme)
    return DiagonalIn(basis_of(PERIODIC, shape, (axis,)), symbol, one(operator))


def gram_in_basis(left: LinearOperator, right: LinearOperator) -> DiagonalIn | None:
    """``left @ right`` where they are a difference or gradient and its adjoint, and a transform diagonalises them."""
    match left, right:
        case (Adjoint(operator=FiniteDifference() as d), FiniteDifference()) if d is right:
            axes, cogram = (d.axis,), False
        case (FiniteDifference() as d, Adjoint(operator=FiniteDifference() as other)) if d is other:
            axes, cogram = (d.axis,), True
        case (Adjoint(operator=Gradient() as d), Gradient()) if d is right:
            axes, cogram = d.axes, False
        case _:
            return None
    scheme = d.scheme if isinstance(d, FiniteDifference) else "forward"
    family = family_of(scheme, d.boundary, cogram)
    if family is None:
        return None
    spectrum = squares_over(family, d.shape, axes, scheme == "central")
    return DiagonalIn(basis_of(family, d.shape, axes), spectrum, one(left, right))


@rule(Composed, group="diagonalise")
def diagonalise_gram_of_differences(product: Composed) -> LinearOperator | None:
    """D.H @ D  ->  DiagonalIn(T, sum_j (2 sin h_j)^2)     (T by the boundary: an RFFT, DCT or DST; also D @ D.H)"""
    a, b, rest = adjacent(product)
    merged = gram_in_basis(a, b)
    return merged if merged is None or rest is None else compose(merged, rest)
