"""Potentials from sympy: derivatives, proofs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from opalg.errors import DtypeError, ParameterError, ShapeError, UnsafeExpressionError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals import Potential, PotentialSum
from opalg.leaves import Constant, Parameter
from opalg.nodes import substitute
from opalg.program.interpreter import number

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


def test_a_symbol_is_never_evaluated_by_its_name() -> None:
    strange = sympy.Symbol("__import__('os').system('true')")
    f = PotentialSum(Potential(strange, strange**2))
    assert f.value(np.array([3.0])) == 9.0


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
