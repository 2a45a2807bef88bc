from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.functionals.exactness import Exactness
from opalg.functionals.quantile import Quantile, quantile
from tests.functionals.scalar_oracle import Scalar, check_data_gradient, check_extremes, check_prox, check_steps


@pytest.mark.parametrize("level", [0.05, 0.5, 0.8])
def test_prox_against_the_kink_and_stationary_points(level: float) -> None:
    def value(u: np.ndarray) -> np.ndarray:
        return np.where(u > 0, level * u, (level - 1) * u)

    check_prox(Quantile(level), Scalar(value, lambda u: np.where(u > 0, level, level - 1), (0.0,)))


def test_steps_extremes_and_gradients_in_the_data() -> None:
    check_steps(Quantile(0.3))
    check_extremes(Quantile(0.3), lambda v, t: v - np.clip(v, -0.7 * t, 0.3 * t))
    check_data_gradient(Quantile, 0.3, np.array([0.1, 0.5, -1.0, 4.0]))


def test_a_minimiser_is_the_quantile() -> None:
    y = np.sort(np.random.default_rng(0).standard_normal(101))
    f = Quantile(0.75)
    best = min(y, key=lambda c: f.value(y - c))
    assert best == np.quantile(y, 0.75)


def test_conjugate() -> None:
    f = Quantile(np.array([0.25, 0.5]))
    assert f.conjugate.value(np.array([0.25, -0.5])) == 0.0
    assert f.conjugate.value(np.array([0.26, 0.0])) == np.inf and f.conjugate.value(np.array([-0.76, 0.0])) == np.inf
    assert np.allclose(f.conjugate.prox(np.array([3.0, -3.0]), 1.0), [0.25, -0.5])


def test_facts_text_and_messages() -> None:
    f = Quantile(0.25)
    assert f.exactness is Exactness.CLOSED_FORM and f.text("r") == "quantile(r, 0.25)"
    for level in (0.0, 1.0, -2.0):
        with pytest.raises(ParameterError, match="between 0 and 1"):
            Quantile(level)
    with pytest.raises(DtypeError, match="parts"):
        f.value(np.ones(2, dtype=complex))
    with pytest.raises(ShapeError, match="level"):
        Quantile(np.array([0.2, 0.3])).value(np.ones(3))
    with pytest.raises(UnsupportedError, match="huber"):
        f.gradient(np.ones(2))
    assert len(Quantile(oa.Parameter(0.5, name="level")).define_conditions()) == 2
    assert quantile(oa.Variable((2,), name="x"), 0.25).functional is f
