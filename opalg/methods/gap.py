"""Duality gaps: lower bounds on the energy from dual points that are made feasible exactly.

For ``E(x) = sum_i f_i(A_i x + b_i)`` any ``q`` with ``sum_i A_i.H q_i = 0`` gives
``E(x) >= sum_i Re <q_i, b_i> - f_i*(q_i)`` for every x (Fenchel duality; Rockafellar 1970, Theorem 31.2). Candidates
come from gradients of smooth terms and from the dual variables of a method; they are repaired in one of two ways.

*Free term*: a term on one variable with ``A.H A = c I`` and a conjugate that is finite on a ball, or everywhere, takes
whatever the others leave over. *Solve*: where ``M = sum_i c_i A_i.H A_i`` has a cheap inverse, the
``q_i - c_i A_i w`` with ``w = M^-1 sum_i A_i.H q_i`` balance. Then everything is scaled back into the domains of the
conjugates, which are cones or contain a ball, so that the balance stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.errors import UnsupportedError
from opalg.facts import YES
from opalg.functionals import SumSquares
from opalg.methods.method import Lowering
from opalg.methods.problem import (
    Problem,
    curvature_operator,
    pulled_back,
    scaled_gradient,
    squared_norm,
    total_operator,
    value_near,
)
from opalg.operators.algebra import LinearOperator, scale
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Apply, Expression, Input, Literal
from opalg.program.linear import Kept

ROUNDING = 32.0 * 2.0**-52  # units of rounding that a sum or transform of a million terms stays within


@dataclass(frozen=True)
class Gap:
    """Expressions in the state of a method.

    Attributes
    ----------
    primal : Expression
        The energy at the read-out, without its constant.
    dual : Expression
        A number that no value of the energy without its constant lies below.
    rounding : Expression
        A bound on what rounding in double precision can do to the difference of the two.
    how : str
        Which repair made the dual point feasible.
    lowest : tuple of Expression or None
        The smallest eigenvalue of what the repair inverts and the size of the largest; the first must be positive.
    """

    primal: Expression
    dual: Expression
    rounding: Expression
    how: str
    lowest: tuple[Expression, Expression] | None = None


def duality_gap(problem: Problem, lowering: Lowering, at: dict[Variable, Expression] | None = None) -> Gap | None:
    """The duality gap at a method's state; None where no dual point can be made feasible.

    The primal point is the read-out, or ``at`` where that is given.
    """
    if problem.convex is not YES or not all(t.functional.offers("conjugate_value") for t in problem.terms):
        return None
    if all(t.functional.facts.indicator for t in problem.terms):
        nothing = Literal(0.0)
        return Gap(nothing, nothing, nothing, "every point that obeys the constraints is a minimiser")
    point = {v: lowering.readout[v] for v in problem.variables}
    duals: dict[Term, Expression] = {}
    for term in problem.terms:
        if term in lowering.duals:
            duals[term] = lowering.duals[term]
        elif term.functional.facts.smooth is YES:
            duals[term] = scaled_gradient(term, term.expression.trace(point))
    duals = {t: Apply(Kept(q.shape), ex.broadcast_to(q, t.expression.shape)) for t, q in duals.items()}
    missing = [t for t in problem.terms if t not in duals]
    repaired = by_free_terms(problem, duals, missing) or by_solving(problem, lowering, duals, missing)
    if repaired is None:
        return None
    balanced, how, lowest = repaired
    handed = point if at is None else at
    primal = without_constant(problem, handed)
    found = dual_value(balanced)
    spread = leverage(problem, balanced, handed)
    if spread is None or found is None:
        return None
    dual, size = found
    return Gap(primal, dual, ROUNDING * (size + spread + abs(primal)), how, lowest)


def without_constant(problem: Problem, point: dict[Variable, Expression]) -> Expression:
    """The sum of the terms at a point, or a little beside it, in their domains."""
    return sum_of([value_near(term, point) for term in problem.terms])


def leverage(problem: Problem, duals: dict[Term, Expression], point: dict[Variable, Expression]) -> Expression | None:
    """``|x| sum |A_i| |q_i|``: what an imbalance of one unit of rounding is worth; None where a norm is unknown."""
    out: Expression = Literal(0.0)
    for term, q in duals.items():
        norm = squared_norm(term)
        if norm is None:
            return None
        out = out + ex.sqrt(norm.expression) * ex.sqrt(ex.norm_squared(q))
    return out * ex.sqrt(sum_of([ex.norm_squared(x) for x in point.values()]))


def over_weight(term: Term, q: Expression) -> Expression:
    """``q / w``, the argument at which ``(w f)*(q) = w f*(q / w)`` takes the conjugate."""
    return q if term.functional.facts.indicator else q / term.weight


def dual_value(duals: dict[Term, Expression]) -> tuple[Expression, Expression] | None:
    """``sum Re <q, b> - (w f)*(q)``, q scaled back into the domains of the conjugates, and the size of its parts.

    None where a conjugate's domain does not contain 0, so that scaling may lead out of it.
    """
    shrink: Expression = Literal(1.0)
    for gauge in (term.functional.dual_gauge_bound(over_weight(term, q)) for term, q in duals.items()):
        if gauge is not None and not isinstance(gauge, Literal):
            shrink = ex.minimum(shrink, 1.0 / ex.maximum(gauge, 1.0))
    if not isinstance(shrink, Literal) and any(t.functional.facts.bounded_below is not YES for t in duals):
        return None
    value: Expression = Literal(0.0)
    size: Expression = Literal(0.0)
    for term, q in duals.items():
        inside = shrink * q
        if term.expression.offset is not None:
            value = value + ex.inner(inside, term.expression.offset)
            size = size + ex.sqrt(ex.norm_squared(inside)) * ex.sqrt(ex.norm_squared(term.expression.offset))
        conjugate = term.functional.define_conjugate_value(over_weight(term, inside))
        weighted = conjugate if term.functional.facts.indicator else term.weight * conjugate
        value, size = value - weighted, size + abs(weighted)
    return value, size


def imbalance(variable: Variable, duals: dict[Term, Expression]) -> Expression:
    """``sum A.H q`` for one variable."""
    return ex.broadcast_to(pulled_back(duals, variable, duals.values()), variable.shape)


def by_free_terms(
    problem: Problem, duals: dict[Term, Expression], missing: list[Term]
) -> tuple[dict[Term, Expression], str, None] | None:
    """For each variable one term that takes what the others leave; None where a variable has no such term."""
    balanced = dict(duals)
    chosen: dict[Variable, Term] = {}
    for variable in problem.variables:
        candidates = [t for t in problem.terms if is_free(t, variable)]
        needed = [t for t in missing if t.expression.variables == (variable,)]
        if len(needed) > 1 or any(t not in candidates for t in needed):
            return None
        pool = needed or sorted(candidates, key=unwillingness)
        if not pool:
            return None
        chosen[variable] = pool[0]
        balanced.pop(pool[0], None)
    if any(t not in chosen.values() for t in missing):
        return None
    for variable, term in chosen.items():
        operator = term.expression.operator_of(variable)
        size = operator.facts.gram_scale
        assert size is not None
        rest = imbalance(variable, {t: q for t, q in balanced.items() if t not in chosen.values()})
        balanced[term] = -operator.trace(rest) / size
    return balanced, "a term on the variable itself takes up the imbalance", None


def unwillingness(term: Term) -> tuple[bool, bool]:
    """An order of free terms: first those that take anything, of which smooth ones first."""
    return not isinstance(gauge_of(term), Literal), term.functional.facts.smooth is not YES


def gauge_of(term: Term) -> Expression | None:
    """How far any point is to be scaled to be in the domain of a term's conjugate; None where that is not known."""
    return term.functional.dual_gauge_bound(Input("q", term.expression.shape, term.expression.kind))


def is_free(term: Term, variable: Variable) -> bool:
    """Whether a term can take up any imbalance of a variable."""
    if term.expression.variables != (variable,) or gauge_of(term) is None:
        return False
    return term.expression.operator_of(variable).facts.gram_scale is not None


def by_solving(
    problem: Problem, lowering: Lowering, duals: dict[Term, Expression], missing: list[Term]
) -> tuple[dict[Term, Expression], str, tuple[Expression, Expression] | None] | None:
    """Balance by one solve with ``M = sum c A.H A`` over the terms whose conjugate allows it."""
    if len(problem.variables) != 1:
        return None
    (variable,) = problem.variables
    balanced = dict(duals)
    for term in missing:
        if not term.functional.offers("dual_projection") or not is_plain(term, variable):
            return None
        operator = term.expression.operator_of(variable)
        wanted = -operator.trace(imbalance(variable, balanced)) / (operator.facts.gram_scale or Literal(1.0))
        inside = term.functional.define_dual_projection(over_weight(term, wanted))
        balanced[term] = inside if term.functional.facts.indicator else term.weight * inside
    flexible = [t for t in problem.terms if gauge_of(t) is not None]
    penalty: Expression = next((c for c in lowering.controls if c.name == "rho"), Literal(1.0))
    grams = [gram_with_curvature(t, variable, penalty) for t in flexible]
    if not grams:
        return None
    normal = total_operator(grams)
    try:
        inverse = normal.inverse()
    except UnsupportedError:
        return None
    move = inverse.trace(imbalance(variable, balanced))
    for term in flexible:
        back = term.expression.linear_trace({variable: move})
        balanced[term] = balanced[term] - curvature(term, penalty) * back
    facts = normal.facts
    if facts.lowest is None:  # a singular operator repairs nothing
        return None
    condition = None if facts.norm is None else (facts.lowest, facts.norm.expression)
    return balanced, "one solve with the x-update's operator takes up the imbalance", condition


def is_plain(term: Term, variable: Variable) -> bool:
    """Whether the term's operator is a multiple of an isometry on the variable."""
    return (
        term.expression.variables == (variable,) and term.expression.operator_of(variable).facts.gram_scale is not None
    )


def curvature(term: Term, penalty: Expression) -> Expression:
    """The weight of a term in the balancing solve."""
    if isinstance(term.functional, SumSquares):
        weights = term.functional.weights
        return 2.0 * term.weight if weights is None else 2.0 * term.weight * weights
    return penalty


def gram_with_curvature(term: Term, variable: Variable, penalty: Expression) -> LinearOperator:
    """``c A.H A`` with the weight of `curvature`."""
    if isinstance(term.functional, SumSquares):
        return curvature_operator(term, variable)
    return scale(penalty, term.expression.operator_of(variable).gram)
