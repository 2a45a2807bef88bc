"""Proxes and conjugates that are derived from formulas, against searches and bisections that know nothing of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from math import inf
from typing import Any

import numpy as np
import pytest
import sympy
from scipy.optimize import brentq, minimize_scalar

from opalg.arrays import backend
from opalg.emit import Function
from opalg.errors import DtypeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.exactness import Exactness
from opalg.functionals.potential import Potential, PotentialSum
from opalg.leaves import Parameter
from opalg.program.differentiate import gradient
from opalg.program.expression import Input, total
from opalg.program.formula import symbol_of
from opalg.program.interpreter import evaluate

t, s = sympy.symbols("t s")
A = sympy.Abs
HALF = sympy.Rational(3, 2)


@dataclass(frozen=True)
class Case:
    """A potential and its one-sided slopes, written by hand."""

    name: str
    formula: Any
    slopes: Callable[[float], tuple[float, float]]
    exactness: Exactness = Exactness.ITERATIVE
    given: dict[str, Any] = field(default_factory=dict)
    ends: tuple[float, float] = (-inf, inf)


def both(slope: Callable[[float], float]) -> Callable[[float], tuple[float, float]]:
    return lambda u: (slope(u), slope(u))


def kinked(place: float, left: Callable[[float], float], right: Callable[[float], float]) -> Any:
    return lambda u: (left(u) if u <= place else right(u), left(u) if u < place else right(u))


def soft_exp(u: float) -> float:
    return float(np.exp(min(u, 700.0)))


CLOSED = Exactness.CLOSED_FORM
CONVEX = [
    Case("charbonnier", sympy.sqrt(t**2 + s**2) - s, both(lambda u: u / float(np.hypot(u, 0.5))), given={"s": 0.5}),
    Case("log-cosh", s * sympy.log(sympy.cosh(t / s)), both(lambda u: float(np.tanh(u / 0.3))), given={"s": 0.3}),
    Case(
        "huber",
        sympy.Piecewise((t**2 / 2, A(t) <= s), (s * (A(t) - s / 2), True)),
        both(lambda u: min(max(u, -0.7), 0.7)),
        CLOSED,
        {"s": 0.7},
    ),
    Case("magnitude", A(t), kinked(0.0, lambda u: -1.0, lambda u: 1.0), CLOSED),
    Case("elastic", t**2 / 2 + A(t), kinked(0.0, lambda u: u - 1.0, lambda u: u + 1.0), CLOSED),
    Case("hinge", sympy.Max(0, 1 - t), kinked(1.0, lambda u: -1.0, lambda u: 0.0), CLOSED),
    Case("quantile", sympy.Max(s * t, (s - 1) * t), kinked(0.0, lambda u: -0.7, lambda u: 0.3), CLOSED, {"s": 0.3}),
    Case("logistic", sympy.log(1 + sympy.exp(t)), both(lambda u: 1 / (1 + soft_exp(-u)))),
    Case(
        "entropy", t * sympy.log(t), both(lambda u: 1 + float(np.log(u))), given={"domain": (0, None)}, ends=(0.0, inf)
    ),
    Case("barrier", -sympy.log(t), both(lambda u: -1 / u), CLOSED, {"domain": (0, None)}, (0.0, inf)),
    Case("quartic", t**4, both(lambda u: 4 * u**3)),
    Case("three halves", A(t) ** HALF, both(lambda u: 1.5 * float(np.sign(u)) * abs(u) ** 0.5), CLOSED),
    Case("exponential", sympy.exp(t), both(soft_exp)),
    Case("fair", A(t) - sympy.log(1 + A(t)), both(lambda u: u / (1 + abs(u))), CLOSED),
    Case("square in a box", t**2, both(lambda u: 2 * u), CLOSED, {"domain": (-1, 2)}, (-1.0, 2.0)),
    Case("kinky exponential", A(t) + sympy.exp(t), kinked(0.0, lambda u: soft_exp(u) - 1, lambda u: soft_exp(u) + 1)),
]
IDS = [c.name for c in CONVEX]
V = np.concatenate([np.array([-41.0, -3.3, -0.8, -0.05, 0.0, 1e-4, 0.31, 0.93, 2.7, 60.0])])


MADE = {case.name: PotentialSum(Potential(t, case.formula, **case.given)) for case in CONVEX}


def made(case: Case) -> PotentialSum:
    return MADE[case.name]


def oracle(case: Case, v: float, step: float) -> float:
    """Where the one-sided residuals change their sign, by brentq on exponentials of both signs."""

    def residual(u: float, side: int) -> float:
        return (u - v) + step * case.slopes(u)[side]

    low, high = case.ends
    if low == 0.0:
        if residual(1e-290, 0) >= 0:
            return 0.0
        return float(np.exp(brentq(lambda z: residual(float(np.exp(z)), 0), -680, 90, xtol=1e-14, rtol=1e-13)))
    for end, side in ((low, 1), (high, 0)):
        if abs(end) < inf and (residual(end, side) >= 0) == (end == low):
            return end
    for kink in (0.0, 1.0):
        if residual(kink, 0) <= 0 <= residual(kink, 1):
            return kink
    sign = 1.0 if residual(0.0, 1) < 0 else -1.0
    place = brentq(lambda z: residual(sign * float(np.exp(z)), 0), -680, 90, xtol=1e-14, rtol=1e-13)
    return sign * float(np.exp(place))


@pytest.mark.parametrize("case", CONVEX, ids=IDS)
def test_prox_agrees_with_a_bisection(case: Case) -> None:
    f = made(case)
    assert f.exactness is case.exactness and f.facts.convex is YES
    for step in (1e-3, 0.6, 30.0):
        wanted = np.array([oracle(case, float(v), step) for v in V])
        kept = np.abs(wanted) > 1e-280 if case.ends[0] == 0 else np.full(V.shape, True)
        assert np.allclose(f.prox(V, step)[kept], wanted[kept], rtol=1e-10, atol=1e-12 * (1 + step))
        single = f.prox(V.astype(np.float32), step)
        assert single.dtype == np.float32 and np.allclose(single, wanted, rtol=2e-5, atol=1e-5 * (1 + step))


@pytest.mark.parametrize("case", CONVEX, ids=IDS)
def test_prox_over_forty_orders_of_magnitude(case: Case) -> None:
    f, v = made(case), np.concatenate([-np.logspace(-20, 20, 17), np.logspace(-20, 20, 17)])
    for step in (1e-6, 1.0, 1e6):
        u = f.prox(v, step)
        assert np.all(np.isfinite(u)) and np.all(np.diff(np.sort(v)) > 0)
        assert np.all(np.diff(u[np.argsort(v)]) >= -1e-13 * np.abs(u).max(initial=0))
        assert np.all((u >= case.ends[0]) & (u <= case.ends[1]))
        noise = 1e-13 * (np.abs(v) + np.abs(u) + step)
        for place, x, rounding in zip(u, v, noise, strict=True):
            left, right = place - 1e-13 * abs(place), place + 1e-13 * abs(place)
            if left > case.ends[0] and abs(place) > 1e-300:
                pull = step * case.slopes(left)[0]
                assert (left - x) + pull <= rounding + 1e-13 * abs(pull)
            if case.ends[0] < right < case.ends[1] and abs(place) > 1e-300:
                pull = step * case.slopes(right)[1]
                assert (right - x) + pull >= -rounding - 1e-13 * abs(pull)


@pytest.mark.parametrize("case", CONVEX, ids=IDS)
def test_step_zero_projects(case: Case) -> None:
    wanted = np.clip(V, *case.ends)
    f = made(case)
    assert np.array_equal(f.prox(V, 0.0), wanted)
    assert np.array_equal(f.prox(V, np.zeros(V.shape)), wanted)


@pytest.mark.parametrize("case", CONVEX, ids=IDS)
def test_conjugate_agrees_with_a_search(case: Case) -> None:
    f = made(case)
    u = np.array([0.04, 0.3, 0.9, 1.7]) if case.ends[0] == 0 else np.array([-0.9, -0.2, 0.04, 0.3, 1.7])
    for place in u:
        q = float(np.mean(case.slopes(place)))
        value = f.conjugate.value(np.array([q]))
        assert value == pytest.approx(q * place - f.value(np.array([place])), rel=1e-9, abs=1e-10)
        low, high = max(case.ends[0], -30.0), min(case.ends[1], 30.0)
        objective = lambda x, q=q: f.value(np.array([x])) - q * x  # noqa: E731
        found = minimize_scalar(objective, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
        assert value >= -found.fun - 1e-7


@pytest.mark.parametrize("case", CONVEX, ids=IDS)
@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_other_libraries_agree(case: Case, library: str) -> None:
    f, lib = made(case), backend(library, "float64")
    assert np.allclose(lib.to_numpy(f.prox(lib.asarray(V), 0.6)), f.prox(V, 0.6), rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        (sympy.log(1 + t**2 / s**2), lambda u: np.log1p((u / 0.6) ** 2)),
        (t**2 / (t**2 + s**2), lambda u: u**2 / (u**2 + 0.36)),
        (1 - sympy.exp(-(t**2) / (2 * s**2)), lambda u: 1 - np.exp(-0.5 * (u / 0.6) ** 2)),
        (sympy.log(1 + A(t) / s), lambda u: np.log1p(abs(u) / 0.6)),
        (sympy.Min(t**2, s), lambda u: np.minimum(u**2, 0.6)),
        (sympy.sqrt(A(t)), lambda u: np.sqrt(abs(u))),
    ],
    ids=["cauchy", "geman-mcclure", "welsch", "logarithm", "truncated", "root"],
)
def test_nonconvex_potentials_take_the_global_minimiser(formula: Any, value: Callable[[Any], Any]) -> None:
    f = PotentialSum(
        Potential(t, formula, **({"s": Parameter(0.6, positive=True)} if s in formula.free_symbols else {}))
    )
    assert f.facts.convex is not YES and f.exactness is Exactness.ITERATIVE
    v = np.array([-5.03, -1.12, -0.313, 0.02, 0.71, 1.9])
    for step in (0.05, 0.9, 20.0):
        u = f.prox(v, step)
        for x, place in zip(v, u, strict=True):
            grid = np.linspace(min(x, 0), max(x, 0), 40001)
            least = np.min(value(grid) + (grid - x) ** 2 / (2 * step))
            assert value(place) + (place - x) ** 2 / (2 * step) <= least + 1e-12


POLYNOMIALS = [
    (t**2 - 1) ** 2,
    t**4 - t**2,
    t**4 - 2 * t**2 + t / 2,
    t**6 - 3 * t**2,
    t**6 + t**5 - 3 * t**2 + t,
    t**4 / 4 - 10 * t**2,
    t**8 - t**4,
]


def polynomial_prox(coefficients: Any, v: float, step: float) -> tuple[float, Callable[[float], float]]:
    """The best root of the derivative, polished, and the objective."""
    phi = np.poly1d(coefficients)
    equation = step * phi.deriv() + np.poly1d([1.0, -v])
    roots = np.roots(equation.coeffs)
    roots = roots[abs(roots.imag) <= 1e-6 * abs(roots)].real
    for _ in range(3):
        roots = roots - equation(roots) / equation.deriv()(roots)
    value = lambda u: step * phi(u) + (u - v) ** 2 / 2  # noqa: E731
    return float(roots[np.argmin(value(roots))]), value


@pytest.mark.parametrize("formula", POLYNOMIALS, ids=str)
def test_nonconvex_polynomials_against_all_roots(formula: Any) -> None:
    f, rng = PotentialSum(Potential(t, formula)), np.random.default_rng(3)
    coefficients = [float(c) for c in sympy.Poly(formula, t).all_coeffs()]
    v = np.concatenate([a * 10.0 ** rng.uniform(-3, 3, 25) for a in (1, -1)])
    for step in (1e-3, 0.1, 0.4, 3.0, 20.0, 1e3, 10.0 ** rng.uniform(-3, 3, v.shape)):
        found = f.prox(v, step)
        single = f.prox(v.astype(np.float32), np.float32(step))
        for x, u, w, h in zip(v, found, single, np.broadcast_to(step, v.shape), strict=True):
            right, value = polynomial_prox(coefficients, x, float(h))
            tie = value(u) <= value(right) + 1e-13 * max(x * x, abs(value(right)))
            assert u == pytest.approx(right, rel=1e-11, abs=1e-14) or (tie and abs(u - right) > 1e-3)
            near = value(float(w)) <= value(right) + 1e-5 * max(x * x, abs(value(right)))
            assert w == pytest.approx(right, rel=1e-5, abs=1e-7) or (near and abs(w - right) > 1e-3)


BARRIER = -sympy.log(t) - sympy.log(1 - t)


@pytest.mark.parametrize("q", [0.0, 1e-14, -1e-12, 1e-8, -1e-8, 1e-3, -0.5, 3.0, -1e4])
def test_conjugates_whose_closed_form_cancels(q: float) -> None:
    f = PotentialSum(Potential(t, BARRIER, domain=(0, 1)))
    with localcontext() as context:
        context.prec = 60
        d = Decimal(q)
        u = Decimal("0.5") if q == 0 else (d - 2 + (d * d + 4).sqrt()) / (2 * d)
        wanted = float(d * u + u.ln() + (1 - u).ln())
    assert f.conjugate.value(np.array([q])) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(
    ("formula", "domain", "at", "wanted"),
    [
        (1 / t, (0, None), [0.0, -1.0, 1e-3], [0.0, -2.0, inf]),
        (-sympy.log(t), (0, None), [0.0, -1.0, 1e-3], [inf, -1.0, inf]),
        (t - sympy.log(1 + t), (0, None), [-3.0, -1e-8, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, inf, np.log(2) - 0.5]),
        (sympy.log(1 + sympy.exp(t)), None, [0.0, 1.0, 0.5, 1.1], [0.0, 0.0, -np.log(2), inf]),
        (sympy.sqrt(1 + t**2) - t, None, [0.0, -2.0, -1.0], [0.0, 0.0, -1.0]),
    ],
    ids=str,
)
def test_conjugates_at_the_ends_of_their_domain(formula: Any, domain: Any, at: list[float], wanted: Any) -> None:
    f = PotentialSum(Potential(t, formula, domain=domain))
    for q, value in zip(at, wanted, strict=True):
        assert f.conjugate.value(np.array([q])) == pytest.approx(value, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("step", [1e-3, 1.0, 20.0, 1e3])
def test_an_exponential_less_its_line_in_single_precision(step: float) -> None:
    f = PotentialSum(Potential(t, sympy.exp(t) - t - 1))
    v = np.array([1e-6, -1e-4, 1e-3, 0.01, -0.5, 3.0, -50.0], dtype=np.float32)
    right = [brentq(lambda u: u - float(x) + step * np.expm1(u), -60, 60, xtol=1e-300, rtol=1e-15) for x in v]  # noqa: B023
    assert np.allclose(f.prox(v, step), right, rtol=1e-6, atol=0)


@pytest.mark.parametrize("case", CONVEX[:4] + CONVEX[10:12] + CONVEX[13:14], ids=lambda c: c.name)
def test_complex_arrays_by_magnitude(case: Case) -> None:
    f = made(case)
    rng = np.random.default_rng(0)
    v = rng.standard_normal(9) + 1j * rng.standard_normal(9)
    v[0] = 0
    phase = np.exp(1j * np.angle(v))
    assert f.facts.phase_invariant is YES
    assert f.value(v) == pytest.approx(f.value(np.abs(v)))
    assert np.allclose(f.prox(v, 0.4), phase * f.prox(np.abs(v), 0.4), rtol=1e-13)
    if f.offers("gradient"):
        assert np.allclose(f.gradient(v), phase * f.gradient(np.abs(v)), rtol=1e-12)
        d = rng.standard_normal(9) + 1j * rng.standard_normal(9)
        ends = [f.gradient(v + step * d) for step in (1e-6, -1e-6)]
        assert np.allclose(f.hessian_vector(v, d)[1:], ((ends[0] - ends[1]) / 2e-6)[1:], rtol=1e-5, atol=1e-7)
    q = 0.4 * phase
    assert f.conjugate.value(q) == pytest.approx(f.conjugate.value(np.abs(q)))


def test_the_gradient_of_complex_arrays_is_right_at_zero() -> None:
    f = PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2) - s, s=0.5))
    zero, d = np.zeros(3, complex), np.array([1.0, 1j, 1 + 1j])
    assert np.array_equal(f.gradient(zero), zero) and np.allclose(f.hessian_vector(zero, d), 2 * d)


def test_other_potentials_refuse_complex_arrays() -> None:
    with pytest.raises(DtypeError, match="even"):
        PotentialSum(Potential(t, sympy.exp(t))).prox(np.array([1j]), 1.0)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("name", ["charbonnier", "log-cosh", "huber", "quantile"])
def test_gradients_in_parameters_flow_through_prox_and_conjugate(name: str, inline: bool) -> None:
    case = next(c for c in CONVEX if c.name == name)
    width = Parameter(np.array([0.3, 0.6, 0.45]), name="s", positive=True)
    formula = case.formula.subs(s, symbol_of(width)) if inline else case.formula
    f = PotentialSum(Potential(t, formula, **({} if inline else {"s": width})))
    v, q = Input("v", (3,)), Input("q", (3,))
    for output, at in ((total(f.define_prox(v, Input("step", ())) * v), v), (f.define_conjugate_value(q), q)):
        (slope,) = gradient(output, [width])
        point = np.array([-0.11, 0.17, 0.2]) if at is q else np.array([-1.7, 0.9, 0.1])
        data: dict[Any, Any] = {at: point, Input("step", ()): np.asarray(0.8)}
        (got,) = evaluate([slope], data, backend())
        for i in range(3):
            ends = []
            for h in (1e-6, -1e-6):
                moved = np.array(width.value)
                moved[i] += h
                ends.append(float(evaluate([output], {**data, width: moved}, backend())[0]))
            assert got[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_shapes_of_functions() -> None:
    facts = {name: f.potential for name, f in MADE.items()}
    assert (
        facts["charbonnier"].coercive is YES and facts["logistic"].coercive is NO and facts["entropy"].coercive is YES
    )
    assert facts["barrier"].bounded_below is NO and facts["exponential"].bounded_below is YES
    assert facts["logistic"].slope_range == (0, 1) and facts["quartic"].slope_range == (-sympy.oo, sympy.oo)
    assert facts["square in a box"].slope_range == (-sympy.oo, sympy.oo)
    assert Potential(t, t**2 / (1 + t**2)).coercive is NO and Potential(t, t**2 / (1 + t**2)).slope_range is None
    assert Potential(t, sympy.sin(t)).coercive is UNKNOWN
    assert Potential(t, -(t**2)).bounded_below is NO


def test_formulas_can_be_read() -> None:
    v, step, q = sympy.Symbol("v", real=True), sympy.Symbol("t", nonnegative=True), sympy.Symbol("q", real=True)
    assert Potential(t, t**2).prox_formula == v / (2 * step + 1)
    assert Potential(t, t**2).conjugate_formula == q**2 / 4
    entropy = Potential(t, t * sympy.log(t), domain=(0, None))
    assert entropy.prox_formula is None and entropy.conjugate_formula == sympy.exp(q - 1)
    assert Potential(t, t**2 / (1 + t**2)).conjugate_formula is None


@pytest.mark.parametrize(
    "formula",
    [
        A(t),
        sympy.Piecewise((t**2 / 2, A(t) <= 0.5), (A(t) / 2 - 0.125, True)),
        sympy.Max(0, 1 - t),
        sympy.Max(0, 1 - t) ** 2,
        sympy.Max(0, A(t) - 1),
        A(t) + A(t - 1),
        A(t) + t**2,
    ],
)
def test_pieces_with_affine_slopes_are_clipped_and_not_chosen(formula: Any) -> None:
    """No masks, at any step; kinks and joints may lie anywhere."""
    f, x, step = PotentialSum(Potential(t, formula)), Input("v", (7,)), Input("t", (), "real", "control")
    text = Function([f.define_prox(x, step)], [x, step], backend()).generated.text
    assert "choose(" not in text and "np.clip(" in text
    value = sympy.lambdify(t, formula)
    v = np.array([-3.0, -1.1, -1e-3, 0.0, 0.4, 1.0, 12.0])
    for length in (1e-6, 0.3, 5.0):
        u = f.prox(v, length)
        for k in range(v.size):
            close = minimize_scalar(
                lambda w, k=k, length=length: length * float(value(w)) + 0.5 * (w - v[k]) ** 2,
                bounds=(v[k] - 12.0 * length - 2.0, v[k] + 12.0 * length + 2.0),
                method="bounded",
                options={"xatol": 1e-12},
            )
            assert abs(u[k] - close.x) <= 1e-6 * (1.0 + abs(v[k]))
    far = f.prox(v.astype(np.float32), 1e6)
    assert np.allclose(far, f.prox(v, 1e6), rtol=1e-5, atol=1e-30)


def test_dual_abilities() -> None:
    f = made(CONVEX[0])
    q = np.array([0.4, -2.0, 1.3])
    assert np.allclose(f.conjugate.prox(q, 0.0), np.clip(q, -1, 1)) and np.isinf(f.conjugate.value(q))
    x = Input("q", (3,))
    assert evaluate([f.define_dual_gauge(x)], {x: q}, backend())[0] == pytest.approx(2.0)
    assert not made(CONVEX[7]).offers("dual_gauge") and made(CONVEX[7]).offers("dual_projection")
    assert not PotentialSum(Potential(t, t**2 / (1 + t**2))).offers("conjugate_value")


def test_what_is_missing_is_explained() -> None:
    for formula, sentence in ((-(t**2), "bounded below"), (sympy.sin(t), "turns")):
        f = PotentialSum(Potential(t, formula))
        assert not f.offers("prox") and f.exactness is None
        with pytest.raises(UnsupportedError, match=sentence):
            f.prox(np.ones(2), 1.0)
    free = PotentialSum(Potential(t, sympy.sqrt(t**2 + s**2), s=Parameter(0.5, name="width")))
    with pytest.raises(UnsupportedError, match="'width' with positive=True"):
        free.prox(np.ones(2), 1.0)
    barrier = made(CONVEX[9])
    assert barrier.hint() == "" and np.isinf(barrier.value(np.array([-1.0, 2.0])))
    assert "use its prox" in barrier.why_not("gradient") and not barrier.offers("gradient")


def test_everything_is_derived_for_common_forms() -> None:
    for formula in (sympy.sqrt(t**2 + 4) - 2, A(t) - sympy.log(1 + A(t)), t**4 / 4 + A(t), sympy.Max(A(t) - 1, 0)):
        f = PotentialSum(Potential(t, formula))
        assert f.facts.convex is YES and f.exactness is not None and f.offers("conjugate_value")
