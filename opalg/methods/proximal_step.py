"""One proximal gradient step, and the step sizes that are known: what the variants of the method share."""

from __future__ import annotations

from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.facts import Bound
from opalg.methods.denoisers import fixes_step
from opalg.methods.problem import Problem, apply_direct_prox, direct_prox, row_scale
from opalg.program import expression as ex
from opalg.program.expression import Expression, safe_divide

LONGEST = 1e15  # the step where the smooth part is flat; squares of what it makes are finite in single precision


def prox_terms(problem: Problem) -> dict[Variable, Term] | str:
    """The term whose prox each variable takes, or a sentence that says why there is no such assignment."""
    found: dict[Variable, Term] = {}
    for term in problem.rough_terms:
        if direct_prox(term) is None:
            advice = (
                "leave it out of prox=, so that its gradient is taken"
                if term in problem.apart
                else "use method='primal_dual' or 'admm', or a smooth functional such as huber"
            )
            return (
                f"the term {term!r} needs its prox in one variable, and none is known behind its operator; that needs "
                f"A @ A.H = c I, squares behind an operator whose A.H @ A is diagonalised, or a diagonal operator and "
                f"a functional of one entry each; {advice}"
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
    """``prox_{t g}(x - t grad f(x))`` for each variable, with the step that a denoiser fixes where there is one."""
    terms = prox_terms(problem)
    assert isinstance(terms, dict)
    out = []
    for (variable, x), slope in zip(point.items(), slopes, strict=True):
        fixed = inverse_step(terms, variable)
        own = step if fixed is None else 1.0 / fixed
        out.append(step_of(terms, variable, x, slope, own))
    return out


def step_of(
    terms: dict[Variable, Term], variable: Variable, x: Expression, slope: Expression, step: Expression
) -> Expression:
    """``prox_{t g}(x - t s)`` for one variable; the step is a number, or one for each sample."""
    moved = x - step * slope
    return apply_direct_prox(terms[variable], moved, step) if variable in terms else moved


def inverse_step(terms: dict[Variable, Term], variable: Variable) -> Expression | None:
    """One over the step at which the denoiser in the prox of a variable is known; None where the step is free.

    Behind an operator with ``A A.H = c I`` it is ``c w``.
    """
    if variable not in terms or not fixes_step(terms[variable]):
        return None
    scale = row_scale(terms[variable])
    assert scale is not None
    return scale * terms[variable].weight


def first_step(constant: Expression) -> Expression:
    """``1 / L``; where ``L`` is zero every step is short enough, and a long one that no weight makes infinite is taken.

    It must stay finite in single precision, too.
    """
    return ex.where(ex.pointwise("greater", constant, 0.0), safe_divide(1.0, constant), LONGEST)


def must_search(bound: Bound | None) -> bool:
    """Whether a step has to be found by backtracking: where no constant is known, or only one from below."""
    return bound is None or bound.certainty == "estimate"


__all__ = ["LONGEST", "first_step", "inverse_step", "must_search", "prox_terms", "proximal_step", "step_of"]
