from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

import opalg as oa
from opalg.arrays import backend
from opalg.errors import DtypeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.balls import Ball2
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.calculus import Exactness
from opalg.functionals.composition import Composition
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.linear import Linear
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.postcomposed import Postcomposed
from opalg.functionals.second_order_cone import SecondOrderCone
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.sums import Sum, sum_of_functionals
from opalg.functionals.tilted import Tilted
from opalg.functionals.translated import Translated
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from tests.functionals.scalar_search import scalar_prox


def test_entries_within_bounds_against_bisection() -> None:
    rng = np.random.default_rng(0)
    v, low = 2 * rng.standard_normal((2, 3, 4))
    f = Sum(2.0 * Huber(0.5), Indicator(Box(low, low + 1.0)))
    found = f.prox(v, 0.8)
    expected = scalar_prox(lambda u: 2 * np.clip(u, -0.5, 0.5) + 1e9 * (u > low + 1) - 1e9 * (u < low), v, 0.8)
    assert np.allclose(found, expected, atol=1e-8)
    free = np.minimum(abs(found - low), abs(found - low - 1)) > 1e-6
    assert free.any() and np.allclose(found[free], expected[free], atol=1e-12)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_sparse_groups_meet_their_optimality_conditions(kind: str) -> None:
    rng = np.random.default_rng(1)
    v = rng.standard_normal((3, 40)) + (1j * rng.standard_normal((3, 40)) if kind == "complex" else 0)
    w, t, g = rng.uniform(0.0, 1.0, (3, 40)), 0.7, 0.8
    p = Sum(Norm1(w), g * Norm21(axis=0)).prox(v, t)
    sizes = np.linalg.norm(p, axis=0)
    assert (sizes == 0).any() and ((p == 0) & (sizes > 0)).any()
    direction = np.divide(p, abs(p), out=np.zeros_like(p), where=p != 0)
    group = np.divide(p, sizes, out=np.zeros_like(p), where=sizes > 0)
    slope = (v - p) / t - g * group
    assert np.allclose(slope[p != 0], (w * direction)[p != 0], atol=1e-12)
    alive = np.broadcast_to(sizes > 0, p.shape) & (p == 0)
    assert np.all(abs(slope[alive]) <= w[alive] + 1e-12)
    excess = np.maximum(abs(v / t) - w, 0)
    assert np.all(np.linalg.norm(excess, axis=0)[sizes == 0] <= g + 1e-12)


def test_norms_of_nested_groups() -> None:
    rng = np.random.default_rng(2)
    v, t = rng.standard_normal((3, 4)), 0.5
    f = Sum(0.7 * Norm2(), Norm21(axis=1))
    p = f.prox(v, t)
    rows = np.linalg.norm(p, axis=1, keepdims=True)
    alive = rows[:, 0] > 0
    slope = (v - p) / t - 0.7 * p / np.linalg.norm(p)
    assert np.allclose(slope[alive], (p / np.where(rows > 0, rows, 1))[alive], atol=1e-12)
    assert np.all(np.linalg.norm(slope[~alive], axis=1) <= 1 + 1e-12)
    assert not Sum(Norm21(axis=0), Norm21(axis=1)).offers("prox")
    assert Sum(Norm21(axis=(0, 1)), Norm21(axis=1)).offers("prox")


def test_a_cone_within_a_ball() -> None:
    rng = np.random.default_rng(3)
    f = Sum(Indicator(Ball2(0.8)), Indicator(SecondOrderCone()))
    cone = Indicator(SecondOrderCone())
    for _ in range(5):
        v = 2 * rng.standard_normal(4)
        p = f.prox(v, 1.0)
        assert f.value(p) == 0.0
        others = [f.prox(2 * rng.standard_normal(4), 1.0) for _ in range(50)]
        assert max((v - p) @ (u - p) for u in others) <= 1e-12  # Beck 2017, Theorem 6.41
        q = rng.standard_normal(4)
        assert f.conjugate.value(q) == pytest.approx(0.8 * np.linalg.norm(cone.prox(q, 1.0)), abs=1e-12)
        assert f.conjugate.value(q) >= max(u @ q for u in others) - 1e-12
    assert f.facts.indicator


def test_groups_within_balls_of_their_own() -> None:
    rng = np.random.default_rng(4)
    v = 2 * rng.standard_normal((3, 4))
    f = Sum(Norm1(), Indicator(Ball2(0.5, axis=0)))
    p = f.prox(v, 0.3)
    soft = np.sign(v) * np.maximum(abs(v) - 0.3, 0)
    sizes = np.linalg.norm(soft, axis=0)
    assert np.allclose(p, soft * np.minimum(1, 0.5 / np.where(sizes > 0, sizes, 1)))
    q = 2 * rng.standard_normal((3, 4))
    inside = np.linalg.norm(np.maximum(abs(q) - 1, 0), axis=0)
    assert f.conjugate.value(q) == pytest.approx(0.5 * inside.sum())


@pytest.mark.parametrize("bounds", [(-0.5, 2.0), (None, 1.0), (0.3, None), (-2.0, -1.0)])
def test_conjugates_within_bounds_are_the_largest_difference(bounds: tuple[float | None, float | None]) -> None:
    low, up = (-60.0 if bounds[0] is None else bounds[0]), (60.0 if bounds[1] is None else bounds[1])
    grid = np.append(np.linspace(low, up, 600001), np.clip([0.0, 0.4, -0.4], low, up))
    huber = np.where(abs(grid) < 0.4, grid**2 / 2, 0.4 * (abs(grid) - 0.2))
    for f, values in ((1.5 * Norm1(), 1.5 * abs(grid)), (2.0 * Huber(0.4), 2 * huber), (SumSquares(0.5), grid**2 / 2)):
        bounded = sum_of_functionals(f, Indicator(Box(*bounds)))
        for q in (-3.0, -0.5, 0.0, 0.7, 4.0):
            found, expected = bounded.conjugate.value(np.array([q])), np.max(q * grid - values)
            inside = abs(np.argmax(q * grid - values) - 300000) < 299999 or None not in bounds
            reaches = expected > 40 and None in bounds and not isinstance(f, SumSquares)
            assert found == (np.inf if reaches else pytest.approx(expected, abs=1e-4)), (f, q, inside)


def test_linear_parts_and_squares_become_a_tilt() -> None:
    assert repr(Norm1() + SumSquares()) == "Tilted(Norm1(), 0, 2)"
    assert repr(3.0 * SumSquares(0.5) + Norm2()) == "Tilted(Norm2(), 0, 3)"
    assert isinstance(Huber(1.0) + SumSquares(np.array([1.0, 2.0])), Tilted)
    assert isinstance(Norm1() + Linear(np.ones(3)), Tilted)
    f = Sum(SumSquares(), Norm1())
    v = np.array([3.0, -0.2])
    assert np.allclose(f.prox(v, 0.5), np.sign(v) * np.maximum(abs(v) - 0.5, 0) / 2)
    assert f.exactness is Exactness.CLOSED_FORM and f.conjugate.value(v) == pytest.approx(1.0)
    both = Linear(np.ones(2)) + SumSquares()
    assert both.value(v) == pytest.approx(2.8 + 9.04) and both.offers("prox")
    rest = Norm2() + SumSquares(np.array([1.0, 2.0]))
    assert not rest.offers("prox") and rest.value(np.array([3.0, 4.0])) == pytest.approx(5 + 9 + 32)


def test_equal_summands_merge_and_boxes_intersect() -> None:
    assert repr(Norm2() + 2.0 * Norm2()) == "Weighted(Norm2(), 3)"
    assert repr(Norm1(2.0) + Norm1()) == "Weighted(Norm1(), 3)"
    box = Indicator(Box(0.0, 2.0)) + Indicator(Box(-1.0, 1.0))
    assert isinstance(box, Indicator)
    assert box.prox(np.array([-3.0, 0.5, 7.0]), 1.0).tolist() == [0.0, 0.5, 1.0]
    w = oa.Parameter(0.5, name="w", nonneg=True)
    assert (w * Norm1() + Norm1()).value(np.array([2.0])) == pytest.approx(3.0)


def test_any_order_of_many_summands_has_the_prox() -> None:
    rng = np.random.default_rng(5)
    parts = [Norm1(), Indicator(nonneg), 0.5 * Norm2(), SumSquares(0.3), Linear(0.1)]
    v = rng.standard_normal(6)
    answers = []
    for order in ([0, 1, 2, 3, 4], [4, 2, 1, 0, 3], [2, 3, 4, 1, 0]):
        total = parts[order[0]]
        for k in order[1:]:
            total = total + parts[k]
        answers.append(total.prox(3 * v, 0.4))
    assert all(np.allclose(a, answers[0], atol=1e-14) for a in answers)
    stretch = 1 + 0.4 * 0.6
    inner = np.maximum((3 * v - 0.04) / stretch - 0.4 / stretch, 0)
    assert np.allclose(answers[0], inner * (1 - 0.2 / stretch / np.linalg.norm(inner)), atol=1e-12)
    weighted = sum_of_functionals(2.0 * (Norm1() + 0.5 * Norm2()), Indicator(nonneg))
    inside = np.maximum(v - 0.8, 0)
    assert np.allclose(weighted.prox(v, 0.4), inside * max(1 - 0.4 / max(float(np.linalg.norm(inside)), 1e-9), 0))


def test_complex_arrays_need_magnitudes() -> None:
    both = Sum(Norm1(), Indicator(Box(0.0, None)))
    with pytest.raises(DtypeError, match="real"):
        both.prox(np.array([1j]), 1.0)
    moved = Sum(Translated(Norm1(), 1.0), Translated(Norm2(), 0.0))
    assert not moved.offers("prox")


def test_numbers_and_python_sums() -> None:
    f = 1.0 + Norm1()
    assert isinstance(f, Postcomposed) and f.value(np.array([-2.0])) == 3.0
    parts: list[Any] = [Norm1(), Indicator(nonneg), 2.0]
    total: Any = sum(parts)
    assert total.value(np.array([2.0])) == 4.0 and total.value(np.array([-2.0])) == np.inf
    assert (3.0 * (Norm2() + 1.0) + Norm2()).value(np.array([3.0, 4.0])) == pytest.approx(23.0)
    with pytest.raises(DtypeError, match="must be a number"):
        Norm1() + "1"


def test_sums_without_a_rule_say_so() -> None:
    f = Norm1() + Composition(Norm1(), oa.FiniteDifference((5,), 0))
    assert not f.offers("prox") and f.exactness is None and f.facts.convex is YES
    with pytest.raises(UnsupportedError, match="has none"):
        f.prox(np.ones(5), 1.0)
    g = Norm2() + Norm1().translated(1.0)
    with pytest.raises(UnsupportedError, match="which are split"):
        g.prox(np.ones(5), 1.0)
    smooth = Huber(1.0) + Huber(2.0)
    v = np.array([0.3, -3.0])
    assert np.allclose(smooth.gradient(v), [0.6, -3.0]) and smooth.facts.smoothness is not None


def test_facts() -> None:
    known = Sum(Norm1(), Indicator(nonneg)).facts
    assert known.homogeneity == 1.0 and known.convex is YES and known.separable is YES and not known.indicator
    assert Sum(Norm1(), Huber(1.0)).facts.smooth is NO
    assert Sum(Norm1(), Norm2()).facts.smooth is UNKNOWN
    assert Sum(Norm1(), Huber(1.0)).facts.homogeneity is None
    assert repr(Sum(Norm1(), Norm2())) == "Sum(Norm1(), Norm2())"
    assert Sum(Norm1(), Norm2()).text("x") == "(norm1(x) + norm2(x))"


def test_single_precision_of_any_size() -> None:
    v = np.array([3.0, 4.0])
    for size in (1e20, 1e-30):
        f = Sum(Norm2(), Indicator(Ball2(2.0 * size)))
        assert np.allclose(f.prox((size * v).astype(np.float32), size), size * 0.4 * v, rtol=1e-5)


def test_as_a_term() -> None:
    x, y = oa.Variable((4,), name="x"), np.array([3.0, -2.0, 0.3, 1.0])
    E = 0.5 * oa.sum_squares(x - y) + (Norm1() + Indicator(nonneg))(x)
    assert np.allclose(oa.minimize(E).x, np.maximum(y - 1.0, 0), atol=1e-6)


def test_dual_projection_of_a_sum_of_norms_solves_its_equation() -> None:
    """The nearest point of the sum of two balls: of q, soft thresholds leave what the 2-ball does not reach."""
    f, q = Sum(Norm1(), Norm2()), np.array([3.0, 2.0, -0.5])
    soft = np.sign(q) * np.maximum(abs(q) - 1, 0)
    assert np.allclose(f.conjugate.prox(q, 0.0), q - soft * (1 - 1 / np.linalg.norm(soft)))
    edge = brentq(lambda c: np.linalg.norm(np.maximum(c * abs(q) - 1, 0)) - 1, 0.1, 1.0)
    assert f.conjugate.value(0.999 * edge * q) == 0.0 and f.conjugate.value(1.001 * edge * q) == np.inf


@pytest.mark.parametrize(
    "f",
    [Norm1(0.6) + Norm2(), Norm1() + 0.5 * Norm21(axis=1), 0.3 * Norm21(axis=-1) + Norm2() + Norm1(0.2)],
    ids=repr,
)
def test_dual_points_of_merged_norms_are_brought_into_the_domain(f: Sum) -> None:
    rng = np.random.default_rng(4)
    q = Input("q", (3, 4))
    bound = f.dual_gauge_bound(q)
    assert bound is not None and not f.offers("dual_gauge")
    for size in (0.1, 1.0, 3.0):
        given = size * rng.standard_normal((3, 4))
        inside, outside = (float(evaluate([bound], {q: p}, backend())[0]) for p in (f.conjugate.prox(given), given))
        assert inside <= 1 + 1e-12 and outside >= 1
        assert f.conjugate.value(given / outside * (1 - 1e-9)) == 0.0


def test_merged_norms_are_solved_with_a_certified_gap() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((8, 12)), rng.standard_normal(8)
    x = oa.Variable((12,), name="x")
    solution = oa.minimize(0.5 * oa.sum_squares(oa.Matrix(a) @ x - b) + 0.3 * oa.norm1(x) + 0.2 * oa.norm2(x))
    assert solution.certificate.kind == "duality gap" and solution.certificate.relative < 1e-3


def test_a_set_is_no_summand() -> None:
    for make in (lambda: nonneg + Norm1(), lambda: Norm1() + nonneg):
        with pytest.raises(DtypeError, match=r"oa.functionals.Indicator\(nonneg\)"):
            make()
