from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.functionals.classification import Hinge, Logistic, hinge, logistic
from opalg.functionals.exactness import Exactness
from tests.functionals.scalar_oracle import POINTS, Scalar, check_extremes, check_prox, check_steps


def logistic_scalar(label: float) -> Scalar:
    return Scalar(
        lambda u: np.logaddexp(0.0, -label * u), lambda u: -label * np.exp(-np.logaddexp(0.0, label * np.asarray(u)))
    )


@pytest.mark.parametrize("label", [-1.0, 1.0])
def test_logistic_prox_against_stationary_points(label: float) -> None:
    check_prox(Logistic(label), logistic_scalar(label))


@pytest.mark.parametrize("label", [-1.0, 1.0])
def test_hinge_prox_against_the_kink_and_stationary_points(label: float) -> None:
    scalar = Scalar(
        lambda u: np.maximum(0.0, 1.0 - label * u), lambda u: np.where(label * u < 1.0, -label, 0.0), (label,)
    )
    check_prox(Hinge(label), scalar, points=(*POINTS, 1.0, -1.0, 0.9))


def test_logistic_prox_with_long_steps_far_out() -> None:
    f, scalar = Logistic(1.0), logistic_scalar(1.0)
    v = np.array([-2000.0, -300.0, -40.0, -7.0, 0.0, 5.0, 60.0])
    for t in (300.0, 3000.0):
        assert np.allclose(f.prox(v, t), [scalar.prox(p, t) for p in v], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", [Logistic, Hinge])
def test_steps_and_extremes(family: type) -> None:
    check_steps(family(-1.0))
    labels = np.array([1.0, -1.0, 1.0])
    v = np.array([0.3, 0.3, -2.0])
    assert np.allclose(family(labels).prox(v, 0.7), labels * family(1.0).prox(labels * v, 0.7), rtol=1e-14)
    check_extremes(family(1.0))
    check_extremes(family(-1.0))


def test_values_and_gradients_far_out() -> None:
    f = Logistic(np.array([1.0, -1.0]))
    assert f.value(np.array([1000.0, 1000.0])) == 1000.0
    assert f.value(np.array([0.0, 0.0])) == pytest.approx(2 * np.log(2))
    assert f.value(np.array([40.0, -40.0])) == pytest.approx(2 * np.exp(-40.0), rel=1e-12)
    assert np.allclose(f.gradient(np.array([40.0, 800.0])), [-np.exp(-40.0), 1.0], rtol=1e-12, atol=0)
    assert np.allclose(f.gradient(np.array([1e20, 1e20], dtype=np.float32)), [0.0, 1.0])
    assert Hinge(np.array([1.0, -1.0])).value(np.array([0.25, 3.0])) == 0.75 + 4.0


def test_conjugates() -> None:
    f = Logistic(np.array([1.0, -1.0]))
    assert f.conjugate.value(np.array([-0.25, 0.25])) == pytest.approx(2 * (0.25 * np.log(0.25) + 0.75 * np.log(0.75)))
    assert f.conjugate.value(np.array([-1.0, 0.0])) == 0.0 and f.conjugate.value(np.array([0.1, 0.0])) == np.inf
    g = Hinge(np.array([1.0, -1.0]))
    assert g.conjugate.value(np.array([-0.25, 0.5])) == -0.75 and g.conjugate.value(np.array([-0.25, -0.1])) == np.inf
    assert np.allclose(g.conjugate.prox(np.array([3.0, 3.0]), 0.0), [0.0, 1.0])


@pytest.mark.parametrize(("family", "make"), [(Logistic, logistic), (Hinge, hinge)])
def test_facts_text_and_messages(family: type, make: object) -> None:
    f = family(1.0)
    assert (f.exactness is Exactness.ITERATIVE) == (family is Logistic)
    for labels in (0.0, np.array([1.0, 2.0]), np.array([0.0, 1.0])):
        with pytest.raises(ParameterError, match=r"2 \* labels - 1"):
            family(labels)
    with pytest.raises(DtypeError, match="real part"):
        f.value(np.ones(2, dtype=complex))
    with pytest.raises(ShapeError, match="labels"):
        family(np.ones(2)).value(np.ones(3))
    assert len(family(oa.Parameter(np.ones(2), name="l")).define_conditions()) == 2
    x = oa.Variable((2,), name="x")
    assert make(x, 1.0).functional is f  # type: ignore[operator]
    assert f.text("x") == f"{make.__name__}(x, 1)"  # type: ignore[attr-defined]


def test_the_hinge_says_what_is_smooth() -> None:
    with pytest.raises(UnsupportedError, match="logistic"):
        Hinge(1.0).gradient(np.ones(2))
