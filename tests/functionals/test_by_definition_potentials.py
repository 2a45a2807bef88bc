"""Potentials written in sympy against the same formulas in NumPy; and from one line to a gradient in a parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

import opalg as oa
from opalg import functionals as fs
from tests.functionals.definitions import LONG, Scalar, by_magnitude

T, S = sympy.symbols("t s")
SCALE = 0.7
SIZES = (0.02, 0.5, 20.0)


def declared() -> dict[str, oa.Parameter]:
    return {"s": oa.Parameter(SCALE, positive=True)}


def softplus(u: Any) -> Any:
    return np.logaddexp(LONG(0), u)


CONVEX = {
    "quartic": (oa.Potential(T, T**4 / 4), Scalar(lambda u: u**4 / 4, lambda u: u**3), True, None),
    "power": (
        oa.Potential(T, sympy.Abs(T) ** sympy.Rational(3, 2)),
        Scalar(lambda u: np.abs(u) ** 1.5, lambda u: 1.5 * np.sign(u) * np.sqrt(np.abs(u))),
        True,
        None,
    ),
    "magnitude": (oa.Potential(T, sympy.Abs(T)), Scalar(np.abs, np.sign), True, None),
    "charbonnier": (
        oa.Potential(T, sympy.sqrt(T**2 + S**2) - S, **declared()),
        Scalar(lambda u: np.sqrt(u * u + SCALE**2) - SCALE, lambda u: u / np.sqrt(u * u + SCALE**2)),
        True,
        1 / SCALE,
    ),
    "log cosh": (
        oa.Potential(T, S * sympy.log(sympy.cosh(T / S)), **declared()),
        Scalar(lambda u: SCALE * (np.logaddexp(u / SCALE, -u / SCALE) - np.log(LONG(2))), lambda u: np.tanh(u / SCALE)),
        True,
        1 / SCALE,
    ),
    "huber": (
        oa.Potential(
            T, sympy.Piecewise((T**2 / 2, sympy.Abs(T) <= S), (S * (sympy.Abs(T) - S / 2), True)), **declared()
        ),
        Scalar(
            lambda u: np.where(np.abs(u) <= SCALE, u * u / 2, SCALE * (np.abs(u) - SCALE / 2)),
            lambda u: np.clip(u, -SCALE, SCALE),
        ),
        True,
        1.0,
    ),
    "arctangent": (
        oa.Potential(T, T * sympy.atan(T) - sympy.log(1 + T**2) / 2),
        Scalar(lambda u: u * np.arctan(u) - np.log1p(u * u) / 2, np.arctan),
        True,
        1.0,
    ),
    "softplus": (
        oa.Potential(T, sympy.log(1 + sympy.exp(T))),
        Scalar(softplus, lambda u: np.exp(-softplus(-u))),
        False,
        0.25,
    ),
    "exponential": (
        oa.Potential(T, sympy.exp(T) - T - 1),
        Scalar(lambda u: np.expm1(np.minimum(u, 700)) - u, lambda u: np.expm1(np.minimum(u, 700))),
        False,
        None,
    ),
    "hinge": (
        oa.Potential(T, sympy.Max(0, 1 - T)),
        Scalar(lambda u: np.maximum(0, 1 - u), lambda u: np.where(u < 1, -1.0, 0.0)),
        False,
        None,
    ),
    "pinball": (
        oa.Potential(T, sympy.Max(S * T, (S - 1) * T), s=0.3),
        Scalar(lambda u: np.maximum(0.3 * u, -0.7 * u), lambda u: np.where(u > 0, 0.3, -0.7)),
        False,
        None,
    ),
    "net": (
        oa.Potential(T, sympy.Abs(T) + S * T**2, **declared()),
        Scalar(lambda u: np.abs(u) + SCALE * u * u, lambda u: np.sign(u) + 2 * SCALE * u),
        True,
        None,
    ),
    "line": (oa.Potential(T, 2 * T), Scalar(lambda u: 2 * u, lambda u: 2 + 0 * u), False, 0.0),
    "barrier": (
        oa.Potential(T, -sympy.log(T), domain=(0, None)),
        Scalar(lambda u: -np.log(u), lambda u: -1 / u, low=0.0),
        False,
        None,
    ),
    "reciprocal": (
        oa.Potential(T, 1 / T, domain=(0, None)),
        Scalar(lambda u: 1 / u, lambda u: -1 / u**2, low=0.0),
        False,
        None,
    ),
    "two barriers": (
        oa.Potential(T, -sympy.log(T) - sympy.log(1 - T), domain=(0, 1)),
        Scalar(lambda u: -np.log(u) - np.log(1 - u), lambda u: 1 / (1 - u) - 1 / u, low=0.0, high=1.0),
        False,
        None,
    ),
    "entropy": (
        oa.Potential(T, T * sympy.log(T), domain=(0, None)),
        Scalar(lambda u: u * np.log(u), lambda u: np.log(u) + 1, low=0.0),
        False,
        None,
    ),
    "square between": (
        oa.Potential(T, T**2, domain=(1, 2)),
        Scalar(lambda u: u * u, lambda u: 2 * u, low=1.0, high=2.0),
        False,
        2.0,
    ),
}
NONCONVEX = {
    "welsch": (1 - sympy.exp(-(T**2) / (2 * S**2)), lambda u: 1 - np.exp(-u * u / (2 * SCALE**2))),
    "cauchy": (sympy.log(1 + T**2 / S**2), lambda u: np.log1p(u * u / SCALE**2)),
    "logarithm": (sympy.log(1 + sympy.Abs(T)), lambda u: np.log1p(np.abs(u))),
    "root": (sympy.sqrt(sympy.Abs(T)), lambda u: np.sqrt(np.abs(u))),
    "truncated": (sympy.Min(T**2, 1), lambda u: np.minimum(u * u, 1)),
    "concave": (
        sympy.Piecewise((sympy.Abs(T) - T**2 / 6, sympy.Abs(T) <= 3), (sympy.Rational(3, 2), True)),
        lambda u: np.where(np.abs(u) <= 3, np.abs(u) - u * u / 6, 1.5),
    ),
    "wells": (T**6 - 3 * T**2, lambda u: u**6 - 3 * u * u),
}


def inside(model: Scalar) -> np.ndarray:
    v = np.random.default_rng(1).normal(size=(3, 4)) * np.array([0.1, 1.0, 2.0, 3.0])
    if np.isfinite(model.high):
        return model.low + (model.high - model.low) / (1 + np.exp(-v))
    return np.abs(v) + 0.01 if np.isfinite(model.low) else v


@pytest.mark.parametrize("name", CONVEX)
def test_values_and_derivatives(name: str) -> None:
    potential, model, _, _ = CONVEX[name]
    f, v = fs.PotentialSum(potential), inside(model)
    np.testing.assert_allclose(f.value(v), model.total(v.astype(LONG)), rtol=1e-12)
    if f.offers("gradient"):
        np.testing.assert_allclose(
            f.gradient(v), np.asarray(model.slope(v.astype(LONG)), float), rtol=1e-11, atol=1e-14
        )
    if np.isfinite(model.low):
        assert f.value(np.full((3, 4), model.low - 0.5)) == np.inf
    first = sympy.diff(T**4 / 4, T)
    assert CONVEX["quartic"][0].first.subs(next(iter(CONVEX["quartic"][0].first.free_symbols)), T) == first


@pytest.mark.parametrize("name", CONVEX)
def test_facts_that_are_derived(name: str) -> None:
    potential, _, even, bound = CONVEX[name]
    f = fs.PotentialSum(potential)
    assert bool(f.facts.convex)
    assert potential.even is even
    assert (f.facts.phase_invariant is oa.YES) == even
    if bound is None:
        assert f.facts.smoothness is None or np.isfinite(float(f.facts.smoothness))
    elif f.offers("gradient"):
        assert float(f.facts.smoothness) == pytest.approx(bound)
    flat = name in ("softplus", "hinge", "line", "barrier", "reciprocal")
    assert potential.coercive is (oa.NO if flat else oa.YES)
    assert potential.bounded_below is (oa.NO if name in ("line", "barrier") else oa.YES)


@pytest.mark.parametrize("name", CONVEX)
def test_prox_by_bisection(name: str) -> None:
    potential, model, even, _ = CONVEX[name]
    f = fs.PotentialSum(potential)
    v = np.random.default_rng(5).normal(size=(3, 4)) * np.array([0.1, 1.0, 5.0, 30.0])
    steps = np.array(SIZES, LONG).reshape(-1, 1, 1)
    for t, expected in zip(SIZES, model.prox(v, steps).astype(float), strict=True):
        np.testing.assert_allclose(f.prox(v, t), expected, rtol=1e-10, atol=1e-12)
        if name == "exponential":
            continue  # its slope exp(u) - 1 cancels near zero
        single = v.astype(np.float32)
        u = f.prox(single, t)
        assert u.dtype == np.float32
        wide = model.prox(single, LONG(np.float32(t))).astype(float)
        assert np.all(np.abs(u - wide) <= 1e-5 * np.abs(wide) + 3e-7 * np.abs(single)), (t, u, wide)
    batch = np.stack([v, -v, 2 * v])
    expected = model.prox(batch, steps).astype(float)
    np.testing.assert_allclose(f.prox(batch, np.array(SIZES)), expected, rtol=1e-10, atol=1e-12)
    if even:
        z = v * np.exp(1j * np.arange(4))
        np.testing.assert_allclose(
            f.prox(z, 0.5), by_magnitude(lambda m: model.prox(m, 0.5), z), rtol=1e-10, atol=1e-12
        )
    else:
        with pytest.raises(oa.DtypeError):
            f.prox(v + 1j, 0.5)


@pytest.mark.parametrize("name", CONVEX)
def test_a_step_of_zero_and_empty_arrays(name: str) -> None:
    potential, model, _, _ = CONVEX[name]
    f, v = fs.PotentialSum(potential), np.array([-3.0, 0.4, 1.5, 7.0])
    np.testing.assert_allclose(f.prox(v, 0.0), np.clip(v, model.low, model.high), atol=1e-12)
    assert f.prox(np.zeros((0, 3)), 1.0).shape == (0, 3)
    assert f.value(np.zeros(0)) == 0.0


@pytest.mark.parametrize("name", CONVEX)
def test_conjugates_at_slopes_that_are_taken(name: str) -> None:
    potential, model, _, _ = CONVEX[name]
    f, u = fs.PotentialSum(potential), inside(model)
    q = np.asarray(model.slope(u.astype(LONG)), float)
    expected = float(np.sum(q * u - model.value(u.astype(LONG))))
    np.testing.assert_allclose(f.conjugate.value(q), expected, rtol=1e-9, atol=1e-10)
    v = 2 * np.random.default_rng(2).normal(size=(3, 4))
    for t in (0.1, 3.0):
        moreau = v - t * model.prox(v / LONG(t), 1 / LONG(t)).astype(float)
        np.testing.assert_allclose(f.conjugate.prox(v, t), moreau, rtol=1e-9, atol=1e-11 * (1 + t))


@pytest.mark.parametrize("name", NONCONVEX)
def test_prox_of_what_is_not_convex_is_the_global_minimiser(name: str) -> None:
    formula, value = NONCONVEX[name]
    f = fs.PotentialSum(oa.Potential(T, formula, **(declared() if S in formula.free_symbols else {})))
    assert f.facts.convex is not oa.YES
    v = np.array([2.0, -1.5, 0.31, 0.9, -0.05, 6.0])
    grid = np.linspace(-8, 8, 160001)
    for t in (0.1, 0.4, 3.0, 50.0):
        u = f.prox(v, t)
        least = [np.min(value(grid) + (grid - x) ** 2 / (2 * t)) for x in v]
        assert np.all(value(u) + (u - v) ** 2 / (2 * t) <= np.asarray(least) + 1e-12)
        size = 1e-6
        slope = (value(u + size) - value(u - size)) / (2 * size)
        smooth = (np.abs(u) > 1e-3) & (np.abs(np.abs(u) - 1) > 1e-3) & (np.abs(np.abs(u) - 3) > 1e-3)
        np.testing.assert_allclose((u + t * slope)[smooth], v[smooth], atol=1e-7 * (1 + t))
    with pytest.raises(oa.UnsupportedError):
        f.conjugate.value(v)


@pytest.mark.parametrize("name", ["quartic", "power", "charbonnier", "huber", "softplus", "barrier"])
def test_every_library(name: str, lib: oa.Backend) -> None:
    potential, model, _, _ = CONVEX[name]
    f, v = fs.PotentialSum(potential), np.random.default_rng(5).normal(size=(3, 4))
    u = f.prox(lib.asarray(v), 0.5)
    assert type(u) is type(lib.asarray(v))
    np.testing.assert_allclose(lib.to_numpy(u), model.prox(v, 0.5).astype(float), rtol=1e-10, atol=1e-12)


def test_closed_forms_are_found() -> None:
    v, t = sympy.symbols("v t")
    for formula, expected in (
        (T**2 / 2, v / (1 + t)),
        (sympy.Abs(T), sympy.Max(v - t, 0) + sympy.Min(v + t, 0)),
        (2 * T, v - 2 * t),
    ):
        found = oa.Potential(T, formula).prox_formula
        for at in ({v: 3, t: 2}, {v: -1, t: 2}, {v: sympy.Rational(-7, 3), t: sympy.Rational(1, 2)}):
            names = {symbol: at[v if symbol.name == "v" else t] for symbol in found.free_symbols}
            assert found.subs(names) == expected.subs(at)
    q = sympy.Symbol("q")
    found = oa.Potential(T, sympy.exp(T)).conjugate_formula
    at = found.subs({symbol: sympy.Rational(3, 2) for symbol in found.free_symbols})
    assert sympy.simplify(at - (q * sympy.log(q) - q).subs(q, sympy.Rational(3, 2))) == 0


def test_exactness_of_potentials() -> None:
    assert fs.PotentialSum(CONVEX["magnitude"][0]).exactness.value == "closed form"
    assert fs.PotentialSum(CONVEX["quartic"][0]).exactness.value == "iterative with a certified gap"
    assert fs.PotentialSum(oa.Potential(T, T**3)).exactness is None


def test_what_is_not_proved_is_unknown_and_offers_no_prox() -> None:
    f = fs.PotentialSum(oa.Potential(T, sympy.cos(T)))
    assert f.facts.convex is oa.UNKNOWN or f.facts.convex is oa.NO
    assert not f.offers("prox")
    with pytest.raises(oa.UnsupportedError, match="convex"):
        f.prox(np.zeros(3), 1.0)
    unsigned = fs.PotentialSum(oa.Potential(T, S * T**2, s=oa.Parameter(1.0, name="weight")))
    assert unsigned.facts.convex is oa.UNKNOWN
    with pytest.raises(oa.UnsupportedError, match=r"'weight'.*positive=True"):
        unsigned.prox(np.zeros(3), 1.0)


def test_a_plan_without_a_bound_says_that_it_backtracks() -> None:
    x = oa.Variable(4, name="x")
    A = oa.Matrix(np.random.default_rng(0).normal(size=(6, 4)))
    plan = oa.compile(oa.pointwise(oa.Potential(T, T**4), A @ x - np.ones(6)))
    assert "backtracking" in plan.explain()


HOSTILE = {
    "text": lambda: oa.Potential(T, "t**2"),
    "code": lambda: oa.Potential(T, "__import__('os').system('true')"),
    "text for a symbol": lambda: oa.Potential("t", T**2),
    "a space": lambda: oa.Potential(T, T**2 * sympy.Symbol("a b"), **{"a b": 1.0}),
    "a call": lambda: oa.Potential(T, T**2 * sympy.Symbol("f()"), **{"f()": 1.0}),
    "a newline": lambda: oa.Potential(T, T**2 * sympy.Symbol("a\nb"), **{"a\nb": 1.0}),
    "no value": lambda: oa.Potential(T, S * T**2),
    "an unknown function": lambda: oa.Potential(T, sympy.Function("g")(T)),
    "a special function": lambda: oa.Potential(T, sympy.besselj(0, T)),
    "an integral": lambda: oa.Potential(T, sympy.Integral(S, (S, 0, T))),
    "a matrix": lambda: oa.Potential(T, sympy.Matrix([T])),
    "an imaginary number": lambda: oa.Potential(T, sympy.I * T),
    "an infinite number": lambda: oa.Potential(T, T + sympy.oo),
    "no number": lambda: oa.Potential(T, T * sympy.nan),
    "text for a parameter": lambda: oa.Potential(T, S * T**2, s="1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_formulas_are_refused(name: str) -> None:
    with pytest.raises(oa.UnsafeExpressionError):
        HOSTILE[name]()


@pytest.mark.parametrize(
    "make",
    [
        lambda: oa.Potential(T, T**2, s=1.0),
        lambda: oa.Potential(sympy.Symbol("z", positive=True), sympy.Symbol("z", positive=True) ** 2),
        lambda: oa.Potential(T, T**2, domain=(2, 1)),
        lambda: oa.Potential(T, T**2, domain=("0", 1)),
        lambda: oa.Potential(T, T**2, domain=5),
        lambda: oa.Potential(T, T**2, domain=(0,)),
    ],
)
def test_what_does_not_fit_is_refused(make: Any) -> None:
    with pytest.raises(oa.ParameterError):
        make()


@pytest.mark.parametrize("name", ["lambda", "__class__", "np", "exp", "lib", "v", "q", "x"])
def test_names_never_reach_code(name: str) -> None:
    potential = oa.Potential(T, sympy.Symbol(name) * T**2, **{name: 2.0})
    np.testing.assert_allclose(fs.PotentialSum(potential).prox(np.array([1.0, -2.0]), 0.5), [1 / 3, -2 / 3])


def test_five_lines_from_a_formula_to_a_gradient_in_its_parameter() -> None:
    y = np.array([0.3, -1.2, 2.0, 0.1, -0.4])
    t, s = sympy.symbols("t s")
    width = oa.Parameter(0.6, name="width", positive=True)
    phi = oa.Potential(t, sympy.log(sympy.cosh(t / s)) * s**2, s=width)
    x = oa.Variable(5, name="x")
    E = 0.5 * oa.sum_squares(x - y) + oa.pointwise(phi, oa.FiniteDifference((5,), 0) @ x)
    sol = oa.minimize(E, tol=1e-12)
    target = np.linspace(-1, 1, 5)
    found = float(sol.vjp(sol.x - target, [width])[width])

    plan = oa.compile(E)

    def loss(value: float) -> float:
        solved = plan.solve(params={width: value}, tol=1e-13)
        return 0.5 * float(np.sum((solved.x - target) ** 2))

    step = 1e-4
    assert found == pytest.approx((loss(0.6 + step) - loss(0.6 - step)) / (2 * step), rel=1e-5)


def test_the_prox_has_gradients_in_the_parameters_of_the_formula() -> None:
    y = np.array([0.3, -1.2, 2.0])
    s = oa.Parameter(np.array([0.5, 1.0, 2.0]), name="s", positive=True)
    x = oa.Variable(3, name="x")
    E = 0.5 * oa.sum_squares(x - y) + oa.pointwise(oa.Potential(T, S * T**4, s=s), x)
    sol = oa.minimize(E, tol=1e-12)
    u = sol.x
    np.testing.assert_allclose(u + 4 * s.value * u**3, y, atol=1e-5)
    expected = -4 * u**3 / (1 + 12 * s.value * u**2)
    np.testing.assert_allclose(sol.vjp(np.ones(3), [s])[s], expected, rtol=1e-5)
