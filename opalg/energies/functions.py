"""The functions a user writes energies with: ``sum_squares(e)``, ``norm1(e)``, ``indicator(x >= 0)``."""

from __future__ import annotations

from typing import Any

from opalg.energies.affine import Affine, AffineExpression, Constraint
from opalg.energies.energy import EnergyExpression, Term
from opalg.errors import NotAffineError, ParameterError
from opalg.functionals.calculus import Functional, applied
from opalg.functionals.indicator import Indicator
from opalg.functionals.sets import Set
from opalg.operators.algebra import LinearOperator
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
    own = min(len(part.operator.out_shape) for part in affine.parts)
    functional = functional.behind(len(affine.shape) - own)
    functional.check_shape(affine.shape)
    functional.check_kind(affine.kind)
    return Term(Literal(1.0), functional, affine)


@applied.register(AffineExpression)
@applied.register(LinearOperator)
@applied.register(Constraint)
@applied.register(EnergyExpression)
@applied.register(Expression)
def _(expression: Any, functional: Functional) -> Term:
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
    elif isinstance(expression, Expression):
        hint = "; data have no unknowns, so declare x = oa.Variable(shape) and write what depends on it"
    raise NotAffineError(
        f"{taker} takes an affine expression of variables such as K @ x - y, not {type(expression).__name__}{hint}"
    )


def indicator(constraint: Any, e: Any = None) -> Term:
    """Zero where a constraint holds, infinity elsewhere.

    Parameters
    ----------
    constraint : constraint or set
        ``x >= 0``, ``A @ x == b``, or a set such as ``oa.box(0, 1)`` together with an expression.
    e : affine expression, optional
        What must lie in the set.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.indicator(x >= 0).value(np.array([1.0, 0.0])), oa.indicator(x >= 0).value(np.array([1.0, -1.0]))
    (0.0, inf)
    >>> ball = oa.indicator(oa.ball2(1.0), x - np.array([3.0, 4.0]))
    >>> oa.minimize(oa.sum_squares(x) + ball).x.round(5)
    array([2.4, 3.2])
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


__all__ = ["indicator", "term"]
