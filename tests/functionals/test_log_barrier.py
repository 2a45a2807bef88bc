from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError
from opalg.facts import NO
from opalg.functionals.exactness import Exactness
from opalg.functionals.log_barrier import LogBarrier, log_barrier
from tests.functionals.scalar_oracle import POINTS, Scalar, check_prox, check_steps


def test_prox_against_stationary_points() -> None:
    check_prox(LogBarrier(), Scalar(lambda u: -np.log(u), lambda u: -1 / u, (), 0.0), points=POINTS)


def test_prox_does_not_cancel_or_overflow() -> None:
    f = LogBarrier()
    v = np.array([-1e8, -1e15, 1e15, -1e-30])
    assert np.allclose(f.prox(v, 0.25), [0.25e-8, 0.25e-15, 1e15, 0.5], rtol=1e-12, atol=0)
    v = np.array([1e20, -1e20, 1e-30, -1e-30, 0.0], dtype=np.float32)
    for t in (1e-3, 1.0, 50.0):
        found, right = f.prox(v, t), f.prox(v.astype(float), t)
        assert np.all(np.isfinite(found)) and np.allclose(found, right, rtol=1e-5, atol=1e-37)
    assert np.allclose(f.prox(v, 0.0), [1e20, 0.0, 1e-30, 0.0, 0.0], rtol=1e-6, atol=0)
    check_steps(f)


def test_values_and_conjugate() -> None:
    f = LogBarrier()
    assert f.value(np.array([np.e, 1.0])) == pytest.approx(-1.0)
    assert f.value(np.array([0.0, 1.0])) == np.inf and f.value(np.array([-1.0])) == np.inf
    assert f.conjugate.value(np.array([-1.0, -np.e])) == pytest.approx(-3.0)
    assert f.conjugate.value(np.array([0.0])) == np.inf and f.conjugate.value(np.array([1.0])) == np.inf
    assert f.facts.bounded_below is NO and not f.offers("dual_gauge")


def test_facts_text_and_messages() -> None:
    f = LogBarrier()
    assert f.exactness is Exactness.CLOSED_FORM and f.text("x") == "log_barrier(x)"
    assert "positive" in f.why_not("gradient")
    with pytest.raises(DtypeError, match="real"):
        f.value(np.ones(2, dtype=complex))
    assert log_barrier(oa.Variable((2,), name="x")).functional is f


def test_gradient_and_hessian_inside_the_domain_only() -> None:
    f, v, d = LogBarrier(), np.array([0.5, 2.0]), np.array([1.0, -3.0])
    assert np.allclose(f.gradient(v), -1 / v, rtol=1e-14)
    assert np.allclose(f.hessian_vector(v, d), d / v**2, rtol=1e-14)
    assert not f.offers("gradient")
    for derivative in (f.gradient, lambda u: f.hessian_vector(u, d)):
        with pytest.raises(ParameterError, match="outside the domain"):
            derivative(np.array([0.5, -2.0]))
    with pytest.raises(ParameterError, match="outside the domain"):
        f.gradient(np.array([0.5, 0.0]))
