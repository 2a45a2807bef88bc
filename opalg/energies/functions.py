"""The functions a user writes energies with: ``sum_squares(e)``, ``norm1(e)``, ``indicator(x >= 0)``."""

from __future__ import annotations

from typing import Any

from opalg.arrays import library_name
from opalg.energies.affine import Affine, AffineExpression, Constraint
from opalg.energies.data import as_data, as_scalar, has_one_entry
from opalg.energies.energy import EnergyExpression, Term
from opalg.errors import NotAffineError, ParameterError, ShapeError
from opalg.functionals import Huber, Indicator, Norm1, Norm2, Norm21, PotentialSum, SumSquares
from opalg.functionals.calculus import Functional, applied
from opalg.functionals.potential import Potential
from opalg.functionals.sets import Set
from opalg.operators.algebra import LinearOperator
from opalg.operators.difference import Gradient
from opalg.program.expression import Expression, Literal


def term(functional: Functional, expression: Any) -> Term:
    """The energy ``functional(expression)``.

    Raises
    ------
    NotAffineError
        Where the expression is not an affine expression of variables.
    ShapeError, DtypeError
        Where the functional cannot take its shape, or takes real expressions only.
    """
    affine = _affine(expression, functional.text("..."))
    functional.check_shape(affine.shape)
    functional.check_kind(affine.kind)
    return Term(Literal(1.0), functional, affine)


@applied.register
def _(expression: AffineExpression, functional: Functional) -> Term:
    return term(functional, expression)


def _affine(expression: Any, taker: str) -> Affine:
    if isinstance(expression, AffineExpression):
        return expression.as_affine()
    hint = ""
    if isinstance(expression, LinearOperator):
        hint = f"; apply the operator to a variable: {expression!r} @ x"
    elif isinstance(expression, Constraint):
        hint = f"; a constraint becomes an energy by oa.indicator({expression!r})"
    elif isinstance(expression, EnergyExpression):
        hint = "; an energy is a number already, so weight it and add it to others"
    elif library_name(expression) is not None or isinstance(expression, Expression):
        hint = "; data have no unknowns, so declare x = oa.Variable(shape) and write what depends on it"
    raise NotAffineError(
        f"{taker} takes an affine expression of variables such as K @ x - y, not {type(expression).__name__}{hint}"
    )


def _weights(weights: Any, expression: Any) -> Expression | None:
    if weights is None:
        return None
    found = as_data(weights)
    if found is None:
        raise ParameterError(f"weights must be numbers, an array or a Parameter, not {type(weights).__name__}")
    shape = getattr(expression, "shape", found.shape)
    if has_one_entry(found):
        return as_scalar(found)
    if found.shape != shape:
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
    """The sum of 2-norms taken over one axis or several; of a gradient, isotropic total variation.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    axis : int or tuple of int
        The axes that run inside a group. They count the axes of what the operators in ``e`` give, without batch axes
        in front of those; negative axes count from the end and may reach batch axes, such as the colours of a picture
        for vectorial total variation, ``axis=(-4, -3)`` of differences of shape ``(3, 2, h, w)``.
    """
    affine = _affine(e, "norm21(...)")
    own = min(len(part.operator.out_shape) for part in affine.parts)
    functional = Norm21(axis)
    if own < len(affine.shape):
        axes = functional.axis if isinstance(functional.axis, tuple) else (functional.axis,)
        counted = tuple(a for a in axes if a >= 0)
        if counted:
            Norm21(counted).check_shape(affine.shape[len(affine.shape) - own :])
        functional = Norm21(tuple(a if a < 0 else a - own for a in axes))
    return term(functional, affine)


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
    found = type(constraint).__name__ if e is None else f"{type(constraint).__name__} and {type(e).__name__}"
    if isinstance(constraint, bool):
        found += f" (== gives {constraint} for {'an expression and itself' if constraint else 'different shapes'})"
    raise ParameterError(
        f"oa.indicator takes a constraint, or a set and an expression, not {found}; write oa.indicator(x >= 0), "
        f"oa.indicator(A @ x == b) or oa.indicator(oa.box(0, 1), x)"
    )


def total_variation(x: Any, isotropic: bool = True, boundary: str = "neumann") -> Term:
    """The total variation of an expression over all its axes: ``norm21`` or ``norm1`` of its forward differences.

    References
    ----------
    Rudin, Osher, Fatemi (1992).
    """
    affine = _affine(x, "total_variation(...)")
    differences = Gradient(affine.shape, boundary=boundary) @ affine
    return norm21(differences) if isotropic else norm1(differences)
