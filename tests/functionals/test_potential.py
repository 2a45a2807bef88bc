"""Potentials from sympy: derivatives, proofs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsafeExpressionError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals import Potential, PotentialSum
from opalg.leaves import Constant, Parameter
from opalg.nodes import substitute
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import evaluate, number

t, s = sympy.symbols("t s")
EPS = Parameter(0.5, name="eps", positive=True)


@pytest.mark.parametrize(
    ("formula", "convex", "smoothness", "modulus"),
    [
        (sympy.sqrt(t**2 + s**2) - s, YES, 2.0, None),
        (s * sympy.log(sympy.cosh(t / s)), YES, 2.0, None),
        (sympy.log(1 + t**2 / s**2), NO, 8.0, None),
        (1 - sympy.exp(-(t**2) / (2 * s**2)), NO, 4.0, None),
        (t**2 / (t**2 + s**2), NO, 8.0, None),
        (sympy.log(1 + sympy.exp(t)) + s * t**2, YES, 1.25, 1.0),
        (t**4, YES, None, None),
        (t**2, YES, 2.0, 2.0),
        (-(t**2), NO, 2.0, None),
        (sympy.Max(t, 0) ** 2, YES, 2.0, None),
        (t * sympy.Abs(t), UNKNOWN, 2.0, None),
        (sympy.Abs(t) - sympy.log(1 + sympy.Abs(t)), YES, 1.0, None),
        (sympy.Piecewise((t**2 / 2, sympy.Abs(t) <= s), (s * (sympy.Abs(t) - s / 2), True)), YES, 1.0, None),
    ],
)
def test_what_is_proved(formula: sympy.Expr, convex: object, smoothness: float | None, modulus: float | None) -> None:
    given = {"s": EPS} if s in formula.free_symbols else {}
    f = PotentialSum(Potential(t, formula, **given))
    assert f.facts.smooth is YES
    assert f.facts.convex is convex or (convex is UNKNOWN and f.facts.convex is not YES)
    if smoothness is None:
        assert f.facts.smoothness is None
    else:
        assert f.facts.smoothness is not None and f.facts.smoothness.value == pytest.approx(smoothness)
    if modulus is None:
        assert f.facts.strong_convexity is None
    else:
        assert f.facts.strong_convexity is not None and number(f.facts.strong_convexity) == pytest.approx(modulus)


def test_kinks_are_not_smooth() -> None:
    f = PotentialSum(Potential(t, sympy.Abs(t)))
    assert f.facts.smooth is NO and f.facts.convex is YES and not f.offers("gradient")
    assert PotentialSum(Potential(t, sympy.Max(t, -t / 2))).facts.convex is YES
    assert PotentialSum(Potential(t, sympy.Min(t**2, 1))).facts.convex is not YES


def test_steps_are_refused() -> None:
    with pytest.raises(UnsafeExpressionError, match="jump"):
        Potential(t, sympy.sign(t))


def test_bounds_follow_the_parameter() -> None:
    other = Parameter(0.25, positive=True)
    f = PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2) - s, s=EPS))
    moved = substitute(f, {EPS: other})
    assert f.facts.smoothness.value == pytest.approx(2.0)  # type: ignore[union-attr]
    assert moved.facts.smoothness.value == pytest.approx(4.0)
    assert moved.value(np.array([0.75])) == pytest.approx(np.hypot(0.75, 0.25) - 0.25)


def test_proofs_are_dropped_where_a_parameter_loses_its_sign() -> None:
    f = PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2) - s, s=EPS))
    assert substitute(f, {EPS: Parameter(0.25)}).facts.convex is UNKNOWN


def test_an_undeclared_parameter_gives_no_proof_and_a_hint() -> None:
    f = PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2), s=Parameter(0.5)))
    assert f.facts.smooth is UNKNOWN
    with pytest.raises(UnsupportedError, match="positive=True"):
        f.gradient(np.ones(2))


def test_arrays_as_parameters() -> None:
    widths = np.array([0.5, 1.0, 2.0])
    f = PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2) - s, s=widths))
    assert f.value(np.ones(3)) == pytest.approx(np.sum(np.hypot(1.0, widths) - widths))
    assert f.facts.smoothness.value == pytest.approx(2.0)  # type: ignore[union-attr]
    with pytest.raises(ShapeError, match="'s'"):
        f.value(np.ones(2))


def test_parameters_may_stand_in_the_formula() -> None:
    f = PotentialSum(Potential(t, sympy.exp(-EPS * t**2)))
    assert f.value(np.array([2.0])) == pytest.approx(np.exp(-2.0))
    assert EPS in f.children


def test_long_decimals_do_not_drown_sympy() -> None:
    width = 0.836961687
    f = PotentialSum(Potential(t, s * sympy.log(sympy.cosh(t / s)) + 0.123456789 * t**2, s=width))
    assert f.facts.smoothness.value == pytest.approx(1 / width + 2 * 0.123456789)  # type: ignore[union-attr]
    assert PotentialSum(Potential(t, -0.3333331 * t**2)).facts.convex is NO


def test_evenness() -> None:
    assert Potential(t, t**2 + sympy.cos(t)).even
    assert not Potential(t, t**2 + t).even
    assert not Potential(t, t**2, domain=(0, None)).even


def test_domains() -> None:
    f = PotentialSum(Potential(t, -sympy.log(t), domain=(0, None)))
    assert f.value(np.array([1.0, np.e])) == pytest.approx(-1.0)
    assert np.isinf(f.value(np.array([-1.0, 1.0])))
    assert f.facts.convex is YES and f.facts.smooth is not YES and f.facts.smoothness is None
    with pytest.raises(ParameterError, match="empty"):
        Potential(t, t, domain=(1, 0))
    with pytest.raises(ParameterError, match="pair"):
        Potential(t, t, domain=3)


@pytest.mark.parametrize("big", [50.0, 800.0, 1e5])
def test_saturation_without_overflow(big: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        cosh = PotentialSum(Potential(t, sympy.log(sympy.cosh(t))))
        v = np.array([-big, big])
        assert cosh.value(v) == pytest.approx(2 * (big - np.log(2)))
        assert np.allclose(cosh.gradient(v), [-1.0, 1.0]) and np.allclose(cosh.hessian_vector(v, v), 0.0)
        plus = PotentialSum(Potential(t, sympy.log(1 + sympy.exp(t))))
        assert plus.value(v) == pytest.approx(big)
        assert np.allclose(plus.gradient(v), [0.0, 1.0]) and np.allclose(plus.hessian_vector(v, v), 0.0)


@pytest.mark.parametrize("arguments", [("t", t**2), (t, "t**2"), (t, b"t")])
def test_text_is_refused(arguments: tuple[object, object]) -> None:
    with pytest.raises(UnsafeExpressionError, match="text"):
        Potential(*arguments)


def test_other_refusals() -> None:
    with pytest.raises(UnsafeExpressionError, match="text"):
        Potential(t, s * t, s="1")
    with pytest.raises(UnsafeExpressionError, match="identifier"):
        Potential(t, t, **{"s; import os": 1.0})
    with pytest.raises(UnsafeExpressionError, match="without a value"):
        Potential(t, s * t)
    with pytest.raises(ParameterError, match="do not fit"):
        Potential(t, t, s=1.0)
    with pytest.raises(UnsafeExpressionError, match="which opalg does not translate"):
        Potential(t, sympy.Function("f")(t))
    with pytest.raises(UnsafeExpressionError, match="Symbol"):
        Potential(t + 1, t)
    with pytest.raises(ParameterError, match="domain"):
        Potential(sympy.Symbol("x", positive=True), t)
    with pytest.raises(DtypeError, match="complex"):
        PotentialSum(Potential(t, t**2 + t)).value(np.array([1j]))
    with pytest.raises(DtypeError, match="Potential"):
        PotentialSum(t**2)  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="real"):
        Potential(t, s * t, s=Constant(np.array([1j])))


@pytest.mark.parametrize("name", ["x;y", "__import__('os').system('true')", "", "2x"])
def test_symbols_are_named_by_identifiers(name: str) -> None:
    strange = sympy.Symbol(name)
    with pytest.raises(UnsafeExpressionError, match="identifier"):
        Potential(strange, strange**2)
    with pytest.raises(UnsafeExpressionError, match="identifier"):
        Potential(t, strange * t**2, **{name: 1.0})


@pytest.mark.parametrize("name", ["self", "domain", "symbol", "expression"])
def test_names_of_arguments_are_no_parameters(name: str) -> None:
    with pytest.raises(ParameterError, match=f"cannot be named '{name}'"):
        Potential(t, sympy.Symbol(name) * t**2)
    if name in ("self", "domain"):
        with pytest.raises(ParameterError, match=f"cannot be named '{name}'"):
            Potential(t, sympy.Symbol(name) * t**2, **{name: 1.0})


@pytest.mark.parametrize("assumption", ["integer", "rational", "nonzero", "positive", "nonpositive", "imaginary"])
def test_variables_are_simply_real(assumption: str) -> None:
    x = sympy.Symbol("x", **{assumption: True})
    with pytest.raises(ParameterError, match="over the reals"):
        Potential(x, x**2)
    real = sympy.Symbol("x", real=True)
    assert Potential(real, real**2).even


@pytest.mark.parametrize(
    "domain",
    [(float("nan"), 1), (0, float("nan")), (sympy.I, 1), (s, 1), (0, EPS), (sympy.zoo, 1), sympy.Interval(0, s)],
    ids=str,
)
def test_ends_of_a_domain_are_numbers(domain: object) -> None:
    with pytest.raises(ParameterError, match="number"):
        Potential(t, t**2, domain=domain)


def test_infinite_ends_of_a_domain() -> None:
    for domain in ((sympy.oo, None), (None, -sympy.oo), (float("inf"), float("inf")), (1, 1)):
        with pytest.raises(ParameterError, match="empty"):
            Potential(t, t**2, domain=domain)
    for domain in ((-sympy.oo, sympy.oo), (float("-inf"), None), (None, float("inf")), sympy.S.Reals):
        assert Potential(t, t**2, domain=domain).even


@pytest.mark.parametrize("formula", [t < 1, sympy.true, True, sympy.Eq(t, 1), sympy.Matrix([t])], ids=str)
def test_what_is_no_function_is_refused(formula: object) -> None:
    with pytest.raises(UnsafeExpressionError, match="must be a sympy expression in t"):
        Potential(t, formula)


def test_magnitudes_with_an_exponent_that_is_a_parameter() -> None:
    v, d = np.array([-2.0, 0.5, 3.0]), np.array([1.0, 2.0, -1.0])
    for shift in (0, 1):
        p = Potential(t, sympy.Abs(t - shift) ** s, s=Parameter(1.5, positive=True))
        f, size = PotentialSum(p), np.abs(v - shift)
        assert f.value(v) == pytest.approx(np.sum(size**1.5), rel=1e-14)
        with np.errstate(all="ignore"):
            slope, curvature = (call(formula, p, v) for formula in (p.first, p.second))
        assert np.allclose(slope, 1.5 * np.sqrt(size) * np.sign(v - shift), rtol=1e-13)
        assert np.allclose(curvature * d, 0.75 * d / np.sqrt(size), rtol=1e-13)


def call(formula: object, p: Potential, v: np.ndarray) -> np.ndarray:
    place, lib = Input("v", v.shape), backend("numpy", "float64")
    data: dict[Expression, np.ndarray] = {
        place: v,
        **{e: np.asarray(e.value) for e in p.parameters if isinstance(e, Parameter)},
    }
    return np.asarray(evaluate([p.translate(formula, place, p.parameters)], data, lib)[0])


def test_formulas_print_without_underscores() -> None:
    p = Potential(t, s * sympy.Abs(t) + sympy.Rational(1, 3) * t + 0.123456789, s=EPS)
    for printed in (p.formula, p.first, p.second, p.slope_range, p.prox_formula, Potential(t, EPS * t).slope_range):
        assert "_" not in str(printed)
    with pytest.raises(UnsafeExpressionError) as caught:
        Potential(t, s * t)
    assert "_" not in str(caught.value)


def test_hints_name_what_is_there() -> None:
    with pytest.raises(UnsupportedError) as caught:
        PotentialSum(Potential(t, sympy.sin(sympy.exp(t)))).prox(np.ones(2), 1.0)
    assert "positive=True" not in str(caught.value)
    with pytest.raises(UnsafeExpressionError, match=r"for example s=1\.0"):
        Potential(t, s * t**2, s="1")
    with pytest.raises(UnsupportedError, match="its potential is not convex"):
        PotentialSum(Potential(t, -(t**4))).conjugate.value(np.ones(2))


def test_parameters_with_a_sign_have_conditions() -> None:
    f = PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2) - s, s=EPS))
    ((least, strict, sentence),) = f.define_conditions()
    assert strict and "'s'" in sentence and number(least) == 0.5
    free = PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2), s=Parameter(0.5)))
    assert free.define_conditions() == []
    assert PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2), s=0.1)).define_conditions() == []


def test_what_to_declare_is_said() -> None:
    free = Potential(t, sympy.sqrt(t**2 + s**2), s=Parameter(0.5, name="width"))
    assert PotentialSum(free).hint() == "declare the parameter 'width' with positive=True"
    assert PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2) - s, s=EPS)).hint() == ""
    assert PotentialSum(Potential(t, sympy.sin(t))).hint() == ""


def test_gradients_inside_a_domain() -> None:
    t = sympy.Symbol("t", real=True)
    f = PotentialSum(Potential(t, -sympy.log(t), domain=(0, sympy.oo)))
    v, d = np.array([0.5, 2.0]), np.array([1.0, -3.0])
    assert np.allclose(f.gradient(v), -1 / v, rtol=1e-14) and np.allclose(f.hessian_vector(v, d), d / v**2, rtol=1e-14)
    assert not f.offers("gradient")
    with pytest.raises(ParameterError, match="outside the domain"):
        f.gradient(-v)
    g = PotentialSum(Potential(t, abs(t), domain=(-1, 1)))
    with pytest.raises(UnsupportedError, match="gradient"):
        g.gradient(np.zeros(2))
