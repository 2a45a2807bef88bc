"""Distances to sets: against projections by hand, brute force and conjugates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from opalg import Variable, minimize, sum_squares
from opalg.arrays import backend
from opalg.errors import DtypeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES, Fact
from opalg.functionals.affine_sets import Affine
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.distance import Distance, SquaredDistance, distance, squared_distance
from opalg.functionals.indicator import Indicator
from opalg.functionals.points import Point
from opalg.functionals.sets import Set
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators import Matrix, Slice
from opalg.operators.algebra import Identity
from opalg.program import expression as ex
from opalg.program.differentiate import vjp
from opalg.program.expression import Expression, Input, Literal
from opalg.program.interpreter import evaluate

RNG = np.random.default_rng(0)
ROWS = np.linalg.qr(RNG.standard_normal((4, 2)))[0].T
SETS: list[Set] = [
    nonneg,
    Box(-0.25, 0.5),
    Affine(3.0 * Identity((4,)), RNG.standard_normal(4)),
    Affine(Slice((4,), slice(0, 2)), np.array([0.5, -1.0])),
    Point(0.0),
]
EVERY = pytest.mark.parametrize("s", SETS, ids=repr)


@node
class Signs(Set):
    """``{-1, 1}^n``, which is not convex."""

    def define_project(self, v: Expression, t: Expression = Literal(0.0)) -> Expression:  # noqa: B008
        return ex.where(ex.pointwise("less", v, 0.0), -1.0, 1.0)

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(abs(v - self.define_project(v)))

    @property
    def convex(self) -> Fact:
        return NO

    def __repr__(self) -> str:
        return "Signs()"


def some(seed: int = 1, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal((3, 4))


@EVERY
def test_values_are_lengths_to_the_projection(s: Set) -> None:
    v = some()
    gap = v - s.project(v)
    assert Distance(s).value(v) == pytest.approx(np.linalg.norm(gap))
    assert SquaredDistance(s).value(v) == pytest.approx(np.sum(gap**2))
    assert np.allclose(SquaredDistance(s).gradient(v), 2 * gap)
    inside = s.project(v)
    assert Distance(s).value(inside) == pytest.approx(0.0, abs=1e-14)


@EVERY
def test_proxes_on_the_way_to_the_projection(s: Set) -> None:
    """Both proxes lie between v and its projection; the best place there by a search."""
    v = some()
    gap = v - s.project(v)
    for t in (0.1, 0.9, 20.0):
        for f, order in ((Distance(s), 1), (SquaredDistance(s), 2)):
            size = np.linalg.norm(gap)

            def objective(part: float, size: float = float(size), order: int = order, t: float = t) -> float:
                return ((1 - part) * size) ** order + (part * size) ** 2 / (2 * t)

            best = minimize_scalar(objective, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-12}).x
            assert np.allclose(f.prox(v, t), v - best * gap, atol=2e-6)


@EVERY
def test_proxes_by_their_formulas(s: Set) -> None:
    v = some()
    nearest = s.project(v)
    gap = v - nearest
    assert np.allclose(SquaredDistance(s).prox(v, 0.7), (v + 1.4 * nearest) / 2.4, rtol=1e-13, atol=1e-14)
    short = 0.3 * np.linalg.norm(gap)
    assert np.allclose(Distance(s).prox(v, short), v - 0.3 * gap, rtol=1e-13, atol=1e-14)
    assert np.array_equal(Distance(s).prox(v, 1e3), nearest)
    for f in (Distance(s), SquaredDistance(s)):
        assert np.array_equal(f.prox(v, 0.0), v)


@EVERY
def test_a_step_for_each_sample(s: Set) -> None:
    v, steps = some(), np.array([0.0, 0.2, 5.0])
    for f in (Distance(s), SquaredDistance(s)):
        expected = np.stack([f.prox(a, t) for a, t in zip(v, steps, strict=True)])
        assert np.allclose(f.prox(v, steps), expected, rtol=1e-13, atol=1e-14)


@EVERY
def test_conjugates(s: Set) -> None:
    """``dist* = support on the unit ball``, ``(dist^2)* = support + |q|^2 / 4``."""
    v = some(2)
    support = Indicator(s).conjugate
    for f in (Distance(s), SquaredDistance(s)):
        u = f.prox(v, 0.4)
        q = (v - u) / 0.4
        assert f.value(u) + f.conjugate.value(q) == pytest.approx(np.sum(u * q), abs=1e-12)
        assert np.allclose(f.conjugate.prox(q, 0.0), q, atol=1e-12)
    q = Distance(s).conjugate.prox(some(3, 10.0), 0.0)
    assert np.linalg.norm(q) <= 1 + 1e-12
    assert Distance(s).conjugate.value(q) == pytest.approx(support.value(q), abs=1e-12)
    assert SquaredDistance(s).conjugate.value(q) == pytest.approx(support.value(q) + 0.25 * np.sum(q**2), abs=1e-12)


def test_far_gradients_and_huge_steps_stay_right() -> None:
    v = np.array([-1.0, 2.0])
    assert np.array_equal(SquaredDistance(nonneg).prox(v, 1e308), [0.0, 2.0])
    assert np.array_equal(Distance(nonneg).prox(v, 1e308), [0.0, 2.0])


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("size", [1e20, 1e-30])
def test_single_precision_at_strange_sizes(library: str, size: float) -> None:
    lib = backend(library, "float32")
    v = np.array([-3.0, 1.0, -4.0])
    f, x = Distance(nonneg), lib.asarray(size * v)
    assert f.value(x) == pytest.approx(5.0 * size, rel=1e-5)
    assert np.allclose(lib.to_numpy(f.prox(x, 2.5 * size)) / size, [-1.5, 1.0, -2.0], rtol=1e-5)


def test_complex_arrays() -> None:
    b = np.array([1.0 + 1.0j, 0.0])
    f, v = Distance(Point(b)), np.array([4.0 + 5.0j, 0.0])
    assert f.value(v) == pytest.approx(5.0)
    assert np.allclose(f.prox(v, 2.5), 0.5 * (v + b))


def test_gradients_flow_into_the_bounds() -> None:
    high = Parameter(0.5, name="high")
    x, u = Input("x", (3,)), Input("u", (3,))
    v, weight = np.array([2.0, 0.1, 3.0]), np.array([1.0, 1.0, -2.0])

    def prox(bound: float) -> Any:
        return Distance(Box(None, bound)).prox(v, 0.8)

    (back,) = vjp([Distance(Box(None, high)).define_prox(x, Literal(0.8))], [u], [high])
    assert back is not None
    (found,) = evaluate([back], {x: v, u: weight}, backend())
    assert found == pytest.approx(np.dot(weight, prox(0.5 + 1e-6) - prox(0.5 - 1e-6)) / 2e-6, rel=1e-6)


def test_sets_that_are_not_convex_keep_values_and_proxes() -> None:
    s, v = Signs(), np.array([0.5, -3.0])
    assert SquaredDistance(s).value(v) == pytest.approx(4.25)
    assert np.allclose(SquaredDistance(s).prox(v, 0.5), [0.75, -2.0])
    assert Distance(s).facts.convex is NO and SquaredDistance(s).facts.smooth is UNKNOWN
    assert not SquaredDistance(s).offers("conjugate_value")
    with pytest.raises(UnsupportedError, match="convex"):
        SquaredDistance(s).gradient(v)


def test_facts_and_messages() -> None:
    facts = SquaredDistance(nonneg).facts
    assert facts.smooth is YES and facts.smoothness is not None and facts.smoothness.value == 2.0
    assert Distance(nonneg).facts.smooth is NO and Distance(nonneg).facts.separable is UNKNOWN
    with pytest.raises(UnsupportedError, match="squared_distance"):
        Distance(nonneg).gradient(np.zeros(2))
    with pytest.raises(DtypeError, match="set such as"):
        Distance(3.0)  # type: ignore[arg-type]
    x = Variable((2,), name="x")
    assert repr(distance(x, nonneg)) == "distance(x, nonneg)"
    assert repr(squared_distance(x, nonneg)) == "squared_distance(x, nonneg)"
    with pytest.raises(DtypeError, match="set such as"):
        distance(nonneg, x)


def test_a_solve_against_the_optimality_conditions() -> None:
    A, y = RNG.standard_normal((6, 4)), RNG.standard_normal(6)
    x = Variable((4,), name="x")
    found = minimize(sum_squares(Matrix(A) @ x - y) + 3.0 * squared_distance(x, nonneg), tol=1e-10).x
    slope = 2 * A.T @ (A @ found - y) + 6.0 * np.minimum(found, 0.0)
    assert np.allclose(slope, 0.0, atol=1e-5)
    far = minimize(sum_squares(x - 2.0) + distance(x, Box(None, 0.0)), tol=1e-10).x
    assert np.allclose(far, 2.0 - 0.25, atol=1e-6)  # at the length 4, pulled by 0.5 towards zero


def test_nan_is_not_near_to_a_point() -> None:
    v = np.array([np.nan, 1.0])
    assert np.isnan(Distance(Point(np.array([0.5, 1.0]))).prox(v, 0.7)).any()
