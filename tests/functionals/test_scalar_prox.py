"""The prox of scalar functions by Newton's method in brackets, against bisections of scipy."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from opalg.arrays import backend
from opalg.functionals.scalar_prox import ScalarFunction, ScalarProx, scalar_prox
from opalg.functionals.scalar_solver import BLOCK
from opalg.program import expression as ex
from opalg.program.differentiate import gradient, jvp, vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate


def _power(u: Any, exponent: float) -> Any:
    return ex.pointwise("power", abs(u), exponent)


CHARBONNIER = ScalarFunction.of(
    lambda u, s: ex.sqrt(ex.square(u) + ex.square(s)) - s,
    1,
    slope=lambda u, s: u / ex.sqrt(ex.square(u) + ex.square(s)),
)
LOG_COSH = ScalarFunction.of(
    lambda u, s: s * (ex.pointwise("logaddexp", u / s, -u / s) - log(2.0)),
    1,
    slope=lambda u, s: ex.pointwise("tanh", u / s),
)
QUARTIC = ScalarFunction.of(lambda u: ex.square(ex.square(u)))
EXPONENTIAL = ScalarFunction.of(lambda u: ex.exp(u))
BARRIER = ScalarFunction.of(lambda u: -ex.log(u), lower=0.0)
ENTROPY = ScalarFunction.of(lambda u: u * ex.log(u), lower=0.0, slope=lambda u: 1.0 + ex.log(u))
LOGISTIC = ScalarFunction.of(
    lambda u: ex.pointwise("logaddexp", u, 0.0), slope=lambda u: 0.5 + 0.5 * ex.pointwise("tanh", 0.5 * u)
)
THREE_HALVES = ScalarFunction.of(
    lambda u: _power(u, 1.5),
    slope=lambda u: 1.5 * ex.pointwise("sign", u) * ex.sqrt(abs(u)),
    curvature=lambda u: 0.75 / ex.sqrt(abs(u)),
)
FERMI = ScalarFunction.of(
    lambda u: u * ex.log(u) + (1.0 - u) * ex.log(1.0 - u),
    slope=lambda u: ex.log(u) - ex.log(1.0 - u),
    lower=0.0,
    upper=1.0,
)
SOFT = ScalarFunction.of(
    lambda u, a, c: a * abs(u - c) + 0.5 * ex.square(u),
    2,
    slope=lambda u, a, c: a * ex.pointwise("sign", u - c) + u,
    curvature=lambda u, a, c: 1.0 + 0.0 * u,
    kinks=lambda a, c: (c,),
)


@dataclass(frozen=True)
class Case:
    name: str
    function: ScalarFunction
    slope: Callable[[float], float]
    parameters: tuple[float, ...] = ()
    ends: tuple[float, float] = (-inf, inf)


def _safe_exp(u: float) -> float:
    return float(np.exp(min(u, 709.0)))


CASES = [
    Case("charbonnier", CHARBONNIER, lambda u: u / float(np.hypot(u, 0.5)), (0.5,)),
    Case("log-cosh", LOG_COSH, lambda u: float(np.tanh(u / 0.3)), (0.3,)),
    Case("quartic", QUARTIC, lambda u: 4 * u * u * u),
    Case("exp", EXPONENTIAL, _safe_exp),
    Case("barrier", BARRIER, lambda u: -1 / u, (), (0.0, inf)),
    Case("entropy", ENTROPY, lambda u: 1 + log(u), (), (0.0, inf)),
    Case("logistic", LOGISTIC, lambda u: 1 / (1 + _safe_exp(-u))),
    Case("three halves", THREE_HALVES, lambda u: 1.5 * float(np.sign(u)) * sqrt(abs(u))),
    Case("fermi", FERMI, lambda u: log(u) - float(np.log1p(-u)), (), (0.0, 1.0)),
]
IDS = [c.name for c in CASES]


def prox(f: ScalarFunction, v: Any, t: Any, parameters: tuple[Any, ...] = (), library: str = "numpy") -> np.ndarray:
    lib = backend(library, str(np.asarray(v).dtype))
    arrays = [lib.asarray(np.asarray(a, np.asarray(v).dtype)) for a in (v, t, *parameters)]
    return np.asarray(lib.to_numpy(ScalarProx(f).evaluate(lib, *arrays)))


def oracle(case: Case, v: float, t: float) -> float:
    """Bisection of brentq, in the logarithm of the distance from a finite end or from zero."""

    def residual(u: float) -> float:
        return (u - v) + t * case.slope(u)

    low, high = case.ends
    if high == 1.0:  # in the slope itself, which is the logit
        place = brentq(lambda z: expit(z) - v + t * z, -1e5, 1e5, xtol=1e-15, rtol=1e-14, maxiter=500)
        return float(expit(place))
    sign = 1.0 if low == 0.0 or residual(0.0) < 0 else -1.0
    if sign * residual(sign * 1e-299) >= 0:
        return 0.0
    place = brentq(lambda z: residual(sign * float(np.exp(z))), -688.0, log(1e40), xtol=1e-15, rtol=1e-14, maxiter=500)
    return sign * float(np.exp(place))


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("t", [1e-3, 1.0, 1e3])
def test_prox_agrees_with_a_bisection(case: Case, t: float) -> None:
    v = np.array([-30.0, -2.0, -0.7, -1e-3, 1e-6, 0.2, 0.9, 3.0, 50.0])
    wanted = np.array([oracle(case, float(x), t) for x in v])
    kept = np.abs(wanted) > 1e-280
    assert np.allclose(prox(case.function, v, t, case.parameters)[kept], wanted[kept], rtol=1e-10, atol=1e-13 * t)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("t", [1e-6, 1e-2, 1.0, 1e6])
def test_the_residual_is_rounding_at_all_scales(case: Case, t: float) -> None:
    size = np.logspace(-20, 20, 41)
    v = np.concatenate([size, -size, [0.0]])
    u = prox(case.function, v, t, case.parameters)
    slope = np.vectorize(case.slope)
    assert np.all(np.isfinite(u)) and np.all((u >= case.ends[0]) & (u <= case.ends[1]))
    inside = (np.abs(u) > 1e-300) & (u < 1)
    with np.errstate(all="ignore"):
        for side in (-1, 1):
            near = u[inside] * (1 + side * 1e-14 * np.sign(u[inside]))
            inner = (near > case.ends[0]) & (near < case.ends[1])
            pull = t * slope(near[inner])
            left = (near[inner] - v[inside][inner]) + pull
            noise = 1e-14 * (np.abs(v[inside][inner]) + np.abs(pull) + t)
            assert np.all(side * left >= -noise)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_single_precision(case: Case) -> None:
    v = np.array([-1e20, -30.0, -0.5, 0.0, 1e-3, 0.8, 40.0, 1e20], np.float32)
    for t in (0.125, 8.0):
        found = prox(case.function, v, t, case.parameters)
        assert found.dtype == np.float32
        parameters = tuple(float(np.float32(p)) for p in case.parameters)
        assert np.allclose(found, prox(case.function, v.astype(float), t, parameters), rtol=1e-5, atol=1e-30)


def test_steps_and_parameters_for_each_entry() -> None:
    rng = np.random.default_rng(0)
    v, t = 3 * rng.standard_normal((5, 7)), rng.uniform(0.01, 4.0, (5, 1))
    s = rng.uniform(0.1, 2.0, 7)
    found = prox(CHARBONNIER, v, t, (s,))
    for i, j in np.ndindex(5, 7):
        assert found[i, j] == pytest.approx(float(prox(CHARBONNIER, v[i, j : j + 1], t[i, 0], (s[j],))[0]), rel=1e-13)


def test_step_zero_is_the_nearest_point_of_the_domain() -> None:
    v = np.array([-2.0, 0.0, 0.3, 5.0])
    assert np.array_equal(prox(CHARBONNIER, v, 0.0, (0.5,)), v)
    assert np.array_equal(prox(BARRIER, v, 0.0), np.maximum(v, 0.0))
    assert np.array_equal(prox(FERMI, v, np.array([0.0, 1.0, 0.0, 0.0]))[[0, 2, 3]], [0.0, 0.3, 1.0])


@pytest.mark.parametrize("shape", [(0,), (3, 0), (), (1,), (2, BLOCK + 7)])
def test_shapes(shape: tuple[int, ...]) -> None:
    v = np.full(shape, 2.0)
    found = prox(QUARTIC, v, 0.5)
    assert found.shape == shape and found is not v
    assert np.allclose(found + 2 * found**3, 2.0, rtol=1e-14)


def test_what_is_not_finite_stays() -> None:
    v = np.array([np.nan, np.inf, -np.inf, 1.0])
    found = prox(CHARBONNIER, v, 0.5, (0.5,))
    assert np.isnan(found[0]) and found[1] == np.inf and found[2] == -np.inf and np.isfinite(found[3])


def test_kinks_hold_what_falls_into_their_jump() -> None:
    v = np.array([-9.0, -1.0, 0.3, 0.9, 1.2, 2.9, 5.0])
    a, c, t = 1.5, 0.5, 0.8
    below, above = (v + t * a) / (1 + t), (v - t * a) / (1 + t)
    wanted = np.where(above > c, above, np.where(below < c, below, c))
    assert np.allclose(prox(SOFT, v, t, (a, c)), wanted, rtol=1e-14)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_other_libraries_agree(case: Case, library: str) -> None:
    v = np.random.default_rng(1).standard_normal((4, 5)) * np.logspace(-8, 8, 5)
    wanted = prox(case.function, v, 0.4, case.parameters)
    assert np.allclose(prox(case.function, v, 0.4, case.parameters, library), wanted, rtol=1e-11, atol=1e-300)


DIFFERENTIABLE = [*CASES, Case("soft", SOFT, lambda u: u, (0.7, 0.4))]


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda c: c.name)
def test_derivatives_in_the_argument_the_step_and_the_parameters(case: Case) -> None:
    v0, t0 = np.array([-3.0, -0.4, 0.1, 0.6, 0.9, 4.0]), 0.7
    v, t = Input("x", v0.shape), Input("step", ())
    p = tuple(Input(f"q{i}", ()) for i in range(len(case.parameters)))
    u = scalar_prox(case.function, v, t, p)
    values: dict[Any, Any] = {v: v0, t: np.asarray(t0), **dict(zip(p, map(np.asarray, case.parameters), strict=True))}
    rng = np.random.default_rng(2)
    d = {e: rng.standard_normal(e.shape) for e in values}
    moved = Input("moved", v0.shape)
    tangents = {e: Input(f"d{e.name}", e.shape) for e in values}
    (pushed,) = jvp([u], tangents)  # type: ignore[arg-type]
    assert pushed is not None
    (got,) = evaluate([pushed], {**values, **{tangents[e]: d[e] for e in values}}, backend())
    step = 1e-6
    ends = [evaluate([u], {e: values[e] + s * step * d[e] for e in values}, backend())[0] for s in (1, -1)]
    assert np.allclose(got, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8)
    w = rng.standard_normal(v0.shape)
    pulled = vjp([u], [moved], list(values))
    parts = evaluate([e for e in pulled if e is not None], {**values, moved: w}, backend())
    assert sum(float(np.sum(a * d[e])) for a, e in zip(parts, values, strict=True)) == pytest.approx(
        float(np.sum(w * got))
    )


def test_second_derivatives() -> None:
    v, t, s = Input("x", (3,)), Input("step", ()), Input("q", ())
    u = scalar_prox(CHARBONNIER, v, t, (s,))
    first = gradient(ex.total(ex.square(u)), [s])[0]
    second = gradient(first, [s])[0]
    at = {v: np.array([0.2, -1.0, 3.0]), t: np.asarray(0.7), s: np.asarray(0.5)}
    (got,) = evaluate([second], at, backend())
    ends = [evaluate([first], {**at, s: np.asarray(0.5 + h)}, backend())[0] for h in (1e-5, -1e-5)]
    assert got == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_derivatives_are_finite_at_the_ends_of_the_domain() -> None:
    box = ScalarFunction.of(lambda u: ex.square(u), lower=-1.0, upper=2.0)
    v, t = Input("x", (4,)), Input("step", ())
    derivatives = gradient(ex.total(scalar_prox(box, v, t)), [v, t])
    got, in_step = evaluate(derivatives, {v: np.array([-9.0, 0.3, 9.0, 0.0]), t: np.asarray(0.5)}, backend())
    assert np.allclose(got, [0.0, 0.5, 0.0, 0.5]) and np.isfinite(in_step)


def test_pickles() -> None:
    again = pickle.loads(pickle.dumps(ScalarProx(CHARBONNIER)))
    assert again == ScalarProx(CHARBONNIER) and hash(again) == hash(ScalarProx(CHARBONNIER))
