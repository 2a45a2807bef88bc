"""Gradients of energies as maps: ``x - tau * oa.grad(E)`` is a map that can be declared, changed and untied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opalg.energies.affine import Variable
from opalg.energies.energy import EnergyExpression, Term
from opalg.energies.maps import MapExpression, applied_to
from opalg.errors import NotAffineError, ParameterError
from opalg.functionals.red import Red
from opalg.nodes import node
from opalg.operators.algebra import Identity, LinearOperator, Zero, scale
from opalg.program import expression as ex
from opalg.program.differentiate import vjp
from opalg.program.expression import Expression, Input, Literal, Shape


@node
class SlopeMap(MapExpression):
    """``w grad f(v)`` of a term ``w f(v)`` at its argument ``v = A x - b``."""

    term: Term

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.term.expression.shape

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.term.expression.kind

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        at = self.term.expression.trace(point)
        return ex.broadcast_to(self.term.weight * self.term.functional.define_gradient(at), at.shape)

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        """``w H A`` where the functional has the same Hessian everywhere (I for a denoiser's field), else zero."""
        operator, shape = self.term.expression.operator_of(variable), self.shape
        functional, nothing = self.term.functional, Zero(variable.shape, self.shape)
        hessian = (
            Identity(shape) if isinstance(functional, Red) else functional.define_hessian_operator(shape, self.kind)
        )
        if hessian is None or isinstance(operator, Zero):
            return nothing
        return scale(self.term.weight, applied_to(hessian, operator, nothing))

    def __repr__(self) -> str:
        return f"slope of {self.term!r}"


@node
class AdjointMap(MapExpression):
    """``A^H`` applied to a map, into the space of what ``A`` acts on: its real part where that is real.

    Unlike `OperatedMap` with ``A.H`` it remembers that the operator stands here as an adjoint, which is what
    `opalg.untie` looks for.
    """

    operator: LinearOperator
    inner: MapExpression
    shape: Shape
    kind: str

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        x = Input("x", self.shape, self.kind)
        (found,) = vjp([self.operator.trace(x)], [self.inner.trace(point)], [x])
        if found is None:  # an operator that is zero
            found = Literal(0.0) if self.kind == "real" else Literal(0j)
        return ex.broadcast_to(found, self.shape)

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        return applied_to(self.operator.H, self.inner.linear_part(variable), Zero(variable.shape, self.shape))

    def __repr__(self) -> str:
        return f"{self.operator!r}.H @ ({self.inner!r})"


def grad(energy: EnergyExpression, variable: Variable | None = None) -> MapExpression:
    """The gradient of an energy as a map, for maps that `opalg.fixed_point` solves.

    Parameters
    ----------
    energy : Energy or Term
        Of differentiable terms. A term without an energy, as `opalg.red`, gives the field that stands in the place of
        its gradient, so that what is built of it is no gradient either.
    variable : Variable, optional
        In which; may be left out where the energy has one variable.

    Returns
    -------
    MapExpression
        ``sum_i A_i^H w_i grad f_i(A_i x - b_i)``.

    Raises
    ------
    NotAffineError
        For what is no energy.
    ParameterError
        Where the variable is not in the energy, or is not said and there are several.
    UnsupportedError
        Where a term is not differentiable.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> u = oa.Variable(2, name="u")
    >>> energy = 0.5 * oa.sum_squares(u - np.array([2.0, -4.0])) + 0.5 * oa.sum_squares(u)
    >>> oa.fixed_point(u, u - 0.4 * oa.grad(energy)).solve(tol=1e-12).x.round(6)
    array([ 1., -2.])
    """
    if not isinstance(energy, EnergyExpression):
        raise NotAffineError(
            f"grad takes an energy, not {type(energy).__name__}: a map has no gradient (write x - step * oa.grad(E) "
            f"for an energy E, and sol.vjp(cotangent, parameter) for derivatives of solutions), and the derivative of "
            f"a function of one number entry by entry is oa.apply(potential, expression)"
        )
    of = _variable_of(energy, variable)
    energy.need_smooth("gradient")
    parts = [
        AdjointMap(part.operator, SlopeMap(term), of.shape, of.kind)
        for term in energy.terms
        for part in term.expression.parts
        if part.variable is of
    ]
    found: Any = parts[0]
    for part in parts[1:]:
        found = found + part
    return found  # type: ignore[no-any-return]


def _variable_of(energy: EnergyExpression, variable: Variable | None) -> Variable:
    names = ", ".join(v.label for v in energy.variables)
    if variable is None:
        if len(energy.variables) != 1:
            raise ParameterError(f"the energy has the variables {names}; say in which, as oa.grad(energy, variable)")
        return energy.variables[0]
    if variable not in energy.variables:
        raise ParameterError(f"{variable!r} is not in the energy, whose variables are {names}")
    return variable


__all__ = ["AdjointMap", "SlopeMap", "grad"]
