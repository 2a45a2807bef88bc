"""Primal-dual splitting (Condat 2013, Vu 2013), for smooth terms, terms with a prox, and terms behind operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.facts import YES, Bound
from opalg.methods.method import Fit, Lowering, Method, refuse, starts_at, state_inputs
from opalg.methods.problem import (
    Problem,
    apply_direct_prox,
    direct_prox,
    has_constant_hessian,
    natural_penalty,
    pulled_back,
    split_prox,
    squared_norm,
    why_not_convex,
)
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input, Literal

MARGIN = 0.55  # times L, more than the half that the theorem asks for


def assign(problem: Problem) -> tuple[dict[Variable, Term], list[Term]] | str:
    """Which rough terms take the prox of their variable and which are dualised, or why that fails."""
    direct: dict[Variable, Term] = {}
    dual: list[Term] = []
    for term in sorted(problem.rough_terms, key=lambda t: not t.functional.facts.indicator):
        variable = term.expression.parts[0].variable
        if direct_prox(term) is not None and variable not in direct:
            direct[variable] = term
        elif term.functional.offers("prox"):
            dual.append(term)
        else:
            return f"the term {term!r} has neither a gradient nor a prox"
    return direct, dual


def with_steps(problem: Problem) -> Problem:
    """The problem with those smooth terms set apart that have a prox, but no known constant of their gradient."""
    wild = [t for t in problem.smooth_terms if t.functional.facts.smoothness is None or squared_norm(t) is None]
    proximable = tuple(t for t in wild if t.functional.offers("prox") and not has_constant_hessian(t))
    return replace(problem, apart=proximable) if proximable else problem


def dual_norm(terms: list[Term]) -> Bound | None:
    """A bound on the squared norm of the stacked operators of terms."""
    out: Bound | None = None
    for term in terms:
        bound = squared_norm(term)
        if bound is None or not bound.certified:
            return None
        out = bound if out is None else out.plus(bound)
    return out


class PrimalDual(Method):
    """``x+ = prox_{t g}(x - t (grad f(x) + K.H q))``, ``q+ = prox_{s h*}(q + s K (2 x+ - x))``.

    The steps obey ``1 / t - s |K|^2 > L / 2`` for every value of the control that balances them.

    References
    ----------
    Condat (2013), Theorem 3.1; Vu (2013); Chambolle and Pock (2011) for the case without a smooth term.
    """

    name = "primal_dual"
    reference = "Condat 2013; Vu 2013; Chambolle and Pock 2011"

    def fit(self, problem: Problem) -> Fit:
        if problem.convex is not YES:
            return refuse(why_not_convex(problem))
        problem = with_steps(problem)
        split = assign(problem)
        if isinstance(split, str):
            return refuse(split)
        if not split[1]:
            return refuse("no term needs to be dualised; proximal_gradient does the same work with less")
        if problem.smoothness is None:
            return refuse(
                "the smooth part has no certified Lipschitz constant, and this method needs one for its steps"
            )
        if dual_norm(split[1]) is None:
            return refuse("an operator has no certified norm bound")
        return Fit(True, "terms behind operators are dualised; steps rest on certified norms", 30.0)

    def lower(self, problem: Problem) -> Lowering:
        problem = with_steps(problem)
        split = assign(problem)
        assert not isinstance(split, str)
        direct, dual = split
        x = state_inputs(problem.variables)
        point: dict[Variable, Expression] = dict(zip(problem.variables, x, strict=True))
        q = tuple(Input(f"q{i}", t.expression.shape, t.expression.kind) for i, t in enumerate(dual))
        controls = step_controls(problem, dual)
        tau, sigma = steps(*controls)
        slopes = problem.smooth_gradient(point) if problem.smooth_terms else [Literal(0.0)] * len(x)
        x_next = []
        for (variable, old), slope in zip(point.items(), slopes, strict=True):
            moved = old - tau * (slope + pulled_back(dual, variable, q))
            x_next.append(apply_direct_prox(direct[variable], moved, tau) if variable in direct else moved)
        ahead = {v: 2.0 * new - old for (v, old), new in zip(point.items(), x_next, strict=True)}
        arguments = [old / sigma + term.expression.trace(ahead) for term, old in zip(dual, q, strict=True)]
        q_next = []
        for term, old in zip(dual, q, strict=True):
            moved = old + sigma * term.expression.trace(ahead)
            q_next.append(moved - sigma * split_prox(term, moved / sigma, 1.0 / sigma))
        lowering = self._lowering(problem, dual, x, q, x_next, q_next, controls, tau, sigma)
        return replace(lowering, arguments={t: (v, sigma) for t, v in zip(dual, arguments, strict=True)})

    def _lowering(
        self,
        problem: Problem,
        dual: list[Term],
        x: tuple[Input, ...],
        q: tuple[Input, ...],
        x_next: list[Expression],
        q_next: list[Expression],
        controls: dict[Input, Expression],
        tau: Expression,
        sigma: Expression,
    ) -> Lowering:
        variables = problem.variables
        moved_x = sum_of([ex.norm_squared(a - b) for a, b in zip(x_next, x, strict=True)]) / tau
        moved_q = sum_of([ex.norm_squared(a - b) for a, b in zip(q_next, q, strict=True)]) / sigma
        zeros = {a: lambda point, a=a: ex.broadcast_to(_zero(a.kind), a.shape) for a in q}
        return Lowering(
            state=(*x, *q),
            step=(*x_next, *q_next),
            readout=dict(zip(variables, x, strict=True)),
            start={**{a: starts_at(v) for a, v in zip(x, variables, strict=True)}, **zeros},
            controls=controls,
            duals=dict(zip(dual, q, strict=True)),
            residual=optimality(problem, dual, (x, q), (x_next, q_next), (tau, sigma)),
            scale=Literal(1.0),
            balance=((next(iter(controls)), moved_q, moved_x),),
            imbalance=5.0,
        )


def optimality(
    problem: Problem,
    dual: list[Term],
    before: tuple[Sequence[Expression], Sequence[Expression]],
    after: tuple[Sequence[Expression], Sequence[Expression]],
    steps: tuple[Expression, Expression],
) -> Expression:
    """How far the new point is from the optimality conditions, relative and squared; it does not depend on the steps.

    What is left of ``0 in grad f(x) + K.H q + dg(x)`` and of ``K x + b in dh*(q)`` after a step, the first relative to
    the gradient at zero and ``K.H q``, the second to ``K x + b`` (Goldstein et al. 2015, section 2.2). Where these
    vanish, as where no term pulls at a solution, it is relative to a small part of what they are made of.
    """
    (x, q), (x_next, q_next), (tau, sigma) = before, after, steps
    old = dict(zip(problem.variables, x, strict=True))
    new = dict(zip(problem.variables, x_next, strict=True))
    change = {v: old[v] - new[v] for v in old}
    slopes = [Literal(0.0)] * len(x)
    if problem.smooth_terms:
        pairs = zip(problem.smooth_gradient(new), problem.smooth_gradient(old), strict=True)
        slopes = [a - b for a, b in pairs]
    primal, primal_size = [], []
    for variable, slope in zip(problem.variables, slopes, strict=True):
        pull = pulled_back(dual, variable, [a - b for a, b in zip(q, q_next, strict=True)])
        left = change[variable] / tau + slope - pull
        primal.append(ex.norm_squared(left))
        primal_size.append(ex.norm_squared(problem.gradient_at_zero[variable]))
        primal_size.append(ex.norm_squared(pulled_back(dual, variable, q_next)))
    primal_size.append(1e-6 * norm_squared_of(dual) * size_of_duals(problem, dual, q_next, new))
    rest = [(a - b) / sigma - t.expression.linear_trace(change) for t, a, b in zip(dual, q, q_next, strict=True)]
    size = sum_of([ex.norm_squared(t.expression.trace(new)) for t in dual])
    begin = [ex.norm_squared(a) for a in problem.default_start.values()]
    sizes = sum_of([ex.norm_squared(a) for a in x_next]) + 1e-2 * sum_of(begin)
    whole = 1e-6 * norm_squared_of(dual) * sizes  # where K x vanishes
    return ex.safe_divide(sum_of(primal), sum_of(primal_size)) + ex.safe_divide(
        sum_of([ex.norm_squared(r) for r in rest]), size + whole
    )


def size_of_duals(
    problem: Problem, dual: list[Term], q: Sequence[Expression], point: dict[Variable, Expression]
) -> Expression:
    """The squared size of dual variables, or what is natural for them where they vanish."""
    natural = Literal(1.0) if has_no_unit(problem, dual) else natural_penalty(problem, dual)
    reach = sum_of([ex.norm_squared(t.expression.linear_trace(point)) for t in dual])
    offsets = sum_of([ex.norm_squared(t.expression.offset) for t in dual if t.expression.offset is not None])
    return sum_of([ex.norm_squared(a) for a in q]) + 1e-6 * ex.square(natural) * (reach + offsets)


def norm_squared_of(dual: list[Term]) -> Expression:
    """The certified bound on ``|K|^2``."""
    bound = dual_norm(dual)
    assert bound is not None
    return bound.expression


def start_of_ratio(problem: Problem, dual: list[Term]) -> Expression:
    """The natural penalty times ``|K|``, so that the unit of the energy does not matter; 1 where nothing has a unit."""
    norm = dual_norm(dual)
    assert norm is not None
    if has_no_unit(problem, dual):
        return Literal(1.0)
    return natural_penalty(problem, dual) * ex.sqrt(norm.expression)


def has_no_unit(problem: Problem, dual: list[Term]) -> bool:
    """Whether no energy has a unit: all that there is are constraints."""
    return not problem.smooth_terms and all(t.functional.facts.indicator for t in dual)


def step_controls(problem: Problem, dual: list[Term]) -> dict[Input, Expression]:
    """The balance of the steps and the two norms they rest on, with their formulas.

    The solution does not depend on its steps, so the norms enter the map as numbers and no gradient flows through them.
    """
    smoothness, norm = problem.smoothness, dual_norm(dual)
    assert smoothness is not None
    assert norm is not None
    ratio, constant, size = (Input(name, (), "real", role="control") for name in ("ratio", "L", "norm_K"))
    return {
        ratio: positive_or_one(start_of_ratio(problem, dual)),
        constant: ex.maximum(smoothness.expression, 1e-30),
        size: positive_or_one(ex.sqrt(norm.expression)),
    }


def positive_or_one(e: Expression) -> Expression:
    """A positive number as it is, else 1: a zero operator or zero data have no unit."""
    return ex.where(ex.pointwise("greater", e, 0.0), e, 1.0)


def steps(ratio: Expression, constant: Expression, size: Expression) -> tuple[Expression, Expression]:
    """``t`` and ``s`` with ``1 / t = 0.55 L + s |K|^2`` and ``s = ratio / |K|``.

    At ``L / 2`` the directions of curvature L would change their sign in every step and never settle.
    """
    return 1.0 / (MARGIN * constant + ratio * size), ratio / size


def _zero(kind: str) -> Expression:
    return Literal(0.0) if kind == "real" else Literal(0j)
