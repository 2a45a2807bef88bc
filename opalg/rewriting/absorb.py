"""Rules that move numbers and diagonals from operators into weights and functionals."""

from __future__ import annotations

from opalg.energies.affine import Affine, Part
from opalg.energies.energy import Term
from opalg.functionals import Norm1, Norm2, Norm21, SumSquares
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
def pull_factor_out_of_norm(term: Term) -> Term | None:
    """w |c e|  ->  (w |c|) |e|     (norms are absolutely homogeneous)"""
    if not isinstance(term.functional, (Norm1, Norm2, Norm21)):
        return None
    found = _common_factor(term.expression)
    return None if found is None else Term(term.weight * abs(found[0]), term.functional, found[1])


@rule(Term, group="absorb")
def pull_factor_out_of_square(term: Term) -> Term | None:
    """w |c e|^2  ->  (w |c|^2) |e|^2"""
    if not isinstance(term.functional, SumSquares):
        return None
    found = _common_factor(term.expression)
    return None if found is None else Term(term.weight * ex.square(abs(found[0])), term.functional, found[1])
