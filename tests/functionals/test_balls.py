"""Balls: projections against definitions and quadratic programming, centers, groups, derivatives in the radius."""

from __future__ import annotations

from typing import Any

import cvxpy
import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.facts import YES
from opalg.functionals import Indicator
from opalg.functionals.balls import Ball1, Ball2, BallInf, ball1, ball2, ball_inf
from opalg.leaves import Parameter
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate, number
from tests.functionals.members import SHAPE, inner, some
from tests.functionals.test_threshold import by_sorting

MAKERS: list[Any] = [ball1, ball2, ball_inf]
NORMS: dict[Any, Any] = {ball1: 1, ball2: 2, ball_inf: np.inf}


def nearest(make: Any, d: np.ndarray, r: float) -> np.ndarray:
    """The nearest point of the ball around 0 by the definition of each."""
    m = np.abs(d)
    phase = np.where(m > 0, d / np.where(m > 0, m, 1), 0)
    if make is ball1:
        return d if m.sum() <= r else phase * by_sorting(m, r)[0].astype(float)
    if make is ball2:
        size = np.sqrt(np.sum(m**2))
        return d if size <= r else d * (r / size)
    return phase * np.minimum(m, r)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("radius", [0.0, 0.3, 2.0, 1e3])
@pytest.mark.parametrize("make", MAKERS)
def test_projection(make: Any, radius: float, kind: str) -> None:
    rng = np.random.default_rng(0)
    v, c = some(rng, kind), some(rng, kind)
    assert np.allclose(make(radius).project(v), nearest(make, v, radius), atol=1e-13)
    assert np.allclose(make(radius, c).project(v), c + nearest(make, v - c, radius), atol=1e-13)
    u = make(radius, c).project(v)
    assert make(radius, c).contains(u)
    assert np.linalg.norm((u - c).ravel(), NORMS[make]) <= radius * (1 + 1e-13) + 1e-13


@pytest.mark.parametrize("make", MAKERS)
def test_points_inside_stay_exactly(make: Any) -> None:
    rng = np.random.default_rng(1)
    v, c = 1e-3 * some(rng), some(rng)
    v[0, 0] = 0.0
    assert np.array_equal(make(1.0).project(v), v)
    assert np.array_equal(make(1.0, c).project(v + c), v + c)


def test_against_quadratic_programming() -> None:
    rng = np.random.default_rng(2)
    v, c = some(rng), some(rng)
    for make, norm in NORMS.items():
        u = cvxpy.Variable(SHAPE)
        problem = cvxpy.Problem(
            cvxpy.Minimize(cvxpy.sum_squares(u - v)), [cvxpy.norm(cvxpy.vec(u - c, "C"), norm) <= 0.7]
        )
        problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
        assert np.allclose(make(0.7, c).project(v), u.value, atol=1e-6)


@pytest.mark.parametrize("make", [ball1, ball2])
def test_groups_and_batches(make: Any) -> None:
    rng = np.random.default_rng(3)
    v, radii, c = rng.standard_normal((5, 3, 4)), rng.uniform(0.1, 1.5, (3,)), rng.standard_normal((3, 4))
    expected = np.stack([np.stack([c[i] + nearest(make, s[i] - c[i], radii[i]) for i in range(3)]) for s in v])
    for made in (make(radii, c, axis=-1), make(radii[:, None], c, axis=-1)):
        assert np.allclose(made.project(v), expected, atol=1e-13)
        assert np.allclose(Indicator(made).prox(v, np.ones(5)), expected, atol=1e-13)
    down = make(1.0, axis=0)
    each = np.stack([down.project(sample) for sample in v])
    assert np.allclose(Indicator(down).prox(v, np.arange(5.0)), each)
    whole = np.stack([make(1.0, c).project(sample) for sample in v])
    assert np.allclose(Indicator(make(1.0, c)).prox(v, np.arange(5.0)), whole)


def test_a_radius_for_each_entry() -> None:
    radii = np.array([0.0, 1.0, 2.0])
    assert np.array_equal(ball_inf(radii).project(np.array([3.0, -3.0, 1.0])), [0.0, -1.0, 1.0])
    assert np.allclose(ball_inf(radii, 1j).project(np.array([3j, 5j, 1j])), [1j, 2j, 1j])
    assert ball_inf().separable is YES


@pytest.mark.parametrize("make", MAKERS)
def test_support_is_the_largest_inner_product(make: Any) -> None:
    rng = np.random.default_rng(4)
    q, c = some(rng, "complex"), some(rng, "complex")
    f = Indicator(make(0.7, c)).conjugate
    dual = {ball1: np.inf, ball2: 2, ball_inf: 1}[make]
    assert f.value(q) == pytest.approx(0.7 * np.linalg.norm(q.ravel(), dual) + inner(q, c))
    for _ in range(20):
        assert inner(make(0.7, c).project(3 * some(rng, "complex")), q) <= f.value(q) + 1e-12
    if make is not ball_inf:
        sizes = np.linalg.norm(q, dual, axis=0)
        assert Indicator(make(0.7, axis=0)).conjugate.value(q) == pytest.approx(0.7 * sizes.sum())


@pytest.mark.parametrize("make", MAKERS)
def test_gradients_flow_into_radius_and_center(make: Any) -> None:
    rng, lib, step = np.random.default_rng(5), backend(), 1e-6
    r, c = Parameter(0.8, name="r", nonneg=True), Parameter(some(rng), name="c")
    x, u = Input("x", SHAPE), Input("u", SHAPE)
    v, w, direction = some(rng), some(rng), some(rng)
    slopes = vjp([make(r, c).define_project(x)], [u], [r, c])
    in_radius, in_center = evaluate([s for s in slopes if s is not None], {x: v, u: w}, lib)
    change = (make(0.8 + step, c.value).project(v) - make(0.8 - step, c.value).project(v)) / (2 * step)
    assert in_radius == pytest.approx(inner(w, change), abs=1e-7)
    ahead, behind = (make(0.8, c.value + h * direction).project(v) for h in (step, -step))
    assert inner(in_center, direction) == pytest.approx(inner(w, (ahead - behind) / (2 * step)), abs=1e-7)


def test_derivative_inside_is_the_identity_at_zeros_too() -> None:
    x, u = Input("x", (3,), "complex"), Input("u", (3,), "complex")
    for make in MAKERS:
        (back,) = vjp([make(1.0).define_project(x)], [u], [x])
        assert back is not None
        w = np.array([1.0 + 2j, -1j, 3.0])
        (found,) = evaluate([back], {x: np.array([0.0, 0.1j, 0.2]), u: w}, backend())
        assert np.allclose(found, w)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("make", MAKERS)
def test_single_precision_at_any_size(make: Any, dtype: Any) -> None:
    v = np.array([1e20, -1e20, 1e-30, 0.0], dtype)
    for radius in (1e-30, 1.0, 1e20):
        expected = nearest(make, v.astype(np.complex128 if dtype is np.complex64 else float), radius)
        found = make(radius).project(v)
        assert found.dtype == dtype and np.allclose(found / radius, expected / radius, rtol=1e-5, atol=1e-6)
    tiny = np.array([3e-30, 4e-30], dtype)
    expected = nearest(make, np.array([3.0, 4.0]), 2.0)
    assert np.allclose(make(2e-30).project(tiny) * 1e30, expected, rtol=1e-5, atol=1e-6)


def test_many_entries_of_a_projected_point_count_as_inside() -> None:
    v = np.random.default_rng(6).standard_normal(200_000).astype(np.float32)
    for make in MAKERS:
        assert make(0.5).contains(make(0.5).project(v)) and not make(0.5).contains(v)


def test_refusals_conditions_and_text() -> None:
    for make in MAKERS:
        with pytest.raises(ParameterError, match="at least 0"):
            make(-1.0)
        with pytest.raises(DtypeError, match="real"):
            make(1j)
        with pytest.raises(DtypeError, match="complex center"):
            make(1.0, 1j).project(np.ones(3))
        with pytest.raises(ShapeError, match="broadcast"):
            make(1.0, np.ones(2)).project(np.ones(3))
        ((least, strict, sentence),) = make(Parameter(2.0)).define_conditions()
        assert number(least) == 2.0 and not strict and "radius" in sentence
        assert make(1.0).define_conditions() == []
    with pytest.raises(ShapeError, match="give one number"):
        ball2(np.ones(3)).project(np.ones(3))
    with pytest.raises(ShapeError, match="broadcast"):
        ball_inf(np.ones(2)).project(np.ones(3))
    with pytest.raises(ShapeError, match="axes"):
        ball1(axis=1).project(np.ones(3))
    assert repr(ball2(2.0)) == "ball2(2)" and repr(ball1(2.0, axis=(0, 1))) == "ball1(2, axis=(0, 1))"
    assert repr(ball_inf(1.0, np.ones(3))) == "ball_inf(1, data)"
    assert Ball1(1.0) is ball1() and Ball2(1.0) is ball2() and BallInf() is ball_inf()


@pytest.mark.parametrize("make", [ball1, ball2, ball_inf])
def test_an_infinite_radius_is_refused(make: Any) -> None:
    with pytest.raises(ParameterError, match="leave the constraint out"):
        make(np.inf)
