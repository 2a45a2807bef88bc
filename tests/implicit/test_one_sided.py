"""One-sided derivatives at kinks against closed forms and difference quotients to one side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa

SIDES = ("right", "left")


def threshold(dtype: Any = np.float64, **options: Any) -> tuple[oa.Solution, oa.Parameter, oa.Parameter]:
    """Soft thresholding of data of which two entries lie exactly at the threshold."""
    y = oa.Parameter(np.array([1.0, -1.0, 2.0, 0.25], dtype), name="y")
    lam, x = oa.Parameter(np.asarray(1.0, dtype), name="lam", nonneg=True), oa.Variable(4, name="x")
    return oa.compile(0.5 * oa.sum_squares(x - y) + lam * oa.norm1(x), **options).solve(), y, lam


@pytest.mark.parametrize("backend", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_soft_thresholds_at_the_threshold(backend: str, dtype: Any) -> None:
    pytest.importorskip(backend)
    solution, y, lam = threshold(dtype, backend=backend)
    numpy = solution.differentiator.lib.to_numpy
    tol = 1e-9 if dtype is np.float64 else 1e-6
    for direction, wanted in (
        ({lam: 1.0}, {"right": [0, 0, -1, 0], "left": [-1, 1, -1, 0]}),
        ({y: np.ones(4)}, {"right": [1, 0, 1, 0], "left": [0, 1, 1, 0]}),
        ({lam: 1.0, y: np.array([2.0, 2.0, 0.0, 0.0])}, {"right": [1, 0, -1, 0], "left": [0, 3, -1, 0]}),
    ):
        for side in SIDES:
            found = solution.jvp(direction, side=side)
            assert str(found.dtype).endswith(np.dtype(dtype).name)
            np.testing.assert_allclose(numpy(found), wanted[side], atol=tol)


def test_bounds_touched_with_zero_multiplier() -> None:
    y, b = oa.Parameter(np.array([1.0, 3.0, 0.0]), name="y"), oa.Parameter(np.array([1.0, 1.0, 1.0]), name="b")
    x = oa.Variable(3, name="x")
    solution = oa.compile(0.5 * oa.sum_squares(x - y) + oa.indicator(oa.box(None, b), x)).solve()
    for parameter, wanted in (
        (y, {"right": [0, 0, 1], "left": [1, 0, 1]}),
        (b, {"right": [0, 1, 0], "left": [1, 1, 0]}),
    ):
        for side in SIDES:
            found = solution.jvp({parameter: np.ones(3)}, side=side)
            np.testing.assert_allclose(found, wanted[side], atol=1e-9)


def entering(rng: np.random.Generator) -> tuple[oa.Solution, oa.Parameter, np.ndarray, int]:
    """A lasso at the weight at which its first variable enters."""
    A, y = rng.standard_normal((20, 8)), rng.standard_normal(20)
    first = int(np.argmax(np.abs(A.T @ y)))
    lam, x = oa.Parameter(float(np.abs(A[:, first] @ y)), name="lam", nonneg=True), oa.Variable(8, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + lam * oa.norm1(x))
    left = np.zeros(8)
    left[first] = -np.sign(A[:, first] @ y) / np.sum(A[:, first] ** 2)
    return plan.solve(), lam, left, first


def test_a_lasso_where_a_variable_enters(rng: np.random.Generator) -> None:
    solution, lam, left, _ = entering(rng)
    np.testing.assert_allclose(solution.jvp({lam: 1.0}, side="left"), left, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(solution.jvp({lam: 1.0}, side="right"), np.zeros(8), atol=1e-12)


def test_gradients_in_one_number(rng: np.random.Generator) -> None:
    solution, lam, left, _ = entering(rng)
    c = rng.standard_normal(8)
    found = solution.vjp(c, lam, side="left")
    assert float(found[lam]) == pytest.approx(float(c @ left), rel=1e-8)
    assert "one_sided" in found.flags and "degenerate" not in found.flags
    assert found.error_estimate < 1e-6 * abs(float(found[lam]))
    assert float(solution.vjp(c, "lam", side="right")[lam]) == pytest.approx(0.0, abs=1e-12)
    varying = solution.vjp(lambda x: x - c, lam, side="left")
    assert float(varying[lam]) == pytest.approx(float((solution.x - c) @ left), rel=1e-7)


def test_where_the_solution_is_curved_the_error_is_of_second_order(rng: np.random.Generator) -> None:
    y = np.array([2.0, 1.0, -3.0])
    t, lam, x = oa.Parameter(1.0, name="t", positive=True), oa.Parameter(1.0, name="lam"), oa.Variable(3, name="x")
    plan = oa.compile(0.5 * t * oa.sum_squares(x - y) + lam * oa.norm1(x))  # x = soft(y, lam / t)
    solution = plan.solve(tol=1e-12)
    np.testing.assert_allclose(solution.jvp({t: 1.0}, side="right"), [1.0, 1.0, -1.0], atol=1e-9)
    np.testing.assert_allclose(solution.jvp({t: 1.0}, side="left"), [1.0, 0.0, -1.0], atol=1e-9)


def test_other_kinks_nearby_shorten_the_step() -> None:
    gap = 1e-7
    y, x = oa.Parameter(np.array([1.0, 1.0 - gap, 1.0 + gap]), name="y"), oa.Variable(3, name="x")
    lam = oa.Parameter(1.0, name="lam", nonneg=True)
    solution = oa.compile(0.5 * oa.sum_squares(x - y) + lam * oa.norm1(x)).solve(tol=1e-12)
    np.testing.assert_allclose(solution.jvp({lam: 1.0}, side="right"), [0.0, 0.0, -1.0], atol=1e-6)
    np.testing.assert_allclose(solution.jvp({lam: 1.0}, side="left"), [-1.0, 0.0, -1.0], atol=1e-6)


def test_away_from_kinks_both_sides_agree(rng: np.random.Generator) -> None:
    solution, y, _ = threshold()
    direction = {y: np.array([0.0, 0.0, 1.0, 2.0])}
    usual = solution.jvp(direction, on_inexact="return")
    for side in SIDES:
        np.testing.assert_allclose(solution.jvp(direction, side=side), usual, atol=1e-9)


def test_maps_of_several_pieces() -> None:
    b, x = oa.Parameter(0.0, name="b"), oa.Variable(2, name="x")
    half = oa.apply(lambda v: 0.5 * np.maximum(v, 0.0), x, vjp=lambda v, u: 0.5 * u * (v > 0))
    solution = oa.fixed_point(x, half + b * oa.Constant(np.array([1.0, -2.0]))).solve(tol=1e-12)
    c = np.array([1.0, 10.0])
    for side, wanted in (("right", 2.0 - 20.0), ("left", 1.0 - 40.0)):
        assert float(solution.vjp(c, b, side=side)[b]) == pytest.approx(wanted, abs=1e-8)


def test_what_has_no_side_is_refused() -> None:
    solution, y, lam = threshold()
    with pytest.raises(oa.ParameterError, match="'right' or 'left'"):
        solution.jvp({lam: 1.0}, side="up")
    with pytest.raises(oa.ParameterError, match="real number"):
        solution.vjp(np.ones(4), y, side="right")
    with pytest.raises(oa.ParameterError, match="real number"):
        solution.vjp(np.ones(4), [y, lam], side="right")
