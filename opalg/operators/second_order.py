"""Second differences: Laplacian, Hessian, and the symmetrised gradient of total generalised variation."""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import cos, pi, sqrt
from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.facts import NO, UNKNOWN, YES, exact, upper
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose
from opalg.operators.axes import as_axes, as_shape
from opalg.operators.diagonal import adjacent
from opalg.operators.difference import check_boundary, largest_difference
from opalg.operators.knowledge import Facts
from opalg.operators.local import one
from opalg.operators.second_order_kernels import (
    adjoint_hessian,
    adjoint_symmetrized_gradient,
    hessian,
    laplacian,
    symmetrized_gradient,
)
from opalg.operators.shaped import OnShape, SameShape
from opalg.operators.spectral import DiagonalIn, diagonal_form
from opalg.operators.stencil_spectra import MIRRORED, PERIODIC, SECOND, basis_of, family_of, squares_over
from opalg.program import expression as ex
from opalg.program.expression import Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule


@node
class _SecondDifferences(OnShape):
    """What the operators of second differences share: the image, its boundary and the axes."""

    shape: Shape
    boundary: str = "neumann"
    axes: Any = None

    def __post_init__(self) -> None:
        name, shape = type(self).__name__, as_shape(self.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", as_axes(shape, self.axes, name))
        check_boundary(self.boundary, name)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        axes = "" if self.axes == tuple(range(-len(self.shape), 0)) else f", axes={self.axes}"
        return f"{type(self).__name__}({self.shape}, boundary={self.boundary!r}{axes})"


class _UpperTriangle(_SecondDifferences):
    """One whose results are the components of a symmetric matrix at each pixel."""

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (len(packed(len(self.axes))), *self.shape)

    def _kernel(self, function: Any) -> Kernel:
        arguments = (self.axes, packed(len(self.axes)), len(self.shape), self.boundary)
        return Kernel(function, arguments, passes=3.0 * self.out_shape[0], scratch=(self.shape,))


@node
class Laplacian(_SecondDifferences, SameShape):
    """The sum of second differences, ``(L x)_i = sum_j x_(i + e_j) - 2 x_i + x_(i - e_j)``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on; the result has it too.
    boundary : str
        What lies outside: ``"periodic"`` (the array repeats), ``"neumann"`` (the border value repeats) or
        ``"dirichlet"`` (zeros).
    axes : tuple of int, optional
        The axes ``j``, counted within ``shape``; by default all.

    Raises
    ------
    ShapeError
        Where there are no such axes.
    UnsupportedError
        For another boundary.

    Notes
    -----
    It is its own adjoint, and negative: ``-L`` is the gram of `Gradient` for "periodic" and "neumann". For "dirichlet"
    both ends have zeros outside, while the gram of a one-sided difference has them at one end only. It is diagonal in
    the `RFFT`, the `DCT` of type 2 or the `DST` of type 1, so that its inverse (for "dirichlet") and sums with other
    operators of that basis are cheap. The norm is exact: the sum over the axes of ``4 cos(pi / (2 n))^2`` for
    "neumann", for instance (Strang 1999, The discrete cosine transform).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Laplacian((4,), "dirichlet") @ np.array([1.0, 4.0, 9.0, 16.0])
    array([  2.,   2.,   2., -23.])
    """

    def kernel(self) -> Kernel:
        return Kernel(laplacian, (self.axes, self.boundary), passes=2.0 * len(self.axes) + 1.0)

    def adjoint_kernel(self) -> Kernel:
        return self.kernel()

    @property
    def H(self) -> LinearOperator:
        return self

    @property
    def facts(self) -> Facts:
        size = sum(largest_second_difference(self.shape[axis], self.boundary) for axis in self.axes)
        zero = Literal(0.0) if size == 0.0 else None
        sign = YES if size == 0.0 else NO
        return Facts(UNKNOWN, YES, sign, zero, zero, norm=exact(size), lowest=Literal(-size))

    def inverse(self) -> LinearOperator:
        """The inverse by sine transforms, for "dirichlet".

        Raises
        ------
        UnsupportedError
            For the other boundaries, for which constants have no second differences.
        """
        form = diagonal_form(self)
        if self.boundary != "dirichlet" or form is None:
            raise UnsupportedError(f"{self!r} maps constants to zero, so it has no inverse; add a multiple of Identity")
        return form.inverse()

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        """The pseudo-inverse in the basis that diagonalises it."""
        form = diagonal_form(self)
        return super().pinv(cutoff) if form is None else form.pinv(cutoff)

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        every: list[LinearOperator] = [Laplacian((3, 4), boundary) for boundary in SECOND]
        return [*every, Laplacian((2, 1, 3), "periodic"), Laplacian((1, 2), "dirichlet"), Laplacian((3, 2), axes=0)]


@node
class Hessian(_UpperTriangle):
    """All second differences, as components on a new first axis: the upper triangle of the Hessian matrix by rows.

    ``(H x)_jj`` are the second differences ``x_(i + e_j) - 2 x_i + x_(i - e_j)`` and, for ``j < k``,
    ``(H x)_jk = sqrt(2) D_j D_k x`` with forward differences ``D``.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image; with d axes the result has shape ``(d * (d + 1) // 2, *shape)``.
    boundary : str
        As for `Laplacian`.
    axes : tuple of int, optional
        The axes to differentiate, counted within ``shape``; by default all.

    Raises
    ------
    ShapeError, UnsupportedError
        As for `Laplacian`.

    Notes
    -----
    A mixed component stands for two equal entries of the matrix, so it has the factor ``sqrt(2)``: the length of the
    vector of components is the Frobenius norm of the matrix, and ``norm21`` of it the second-order total variation.
    Components are in the order 00, 01, ..., 11, 12, ... .

    The adjoint is the sum of the components' adjoints. For "periodic" and "neumann" the gram is the square of the
    `Laplacian`, diagonal in its basis, and the norm exact; for "dirichlet" on several axes the norm is an upper bound.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> i, j = np.meshgrid(np.arange(5.0), np.arange(5.0), indexing="ij")
    >>> np.round((oa.Hessian((5, 5)) @ (i * i + 3 * i * j))[:, 2, 2] / [1, np.sqrt(2), 1], 12).tolist()
    [2.0, 3.0, 0.0]
    """

    def kernel(self) -> Kernel:
        return self._kernel(hessian)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(adjoint_hessian)

    @property
    def facts(self) -> Facts:
        sizes = [self.shape[axis] for axis in self.axes]
        pure = [largest_second_difference(n, self.boundary) for n in sizes]
        if self.boundary != "dirichlet" or len(sizes) == 1:
            return Facts(norm=exact(sum(pure)))
        mixed = [largest_difference(n, "forward", self.boundary) ** 2 for n in sizes]
        pairs = [(i, j) for i, j in packed(len(sizes)) if i < j]
        return Facts(norm=upper(sqrt(sum(p**2 for p in pure) + 2 * sum(mixed[i] * mixed[j] for i, j in pairs))))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        every: list[LinearOperator] = [Hessian((3, 2), boundary) for boundary in SECOND]
        return [
            *every,
            Hessian((2, 1, 2), "neumann"),
            Hessian((3, 2), "dirichlet", axes=0),
            Hessian((1, 4), "periodic"),
        ]


@node
class SymmetrizedGradient(_UpperTriangle):
    """The symmetric part of the derivative of a field of vectors: the upper triangle by rows, on the first axis.

    ``(E w)_jj = D_j w_j`` and, for ``j < k``, ``(E w)_jk = sqrt(2) (D_j w_k + D_k w_j) / 2`` with backward differences
    ``D``.

    Parameters
    ----------
    shape : tuple of int
        The shape of one component of the field; with d axes it takes ``(d, *shape)`` to ``(d * (d + 1) // 2, *shape)``.
    boundary : str
        What lies outside: ``"periodic"``, ``"neumann"`` (the border value repeats, so the first difference is zero) or
        ``"dirichlet"`` (zeros).
    axes : tuple of int, optional
        The axes of the field's components, counted within ``shape``; by default all.

    Raises
    ------
    ShapeError, UnsupportedError
        As for `Laplacian`.

    Notes
    -----
    With `Gradient` it makes second-order total generalised variation, ``min_w a_1 |G x - w| + a_0 |E w|``, where it is
    zero for the gradients of affine images (Bredies, Kunisch, Pock 2010). A mixed component stands for two equal
    entries of the symmetric matrix, so it has the factor ``sqrt(2)``: the length of the vector of components is the
    Frobenius norm, and ``norm21`` of it the one of that paper. Components are in the order 00, 01, ..., 11, 12, ... .

    The adjoint is minus the divergence of the symmetric matrix, row by row. ``||E||^2 <= sum_j ||D_j||^2``, exact for
    "periodic" and on one axis. The gram couples the components of the field, so no transform of the image alone makes
    it diagonal, but on one axis, where it is that of the backward difference.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.SymmetrizedGradient((4, 5))
    SymmetrizedGradient((4, 5), boundary='neumann')
    >>> float(np.abs(oa.SymmetrizedGradient((4, 5)) @ np.ones((2, 4, 5))).max())
    0.0
    """

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return (len(self.axes), *self.shape)

    def kernel(self) -> Kernel:
        return self._kernel(symmetrized_gradient)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(adjoint_symmetrized_gradient)

    @property
    def facts(self) -> Facts:
        size = sqrt(sum(largest_difference(self.shape[a], "backward", self.boundary) ** 2 for a in self.axes))
        known = self.boundary == "periodic" or len(self.axes) == 1 or size == 0.0
        return Facts(norm=exact(size) if known else upper(size))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        every: list[LinearOperator] = [SymmetrizedGradient((3, 2), boundary) for boundary in SECOND]
        more = [SymmetrizedGradient((2, 1, 2)), SymmetrizedGradient((3, 2), "dirichlet", axes=1)]
        return [*every, *more, SymmetrizedGradient((1, 4), "periodic")]


def packed(count: int) -> tuple[tuple[int, int], ...]:
    """The pairs ``(j, k)``, ``j <= k``, of a symmetric matrix in the order of its components."""
    return tuple(combinations_with_replacement(range(count), 2))


def largest_second_difference(n: int, boundary: str) -> float:
    """The largest eigenvalue, in magnitude, of the second differences of n entries."""
    if boundary == "dirichlet":
        return 4.0 * cos(pi / (2 * n + 2)) ** 2
    return largest_difference(n, "forward", boundary) ** 2


@diagonal_form.register
def _(operator: Laplacian) -> DiagonalIn | None:
    family = SECOND[operator.boundary]
    spectrum = -squares_over(family, operator.shape, operator.axes)
    return DiagonalIn(basis_of(family, operator.shape, operator.axes), spectrum, one(operator))


@rule(Composed, group="diagonalise")
def diagonalise_gram_of_hessian(product: Composed) -> LinearOperator | None:
    """H.H @ H  ->  DiagonalIn(T, (sum_j (2 sin h_j)^2)^2)     (T an RFFT or DCT; on one axis also a DST)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=Hessian() as h), Hessian(shape=shape, axes=axes, boundary=boundary)) if h is b:
            family = SECOND[boundary]
            if len(axes) > 1 and family not in (PERIODIC, MIRRORED):
                return None
            spectrum = ex.square(squares_over(family, shape, axes))
            merged = DiagonalIn(basis_of(family, shape, axes), spectrum, one(a, b))
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Composed, group="diagonalise")
def diagonalise_gram_on_one_axis(product: Composed) -> LinearOperator | None:
    """E.H @ E  ->  DiagonalIn(T, (2 sin h)^2)     (E the symmetrised gradient of a field with one component)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=SymmetrizedGradient() as e), SymmetrizedGradient(axes=(axis,), boundary=boundary)):
            family = family_of("backward", boundary)
            if e is not b or family is None:
                return None
            spectrum = squares_over(family, b.in_shape, (axis,))
            merged = DiagonalIn(basis_of(family, b.in_shape, (axis,)), spectrum, one(a, b))
            return merged if rest is None else compose(merged, rest)
    return None
