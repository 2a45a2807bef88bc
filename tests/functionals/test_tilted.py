from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.functionals.boxes import Box
from opalg.functionals.counting import Norm0
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.tilted import Tilted, tilt
from opalg.program.interpreter import number
from tests.functionals.scalar_search import scalar_prox


def test_prox_against_bisection() -> None:
    rng = np.random.default_rng(0)
    v, a = 2 * rng.standard_normal((2, 3, 4))
    c = rng.uniform(0.0, 2.0, (3, 4))
    found = Tilted(Huber(0.5), a, c).prox(v, 0.8)
    assert np.allclose(found, scalar_prox(lambda u: np.clip(u, -0.5, 0.5) + a + c * u, v, 0.8), atol=1e-12)


@pytest.mark.parametrize("c", [0.0, 1.5])
def test_conjugate_is_the_largest_difference(c: float) -> None:
    f = Tilted(Indicator(Box(-1.0, 2.0)), 0.3, c)
    grid = np.linspace(-1.0, 2.0, 300001)
    for q in (-2.0, 0.1, 5.0):
        expected = np.max(q * grid - 0.3 * grid - 0.5 * c * grid**2)
        assert f.conjugate.value(np.array([q])) == pytest.approx(expected, abs=1e-9)


def test_conjugate_of_a_shifted_norm_has_a_shifted_ball() -> None:
    f = Tilted(Norm2(), np.array([3.0, 0.0]), 0.0)
    assert f.conjugate.value(np.array([3.5, 0.5])) == 0.0 and f.conjugate.value(np.array([0.0, 0.0])) == np.inf
    assert not f.offers("dual_gauge")


def test_nonconvex_functionals_may_be_tilted_too() -> None:
    f = Tilted(Norm0(), 0.0, 1.0)
    v, t = np.array([3.0, 0.4, -1.6]), 1.0
    for i, u in enumerate(f.prox(v, t)):
        grid = np.append(np.linspace(-4, 4, 80001), 0.0)
        goal = (grid != 0) + 0.5 * grid**2 + (grid - v[i]) ** 2 / (2 * t)
        assert (u != 0) + 0.5 * u**2 + (u - v[i]) ** 2 / (2 * t) <= goal.min() + 1e-12
    assert f.facts.convex is not YES and not f.offers("conjugate_value")


def test_facts() -> None:
    known = Tilted(SumSquares(), 1.0, 3.0).facts
    assert known.smoothness is not None and known.smoothness.value == 5.0 and known.smoothness.certainty == "exact"
    assert known.strong_convexity is not None and number(known.strong_convexity) == 5.0
    assert known.bounded_below is YES and known.homogeneity is None
    assert Tilted(Norm1(), 2.0, 0.0).facts.bounded_below is UNKNOWN
    assert Tilted(Norm1(), 2.0, 0.0).facts.homogeneity == 1.0


def test_a_curvature_that_may_be_zero_has_no_conjugate_yet() -> None:
    f = Tilted(Norm1(), 0.0, oa.Parameter(1.0, name="c", nonneg=True))
    assert not f.offers("conjugate_value") and "positive=True" in f.why_not("conjugate_value")
    assert f.facts.convex is YES


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="must be nonnegative"):
        Tilted(Norm1(), 0.0, -1.0)
    with pytest.raises(UnsupportedError, match="sum over the entries"):
        Tilted(Norm2(), 0.0, np.ones(3))


def test_simplest_forms_and_text() -> None:
    assert tilt(Norm2(), 0.0, 0.0) is Norm2()
    assert repr(tilt(tilt(Norm2(), 1.0, 2.0), 0.5, 1.0)) == "Tilted(Norm2(), 1.5, 3)"
    assert Tilted(Norm1(), oa.Parameter(1.0, name="a"), 3.0).text("x") == (
        "(norm1(x) + linear(a, x) + 3 / 2 * sum_squares(x))"
    )


def test_as_a_term() -> None:
    x = oa.Variable((2,), name="x")
    assert Tilted(Norm1(), 0.5, 3.0)(x).value(np.array([1.0, -2.0])) == pytest.approx(3.0 - 0.5 + 7.5)
