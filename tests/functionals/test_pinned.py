"""Infinite weights hold entries at zero, in values, proxes and conjugates, alone and in an energy."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import Backend
from opalg.errors import NonFiniteError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, YES
from opalg.functionals import ElasticNet, Indicator, Norm0, Norm1, Norm21, NormHalf, SumSquares
from opalg.functionals.pinned import Pinned
from opalg.leaves import Parameter

INF = np.inf
MAKERS = {Norm1: lambda w: Norm1(w), SumSquares: lambda w: SumSquares(w), Norm21: lambda w: Norm21(0, w)}


@pytest.mark.parametrize("f", [Norm1([1.0, 0.0, INF]), SumSquares([1.0, 0.0, INF]), Norm21(0, [1.0, 0.0, INF])])
def test_entries_of_infinite_weight_are_zero(f: Pinned, lib: Backend) -> None:
    v = lib.asarray(
        np.array([[3.0, -2.0, 0.5], [4.0, 1.0, 0.0]]) if isinstance(f.functional, Norm21) else [3.0, -2.0, 0.5]
    )
    u = lib.to_numpy(f.prox(v, 1.0))
    assert np.all(np.isfinite(u)) and not u[..., 2].any()
    assert np.array_equal(u[..., 1], lib.to_numpy(v)[..., 1])
    assert f.value(v) == INF and np.isfinite(f.value(lib.asarray(u)))
    assert not lib.to_numpy(f.prox(v, 0.0))[..., 2].any() and np.array_equal(f.prox(v, 0.0)[..., :2], v[..., :2])
    assert not lib.to_numpy(f.prox(lib.asarray(0.0 * np.asarray(lib.to_numpy(v))), 1.0)).any()


def test_values_and_proxes_by_hand() -> None:
    assert Norm1([2.0, 0.0, INF]).value(np.array([3.0, 9.0, 0.0])) == 6.0
    assert SumSquares([2.0, 0.0, INF]).value(np.array([3.0, 9.0, 0.0])) == 18.0
    assert np.allclose(SumSquares([2.0, 0.0, INF]).prox(np.array([3.0, 9.0, 7.0]), 0.5), [1.0, 9.0, 0.0])
    v = np.array([[3.0, 3.0], [4.0, 4.0]])
    assert np.allclose(Norm21(0, [1.0, INF]).prox(v, 1.0), [[2.4, 0.0], [3.2, 0.0]])
    assert np.allclose(Norm1([1.0, INF]).prox(np.array([3j, 4j]), 1.0), [2j, 0.0])


def test_conjugates_ignore_these_entries() -> None:
    assert Norm1([1.0, INF]).conjugate.value(np.array([0.5, 1e6])) == 0.0
    assert np.isinf(Norm1([1.0, INF]).conjugate.value(np.array([1.5, 0.0])))
    assert SumSquares([1.0, INF]).conjugate.value(np.array([2.0, 1e6])) == 1.0
    assert np.isinf(SumSquares([0.0, INF]).conjugate.value(np.array([1.0, 0.0])))
    q = np.array([3.0, -7.0])
    assert np.allclose(Norm1([1.0, INF]).conjugate.prox(q, 2.0), [1.0, -7.0])
    for f in (Norm1([1.0, INF]), SumSquares([1.0, INF])):
        assert np.allclose(f.conjugate.prox(q, 0.7) + 0.7 * f.prox(q / 0.7, 1 / 0.7), q)


def test_facts() -> None:
    f = SumSquares([1.0, INF])
    assert f.facts.smooth is NO and f.facts.smoothness is None and f.facts.quadratic is NO
    assert f.facts.convex is YES and f.facts.separable is YES and f.facts.strong_convexity is not None
    assert not f.offers("gradient") and f.offers("prox") and f.offers("dual_gauge")
    assert not SumSquares([0.0, INF]).offers("dual_gauge")
    with pytest.raises(UnsupportedError, match="infinite"):
        f.gradient(np.zeros(2))
    assert Norm1([-1.0, INF]).facts.convex is NO and not Norm1([-1.0, INF]).offers("prox")


def test_one_infinite_weight_is_an_indicator_of_zero() -> None:
    for f in (Norm1(INF), SumSquares(np.array([INF])), Norm21(0, INF)):
        assert isinstance(f, Indicator) and not f.prox(np.ones((2, 2)), 1.0).any()
        assert f.value(np.zeros((2, 2))) == 0.0 and f.value(np.ones((2, 2))) == INF


def test_finite_weights_are_what_they_were() -> None:
    assert type(Norm1([1.0, 2.0])) is Norm1 and type(SumSquares(2.0)) is SumSquares
    assert Norm1() is Norm1(None) and type(Norm21(axis=-1)) is Norm21


def test_an_energy_with_infinite_weights() -> None:
    x = oa.Variable((3,))
    y = np.array([3.0, 2.0, 1.0])
    weights = np.array([1.0, 0.0, INF])
    for penalty, expected in ((oa.norm1, [2.5, 2.0, 0.0]), (oa.sum_squares, [1.5, 2.0, 0.0])):
        E = oa.sum_squares(x - y) + penalty(x, weights=weights)
        assert E.value(np.array([1.0, 1.0, 1.0])) == INF
        assert np.allclose(oa.minimize(E).x, expected, atol=1e-6)
        assert "weights=data" in repr(E)


def test_what_is_refused() -> None:
    with pytest.raises(NonFiniteError):
        Norm1(Parameter(np.array([1.0, INF])))
    for weights in ([1.0, np.nan], [1.0, INF, np.nan], [1.0, -INF], float("nan")):
        for make in MAKERS.values():
            with pytest.raises((NonFiniteError, ParameterError)):
                make(weights)
    x = oa.Variable((3,))
    with pytest.raises(ShapeError, match="one weight per entry"):
        oa.norm1(x, weights=np.array([1.0, INF]))
    with pytest.raises(ShapeError, match="broadcast"):
        Norm1([1.0, INF]).prox(np.ones(3))


def test_batches_text_and_precision() -> None:
    f = Norm1(np.array([1.0, INF]))
    v = np.ones((3, 2), np.float32)
    assert np.array_equal(f.prox(v, np.array([0.0, 0.5, 2.0])), np.array([[1, 0], [0.5, 0], [0, 0]], np.float32))
    g = Norm21(0, np.array([1.0, INF]))
    assert np.array_equal(g.prox(np.ones((3, 4, 2)), np.zeros(3)), np.stack([np.tile([1.0, 0.0], (4, 1))] * 3))
    assert f.text("x") == "norm1(x, weights=data)" and "1,data" in f.latex("x").replace(r"\mathrm{data}", "data")
    assert repr(f) == "Pinned(Norm1(weights=constant), 1 infinite weight)"


def test_nan_is_not_hidden_where_a_weight_is_infinite() -> None:
    f = Norm21(axis=-1, weights=[0.3, np.inf])
    v = np.array([[1.0, 2.0], [np.nan, 1.0]])
    assert np.isfinite(f.prox(v, 0.5)[0]).all() and np.isnan(f.prox(v, 0.5)[1, 0])
    assert not np.isfinite(f.value(v))


def test_infinite_weights_of_counts_and_roots() -> None:
    v = np.array([3.0, 4.0, 5.0])
    for f in (Norm0([1.0, 0.0, INF]), NormHalf([1.0, 0.0, INF])):
        assert isinstance(f, Pinned) and np.array_equal(f.prox(v, 0.1)[1:], [4.0, 0.0])
        assert f.prox(v, 0.1)[0] == f.functional.prox(v, 0.1)[0] and f.value(v) == INF
        assert f.functional.value(v) > f.value(np.array([3.0, 4.0, 0.0])) and f.facts.convex is not YES
    assert Norm0([INF, INF]).facts.convex is YES and isinstance(NormHalf(INF), Indicator)
    x = oa.Variable((3,))
    assert oa.norm0(x, weights=[1.0, 0.0, INF]).value(np.array([3.0, 4.0, 0.0])) == 1.0
    assert oa.norm_half(x, weights=[1.0, 0.0, INF]).value(np.array([4.0, 4.0, 0.0])) == 2.0


def test_infinite_weights_of_an_elastic_net_in_either_part() -> None:
    v = np.array([3.0, 4.0, 5.0])
    expected = ElasticNet(1.0, 0.5).prox(v, 1.0) * np.array([1.0, 0.0, 1.0])
    for f in (ElasticNet([1.0, INF, 1.0], 0.5), ElasticNet(1.0, [0.5, INF, 0.5])):
        assert np.allclose(f.prox(v, 1.0), expected, atol=1e-15) and f.value(v) == INF
    both = ElasticNet([1.0, INF, 1.0], [0.5, 0.5, INF])
    assert both.where.value.tolist() == [False, True, True]
    assert np.allclose(both.prox(v, 1.0), expected * [1.0, 0.0, 0.0]) and both.value(np.array([2.0, 0.0, 0.0])) == 4.0
    assert isinstance(ElasticNet(INF, [1.0, 2.0]), Indicator)
    held = ElasticNet([1.0, INF, 1.0], oa.Parameter(0.5, name="b", nonneg=True))
    assert (
        np.allclose(held.prox(v, 1.0), expected, atol=1e-15) and held.conjugate.value(np.array([1.0, 99.0, 1.0])) == 0
    )
    y = oa.Variable((3,))
    assert oa.elastic_net(y, [1.0, INF, 1.0], 0.5).value(np.array([2.0, 0.0, 0.0])) == 4.0
