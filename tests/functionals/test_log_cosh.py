from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from opalg.functionals.exactness import Exactness
from opalg.functionals.log_cosh import LogCosh, log_cosh
from tests.functionals.scalar_oracle import Scalar, check_data_gradient, check_extremes, check_prox, check_steps


@pytest.mark.parametrize("scale", [0.05, 0.7, 6.0])
def test_prox_against_stationary_points(scale: float) -> None:
    def value(u: np.ndarray) -> np.ndarray:
        return scale * (np.logaddexp(u / scale, -u / scale) - np.log(2))

    check_prox(LogCosh(scale), Scalar(value, lambda u: np.tanh(u / scale)), even=True)


def test_steps_extremes_and_gradients_in_the_data() -> None:
    f = LogCosh(0.5)
    check_steps(f)
    check_steps(f, "complex")
    check_extremes(f)
    assert np.allclose(f.prox(np.array([1e-30]), 2.0), 1e-30 / 5.0, rtol=1e-12, atol=0)
    check_data_gradient(LogCosh, 0.6, np.array([0.0, 0.2, -1.0, 4.0]))


def test_values_do_not_cancel_or_overflow() -> None:
    f = LogCosh(2.0)
    assert f.value(np.array([1e-9])) == pytest.approx(1e-18 / 4, rel=1e-12)
    assert f.value(np.array([1e300])) == pytest.approx(1e300)
    assert f.value(np.array([1e20, -1e-30], dtype=np.float32)) == pytest.approx(1e20, rel=1e-6)
    for u in (0.3, 5.0, 39.0, 41.0, 100.0):
        expected = 2.0 * (np.logaddexp(u / 2, -u / 2) - np.log(2))
        assert f.value(np.array([u])) == pytest.approx(expected, rel=1e-13)
        assert f.value(np.array([u * 1j])) == pytest.approx(expected, rel=1e-13)
    assert np.allclose(f.gradient(np.array([1e20j, 0.0], dtype=np.complex64)), [1.0j, 0.0])


def test_conjugate() -> None:
    f = LogCosh(np.array([2.0, 3.0]))
    expected = 0.5 * (1.6 * np.log(1.6) + 0.4 * np.log(0.4))
    assert f.conjugate.value(np.array([0.6, -1.0])) == pytest.approx(2.0 * expected + 3.0 * np.log(2))
    assert f.conjugate.value(np.array([0.0, 1.1])) == np.inf
    assert f.conjugate.value(np.array([1e-8, 0.0])) == pytest.approx(1e-16, rel=1e-7)


def test_facts_text_and_messages() -> None:
    f = LogCosh(np.array([0.5, 2.0]))
    assert f.facts.smoothness is not None and f.facts.smoothness.value == 2.0
    assert f.exactness is Exactness.ITERATIVE
    x = oa.Variable((2,), name="x")
    assert log_cosh(x, 0.5).functional is LogCosh(0.5)
    assert LogCosh(0.5).text("x") == "log_cosh(x, 0.5)"
    assert LogCosh(2.0).latex("x") == r"\operatorname{log\_cosh}_{2}\left(x\right)"
    with pytest.raises(ParameterError, match="scale of LogCosh must be positive"):
        LogCosh(-1.0)
