from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.functionals.elastic_net import ElasticNet, elastic_net
from opalg.functionals.exactness import Exactness
from tests.functionals.scalar_oracle import Scalar, check_data_gradient, check_extremes, check_prox, check_steps


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.3, 2.0), (2.0, 0.0), (0.0, 0.7)])
def test_prox_against_the_kink_and_stationary_points(a: float, b: float) -> None:
    scalar = Scalar(lambda u: a * np.abs(u) + b * u**2, lambda u: a * np.sign(u) + 2 * b * u, (0.0,))
    check_prox(ElasticNet(a, b), scalar, even=True)


def test_steps_extremes_and_gradients_in_the_data() -> None:
    f = ElasticNet(0.5, 0.2)
    check_steps(f)
    check_steps(f, "complex")
    check_extremes(f)
    v = np.array([0.1, 0.5, -1.0, 4.0])
    check_data_gradient(lambda p: ElasticNet(p, 0.2), 0.6, v)
    check_data_gradient(lambda p: ElasticNet(0.5, p), 0.6, v)


def test_value_has_no_half() -> None:
    assert ElasticNet(3.0, 2.0).value(np.array([2.0, -1.0])) == 3.0 * 3.0 + 2.0 * 5.0
    assert ElasticNet(3.0, 2.0).value(np.array([3.0 + 4.0j])) == pytest.approx(15.0 + 50.0)


def test_conjugate_with_and_without_squares() -> None:
    f = ElasticNet(1.0, np.array([2.0, 0.0]))
    assert f.conjugate.value(np.array([3.0, 1.0])) == 4.0 / 8.0
    assert f.conjugate.value(np.array([0.5, 1.1])) == np.inf
    assert np.allclose(f.conjugate.prox(np.array([3.0, 3.0]), 0.0), [3.0, 1.0])


def test_facts_text_and_messages() -> None:
    f = ElasticNet(0.5, np.array([0.25, 2.0]))
    assert f.facts.convex is YES and f.facts.strong_convexity is not None and f.exactness is Exactness.CLOSED_FORM
    assert ElasticNet(oa.Parameter(1.0, name="a")).facts.convex is UNKNOWN
    assert "'a'" in ElasticNet(oa.Parameter(1.0, name="a")).hint()
    assert ElasticNet(0.5, 0.25).text("x") == "elastic_net(x, 0.5, 0.25)"
    assert ElasticNet(3.0, 2.0).latex("x") == r"3 \left\|x\right\|_1 + 2 \left\|x\right\|_2^2"
    with pytest.raises(UnsupportedError, match="nonnegative"):
        ElasticNet(-1.0, 1.0).prox(np.ones(2), 1.0)
    with pytest.raises(UnsupportedError, match="huber"):
        f.gradient(np.ones(2))
    with pytest.raises(ShapeError, match="l2"):
        f.value(np.ones(3))
    assert elastic_net(oa.Variable((2,), name="x")).functional is ElasticNet()
