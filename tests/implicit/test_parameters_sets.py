"""Gradients of solutions in what sets are made of: bounds, radii, centers, totals, equations.

Such parameters move the manifold that the solution lies on, and the solution with it.
"""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from tests.implicit.parameter_kinds import Made, Table, assert_agrees, assert_slopes, coupled, design, near, parameter

KINDS = Table()


@KINDS.entry
def upper_bound(rng: np.random.Generator) -> Made:
    b = parameter(0.5, "b")
    return coupled(rng, lambda x: oa.indicator(x <= b), b)


@KINDS.entry
def bounds_by_entry(rng: np.random.Generator) -> Made:
    low, high = parameter(rng.uniform(-0.7, -0.1, 6), "low"), parameter(rng.uniform(0.1, 0.7, 6), "high")
    return coupled(rng, lambda x: oa.indicator(oa.box(low, high), x), low, high)


@KINDS.entry
def formula_as_bound(rng: np.random.Generator) -> Made:
    r = parameter(0.6, "r", positive=True)
    return coupled(rng, lambda x: oa.indicator(oa.box(-(r**2), 0.5 * r), x), r)


@KINDS.entry
def bound_of_a_diagonal_expression(rng: np.random.Generator) -> Made:
    d, b = parameter(rng.uniform(0.5, 1.5, 6), "d", positive=True), parameter(0.4, "b")
    x = oa.Variable(6, name="x")
    return 0.5 * oa.sum_squares(x - 2 * rng.standard_normal(6)) + oa.indicator(oa.Diagonal(d) @ x <= b), [d, b]


@KINDS.entry
def euclidean_ball(rng: np.random.Generator) -> Made:
    r, c = parameter(0.7, "radius", nonneg=True), parameter(rng.standard_normal(6), "center")
    return coupled(rng, lambda x: oa.indicator(oa.ball2(r, c), x), r, c)


@KINDS.entry
def balls_of_groups(rng: np.random.Generator) -> Made:
    r = parameter(rng.uniform(0.5, 3.0, 4), "radius", nonneg=True)
    return near(rng, (4, 3), lambda x: oa.indicator(oa.ball2(r, axis=1), x), r)


@KINDS.entry
def cross_polytope(rng: np.random.Generator) -> Made:
    r, c = parameter(1.5, "radius", nonneg=True), parameter(0.1 * rng.standard_normal(6), "center")
    return coupled(rng, lambda x: oa.indicator(oa.ball1(r, c), x), r, c)


@KINDS.entry
def cube(rng: np.random.Generator) -> Made:
    r, c = parameter(0.5, "radius", nonneg=True), parameter(0.3 * rng.standard_normal(6), "center")
    return coupled(rng, lambda x: oa.indicator(oa.ball_inf(r, c), x), r, c)


@KINDS.entry
def constrained_length(rng: np.random.Generator) -> Made:
    r, b = parameter(0.8, "r", nonneg=True), parameter(rng.standard_normal(6), "b")
    x = oa.Variable(6, name="x")
    return 0.5 * oa.sum_squares(x - 2 * rng.standard_normal(6)) + oa.indicator(oa.norm2(x - b) <= r), [r, b]


@KINDS.entry
def total_of_a_simplex(rng: np.random.Generator) -> Made:
    s = parameter(1.3, "total", nonneg=True)
    return coupled(rng, lambda x: oa.indicator(oa.simplex(s), x), s)


@KINDS.entry
def totals_of_simplices(rng: np.random.Generator) -> Made:
    s = parameter(rng.uniform(0.5, 2.0, 4), "totals", nonneg=True)
    return near(rng, (4, 5), lambda x: oa.indicator(oa.simplex(s, axis=1), x), s)


@KINDS.entry
def equations(rng: np.random.Generator) -> Made:
    b = parameter(rng.standard_normal(2), "b")
    A = oa.Matrix(rng.standard_normal((2, 6)))
    return near(rng, (6,), lambda x: oa.indicator(A @ x == b), b)


@KINDS.entry
def half_space(rng: np.random.Generator) -> Made:
    a, b = parameter(rng.standard_normal(6), "a"), parameter(-3.0, "b")
    return coupled(rng, lambda x: oa.indicator(oa.halfspace(a, b), x), a, b)


@KINDS.entry
def distance_to_a_box(rng: np.random.Generator) -> Made:
    b = parameter(1.0 + rng.standard_normal(6), "b")
    return coupled(rng, lambda x: oa.squared_distance(x, oa.box(b, None)), b)


@KINDS.entry
def bound_of_one_unknown(rng: np.random.Generator) -> Made:
    b, M = parameter(0.1, "b"), parameter(design(rng, 7, 4), "M")
    u, v = oa.Variable(7, name="u"), oa.Variable(4, name="v")
    data = rng.standard_normal(7)
    energy = 0.5 * oa.sum_squares(u + oa.Matrix(M) @ v - data) + 0.2 * oa.sum_squares(u) + 0.1 * oa.sum_squares(v)
    return energy + oa.indicator(u <= b), [b, M]


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_slopes(name: str, rng: np.random.Generator) -> None:
    assert_slopes(KINDS[name](rng))


@pytest.mark.parametrize("backend", ["torch", "array_api_strict"])
@pytest.mark.parametrize("name", ["bounds_by_entry", "euclidean_ball", "total_of_a_simplex", "half_space"])
def test_libraries_agree(name: str, backend: str, rng: np.random.Generator) -> None:
    pytest.importorskip(backend)
    assert_agrees(KINDS[name](rng), backend)


def test_bounds_that_meet(rng: np.random.Generator) -> None:
    """Where lower and upper bound are the same, the bound on the side that the data pull to moves the solution."""
    low, high = parameter(np.zeros(3), "low"), parameter(np.zeros(3), "high")
    x = oa.Variable(3, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(x - np.array([2.0, -3.0, 1.0])) + oa.indicator(oa.box(low, high), x))
    found = plan.solve(tol=1e-12, on_failure="return").vjp(np.ones(3), [low, high], on_inexact="return")
    assert found[high].tolist() == [1.0, 0.0, 1.0]
    assert found[low].tolist() == [0.0, 1.0, 0.0]
