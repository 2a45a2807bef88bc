"""The canonical form of an energy: rewritten by every rule, with the record of what fired."""

from __future__ import annotations

from opalg import rewriting
from opalg.energies.energy import Energy, EnergyExpression, check_names
from opalg.errors import NotAffineError
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
            f"compile takes an energy such as 0.5 * oa.sum_squares(A @ x - y), not {type(energy).__name__}"
        )
    check_names(energy)
    steps: list[Step] = []
    whole = Energy(energy.terms, energy.constant)
    return rewrite(whole, trace=steps), steps
