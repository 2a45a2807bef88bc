"""Derivatives of formulas in short forms."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from opalg.functionals.potential_formula import derivative

Z, P = sympy.Symbol("z", real=True), sympy.Symbol("p", positive=True)


@pytest.mark.parametrize(
    ("formula", "slope"),
    [
        (sympy.Max(Z, 0) ** 2 / 2, sympy.Max(Z, 0)),
        (sympy.Max(sympy.Abs(Z) - P, 0) ** 2 / 2, sympy.sign(Z) * sympy.Max(sympy.Abs(Z) - P, 0)),
        (sympy.Min(Z, 0) ** 2, 2 * sympy.Min(Z, 0)),
        (sympy.Max(1 - Z, 0) ** 3, -3 * sympy.Max(1 - Z, 0) ** 2),
    ],
)
def test_squares_of_maxima_leave_no_step_behind(formula, slope):
    found = derivative(formula, Z)
    assert not found.has(sympy.Heaviside)
    at = np.linspace(-2.0, 2.0, 9)
    values, wanted = (sympy.lambdify((Z, P), e, "numpy")(at, 0.5) for e in (found, slope))
    np.testing.assert_allclose(values, wanted)


def test_a_step_that_matters_stays():
    assert derivative(sympy.Max(Z, 0), Z).has(sympy.Heaviside)
    assert derivative(sympy.Max(Z, 0) * sympy.exp(Z), Z).has(sympy.Heaviside)
