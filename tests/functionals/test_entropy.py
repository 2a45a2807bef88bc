from __future__ import annotations

import numpy as np
import pytest
from scipy.special import entr, wrightomega

import opalg as oa
from opalg.errors import DtypeError, ParameterError
from opalg.functionals.entropy import Entropy, entropy
from opalg.functionals.exactness import Exactness
from tests.functionals.scalar_oracle import POINTS, Scalar, check_prox, check_steps


def test_prox_against_stationary_points() -> None:
    check_prox(Entropy(), Scalar(lambda u: -entr(u), lambda u: np.log(u) + 1, (0.0,), 0.0), points=POINTS)


def test_prox_is_lamberts_function() -> None:
    rng = np.random.default_rng(0)
    v, t = 5 * rng.standard_normal(200), 0.8
    expected = t * wrightomega(v / t - 1 - np.log(t))
    assert np.allclose(Entropy().prox(v, t), expected, rtol=1e-12, atol=0)


def test_steps_and_extremes() -> None:
    f = Entropy()
    check_steps(f)
    v = np.array([1e20, -1e20, 1e-30, -1e-30, 0.0], dtype=np.float32)
    for t in (1e-3, 1.0, 50.0):
        found = f.prox(v, t)
        expected = t * wrightomega(np.maximum(v.astype(float) / t - 1 - np.log(t), -700.0))
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-37)
    assert np.allclose(f.prox(v.astype(float), 0.0), [1e20, 0.0, 1e-30, 0.0, 0.0], rtol=1e-6, atol=0)


def test_values() -> None:
    f = Entropy()
    assert f.value(np.array([1.0, 0.0, np.e])) == pytest.approx(np.e)
    assert f.value(np.array([1.0, -0.1])) == np.inf
    assert f.conjugate.value(np.array([1.0, 2.0])) == pytest.approx(1.0 + np.e)


def test_facts_text_and_messages() -> None:
    f = Entropy()
    assert f.exactness is Exactness.ITERATIVE and f.text("x") == "entropy(x)"
    assert "positive" in f.why_not("gradient")
    with pytest.raises(DtypeError, match="real"):
        f.value(np.ones(2, dtype=complex))
    assert entropy(oa.Variable((2,), name="x")).functional is f


def test_gradient_and_hessian_inside_the_domain_only() -> None:
    f, v, d = Entropy(), np.array([0.5, 2.0]), np.array([1.0, -3.0])
    assert np.allclose(f.gradient(v), np.log(v) + 1, rtol=1e-14)
    assert np.allclose(f.hessian_vector(v, d), d / v, rtol=1e-14)
    assert not f.offers("gradient")
    for derivative in (f.gradient, lambda u: f.hessian_vector(u, d)):
        with pytest.raises(ParameterError, match="outside the domain"):
            derivative(np.array([0.5, -2.0]))
    with pytest.raises(ParameterError, match="border of the domain"):
        f.gradient(np.array([0.5, 0.0]))
