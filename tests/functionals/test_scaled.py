from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional
from opalg.functionals.charbonnier import Charbonnier
from opalg.functionals.counting import Norm0, NormHalf
from opalg.functionals.elastic_net import ElasticNet
from opalg.functionals.entropy import Entropy
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.kl_divergence import KLDivergence
from opalg.functionals.linear import Linear
from opalg.functionals.log_barrier import LogBarrier
from opalg.functionals.log_cosh import LogCosh
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.points import Point
from opalg.functionals.robust import Cauchy
from opalg.functionals.scaled import Weighted, times_weight
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.support import SupportFunction
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from tests.functionals.scalar_search import scalar_prox


def test_weights_per_entry_against_bisection() -> None:
    rng = np.random.default_rng(0)
    v, w, t = 2 * rng.standard_normal((3, 4)), rng.uniform(0.0, 2.0, (3, 4)), 0.7
    w[0, 0] = 0.0
    found = Weighted(Huber(0.6), w).prox(v, t)
    assert np.allclose(found, scalar_prox(lambda u: w * np.clip(u, -0.6, 0.6), v, t), atol=1e-12)
    assert found[0, 0] == v[0, 0]


def test_value_of_weights_per_entry_is_the_weighted_sum() -> None:
    rng = np.random.default_rng(1)
    v, w = rng.standard_normal((3, 4)), rng.uniform(0.0, 2.0, (3, 4))
    expected = sum(w[i] * Huber(0.6).value(v[i]) for i in np.ndindex(3, 4))
    assert Weighted(Huber(0.6), w).value(v) == pytest.approx(expected, rel=1e-13)
    net = ElasticNet(0.5, 2.0)
    assert Weighted(net, w).value(v) == pytest.approx(np.sum(w * (0.5 * abs(v) + 2 * v**2)), rel=1e-13)
    assert Weighted(Norm1(w), 3.0).value(v) == pytest.approx(3 * np.sum(w * abs(v)), rel=1e-13)


def test_zero_weight_keeps_the_domain() -> None:
    inside, outside = np.array([0.5]), np.array([2.0])
    f = Weighted(Indicator(Box(0.0, 1.0)), 0.0)
    assert f.value(inside) == 0.0 and f.value(outside) == np.inf
    assert f.prox(outside, 1.0) == 1.0
    assert Weighted(Norm2(), 0.0).prox(outside, 1.0) == 2.0


def test_infinite_weights_hold_entries_at_zero() -> None:
    f = Weighted(Huber(1.0), np.array([1.0, np.inf, 0.0]))
    assert f.prox(np.array([4.0, 4.0, 4.0]), 1.0).tolist() == [3.0, 0.0, 4.0]
    assert f.value(np.array([0.5, 0.0, 7.0])) == 0.125
    assert f.value(np.array([0.5, 1e-3, 7.0])) == np.inf
    assert f.conjugate.value(np.array([0.5, 100.0, 0.0])) == pytest.approx(0.125)
    assert f.conjugate.value(np.array([0.5, 100.0, 0.1])) == np.inf
    assert f.facts.smooth is NO and not f.offers("gradient")


def test_an_infinite_number_is_the_indicator_of_zero() -> None:
    assert times_weight(Norm21(), np.inf) is Indicator(Point(0.0))
    alone = Weighted(Norm2(), np.inf)
    assert alone.prox(np.array([3.0, 4.0]), 0.1).tolist() == [0.0, 0.0]
    assert alone.facts.indicator and alone.conjugate.value(np.array([9.0, 9.0])) == 0.0
    with pytest.raises(ParameterError, match="vanish at 0 only"):
        Weighted(SumSquares(0.0), np.inf)


def test_weights_that_cannot_be_are_refused() -> None:
    with pytest.raises(ParameterError, match="must be nonnegative"):
        Weighted(Norm1(), -1.0)
    with pytest.raises(UnsupportedError, match="sum over the entries"):
        Weighted(Norm2(), np.ones(3))
    with pytest.raises(ShapeError, match="weights"):
        Weighted(Huber(1.0), np.ones(3)).value(np.ones(4))


def test_gradient_in_the_weight_flows_through_the_prox() -> None:
    rng = np.random.default_rng(2)
    w = oa.Parameter(rng.uniform(0.3, 1.0, (3,)), name="w", positive=True)
    x, u, t = Input("x", (3,)), Input("u", (3,)), Input("t", ())
    prox = Weighted(Huber(0.8), w).define_prox(x, t)
    values = {x: 2 * rng.standard_normal(3), u: rng.standard_normal(3), t: np.asarray(0.6)}
    back = vjp([prox], [u], [w])[0]
    assert back is not None
    (slope,) = evaluate([back], values, oa.arrays.backend())
    for i in range(3):
        moved = []
        for sign in (1, -1):
            changed = w.value.copy()
            changed[i] += sign * 1e-6
            (found,) = evaluate([prox], {**values, w: changed}, oa.arrays.backend())
            moved.append(np.sum(found * values[u]))
        assert slope[i] == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-6, abs=1e-9)


def test_an_undeclared_sign_leaves_convexity_open_and_asks_for_it() -> None:
    f = Weighted(Huber(1.0), oa.Parameter(1.0, name="w"))
    assert f.facts.convex is UNKNOWN and "nonneg=True" in f.hint()
    assert [sentence for _, _, sentence in f.define_conditions()] == ["the weight of Huber(1) must be nonnegative"]


def test_facts_scale() -> None:
    f = Weighted(SumSquares(), 3.0)
    assert f.facts.smoothness is not None and f.facts.smoothness.value == 6.0
    assert f.facts.smoothness.certainty == "exact" and f.facts.convex is YES
    each = Weighted(Huber(1.0), np.array([1.0, 5.0]))
    assert each.facts.smoothness is not None and each.facts.smoothness.value == 5.0
    (w,) = (Weighted(SumSquares(), np.array([2.0, 3.0])).define_hessian_operator((2,), "real"),)
    assert w is not None and np.allclose(w.to_dense(), np.diag([4.0, 6.0]))


def test_weights_merge_and_go_into_norms() -> None:
    assert repr(3.0 * (2.0 * Norm2())) == "Weighted(Norm2(), 6)"
    assert isinstance(np.array([1.0, 2.0]) * Norm1(), Norm1)
    assert 1.0 * Norm2() is Norm2() and 0.5 * Indicator(Box(0.0, 1.0)) is Indicator(Box(0.0, 1.0))
    assert np.float64(2.0) * Norm2() is 2.0 * Norm2() and Norm2() * 2.0 is 2.0 * Norm2()
    assert (oa.Parameter(2.0, name="w") * Norm2()).text("x") == "w * norm2(x)"


def test_as_a_term() -> None:
    x = oa.Variable((3,), name="x")
    y = np.array([3.0, -2.0, 0.1])
    E = 0.5 * oa.sum_squares(x - y) + (2.0 * Norm1())(x) * 0.25
    assert np.allclose(oa.minimize(E).x, np.sign(y) * np.maximum(abs(y) - 0.5, 0), atol=1e-6)


SINGLE_ZERO = [
    ElasticNet(),
    ElasticNet(1.0, 0.0),
    Charbonnier(1.0),
    LogCosh(1.0),
    Cauchy(1.0),
    Norm0(),
    NormHalf(),
    Norm1(),
]


@pytest.mark.parametrize("f", SINGLE_ZERO)
def test_infinite_weights_of_all_that_vanish_at_zero_only(f: Functional) -> None:
    v = np.array([3.0, 3.0])
    held = np.array([1.0, np.inf]) * f
    assert held.prox(v, 0.5).tolist() == [f.prox(v[:1], 0.5)[0], 0.0]
    assert held.value(np.array([3.0, 0.0])) == pytest.approx(f.value(v[:1]), rel=1e-14)
    assert held.value(v) == np.inf
    assert np.array_equal((2.0 * f).prox(v, 0.5), f.prox(v, 1.0)) and Weighted(2.0 * f, np.inf).value(v) == np.inf


def test_infinite_weights_of_what_vanishes_elsewhere_are_refused() -> None:
    for f in (
        ElasticNet([1.0, 0.0], [1.0, 0.0]),
        Norm0([0.0, 1.0]),
        Linear(1.0),
        0.0 * Huber(1.0),
        Norm21(0, [0.0, 1.0]),
    ):
        with pytest.raises(ParameterError, match="vanish at 0 only"):
            Weighted(f, np.inf)


def test_the_conjugate_of_an_indicator_whatever_its_weight() -> None:
    box, q = Indicator(Box(-1.0, 2.0)), np.array([3.0, -4.0])
    for w in (oa.Parameter(1.0, nonneg=True), 0.0, 2.0, np.array([0.0, 3.0])):
        f = Weighted(box, w)
        assert f.conjugate.value(q) == box.conjugate.value(q) == 10.0
        assert f.offers("dual_gauge") and np.array_equal(f.conjugate.prox(q, 0.0), q)
    half = Weighted(Indicator(Box(0.0, None)), oa.Parameter(1.0, nonneg=True))
    assert half.conjugate.value(q) == np.inf and half.conjugate.value(-abs(q)) == 0.0


def test_the_conjugate_of_a_bounded_support_function_of_weight_zero_or_more() -> None:
    f = Weighted(SupportFunction(Box(-1.0, 2.0)), oa.Parameter(2.0, nonneg=True))
    assert f.conjugate.value(np.array([4.0, -2.0])) == 0.0 and f.conjugate.value(np.array([4.1, 0.0])) == np.inf


@pytest.mark.parametrize("f", [KLDivergence(np.ones(2)), LogBarrier(), Entropy()])
def test_a_weight_that_may_be_zero_asks_to_be_positive(f: Functional) -> None:
    with pytest.raises(UnsupportedError, match="declare the parameter 'w' with positive=True"):
        Weighted(f, oa.Parameter(1.0, name="w", nonneg=True)).conjugate.value(-np.ones(2))
    q = np.array([-0.5, -0.25])
    known = Weighted(f, oa.Parameter(2.0, name="w", positive=True)).conjugate.value(q)
    assert known == pytest.approx(2 * f.conjugate.value(q / 2), rel=1e-13)


def test_division() -> None:
    f, v = Huber(1.0), np.array([3.0, -0.5])
    assert (f / 2).value(v) == pytest.approx(f.value(v) / 2) and f / 1 is f
    assert (f / oa.Parameter(4.0, positive=True)).value(v) == pytest.approx(f.value(v) / 4)
    assert (f / np.array([1.0, 2.0])).value(v) == pytest.approx(2.5 + 0.0625)
    for zero in (0, np.array([1.0, 0.0])):
        with pytest.raises(ParameterError, match="must not be zero"):
            f / zero
    with pytest.raises(DtypeError, match="divisor"):
        f / f


def test_negative_multiples_of_what_stays_of_its_sort() -> None:
    v = np.array([3.0, -2.0])
    assert (-Linear([1.0, 2.0])).value(v) == 1.0 and (-2.0 * SumSquares([1.0, 2.0])).value(v) == -34.0
    assert (-(3.0 * SumSquares())).value(v) == -39.0 and not (-SumSquares()).offers("prox")
    assert (Norm1() - Linear([1.0, 2.0])).value(v) == 6.0 and (Norm1() - 2.0).value(v) == 3.0
    assert (1.0 - Linear([1.0, 2.0])).value(v) == 2.0
    with pytest.raises(ParameterError, match=r"-c \* oa.sum_squares\(x\)"):
        Norm1() - SumSquares()


def test_other_negative_multiples_say_what_to_type() -> None:
    for make in (
        lambda: -Norm1(),
        lambda: Huber(1.0) - Norm1(),
        lambda: np.array([2.0, -1.0]) * Norm1(),
        lambda: 1.0 - Norm1(),
    ):
        with pytest.raises(ParameterError, match=r"but is -1; .* -c \* f\(x\)"):
            make()
    with pytest.raises(ParameterError, match=r"but is -2\.5"):
        Weighted(Norm1(), -2.5)
