"""Rules that make an energy smaller: equal terms, boxes on the same expression, terms without weight."""

from __future__ import annotations

from opalg.energies.energy import Energy, Term
from opalg.errors import ParameterError
from opalg.facts import YES
from opalg.functionals import Indicator
from opalg.functionals.boxes import Box
from opalg.functionals.exactness import Exactness
from opalg.functionals.sums import sum_of_functionals
from opalg.functionals.weights import nonnegative
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal
from opalg.rules import rule


@rule(Energy, group="merge")
def drop_weightless_terms(energy: Energy) -> Energy | None:
    """0 * f(e) + g  ->  g     (f finite everywhere; every variable stays)"""
    kept = [t for t in energy.summands if not (_is_zero(t.weight) and _is_finite_everywhere(t))]
    lost = set(energy.variables) - {v for t in kept for v in t.variables}
    left = tuple(t for t in energy.summands if t in kept or lost & set(t.variables))
    return Energy(left, energy.added) if left and len(left) < len(energy.summands) else None


@rule(Energy, group="merge")
def merge_equal_terms(energy: Energy) -> Energy | None:
    """v f(e) + w f(e)  ->  (v + w) f(e)"""
    weights: dict[tuple, Expression] = {}
    for t in energy.summands:
        key = (t.functional, t.expression)
        if key not in weights:
            weights[key] = t.weight
        elif not t.functional.facts.indicator:
            weights[key] = weights[key] + t.weight
    if len(weights) == len(energy.summands):
        return None
    return Energy(tuple(Term(w, f, e) for (f, e), w in weights.items()), energy.added)


@rule(Energy, group="merge")
def merge_boxes(energy: Energy) -> Energy | None:
    """indicator(e >= a) + indicator(e <= b)  ->  indicator(a <= e <= b)"""
    boxes = [t for t in energy.summands if isinstance(t.functional, Indicator) and isinstance(t.functional.set, Box)]
    for i, first in enumerate(boxes):
        for second in boxes[i + 1 :]:
            if first.expression is second.expression:
                merged = Term(first.weight, Indicator(_both(first, second)), first.expression)
                kept = tuple(merged if t is first else t for t in energy.summands if t is not second)
                return Energy(kept, energy.added)
    return None


@rule(Energy, group="merge")
def merge_known_sums(energy: Energy) -> Energy | None:
    """w f(e) + v g(e)  ->  (w f + v g)(e)     (f, g not smooth, and a rule gives the prox of their sum)"""
    rough = [t for t in energy.summands if t.functional.facts.smooth is not YES and t.functional.offers("prox")]
    for i, first in enumerate(rough):
        for second in rough[i + 1 :]:
            together = _together(first, second) if first.expression is second.expression else None
            if together is not None:
                kept = tuple(together if t is first else t for t in energy.summands if t is not second)
                return Energy(kept, energy.added)
    return None


def _together(first: Term, second: Term) -> Term | None:
    """One term for two of the same expression, where it can do all that they can."""
    functionals = []
    for term in (first, second):
        weighted = not term.functional.facts.indicator
        if term.functional.facts.convex is not YES or (weighted and nonnegative(term.weight) is not YES):
            return None
        functionals.append(term.weight * term.functional if weighted else term.functional)
    summed = sum_of_functionals(*functionals)
    if not summed.offers("prox") or summed.exactness is Exactness.ITERATIVE:
        return None
    if all(f.offers("conjugate_value") for f in functionals) and not summed.offers("conjugate_value"):
        return None
    q = Input("q", first.expression.shape, first.expression.kind)
    if all(f.offers("dual_gauge") for f in functionals) and summed.dual_gauge_bound(q) is None:
        return None
    return Term(Literal(1.0), summed, first.expression)


def _both(first: Term, second: Term) -> Box:
    a, b = first.functional.set, second.functional.set  # type: ignore[attr-defined]
    try:
        return Box(_tighter(a.lower, b.lower, ex.maximum), _tighter(a.upper, b.upper, ex.minimum))
    except ParameterError as err:
        raise ParameterError(f"{first!r} and {second!r} exclude each other: no point satisfies both") from err


def _tighter(a: Expression | None, b: Expression | None, choose) -> Expression | None:  # type: ignore[no-untyped-def]
    return b if a is None else a if b is None else choose(a, b)


def _is_zero(weight: Expression) -> bool:
    return isinstance(weight, Literal) and weight.value == 0.0


def _is_finite_everywhere(term: Term) -> bool:
    violation = term.functional.define_violation(Input("v", term.expression.shape, term.expression.kind))
    return isinstance(violation, Literal) and violation.value == 0.0
