"""ADMM with an exact x-update, for energies whose quadratic part a transform diagonalises."""

from __future__ import annotations

from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.errors import UnsupportedError
from opalg.facts import YES
from opalg.methods.denoisers import fixes_step, stands_for_prox
from opalg.methods.method import Fit, Lowering, Method, must_exceed_rounding, refuse
from opalg.methods.problem import (
    Problem,
    adjoint_at,
    curvature_operator,
    has_constant_hessian,
    natural_penalty,
    pulled_back,
    slope_at_zero,
    split_prox,
    squared_norm,
    term_convexity,
    total_operator,
    why_not_convex,
)
from opalg.operators.algebra import Identity, LinearOperator, scale
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input, Literal
from opalg.rules import rewrite

RELAXATION = 1.7  # over-relaxation in (1, 2); 1.5 to 1.8 is the range that Eckstein (1994) found best


def parts_of(problem: Problem) -> tuple[list[Term], list[Term]]:
    """The quadratic terms that stay in the x-update, and the terms that are split off."""
    kept = [t for t in problem.terms if has_constant_hessian(t)]
    return kept, [t for t in problem.terms if t not in kept]


def normal_operator(variable: Variable, kept: list[Term], split: list[Term], rho: Expression) -> LinearOperator:
    """``sum 2 w A.H A + rho sum A.H A``, simplified."""
    grams = [scale(rho, t.expression.operator_of(variable).gram) for t in split]
    return total_operator([*(curvature_operator(t, variable) for t in kept), *grams])


def why_not(problem: Problem) -> str | None:
    """A sentence that says why the method does not apply; None where it does."""
    if any(term_convexity(t) is not YES and not stands_for_prox(t) for t in problem.terms):
        return why_not_convex(problem)
    if len(problem.variables) != 1:
        return "the exact x-update is built for one variable; use method='primal_dual'"
    kept, split = parts_of(problem)
    if not split:
        return "there is nothing to split; closed_form or conjugate_gradient do it directly"
    for term in split:
        if not term.functional.offers("prox"):
            return f"the term {term!r} has no prox"
    if len([t for t in split if fixes_step(t)]) > 1:
        return "two denoisers are known as proxes at one step each, and the penalty can be that of one of them only"
    normal = normal_operator(problem.variables[0], kept, split, Literal(1.0))
    try:
        normal.inverse()
    except UnsupportedError as refusal:
        return f"the x-update cannot be made exactly: {refusal}"
    if normal.facts.lowest is None:
        return f"the x-update {normal!r} is not known to be invertible"
    return None


class Admm(Method):
    """Douglas-Rachford form of ADMM: each split term keeps a ``v``.

    A step is ``u = prox(v)``, then ``x = M^-1 (rhs + rho sum A.H (2 u - v - b))`` with
    ``M = sum 2 w A.H A + rho sum A.H A`` diagonalised, then ``v+ = v + a (A x + b - u)``.

    References
    ----------
    Boyd et al. (2011), section 3; Eckstein and Bertsekas (1992) for the equivalence and the relaxation.
    """

    name = "admm"
    reference = "Boyd et al. 2011; Eckstein and Bertsekas 1992"

    def fit(self, problem: Problem) -> Fit:
        reason = why_not(problem)
        if reason is not None:
            return refuse(reason)
        return Fit(True, "one transform diagonalises the quadratic part, so the x-update is exact", 50.0)

    def lower(self, problem: Problem) -> Lowering:
        (variable,) = problem.variables
        kept, split = parts_of(problem)
        v = tuple(Input(f"v{i}", t.expression.shape, t.expression.kind) for i, t in enumerate(split))
        control = Input("rho", (), "real", role="control")
        fixed = next((t.weight for t in split if fixes_step(t)), None)
        rho: Expression = control if fixed is None else fixed
        relaxation = 1.0 if problem.without_value else RELAXATION
        u = [split_prox(t, a, 1.0 / rho) for t, a in zip(split, v, strict=True)]
        normal = normal_operator(variable, kept, split, rho)
        x = solve_for_x(variable, kept, split, u, v, rho, normal)
        at_x = [t.expression.trace({variable: x}) for t in split]
        v_next = tuple(a + relaxation * (b - c) for a, b, c in zip(v, at_x, u, strict=True))
        gaps = sum_of([ex.norm_squared(b - c) for b, c in zip(at_x, u, strict=True)])
        u_next = [split_prox(t, a, 1.0 / rho) for t, a in zip(split, v_next, strict=True)]
        moved = sum_of([ex.norm_squared(a - b) for a, b in zip(u_next, u, strict=True)])
        size = sum_of([ex.norm_squared(c) for c in u])
        pull = sum_of([ex.norm_squared(a - c) for a, c in zip(v, u, strict=True)])
        return Lowering(
            state=v,
            step=v_next,
            readout={variable: readable(variable, split, u, x)},
            start={a: start_of(t) for a, t in zip(v, split, strict=True)},
            controls={control: natural_penalty(problem, split)} if fixed is None else {},
            duals={t: rho * (a - c) for t, a, c in zip(split, v, u, strict=True)},
            arguments={t: (a, rho) for t, a in zip(split, v, strict=True)},
            residual=optimality(problem, split, (u, u_next), (gaps, size + 1e-12 * pull), (v, rho)),
            scale=Literal(1.0),
            iteration="anderson" if problem.without_value else "picard",
            balance=()
            if problem.without_value
            else ((control, ex.safe_divide(gaps, size), ex.safe_divide(moved, pull)),),
            rescale=lambda control, factor: tuple(c + (a - c) / factor for a, c in zip(v, u, strict=True)),
            needs=() if fixed is None else ((fixed, "the weight of plug_and_play must be positive"),),
            positive=must_exceed_rounding(normal, "the smallest eigenvalue of the x-update"),
            notes=(f"x-update: inverse of {normal!r}", *denoiser_notes(problem, split)),
        )


def denoiser_notes(problem: Problem, split: list[Term]) -> tuple[str, ...]:
    """Sentences on denoisers among the split terms."""
    if not problem.without_value:
        return ()
    penalty = " the penalty is the denoiser's weight, at which it is known;" if any(map(fixes_step, split)) else ""
    return (f"no energy is known:{penalty} a point is sought that the step leaves where it is",)


def optimality(
    problem: Problem,
    split: list[Term],
    copies: tuple[list[Expression], list[Expression]],
    primal: tuple[Expression, Expression],
    dual: tuple[tuple[Input, ...], Expression],
) -> Expression:
    """How far a step is from the optimality conditions, relative and squared (Boyd et al. 2011, section 3.3).

    ``A x + b = u`` relative to u, and the change of ``rho sum A.H u`` relative to the slopes that have to cancel, or to
    a small part of what is natural for them where there is nothing to cancel.
    """
    (variable,) = problem.variables
    (u, u_next), (v, rho) = copies, dual
    change = pulled_back(split, variable, [b - a for a, b in zip(u, u_next, strict=True)])
    force = pulled_back(split, variable, [a - b for a, b in zip(v, u, strict=True)])
    left = ex.norm_squared(rho * change)
    slopes = ex.norm_squared(problem.gradient_at_zero[variable])
    slopes = slopes + ex.norm_squared(rho * force)
    norms = [squared_norm(t) for t in split]
    reach = sum_of([n.expression * ex.norm_squared(a) for n, a in zip(norms, u, strict=True) if n is not None])
    slopes = slopes + 1e-12 * ex.square(natural_penalty(problem, split)) * reach
    return ex.safe_divide(*primal) + ex.safe_divide(left, slopes)


def solve_for_x(
    variable: Variable,
    kept: list[Term],
    split: list[Term],
    u: list[Expression],
    v: tuple[Input, ...],
    rho: Expression,
    normal: LinearOperator,
) -> Expression:
    """The minimiser over x of the kept quadratics plus ``rho/2 |A x + b - (2 u - v)|^2``."""
    fixed, targets = [], []
    for term in kept:
        slope = slope_at_zero(term)
        back = None if slope is None else adjoint_at(term, variable, slope)
        if back is not None:
            fixed.append(-back)
    for term, a, b in zip(split, u, v, strict=True):
        target = 2.0 * a - b
        offset = term.expression.offset
        targets.append(target if offset is None else target - offset)
    scaled = rewrite(scale(1.0 / rho, normal))  # the penalty goes into the spectrum, so no pass multiplies by it
    constant = [sum_of(fixed) * (1.0 / rho)] if fixed else []
    return scaled.inverse().trace(sum_of([*constant, pulled_back(split, variable, targets)]))


def readable(variable: Variable, split: list[Term], u: list[Expression], x: Expression) -> Expression:
    """The point to hand out: the copy that obeys a constraint on the variable itself, else the x-update."""
    for term, copy in zip(split, u, strict=True):
        if isinstance(term.expression.operator_of(variable), Identity) and is_constrained(term):
            offset = term.expression.offset
            return copy if offset is None else copy - offset
    return x


def is_constrained(term: Term) -> bool:
    """Whether a term is infinite somewhere."""
    violation = term.functional.define_violation(Input("v", term.expression.shape, term.expression.kind))
    return not (isinstance(violation, Literal) and violation.value == 0.0)


def start_of(term: Term):  # type: ignore[no-untyped-def]
    """``A x0 + b``: the split copy of the start, with zero dual."""
    return lambda point: term.expression.trace(point)
