"""Proximal gradient: a gradient step on the smooth terms, then the prox of the others."""

from __future__ import annotations

from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.facts import YES
from opalg.methods.method import Fit, Lowering, Method, refuse, starts_at, state_inputs
from opalg.methods.problem import Problem, apply_direct_prox, direct_prox
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input, Literal, safe_divide

LONGEST = 1e30  # the step where the smooth part is flat


def prox_terms(problem: Problem) -> dict[Variable, Term] | str:
    """The term whose prox each variable takes, or a sentence that says why there is no such assignment."""
    found: dict[Variable, Term] = {}
    for term in problem.rough_terms:
        if direct_prox(term) is None:
            return (
                f"the term {term!r} needs its prox, and that needs A @ A.H = c I for its operator on one variable; "
                f"use method='primal_dual' or 'admm', or a smooth functional such as huber"
            )
        variable = term.expression.parts[0].variable
        if variable in found:
            return (
                f"two terms need a prox of {variable.label}, and the prox of a sum is not known: {found[variable]!r}, "
                f"{term!r}"
            )
        found[variable] = term
    return found


def proximal_step(
    problem: Problem, point: dict[Variable, Expression], slopes: list[Expression], step: Expression
) -> list[Expression]:
    """``prox_{t g}(x - t grad f(x))`` for each variable."""
    terms = prox_terms(problem)
    assert isinstance(terms, dict)
    out = []
    for (variable, x), slope in zip(point.items(), slopes, strict=True):
        moved = x - step * slope
        out.append(apply_direct_prox(terms[variable], moved, step) if variable in terms else moved)
    return out


def first_step(constant: Expression) -> Expression:
    """``1 / L``; where ``L`` is zero every step is short enough, and a long one that no weight makes infinite is taken.

    It must stay finite in single precision, too.
    """
    return ex.where(ex.pointwise("greater", constant, 0.0), safe_divide(1.0, constant), LONGEST)


class ProximalGradient(Method):
    """``x+ = prox_{t g}(x - t grad f(x))``, accelerated with restart.

    The step is ``1 / L`` where a Lipschitz constant ``L`` is certified, else found by backtracking that may also grow.

    References
    ----------
    Beck and Teboulle (2009); O'Donoghue and Candes (2015) for the restart.
    """

    name = "proximal_gradient"
    reference = "Beck and Teboulle 2009; restart: O'Donoghue and Candes 2015"

    def fit(self, problem: Problem) -> Fit:
        terms = prox_terms(problem)
        if isinstance(terms, str):
            return refuse(terms)
        if not problem.smooth_terms and len(problem.terms) > 1:
            return refuse("there is no smooth term; a plain prox is not a descent method here")
        how = "the step rests on a certified constant" if problem.smoothness else "the step is found by backtracking"
        return Fit(True, f"a smooth part plus terms with a prox of their variable; {how}", 60.0)

    def lower(self, problem: Problem) -> Lowering:
        x = state_inputs(problem.variables)
        point: dict[Variable, Expression] = dict(zip(problem.variables, x, strict=True))
        size = Input("t", (), "real", role="control")
        step = proximal_step(problem, point, problem.smooth_gradient(point), size)
        bound = problem.smoothness
        first: Expression = Literal(1.0) if bound is None else first_step(bound.expression)
        return Lowering(
            state=x,
            step=tuple(step),
            readout=dict(point),  # type: ignore[arg-type]
            start={a: starts_at(v) for a, v in zip(x, problem.variables, strict=True)},
            controls={size: first},
            iteration="nesterov",
            scale=sum_of([ex.norm_squared(g) for g in problem.gradient_at_zero.values()]),
            step_size=size,
            backtrack=bound is None,
            smooth_value=lambda z: problem.smooth_value(dict(zip(problem.variables, z, strict=True))),
            smooth_gradient=lambda z: problem.smooth_gradient(dict(zip(problem.variables, z, strict=True))),
            notes=(f"step size t = 1 / {bound!r}",) if bound is not None and problem.convex is YES else (),
        )
