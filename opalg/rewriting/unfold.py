"""Rules that take functionals apart that no method can use whole: with neither a gradient everywhere nor a prox."""

from __future__ import annotations

from opalg.energies.affine import Affine
from opalg.energies.energy import Energy, Term
from opalg.facts import YES
from opalg.functionals.argument import ArgumentScaled
from opalg.functionals.calculus import Functional
from opalg.functionals.composition import Composition
from opalg.functionals.linear import Linear
from opalg.functionals.postcomposed import Postcomposed
from opalg.functionals.scaled import Weighted, times_weight
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.sums import Sum
from opalg.functionals.tilted import Tilted
from opalg.functionals.translated import Translated
from opalg.functionals.weights import nonnegative
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.rules import rule


def is_stuck(term: Term) -> bool:
    """Whether a functional has neither a gradient everywhere nor a prox, so that every method would refuse it."""
    return term.functional.facts.smooth is not YES and not term.functional.offers("prox")


@rule(Energy, group="unfold")
def unfold_sums(energy: Energy) -> Energy | None:
    """w (f + g)(e)  ->  w f(e) + w g(e)     (f + g with neither a gradient nor a prox; likewise what a tilt adds)"""
    for term in energy.summands:
        if is_stuck(term) and nonnegative(term.weight) is YES:
            parts = _summands(term.functional)
            if parts:
                pieces = tuple(_weighted(term.weight, f, term.expression) for f in parts)
                return Energy(_replaced(energy, term, pieces), energy.added)
    return None


@rule(Energy, group="unfold")
def unfold_constants(energy: Energy) -> Energy | None:
    """w (a f + b)(e)  ->  (w a) f(e) + w b     (a f with neither a gradient nor a prox)"""
    for term in energy.summands:
        found = term.functional
        if isinstance(found, Postcomposed) and is_stuck(term):
            plain = Term(term.weight, times_weight(found.functional, found.factor), term.expression)
            return Energy(_replaced(energy, term, (plain,)), energy.added + term.weight * found.constant)
    return None


@rule(Term, group="unfold")
def unfold_weights(term: Term) -> Term | None:
    """w (v f)(e)  ->  (w v) f(e)     (f with neither a gradient nor a prox)"""
    found = term.functional
    if not (isinstance(found, Weighted) and found.weight.shape == () and found.held is None and is_stuck(term)):
        return None
    return _weighted(term.weight * found.weight, found.functional, term.expression)


@rule(Term, group="unfold")
def unfold_arguments(term: Term) -> Term | None:
    """f(A . + b)(e)  ->  f(A e + b)     (likewise f(. - b) and f(c .); without a gradient or a prox)"""
    found, inner = term.functional, term.expression
    if not is_stuck(term):
        return None
    if isinstance(found, Composition):
        return Term(term.weight, found.functional, _moved(inner.mapped(found.operator), found.offset))
    if isinstance(found, Translated):
        return Term(term.weight, found.functional, _moved(inner, -found.offset))
    if isinstance(found, ArgumentScaled):
        return Term(term.weight, found.functional, found.factor * inner)
    return None


def _summands(functional: Functional) -> list[Functional]:
    """The parts of a sum, and of a functional with a linear and a quadratic part; none of others."""
    if isinstance(functional, Sum):
        return list(functional.summands)
    if isinstance(functional, Tilted):
        return [functional.functional, Linear(functional.linear), SumSquares(0.5 * functional.quadratic)]
    return []


def _weighted(weight: Expression, functional: Functional, expression: Affine) -> Term:
    """A term whose weight is one where it has no say."""
    return Term(Literal(1.0) if functional.facts.indicator else weight, functional, expression)


def _replaced(energy: Energy, term: Term, pieces: tuple[Term, ...]) -> tuple[Term, ...]:
    return tuple(t for each in energy.summands for t in (pieces if each is term else (each,)))


def _moved(expression: Affine, offset: Expression | None) -> Affine:
    if offset is None:
        return expression
    moved = ex.broadcast_to(offset, expression.shape)
    return Affine(expression.parts, moved if expression.offset is None else expression.offset + moved)
