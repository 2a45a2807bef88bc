"""Formulas in forms that neither overflow nor divide zero by zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

from opalg.arrays import backend
from opalg.program.expression import Input
from opalg.program.formula import from_sympy
from opalg.program.interpreter import evaluate

t, s = sympy.symbols("t s", real=True)


def at(formula: Any, place: float, precision: str = "float64", **others: float) -> float:
    lib = backend("numpy", precision)
    inputs = {t: Input("t", ()), **{sympy.Symbol(n, real=True): Input(n, ()) for n in others}}
    values = {Input("t", ()): lib.asarray(place), **{Input(n, ()): lib.asarray(v) for n, v in others.items()}}
    return float(evaluate([from_sympy(formula, inputs)], values, lib)[0])


@pytest.mark.parametrize("place", [0.0, 1e-30, 0.3, 1e20])
def test_lengths_do_not_overflow(place: float) -> None:
    for formula in (sympy.sqrt(t**2 + s**2), sympy.sqrt(t**2 + 1), 1 / sympy.sqrt(t**2 + s**2)):
        wanted = float(formula.subs({t: place, s: 2.0}))
        assert at(formula, place, "float32", s=2.0) == pytest.approx(wanted, rel=1e-6)


def test_other_roots_stay_as_they_are() -> None:
    assert at(sympy.sqrt(1 - t**2), 0.6) == pytest.approx(0.8)
    assert at(sympy.sqrt(t + s), 2.0, s=7.0) == pytest.approx(3.0)


def test_ratios_of_powers_do_not_overflow() -> None:
    assert at(t**2 / s**2, 1e25, "float32", s=2e25) == pytest.approx(0.25)
    assert at(3 * t**3 / (s**3 * (1 + t)), 2.0, s=4.0) == pytest.approx(0.125)


def test_the_entropy_is_zero_at_zero() -> None:
    with np.errstate(all="raise"):
        assert at(t * sympy.log(t), 0.0) == 0.0
        assert at((1 - t) ** 2 * sympy.log(1 - t), 1.0) == 0.0
    assert at(t * sympy.log(t), 2.0) == pytest.approx(2 * np.log(2))
    with np.errstate(invalid="ignore"):
        assert np.isnan(at(t * sympy.log(t), -1.0))


def test_logistic_and_hyperbolic_quotients_saturate() -> None:
    for place in (-800.0, 0.3, 800.0):
        assert at(sympy.exp(t) / (1 + sympy.exp(t)), place) == pytest.approx(
            1 / (1 + np.exp(-np.clip(place, -700, 700)))
        )
        assert at(sympy.cosh(t) ** -2, place) == pytest.approx(1 / np.cosh(np.clip(place, -300, 300)) ** 2, abs=1e-15)


@pytest.mark.parametrize("place", [0.0, 1e-20, -1e-9, 1e-3, 0.9999, -1.0, 1.5, -40.0, 80.0])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_exponentials_less_one_do_not_cancel(place: float, precision: str) -> None:
    near = 1e-6 if precision == "float32" else 1e-14
    assert at(sympy.exp(t) - 1, place, precision) == pytest.approx(np.expm1(place), rel=near, abs=0)
    assert at(3 - 3 * sympy.exp(t), place, precision) == pytest.approx(-3 * np.expm1(place), rel=near, abs=0)
    wanted = 2.0 + np.expm1(-(place**2) / 2)
    assert at(sympy.exp(-(t**2) / 2) + s - 1, place, precision, s=2.0) == pytest.approx(wanted, rel=near)
