"""The canonical form of an energy: rewritten by every rule, with the record of what fired."""

from __future__ import annotations

from typing import Any

from opalg import rewriting
from opalg.energies.energy import Energy, EnergyExpression, Term
from opalg.energies.names import check_names
from opalg.errors import NotAffineError, ParameterError
from opalg.program.differentiate import sum_of
from opalg.rules import Step, rewrite

assert rewriting  # importing it registers the rules


def canonical(energy: EnergyExpression) -> tuple[EnergyExpression, list[Step]]:
    """The rewritten energy and the rewritings, in order.

    Raises
    ------
    NotAffineError
        Where it is not an energy.
    ParameterError
        Where two variables or two parameters share a name.
    """
    if not isinstance(energy, EnergyExpression):
        raise NotAffineError(
            f"compile takes an energy such as 0.5 * oa.sum_squares(A @ x - y), not {type(energy).__name__}; the fixed "
            f"point of a map is oa.fixed_point(x, T).solve()"
        )
    check_names(energy.variables, energy.parameters)
    steps: list[Step] = []
    whole = Energy(energy.terms, energy.constant)
    return rewrite(whole, trace=steps), steps


def canonical_parts(energy: EnergyExpression, chosen: Any) -> tuple[EnergyExpression, list[Step], tuple[Term, ...]]:
    """The rewritten energy, the rewritings, and the terms that come from chosen ones, rewritten by themselves.

    Parameters
    ----------
    energy : Energy
    chosen : Term, Energy, or sequence of them
        Terms of the energy; their weights do not matter.

    Raises
    ------
    ParameterError
        Where something chosen is no term of the energy.
    """
    form, steps = canonical(energy)
    wanted = [term for item in _items(chosen) for term in _terms_of(item)]
    if not wanted:
        return form, steps, ()
    for term in wanted:
        if not any(_alike(term, own) for own in energy.terms):
            raise ParameterError(
                f"prox= names {term!r}, which is no term of the energy; its terms are "
                f"{', '.join(map(repr, energy.terms))}"
            )
    groups: tuple[list[Term], list[Term]] = [], []
    for own in energy.terms:
        groups[any(_alike(term, own) for term in wanted)].append(own)
    parts = [canonical(Energy(tuple(group))) if group else (None, []) for group in groups]
    terms = [() if part is None else part.terms for part, _ in parts]
    added = sum_of([energy.constant, *(part.constant for part, _ in parts if part is not None)])
    return Energy(terms[0] + terms[1], added), parts[0][1] + parts[1][1], terms[1]


def _items(chosen: Any) -> list[Any]:
    return list(chosen) if isinstance(chosen, (list, tuple)) else [chosen]


def _terms_of(item: Any) -> tuple[Term, ...]:
    if not isinstance(item, EnergyExpression):
        raise ParameterError(
            f"prox= takes terms of the energy, such as data in oa.compile(data + r, prox=data), not "
            f"{type(item).__name__}"
        )
    return item.terms


def _alike(one: Term, other: Term) -> bool:
    return one.functional == other.functional and one.expression == other.expression
