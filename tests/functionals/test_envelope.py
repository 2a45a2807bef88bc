"""Moreau envelopes: against brute force, Huber, and distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from opalg import Variable, minimize, sum_squares
from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.calculus import Functional
from opalg.functionals.distance import SquaredDistance
from opalg.functionals.envelope import MoreauEnvelope, moreau_envelope
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.sum_squares import SumSquares
from opalg.leaves import Parameter
from opalg.program.differentiate import gradient
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate, number
from tests.functionals.test_distance import Signs

PARTS: list[Functional] = [
    Norm1(np.array([0.0, 0.5, 1.0, 2.0])),
    Norm2(),
    Norm21(axis=-1),
    SumSquares(np.array([0.5, 1.0, 2.0, 3.0])),
    Huber(0.6),
    Indicator(Box(-0.3, 0.4)),
]
EVERY = pytest.mark.parametrize("g", PARTS, ids=lambda g: type(g).__name__)


def some(seed: int = 1, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal((3, 4))


@pytest.mark.parametrize("g", PARTS[:-1], ids=lambda g: type(g).__name__)
def test_value_is_the_least_of_the_sum(g: Functional) -> None:
    f, v = MoreauEnvelope(g, 0.7), some()

    def objective(x: np.ndarray) -> float:
        u = x.reshape(3, 4)
        return g.value(u) + float(np.sum((u - v) ** 2)) / 1.4

    found = scipy_minimize(objective, 0.5 * v.ravel(), method="Powell", options={"xtol": 1e-9, "ftol": 1e-14})
    assert f.value(v) <= found.fun + 1e-12
    assert f.value(v) == pytest.approx(found.fun, rel=1e-3)


@EVERY
def test_prox_is_the_envelope_rule_of_the_sum(g: Functional) -> None:
    """The optimality of the prox, ``(v - u) / t = grad f(u)``, where the gradient is checked by differences."""
    f, v = MoreauEnvelope(g, 0.7), some()
    for t in (0.05, 0.9, 30.0):
        u = f.prox(v, t)
        assert np.allclose((v - u) / t, f.gradient(u), atol=1e-11)
    assert np.array_equal(f.prox(v, 0.0), v)


@EVERY
def test_constants_are_not_falsified(g: Functional) -> None:
    facts = MoreauEnvelope(g, 0.7).facts
    f, rng = MoreauEnvelope(g, 0.7), np.random.default_rng(3)
    assert facts.smoothness is not None
    low = 0.0 if facts.strong_convexity is None else number(facts.strong_convexity)
    for _ in range(30):
        a, b = rng.standard_normal((2, 3, 4))
        change = f.gradient(a) - f.gradient(b)
        assert np.linalg.norm(change) <= facts.smoothness.value * np.linalg.norm(a - b) * (1 + 1e-12)
        assert np.sum(change * (a - b)) >= low * np.sum((a - b) ** 2) * (1 - 1e-12)


@pytest.mark.parametrize("dtype", [float, complex])
def test_huber_is_the_envelope_of_norm1(dtype: type) -> None:
    """``env_mu(delta norm1) = huber(delta mu) / mu``."""
    v = some().astype(dtype) * (1.0 if dtype is float else 1.0 - 0.7j)
    for delta, mu in ((1.0, 1.0), (0.8, 0.4)):
        f, h = MoreauEnvelope(Norm1(delta), mu), Huber(delta * mu)
        assert f.value(v) == pytest.approx(h.value(v) / mu, rel=1e-13)
        assert np.allclose(f.gradient(v), h.gradient(v) / mu, rtol=1e-13, atol=1e-15)
        assert np.allclose(f.hessian_vector(v, v), h.hessian_vector(v, v) / mu, rtol=1e-12, atol=1e-14)
        assert np.allclose(f.prox(v, 0.6), h.prox(v, 0.6 / mu), rtol=1e-13, atol=1e-15)
        assert f.conjugate.value(0.1 * v) == pytest.approx(h.conjugate.value(0.1 * mu * v) / mu)


def test_of_an_indicator_it_is_the_squared_distance() -> None:
    f, d, v = MoreauEnvelope(Indicator(nonneg), 0.25), SquaredDistance(nonneg), some()
    assert f.value(v) == pytest.approx(2.0 * d.value(v))
    assert np.allclose(f.gradient(v), 2.0 * d.gradient(v))
    assert np.allclose(f.prox(v, 0.3), d.prox(v, 0.6))


@EVERY
def test_a_step_for_each_sample(g: Functional) -> None:
    f, v, steps = MoreauEnvelope(g, 0.7), some(), np.array([0.0, 0.5, 3.0])
    expected = np.stack([f.prox(a, t) for a, t in zip(v, steps, strict=True)])
    assert np.allclose(f.prox(v, steps), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("g", [Norm1(), Norm2(), Norm21()], ids=repr)
def test_single_precision_at_strange_sizes(library: str, g: Functional) -> None:
    lib, v = backend(library, "float32"), some()
    for size in (1e20, 1e-30):
        f = MoreauEnvelope(g, 0.7 * size)  # norms: env_{c mu}(c v) = c env_mu(v)
        x = lib.asarray(size * v)
        ordinary = MoreauEnvelope(g, 0.7)
        assert f.value(x) / size == pytest.approx(ordinary.value(v), rel=1e-4)
        assert np.allclose(lib.to_numpy(f.gradient(x)), ordinary.gradient(v), rtol=1e-4, atol=1e-5)
        assert np.allclose(lib.to_numpy(f.prox(x, 0.5 * size)) / size, ordinary.prox(v, 0.5), rtol=1e-4, atol=1e-5)


def test_gradients_in_the_parameters() -> None:
    mu, w = Parameter(0.7, name="mu", positive=True), Parameter(0.8, name="w", positive=True)
    x, v = Input("x", (3, 4)), some()
    value = MoreauEnvelope(Norm1(w), mu).define_value(x)
    found = [float(g) for g in evaluate(gradient(value, [mu, w]), {x: v}, backend())]

    def at(mu: float, w: float) -> float:
        return MoreauEnvelope(Norm1(w), mu).value(v)

    h = 1e-6
    assert found[0] == pytest.approx((at(0.7 + h, 0.8) - at(0.7 - h, 0.8)) / (2 * h), rel=1e-7)
    assert found[1] == pytest.approx((at(0.7, 0.8 + h) - at(0.7, 0.8 - h)) / (2 * h), rel=1e-7)


def test_nonconvex_functionals_keep_the_prox_but_claim_no_gradient() -> None:
    f = MoreauEnvelope(Indicator(Signs()), 0.5)
    v = np.array([0.5, -3.0])
    assert f.value(v) == pytest.approx(4.25)
    assert f.prox(v, 0.5).tolist() == [0.75, -2.0]
    assert f.facts.convex is UNKNOWN and not f.offers("gradient") and not f.offers("conjugate_value")
    with pytest.raises(UnsupportedError, match="convex"):
        f.gradient(v)


def test_refusals() -> None:
    with pytest.raises(ParameterError, match="positive"):
        MoreauEnvelope(Norm1(), 0.0)
    with pytest.raises(ShapeError, match="one number"):
        MoreauEnvelope(Norm1(), np.ones(3))
    with pytest.raises(DtypeError, match="Indicator"):
        MoreauEnvelope(nonneg, 1.0)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="prox"):
        MoreauEnvelope(SumSquares(-1.0), 1.0)
    conditions = MoreauEnvelope(Norm1(), Parameter(1.0, name="mu")).define_conditions()
    assert len(conditions) == 1 and conditions[0][1]
    assert "mu" in MoreauEnvelope(Norm1(), Parameter(1.0, name="mu")).hint()


def test_in_an_energy() -> None:
    x, y = Variable((3, 4), name="x"), some()
    f = moreau_envelope(Norm2(), 0.5)
    assert f.facts.convex is YES and "moreau_envelope" in repr(f(x))
    found = minimize(sum_squares(x - y) + 0.9 * f(x), tol=1e-10).x
    assert np.allclose(2 * (found - y) + 0.9 * f.gradient(found), 0.0, atol=1e-6)


@pytest.mark.parametrize(
    "f", [Norm2(), Norm21(axis=-1), Norm21(axis=-1, weights=[0.5, 2.0, 0.0]), 0.7 * Norm21(axis=-1)], ids=repr
)
def test_gradients_stay_right_where_squares_overflow(f: Functional) -> None:
    v = (1e20 * np.random.default_rng(3).standard_normal((3, 4))).astype(np.float32)
    envelope = MoreauEnvelope(f, 0.5)
    assert np.allclose(envelope.gradient(v), envelope.gradient(v.astype(np.float64)), rtol=1e-5)
