"""The functions a user writes energies with: ``sum_squares(e)``, ``norm1(e)``, ``indicator(x >= 0)``."""

from __future__ import annotations

from typing import Any

from opalg.energies.affine import Affine, AffineExpression, Constraint, as_data
from opalg.energies.energy import Term
from opalg.errors import NotAffineError, ParameterError, ShapeError
from opalg.functionals import Huber, Indicator, Norm1, Norm2, Norm21, PotentialSum, SumSquares
from opalg.functionals.calculus import Functional
from opalg.functionals.potential import Potential
from opalg.functionals.sets import Set
from opalg.operators.difference import Gradient
from opalg.program.expression import Expression, Literal


def term(functional: Functional, expression: Any) -> Term:
    """The energy ``functional(expression)``.

    Raises
    ------
    NotAffineError
        Where the expression is not an affine expression of variables.
    ShapeError
        Where the functional cannot take its shape.
    """
    if not isinstance(expression, AffineExpression):
        raise NotAffineError(
            f"{functional!r} takes an expression of variables such as K @ x - y, not {type(expression).__name__}"
        )
    affine: Affine = expression.as_affine()
    functional.check_shape(affine.shape)
    return Term(Literal(1.0), functional, affine)


def _weights(weights: Any, expression: Any) -> Expression | None:
    if weights is None:
        return None
    found = as_data(weights)
    if found is None:
        raise ParameterError(f"weights must be numbers, an array or a Parameter, not {type(weights).__name__}")
    shape = getattr(expression, "shape", found.shape)
    if found.shape not in ((), shape):
        raise ShapeError(f"the weights have shape {found.shape}, the expression {shape}; give one weight per entry")
    return found


def sum_squares(e: Any, weights: Any = None) -> Term:
    """The sum of squared magnitudes, ``sum_i w_i |e_i|^2``; there is no hidden one half.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    weights : array or Parameter, optional
        Nonnegative weights, one per entry.
    """
    return term(SumSquares(_weights(weights, e)), e)


def norm1(e: Any, weights: Any = None) -> Term:
    """The sum of magnitudes, ``sum_i w_i |e_i|``."""
    return term(Norm1(_weights(weights, e)), e)


def norm2(e: Any) -> Term:
    """The Euclidean norm (not squared) of all entries."""
    return term(Norm2(), e)


def norm21(e: Any, axis: int | tuple[int, ...] = 0) -> Term:
    """The sum of 2-norms taken over one axis or several, of ``e``'s own axes; of a gradient, isotropic total variation."""
    return term(Norm21(axis), e)


def huber(e: Any, delta: Any) -> Term:
    """The sum of ``t^2 / 2`` for ``|t| <= delta`` and ``delta (|t| - delta / 2)`` beyond (Huber 1964)."""
    return term(Huber(delta), e)


def pointwise(potential: Potential, e: Any) -> Term:
    """The sum of a scalar potential over all entries."""
    return term(PotentialSum(potential), e)


def indicator(constraint: Any, e: Any = None) -> Term:
    """Zero where a constraint holds, infinity elsewhere.

    Parameters
    ----------
    constraint : constraint or set
        ``x >= 0``, ``A @ x == b``, or a set such as ``oa.box(0, 1)`` together with an expression.
    e : affine expression, optional
        What must lie in the set.
    """
    if isinstance(constraint, Constraint) and e is None:
        return term(Indicator(constraint.set), constraint.expression)
    if isinstance(constraint, Set) and e is not None:
        return term(Indicator(constraint), e)
    raise ParameterError("write oa.indicator(x >= 0), oa.indicator(A @ x == b) or oa.indicator(oa.box(0, 1), x)")


def total_variation(x: Any, isotropic: bool = True, boundary: str = "neumann") -> Term:
    """The total variation of an expression over all its axes: ``norm21`` or ``norm1`` of its forward differences.

    References
    ----------
    Rudin, Osher, Fatemi (1992).
    """
    differences = Gradient(x.shape, boundary=boundary) @ x
    return norm21(differences) if isotropic else norm1(differences)
