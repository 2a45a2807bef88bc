"""Proximal steps and projections inside maps: ``oa.prox(oa.nonneg, x - tau * oa.grad(E))``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opalg.energies.affine import Variable
from opalg.energies.data import as_data
from opalg.energies.energy import Term
from opalg.energies.maps import MapExpression, as_map
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.functionals.calculus import Functional
from opalg.functionals.composed_prox import can_compose, composed_prox
from opalg.functionals.evaluation import need
from opalg.functionals.indicator import Indicator
from opalg.functionals.sets import Set
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.program import expression as ex
from opalg.program.expression import Expression, Shape


@node
class ProxMap(MapExpression):
    """``prox_{t f}`` of a map."""

    functional: Functional
    inner: MapExpression
    step: Expression

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.inner.shape

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.inner.kind

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        return ex.broadcast_to(self.functional.define_prox(self.inner.trace(point), self.step), self.shape)

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        """That of what the step is taken from, which it leaves alone where it is not active."""
        return self.inner.linear_part(variable)

    def __repr__(self) -> str:
        return f"prox of {self.functional!r} at ({self.inner!r})"


@node
class TermProxMap(MapExpression):
    """``prox_{t w f(A . + b)}`` of a map: that of a whole term in its one variable."""

    term: Term
    inner: MapExpression
    step: Expression

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.inner.shape

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.inner.kind

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        functional, (part,) = self.term.functional, self.term.expression.parts
        step = self.step if functional.facts.indicator else self.step * self.term.weight
        offset = self.term.expression.offset
        found = composed_prox(functional, part.operator, offset, self.inner.trace(point), step)
        assert found is not None
        return ex.broadcast_to(found, self.shape)

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        """That of what the step is taken from."""
        return self.inner.linear_part(variable)

    def __repr__(self) -> str:
        return f"prox of {self.term!r} at ({self.inner!r})"


def prox(functional: Any, expression: Any, step: Any = 1.0) -> MapExpression:
    """A proximal step, or the projection onto a set, as part of a map that `opalg.fixed_point` solves.

    Parameters
    ----------
    functional : Functional, set or term
        Such as ``oa.functionals.Norm1()``, ``oa.functionals.PlugAndPlay(denoiser)`` or ``oa.nonneg``; or a term of one
        variable, as ``0.5 * oa.sum_squares(A @ x - y)``, whose prox in that variable is known.
    expression : map or affine expression
        Where it is taken.
    step : number or Parameter
        The ``t`` of ``argmin_u f(u) + |u - v|^2 / (2 t)``; of no matter for sets.

    Returns
    -------
    MapExpression
        Its derivative is that of the prox: a mask for ``oa.nonneg``.

    Raises
    ------
    ParameterError
        For what is neither a functional, nor a set, nor a term of one variable.
    UnsupportedError
        Where no prox is known.
    ShapeError, DtypeError
        Where the functional does not take such arrays, or the step is no number.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable(2, name="x")
    >>> data = 0.5 * oa.sum_squares(x - np.array([2.0, -1.0]))
    >>> oa.fixed_point(x, oa.prox(oa.nonneg, x - 0.5 * oa.grad(data))).solve(tol=1e-12).x.round(6)
    array([2., 0.])
    """
    inner, own = as_map(expression), as_data(step)
    if isinstance(functional, Term):
        return _prox_of_term(functional, inner, _number(own, step))
    if isinstance(functional, Set):
        functional = Indicator(functional)
    if not isinstance(functional, Functional):
        raise ParameterError(
            f"prox takes a functional such as oa.functionals.Norm1(), or a set such as oa.nonneg, not "
            f"{type(functional).__name__}"
        )
    number = _number(own, step)
    functional.check_shape(inner.shape)
    functional.check_kind(inner.kind)
    need(functional, "prox")
    return ProxMap(functional, inner, number)


def _number(own: Expression | None, step: Any) -> Expression:
    if own is None or own.shape != ():
        raise ShapeError(f"the step of a prox in a map is one number, not {step!r}")
    return own


def _prox_of_term(term: Term, inner: MapExpression, step: Expression) -> MapExpression:
    if len(term.expression.parts) != 1:
        raise ParameterError(f"prox takes a term of one variable, and {term!r} has {len(term.expression.parts)}")
    (part,) = term.expression.parts
    if (inner.shape, inner.kind) != (part.variable.shape, part.variable.kind):
        raise ShapeError(
            f"the prox of {term!r} is taken at arrays such as {part.variable.label}, of shape {part.variable.shape} "
            f"and {part.variable.kind}, but the map gives {inner.shape} and {inner.kind}"
        )
    if can_compose(term.functional, part.operator, term.expression.offset, inner.kind) is None:
        raise UnsupportedError(
            f"no prox of {term!r} in {part.variable.label} is known; that needs A @ A.H = c I, squares behind an "
            f"operator whose A.H @ A is diagonalised, or a diagonal operator and a functional of one entry each. Take "
            f"its gradient: x - step * oa.grad(term)"
        )
    return TermProxMap(term, inner, step)


__all__ = ["ProxMap", "TermProxMap", "prox"]
