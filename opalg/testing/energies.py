"""Check an energy: the operators and functionals of its terms, and the gradients of its solution."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.energies.energy import EnergyExpression
from opalg.errors import OpalgError, ParameterError
from opalg.operators.algebra import Identity
from opalg.testing.functionals import check_functional
from opalg.testing.gradients import check_gradient
from opalg.testing.operators import check_operator
from opalg.testing.report import Findings, Report


def check_energy(energy: Any, rng: np.random.Generator | None = None, *, library: str = "numpy") -> Report:
    """Try the parts of an energy, and where it has parameters, the gradients of its solution.

    Parameters
    ----------
    energy : Energy
        Its operators go to `check_operator`, its functionals to `check_functional`.
    rng : numpy.random.Generator, optional
        Where random arrays come from; the same ones each time by default.
    library : str
        The array library for operators and functionals.

    Returns
    -------
    Report
        True where everything holds; the name of a finding says in which term it was found.

    Raises
    ------
    ParameterError
        Where it is no energy.

    Notes
    -----
    Gradients are compared with differences of solutions as in `check_gradient`, where the energy can be compiled; a
    refusal is noted.

    Examples
    --------
    >>> import opalg as oa
    >>> x = oa.Variable((3, 4))
    >>> oa.testing.check_energy(oa.sum_squares(oa.Gradient((3, 4)) @ x) + oa.norm1(x)).ok
    True
    """
    if not isinstance(energy, EnergyExpression):
        raise ParameterError(f"check_energy takes an energy, not {type(energy).__name__}")
    rng = np.random.default_rng(0) if rng is None else rng
    findings = Findings(f"energy {energy!r}")
    for index, term in enumerate(energy.terms):
        place = f"term {index}" if len(energy.terms) > 1 else "term"
        for part in term.expression.parts:
            if not isinstance(part.operator, Identity):
                kinds = (part.variable.kind,)
                findings.take(f"{place}, operator", check_operator(part.operator, rng, library=library, kinds=kinds))
        of_functional = check_functional(
            term.functional, term.expression.shape, rng, library=library, kinds=(term.expression.kind,)
        )
        findings.take(f"{place}, functional", of_functional)
    if energy.parameters:
        try:
            findings.take("gradient", check_gradient(energy, rng=rng))
        except OpalgError as refusal:
            findings.note(f"gradients of the solution were not tried: {refusal}")
    return findings.report()
