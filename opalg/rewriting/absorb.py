"""Rules that move numbers and diagonals from operators into weights and functionals."""

from __future__ import annotations

from opalg.energies.affine import Affine, Part
from opalg.energies.energy import Term
from opalg.facts import YES
from opalg.operators.algebra import Scaled
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.rules import rule


def _common_factor(expression: Affine) -> tuple[Expression, Affine] | None:
    """The nonzero number c and the expression e with ``c e`` the given one, where all operators carry the same c."""
    factors = {p.operator.factor for p in expression.parts if isinstance(p.operator, Scaled)}
    if len(factors) != 1 or not all(isinstance(p.operator, Scaled) for p in expression.parts):
        return None
    (factor,) = factors
    if not isinstance(factor, Literal) or factor.value == 0.0:
        return None
    parts = tuple(Part(p.variable, p.operator.operator) for p in expression.parts)  # type: ignore[attr-defined]
    offset = None if expression.offset is None else expression.offset / factor
    return factor, Affine(parts, offset)


@rule(Term, group="absorb")
def pull_factor_out(term: Term) -> Term | None:
    """w f(c e)  ->  (w |c|^d) f(e)     (f homogeneous of degree d, such as a norm or a sum of squares)"""
    facts = term.functional.facts
    if facts.homogeneity is None or facts.indicator:
        return None
    found = _common_factor(term.expression)
    if found is None or not (facts.phase_invariant is YES or _is_positive(found[0])):
        return None
    size = ex.square(abs(found[0])) if facts.homogeneity == 2.0 else abs(found[0]) ** facts.homogeneity
    return Term(term.weight * size, term.functional, found[1])


def _is_positive(number: Expression) -> bool:
    return isinstance(number, Literal) and isinstance(number.value, float) and number.value > 0
