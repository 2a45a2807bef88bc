"""Pointwise multiplication: diagonals and masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.errors import DtypeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, exact
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import Added, Adjoint, Composed, Identity, LinearOperator, Scaled, Zero, add, compose
from opalg.operators.axes import as_shape
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import (
    as_data,
    check_broadcast,
    conjugate,
    has_constant_zero,
    is_nonnegative,
    pseudo_reciprocal,
    text,
    times,
)
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.rules import rule


@node
class Diagonal(LinearOperator):
    """Pointwise multiplication, ``(D x)_i = d_i x_i``.

    Parameters
    ----------
    diagonal : array, Constant, Parameter or Expression
        The diagonal ``d``; real or complex; it broadcasts to ``in_shape``.
    in_shape : tuple of int, optional
        The shape it acts on; by default that of ``d``.

    Raises
    ------
    ShapeError
        Where ``d`` does not broadcast to ``in_shape``.
    DtypeError
        Where ``d`` is boolean; use `Mask`.

    Notes
    -----
    ``D.H y = conj(d) y``; ``||D|| = max |d_i|`` (exact); the inverse is ``Diagonal(1 / d)``. Where d is constant and
    all its entries have the same magnitude ``c > 0``, as signs have, ``D.H D = D D.H = c^2 I``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Diagonal(np.array([1.0, 2.0])) @ np.array([3.0, 4.0])
    array([3., 8.])
    """

    diagonal: Any
    in_shape: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "diagonal", as_data(self.diagonal, "Diagonal"))
        shape = self.diagonal.shape if self.in_shape is None else as_shape(self.in_shape)
        object.__setattr__(self, "in_shape", shape)
        check_broadcast(self.diagonal, shape, "the diagonal of Diagonal")

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.in_shape

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.diagonal.kind == "complex" else "any"

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        return self.diagonal * x

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.in_shape, self)
        return conjugate(self.diagonal) * y

    @property
    def facts(self) -> Facts:
        d = self.diagonal
        if 0 in self.in_shape:
            return Facts(YES, YES, YES, norm=exact(0.0), lowest=Literal(0.0))
        real, scale = d.kind == "real", self._scale
        return Facts(
            diagonal=YES,
            self_adjoint=YES if real else UNKNOWN,
            positive=YES if is_nonnegative(d) else UNKNOWN,
            gram_scale=scale,
            cogram_scale=scale,
            norm=exact(ex.largest(abs(d))),
            lowest=ex.smallest(d) if real else None,
        )

    @cached_property
    def _scale(self) -> Literal | None:
        """The square of the magnitude of all entries, where they are constant and it is the same and not zero."""
        d = self.diagonal
        if isinstance(d, Literal):
            magnitude = abs(d.value)
        elif isinstance(d, Constant) and 0 not in d.shape:
            size = abs(d.value)
            magnitude = float(size.reshape((-1,))[0])
            if not bool((size == magnitude).all()):
                return None
        else:
            return None
        return Literal(float(magnitude) ** 2) if magnitude > 0 else None

    @property
    def H(self) -> LinearOperator:
        return Diagonal(conjugate(self.diagonal), self.in_shape)

    def conj(self) -> LinearOperator:
        return self.H

    def inverse(self) -> LinearOperator:
        """``Diagonal(1 / d)``.

        Raises
        ------
        UnsupportedError
            Where ``d`` is constant and has a zero; the value of a parameter is not looked at, since it may change.
        """
        if has_constant_zero(self.diagonal):
            raise UnsupportedError(f"{self!r} has a zero on its diagonal, so it has no inverse")
        return Diagonal(1.0 / self.diagonal, self.in_shape)

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        """``Diagonal(1 / d)`` with zeros where ``d`` is zero, up to the cutoff."""
        return Diagonal(pseudo_reciprocal(self.diagonal, cutoff), self.in_shape)

    def __repr__(self) -> str:
        shape = "" if self.in_shape == self.diagonal.shape else f", {self.in_shape}"
        return f"Diagonal({text(self.diagonal)}{shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        z = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))
        width = Parameter(rng.standard_normal((3, 1)), name="width")
        return [
            Diagonal(rng.standard_normal((3, 4))),
            Diagonal(z),
            Diagonal(width, (3, 5)),
            Diagonal(np.array([2.5])),
            Diagonal(ex.square(width), (3, 2)),
            Diagonal(2.0, (4,)),
        ]


@node
class Mask(LinearOperator):
    """Keep the entries where a mask is true and set the others to zero; the shape stays.

    Parameters
    ----------
    mask : boolean array or Constant
        Which entries to keep.

    Raises
    ------
    DtypeError
        Where the mask is not boolean; weights are a `Diagonal`.

    Notes
    -----
    An orthogonal projection: ``M.H = M = M @ M``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Mask(np.array([True, False])) @ np.array([3.0, 4.0])
    array([3., 0.])
    """

    mask: Any

    def __post_init__(self) -> None:
        mask = self.mask if isinstance(self.mask, Expression) else Constant(self.mask)
        if not isinstance(mask, Constant) or mask.kind != "bool":
            raise DtypeError(f"Mask takes a boolean array, but was given {mask.kind} data; use Diagonal for weights")
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "_some", bool(mask.value.any()))
        object.__setattr__(self, "_every", bool(mask.value.all()))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.mask.shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.mask.shape

    @property
    def weights(self) -> Expression:
        """The mask as the numbers 1 and 0."""
        return ex.where(self.mask, 1.0, 0.0)

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        return self.weights * x

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.trace(y)

    @property
    def facts(self) -> Facts:
        some, every = self._some, self._every  # type: ignore[attr-defined]
        scale = Literal(1.0 if every else 0.0) if every or not some else None
        return Facts(YES, YES, YES, scale, scale, exact(float(some)), Literal(float(every)))

    def inverse(self) -> LinearOperator:
        if self.facts.lowest == Literal(1.0):
            return self
        raise UnsupportedError(f"{self!r} sets entries to zero, so it has no inverse")

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        return self

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Mask({text(self.mask)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        full, none = np.ones((2, 2), bool), np.zeros((3,), bool)
        return [Mask(rng.random((3, 4)) < 0.5), Mask(rng.random((5,)) < 0.5), Mask(full), Mask(none)]


def diagonal_of(operator: LinearOperator) -> Expression | None:
    """The formula of the diagonal of a `Diagonal`, `Mask` or multiple of the identity; None for other operators."""
    match operator:
        case Diagonal(diagonal=d):
            return d
        case Mask():
            return operator.weights
        case Identity():
            return Literal(1.0)
        case Scaled(factor=c, operator=Identity()):
            return c
        case Scaled(factor=c, operator=Mask() as mask):
            return c * mask.weights
    return None


@rule(Mask, group="simplify")
def drop_trivial_mask(mask: Mask) -> LinearOperator | None:
    """Mask(everything)  ->  I, Mask(nothing)  ->  0"""
    if mask.facts.norm == exact(0.0):
        return Zero(mask.in_shape)
    return Identity(mask.in_shape) if mask.facts.lowest == Literal(1.0) else None


@rule(Composed, group="merge")
def merge_masks(product: Composed) -> LinearOperator | None:
    """Mask(m) @ Mask(n)  ->  Mask(m and n)     (M @ M -> M; disjoint masks -> 0)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Mask(), Mask()):
            merged = _conjunction(a, b)
            return merged if rest is None else compose(merged, rest)
    return None


def _conjunction(a: Mask, b: Mask) -> LinearOperator:
    """The mask of the entries that two masks keep; one of them where it keeps no more than the other."""
    left, right = (backend_of(m.mask.value).to_numpy(m.mask.value) for m in (a, b))
    both = left & right
    for mask, kept in ((a, left), (b, right)):
        if np.array_equal(both, kept):
            return mask
    return Mask(Constant(both, copy=False)) if both.any() else Zero(a.in_shape)


@rule(Composed, group="merge")
def merge_diagonals_in_product(product: Composed) -> LinearOperator | None:
    """diag(a) @ diag(b)  ->  diag(a b)"""
    a, b, rest = adjacent(product)
    left, right = diagonal_of(a), diagonal_of(b)
    if left is None or right is None:
        return None
    merged = Diagonal(times(left, right), a.in_shape)
    return merged if rest is None else compose(merged, rest)


@rule(Scaled, group="merge")
def merge_scalar_into_diagonal(scaled: Scaled) -> LinearOperator | None:
    """c diag(d)  ->  diag(c d)"""
    match scaled:
        case Scaled(factor=c, operator=Diagonal(diagonal=d, in_shape=shape)):
            return Diagonal(times(c, d), shape)
    return None


@rule(Added, group="merge")
def merge_diagonals_in_sum(total: Added) -> LinearOperator | None:
    """c I + diag(a) + diag(b)  ->  diag(c + a + b)"""
    diagonals = [d for o in total.operators if (d := diagonal_of(o)) is not None]
    if len(diagonals) < 2:
        return None
    others = [o for o in total.operators if diagonal_of(o) is None]
    merged = diagonals[0]
    for d in diagonals[1:]:
        merged = merged + d
    if merged.shape == ():
        return add(merged * Identity(total.in_shape), *others)
    return add(Diagonal(merged, total.in_shape), *others)


def adjacent(product: Composed) -> tuple[LinearOperator, LinearOperator, LinearOperator | None]:
    """The two leftmost factors of a product and the product of the others (None where there are no others)."""
    inner = product.inner
    return (product.outer, inner.outer, inner.inner) if isinstance(inner, Composed) else (product.outer, inner, None)


def merged_neighbours(product: Composed, sort: type, merge: Callable[[Any, Any], LinearOperator | None]) -> Any:
    """A product whose two leftmost factors, both of a class or both adjoints of it, are merged; None for others."""
    a, b, rest = adjacent(product)
    if isinstance(a, sort) and isinstance(b, sort):
        merged = merge(a, b)
    elif all(isinstance(f, Adjoint) and isinstance(f.operator, sort) for f in (a, b)):
        back = merge(b.H, a.H)
        merged = None if back is None else back.H
    else:
        return None
    return merged if merged is None or rest is None else compose(merged, rest)
