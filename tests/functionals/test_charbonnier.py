from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.functionals.charbonnier import Charbonnier, charbonnier
from opalg.functionals.exactness import Exactness
from tests.functionals.scalar_oracle import Scalar, check_data_gradient, check_extremes, check_prox, check_steps


@pytest.mark.parametrize("eps", [0.05, 0.7, 6.0])
def test_prox_against_stationary_points(eps: float) -> None:
    scalar = Scalar(lambda u: np.hypot(u, eps) - eps, lambda u: u / np.hypot(u, eps))
    check_prox(Charbonnier(eps), scalar, even=True)


def test_steps_extremes_and_gradients_in_the_data() -> None:
    f = Charbonnier(0.5)
    check_steps(f)
    check_steps(f, "complex")
    check_extremes(f)
    assert np.allclose(f.prox(np.array([1e-30]), 2.0), 1e-30 / 5.0, rtol=1e-12, atol=0)
    check_data_gradient(Charbonnier, 0.6, np.array([0.0, 0.2, -1.0, 4.0]))


def test_values_do_not_cancel_or_overflow() -> None:
    f = Charbonnier(2.0)
    assert f.value(np.array([1e-9])) == pytest.approx(1e-18 / 4, rel=1e-12)
    assert f.value(np.array([1e300])) == pytest.approx(1e300)
    assert f.value(np.array([1e20, -1e-30], dtype=np.float32)) == pytest.approx(1e20, rel=1e-6)
    assert f.value(np.array([3.0 + 4.0j])) == pytest.approx(np.sqrt(29.0) - 2.0)
    assert np.allclose(f.gradient(np.array([1e20, 0.0], dtype=np.float32)), [1.0, 0.0])
    assert np.allclose(f.gradient(np.array([1e20j], dtype=np.complex64)), [1.0j])


def test_conjugate() -> None:
    f = Charbonnier(np.array([2.0, 3.0]))
    assert f.conjugate.value(np.array([0.6, -1.0])) == pytest.approx(2.0 * 0.2 + 3.0)
    assert f.conjugate.value(np.array([0.0, 1.1])) == np.inf
    assert f.conjugate.value(np.array([1e-8, 0.0])) == pytest.approx(1e-16, rel=1e-12)


def test_facts_text_and_messages() -> None:
    f = Charbonnier(np.array([0.5, 2.0]))
    assert f.facts.smoothness is not None and f.facts.smoothness.value == 2.0
    assert f.exactness is Exactness.ITERATIVE
    x = oa.Variable((2,), name="x")
    assert charbonnier(x, 0.5).functional is Charbonnier(0.5)
    assert Charbonnier(0.5).text("x") == "charbonnier(x, 0.5)"
    with pytest.raises(ParameterError, match="eps of Charbonnier must be positive"):
        Charbonnier(0.0)
    with pytest.raises(DtypeError, match="eps"):
        Charbonnier(1j)
    with pytest.raises(ShapeError, match="eps"):
        f.value(np.zeros(3))
    assert "positive=True" in Charbonnier(oa.Parameter(1.0, name="e")).hint()
