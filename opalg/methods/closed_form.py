"""The minimiser in one step, for quadratics whose Hessian has a cheap inverse."""

from __future__ import annotations

from opalg.errors import UnsupportedError
from opalg.methods.method import Fit, Lowering, Method, must_exceed_rounding, refuse, starts_at, state_inputs
from opalg.methods.problem import Problem
from opalg.operators.algebra import LinearOperator
from opalg.program import expression as ex
from opalg.program.differentiate import gradient


def inverse_of_hessian(problem: Problem) -> LinearOperator | str:
    """The inverse of the Hessian, or a sentence that says why there is no cheap one."""
    hessian = problem.hessian(problem.terms)
    if hessian is None:
        return "it needs one variable"
    if hessian.facts.lowest is None:
        return f"the smallest eigenvalue of the Hessian {hessian!r} is not known, and it may be zero"
    try:
        return hessian.inverse()
    except UnsupportedError as refusal:
        return f"the Hessian cannot be inverted: {refusal}"


class ClosedForm(Method):
    """``x = H^-1 b`` where one transform diagonalises ``H``.

    The state is the variable; the map ignores it, so that one iteration ends the solve.
    """

    name = "closed_form"

    def fit(self, problem: Problem) -> Fit:
        if not problem.quadratic:
            return refuse("not every term is a sum of squares")
        inverse = inverse_of_hessian(problem)
        if isinstance(inverse, str):
            return refuse(inverse)
        return Fit(True, f"the Hessian has the cheap inverse {inverse!r}", 100.0)

    def lower(self, problem: Problem) -> Lowering:
        inverse = inverse_of_hessian(problem)
        hessian = problem.hessian(problem.terms)
        assert isinstance(inverse, LinearOperator)
        assert hessian is not None
        (variable,) = problem.variables
        (x,) = state_inputs(problem.variables)
        at_zero = problem.gradient_at_zero[variable]
        solution = inverse.trace(-at_zero)
        residual = ex.norm_squared(gradient(problem.energy.trace({variable: x}), [x])[0])
        return Lowering(
            state=(x,),
            step=(ex.broadcast_to(solution, x.shape),),
            readout={variable: x},
            start={x: starts_at(variable)},
            iteration="once",
            residual=residual,
            scale=ex.norm_squared(at_zero),
            positive=must_exceed_rounding(hessian, "the smallest eigenvalue of the Hessian"),
        )
