"""Real parts, imaginary parts and conjugates of complex arrays, as maps that are linear over the reals."""

from __future__ import annotations

import numpy as np

from opalg.facts import NO, YES, exact
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, Zero, compose, scale
from opalg.operators.batched import AsComplex
from opalg.operators.diagonal import adjacent
from opalg.operators.knowledge import Facts
from opalg.operators.shaped import SameShape
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.rules import rule


class RealOfComplex(SameShape):
    """What takes one of the two reals that each complex entry is."""

    in_kind = "complex"

    def out_kind(self, kind: str) -> str:
        return "real"

    @property
    def facts(self) -> Facts:
        return Facts(NO, NO, NO, cogram_scale=Literal(1.0), norm=exact(1.0))


@node
class Real(RealOfComplex):
    """The real part of a complex array, ``y = Re x``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.

    Notes
    -----
    Complex in, real out, linear over the reals. With ``Re sum(conj(u) v)`` as inner product the adjoint is the real
    array as a complex one, `AsComplex`; ``R @ R.H = I`` and ``||R|| = 1`` (exact).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Real((2,)) @ np.array([1 + 2j, 3j])
    array([1., 0.])
    """

    shape: Shape

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.shape, self)
        return ex.pointwise("real", x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.H.trace(y)

    @property
    def H(self) -> LinearOperator:
        return AsComplex(self.shape)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Real({self.shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Real((3, 2)), Real((1,))]


@node
class Imag(RealOfComplex):
    """The imaginary part of a complex array, ``y = Im x``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.

    Notes
    -----
    Complex in, real out, linear over the reals. With ``Re sum(conj(u) v)`` as inner product ``I.H y = i y``;
    ``I @ I.H`` is the identity and ``||I|| = 1`` (exact).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Imag((2,)) @ np.array([1 + 2j, 3j])
    array([2., 3.])
    """

    shape: Shape

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.shape, self)
        return ex.pointwise("imag", x)

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.shape, self)
        return Literal(1j) * y

    def conj(self) -> LinearOperator:
        return -self

    def __repr__(self) -> str:
        return f"Imag({self.shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Imag((3, 2)), Imag((1,))]


@node
class Conj(SameShape):
    """The complex conjugate, ``y = conj(x)``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.

    Notes
    -----
    Linear over the reals only: ``C (i x) = -i C x``. With ``Re sum(conj(u) v)`` as inner product it is its own adjoint
    and inverse; ``||C|| = 1`` (exact), lowest eigenvalue -1 (at imaginary arrays). On real arrays it is the identity.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Conj((2,)) @ np.array([1 + 2j, 3j])
    array([1.-2.j, 0.-3.j])
    """

    shape: Shape

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.shape, self)
        return ex.pointwise("conj", x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.trace(y)

    def conj(self) -> LinearOperator:
        return self

    @property
    def facts(self) -> Facts:
        one = Literal(1.0)
        return Facts(self_adjoint=YES, gram_scale=one, cogram_scale=one, norm=exact(1.0), lowest=Literal(-1.0))

    def __repr__(self) -> str:
        return f"Conj({self.shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Conj((3, 2)), Conj((1,))]


@rule(Real, group="simplify")
def real_part_is_adjoint(part: Real) -> LinearOperator | None:
    """Real  ->  AsComplex.H     (so that rules see one form of it)"""
    return Adjoint(AsComplex(part.shape))


@rule(Composed, group="simplify")
def merge_parts(product: Composed) -> LinearOperator | None:
    """Real @ Conj -> Real, Imag @ Conj -> -Imag, Conj @ AsComplex -> AsComplex, Imag @ AsComplex -> 0"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Real() | Adjoint(operator=AsComplex()), Conj()):
            merged: LinearOperator = a
        case (Imag(), Conj()):
            merged = scale(-1.0, a)
        case (Conj(), AsComplex()):
            merged = b
        case (Imag(), AsComplex()):
            merged = Zero(b.in_shape, a.out_shape)
        case _:
            return None
    return merged if rest is None else compose(merged, rest)
