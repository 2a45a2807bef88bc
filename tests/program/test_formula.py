"""The bridge from sympy: translation against sympy's own numbers, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import sympy

from opalg.arrays import backend
from opalg.errors import UnsafeExpressionError
from opalg.leaves import Constant, Parameter
from opalg.nodes import walk
from opalg.program.differentiate import jvp
from opalg.program.expression import Input, Literal
from opalg.program.formula import expression_of, from_sympy, symbol_of
from opalg.program.interpreter import evaluate, number

x, y = sympy.symbols("x y", real=True)
X, Y, D = Input("x", (7,)), Input("y", (7,)), Input("d", (7,))
POINTS = {X: np.linspace(-1.7, 1.9, 7), Y: np.linspace(0.3, 2.1, 7), D: np.linspace(1.0, -2.0, 7)}

FORMULAS = [
    x + y, x - y, -x - y, 3 * x - 2, x * y, x / y, -x / y**2, 2 / (3 * y), x**2, x**3, x**5, x**16, y**-1, y**-3,
    sympy.sqrt(y), 1 / sympy.sqrt(y), y ** sympy.Rational(3, 2), y ** sympy.Rational(-5, 2), y**x, 2**x, y**0.37,
    sympy.exp(x), sympy.log(y), sympy.log(1 + y), sympy.sin(x), sympy.cos(x), sympy.tan(x / 2), sympy.tanh(x),
    sympy.cosh(x), sympy.sinh(x), sympy.atan(x), sympy.Abs(x), sympy.sign(x), sympy.Max(x, y, 1), sympy.Min(x, y),
    sympy.pi * x + sympy.E, sympy.Heaviside(x), sympy.Heaviside(x - x, 1), x * sympy.Heaviside(x),
    sympy.Piecewise((x**2, sympy.Abs(x) < 1), (2 * sympy.Abs(x) - 1, True)),
    sympy.Piecewise((1, sympy.And(x > 0, y > 1)), (2, sympy.Or(x < -1, y <= 1)), (3, True)),
    sympy.Piecewise((1, sympy.Eq(x, y)), (x, sympy.Ne(x, 0)), (3, True)),
    sympy.log(sympy.cosh(x * y)), sympy.cosh(x) ** -2, sympy.cosh(x) ** -4 * y, sympy.cosh(x) ** -3,
    sympy.log(sympy.exp(x) + sympy.exp(y)), sympy.log(1 + sympy.exp(x)), 1 / (1 + sympy.exp(x)),
    sympy.exp(x) / (1 + sympy.exp(x)) ** 2, y * sympy.exp(2 * x) / (1 + sympy.exp(x)) ** 3,
    sympy.exp(5 * x) / (1 + sympy.exp(x)) ** 2, sympy.exp(-x) / (1 + sympy.exp(x)), (x + y) ** 2 / (1 + x**2) ** 2,
]  # fmt: skip
DIFFERENTIABLE = [f for f in FORMULAS if not f.has(sympy.Piecewise, sympy.Heaviside, sympy.sign)]


def reference(formula: sympy.Expr) -> np.ndarray:
    """The formula by sympy's own arithmetic, point by point."""
    rows = zip(POINTS[X], POINTS[Y], strict=True)
    return np.array([float(formula.subs({x: float(a), y: float(b)}).evalf(30)) for a, b in rows])


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_values_are_those_of_sympy(formula: sympy.Expr) -> None:
    (found,) = evaluate([from_sympy(formula, {x: X, y: Y})], POINTS, backend())
    assert np.allclose(found, reference(formula), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("formula", DIFFERENTIABLE, ids=str)
def test_derivatives_are_those_of_sympy(formula: sympy.Expr) -> None:
    (moved,) = jvp([from_sympy(formula, {x: X, y: Y})], {X: D})
    found = np.zeros(7) if moved is None else evaluate([moved], POINTS, backend())[0]
    assert np.allclose(found, reference(sympy.diff(formula, x)) * POINTS[D], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_other_libraries_agree(formula: sympy.Expr, library: str) -> None:
    lib = backend(library, "float64")
    values = {key: lib.asarray(value) for key, value in POINTS.items()}
    (found,) = evaluate([from_sympy(formula, {x: X, y: Y})], values, lib)
    assert np.allclose(lib.to_numpy(found), reference(formula), rtol=1e-12, atol=1e-13)


def test_leaves_become_symbols_and_come_back() -> None:
    lam = Parameter(0.5, name="lambda", positive=True)
    assert sympy.exp(lam).free_symbols == {symbol_of(lam)}
    assert symbol_of(lam) == symbol_of(lam) and symbol_of(lam) != symbol_of(Parameter(0.5, name="lambda"))
    assert symbol_of(lam).is_positive and symbol_of(Parameter(0.5, nonneg=True)).is_nonnegative
    assert expression_of(symbol_of(lam)) is lam and expression_of(x) is None
    assert number(from_sympy(sympy.exp(-lam) + lam)) == pytest.approx(np.exp(-0.5) + 0.5)


def test_arithmetic_mixes_with_sympy() -> None:
    lam = Parameter(2.0)
    assert number(lam * sympy.sqrt(2)) == pytest.approx(2 * np.sqrt(2))
    mixed = sympy.sqrt(2) * lam
    assert number(from_sympy(mixed)) == pytest.approx(2 * np.sqrt(2))


def test_formulas_with_free_symbols_stay_formulas() -> None:
    lam = Parameter(2.0, name="lambda", positive=True)
    for formula in (lam * x, -lam * x, (lam + 1) / x, lam**2 - x, (0.5 * lam) ** x):
        assert isinstance(formula, sympy.Expr) and formula.free_symbols == {x, symbol_of(lam)}
    assert (lam * lam + 1.0)._sympy_() == symbol_of(lam) ** 2 + 1
    assert number(from_sympy(-lam * x + lam, {x: 3.0})) == -4.0


def test_numbers_pass() -> None:
    assert from_sympy(2) is Literal(2.0) and from_sympy(sympy.Rational(1, 4)) is Literal(0.25)
    assert from_sympy(x + 1, {x: 2.0}) is Literal(3.0)


def test_equal_parts_are_shared() -> None:
    inner = sympy.exp(x * y)
    found = from_sympy(inner + sympy.sin(inner), {x: X, y: Y})
    assert sum(1 for n in walk(found) if getattr(n, "function", "") == "exp") == 1


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("x**2", "text"),
        (y * 2, "free symbol 'y'"),
        (sympy.Function("system")(x), "system|Function"),
        (sympy.Integral(sympy.exp(x**2), x), "Integral"),
        (sympy.DiracDelta(x), "DiracDelta"),
        (sympy.I * x, "ImaginaryUnit"),
        (sympy.oo, "Infinity"),
        (sympy.nan, "NaN"),
        (sympy.Integer(10) ** 400, "too large"),
        (sympy.gamma(x), "gamma"),
        (sympy.Matrix([x]), "Matrix"),
        (sympy.Piecewise((x, x > 0)), "last piece"),
        (sympy.Derivative(sympy.Function("f")(x), x), "Derivative"),
        ([1, 2], "list"),
        (None, "NoneType"),
    ],
)
def test_refusals(formula: object, words: str) -> None:
    with pytest.raises(UnsafeExpressionError, match=words):
        from_sympy(formula, {x: X})


def test_towers_of_powers_are_not_evaluated() -> None:
    tower = sympy.Pow(9, sympy.Pow(9, 9, evaluate=False), evaluate=False)
    with np.errstate(over="ignore"):
        assert np.isinf(number(from_sympy(tower)))
    small = sympy.Pow(9, sympy.Integer(-(10**9)), evaluate=False)
    with np.errstate(over="ignore"):
        assert number(from_sympy(small)) == 0.0


def test_a_power_of_a_parameter_has_a_finite_derivative_at_zero() -> None:
    p, dp = Parameter(1.5), Input("dp", ())
    (moved,) = jvp([X**p], {p: dp})
    assert moved is not None
    values = {X: np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), dp: np.asarray(1.0)}
    found = evaluate([moved], values, backend())[0]
    assert found[0] == 0.0 and found[2] == pytest.approx(2.0**1.5 * np.log(2.0))


def test_booleans_do_not_enter_formulas() -> None:
    with pytest.raises(UnsafeExpressionError, match="boolean"):
        symbol_of(Constant(np.array([True])))


def test_sympy_is_not_imported_with_the_package() -> None:
    code = "import sys, opalg.functionals; sys.exit('sympy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
