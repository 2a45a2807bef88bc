"""What a gradient says about itself: error estimates, debiased gradients, default settings, single precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import sympy

import opalg as oa
from tests.implicit.contract_cases import (
    Array,
    LeastSquares,
    Penalty,
    as_numpy,
    design,
    error,
    image_gradient,
    lasso,
    parameter,
    solve,
    weight,
)

TOLERANCES = np.geomspace(1e-2, 1e-12, 31)


def rough_solutions(plan: oa.Plan, pattern: Any) -> Iterator[tuple[oa.Solution, float]]:
    """Solves to loose tolerances that end with residuals of 1e-3 ... 1e-6 and with the right active set."""
    wanted, last = pattern(solve(plan).x), 1e-3
    for tol in TOLERANCES:
        solution = plan.solve(tol=tol, max_iter=20_000)
        residual = solution.residual
        if residual < 1e-7:
            return
        if residual <= last and np.array_equal(pattern(solution.x), wanted):
            last = residual / 5
            yield solution, residual


def total_error(found: Mapping[Any, Any], exact: Mapping[Any, Any]) -> float:
    """The Euclidean norm of the error over all parameters."""
    return float(np.sqrt(sum(np.sum(np.abs(as_numpy(found[p]) - exact[p]) ** 2) for p in exact)))


def check_estimates(
    plan: oa.Plan, c: Array, wrt: list[oa.Parameter], pattern: Any, exact: Mapping | None = None, gain: float = 5
) -> int:
    """Estimate over true error within [0.8, 2], and the debiased gradient ``gain`` times as accurate."""
    if exact is None:
        best = solve(plan, tol=1e-15, max_iter=20_000).vjp(c, wrt, tol=1e-14, on_inexact="return")
        exact = {p: best[p] for p in wrt}
    count = 0
    for solution, residual in rough_solutions(plan, pattern):
        found = solution.vjp(c, wrt, refine=False, tol=1e-13, on_inexact="return")
        true = total_error(found, exact)
        assert 0.8 <= found.error_estimate / true <= 2, (residual, found.error_estimate, true)
        assert found.error_kind in ("estimated", "certified")
        assert total_error(found.debiased, exact) <= true / gain, residual
        parts = sum(float(found.error_estimates[p]) ** 2 for p in wrt)
        assert parts**0.5 == pytest.approx(found.error_estimate, rel=1e-6)
        size = np.sqrt(sum(np.sum(np.abs(as_numpy(found[p])) ** 2) for p in wrt))
        assert found.relative_error == pytest.approx(found.error_estimate / size, rel=1e-6)
        count += 1
    return count


def everywhere(x: Array) -> Array:
    """The pattern of a smooth energy: none."""
    return np.zeros(0)


@pytest.mark.parametrize("eps", [0.05, 0.3])
def test_smooth_energies(eps: float, rng: np.random.Generator) -> None:
    shape = (8, 8)
    kernel = np.array([[0.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.1, 0.0]])
    y, c = rng.standard_normal(shape), rng.standard_normal(shape)
    y[:4] += 2
    kp, yp, lp, ep = parameter(kernel, "k"), parameter(y, "y"), weight(0.1), parameter(eps, "eps", positive=True)
    x = oa.Variable(shape, name="x")
    fit = 0.5 * oa.sum_squares(oa.Convolve(kp, shape) @ x - yp)
    plan = oa.compile(fit + lp * oa.charbonnier(oa.Gradient(shape) @ x, ep), method="proximal_gradient")
    assert check_estimates(plan, c, [yp], everywhere) >= 2
    assert check_estimates(plan, c, [kp, lp, ep], everywhere) >= 2


def test_lasso(rng: np.random.Generator) -> None:
    parts = lasso(rng, 20, 12, 9.0, size=0.1)
    plan, c = oa.compile(parts.energy), rng.standard_normal(12)
    exact = dict(zip(parts.parameters, parts.support_gradients(solve(plan).x, c), strict=True))
    A = {parts.parameters[0]: exact[parts.parameters[0]]}
    # Data and weight: on the support the gradient does not depend on the point at all.
    assert check_estimates(plan, c, [parts.parameters[0]], lambda x: np.abs(x) > 1e-9, A) >= 2
    for solution, _ in rough_solutions(plan, lambda x: np.abs(x) > 1e-9):
        found = solution.vjp(c, parts.parameters[1:], refine=False, tol=1e-13, on_inexact="return")
        assert all(error(found[p], exact[p]) <= 1e-10 for p in parts.parameters[1:])
        refined = solution.vjp(c, parts.parameters, tol=1e-13, on_inexact="return")
        assert all(error(refined[p], exact[p]) <= 1e-10 for p in parts.parameters)


def test_group_lasso(rng: np.random.Generator) -> None:
    A, y, c = design(rng, 18, 15, 5.0), 3 * rng.standard_normal(18), rng.standard_normal((5, 3))
    lam = 0.5 * float(np.max(np.linalg.norm((A.T @ y).reshape(5, 3), axis=1)))
    Ap, yp, lp = parameter(A, "A"), parameter(y, "y"), weight(lam)
    x = oa.Variable((5, 3), name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(Ap) @ oa.Reshape((5, 3), (15,)) @ x - yp)
    plan = oa.compile(fit + lp * oa.norm21(x, axis=1))
    dense = LeastSquares(
        [Penalty(np.eye(15), lam, np.arange(15).reshape(5, 3))], solve(plan).x.ravel(), c.ravel(), A=A, y=y
    )
    exact = {Ap: dense.by_design(), yp: dense.by_data(), lp: dense.by_weight().sum()}

    def groups(x: Array) -> Array:
        return np.linalg.norm(x, axis=1) > 1e-9

    assert 0 < groups(solve(plan).x).sum() < 5
    # one group is small, so that the error of second order is a fifth of that of first order at the roughest point
    assert check_estimates(plan, c, [Ap, yp, lp], groups, exact, gain=4.5) >= 2


def test_a_cotangent_that_depends_on_the_point(rng: np.random.Generator) -> None:
    # The loss's own curvature is part of the error: a callable cotangent says so.
    y, truth = rng.standard_normal(10), rng.standard_normal(10)
    A = design(rng, 12, 10, 5.0)
    lp, x = weight(0.3), oa.Variable(10, name="x")
    plan = oa.compile(
        0.5 * oa.sum_squares(oa.Matrix(A) @ x - A @ y) + lp * oa.charbonnier(x, 0.2), method="proximal_gradient"
    )
    best = solve(plan, tol=1e-15)
    exact = {lp: as_numpy(best.vjp(lambda v: v - truth, lp, tol=1e-14, on_inexact="return")[lp])}
    count = 0
    for solution, _ in rough_solutions(plan, everywhere):
        found = solution.vjp(lambda v: v - truth, lp, refine=False, tol=1e-13, on_inexact="return")
        assert 0.8 <= found.error_estimate / total_error(found, exact) <= 2
        assert total_error(found.debiased, exact) <= total_error(found, exact) / 5
        count += 1
    assert count >= 2


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-4])
def test_maps(distance: float, rng: np.random.Generator) -> None:
    n = 20
    W = rng.standard_normal((n, n))
    W *= 0.8 / np.linalg.norm(W, 2)
    Wp, bp = parameter(W, "W"), parameter(rng.standard_normal(n), "b")
    x, t, c = oa.Variable(n, name="x"), sympy.Symbol("t", real=True), rng.standard_normal(n)
    image = oa.apply(oa.Potential(t, sympy.log(sympy.cosh(t))), oa.Matrix(Wp) @ x + bp)
    plan = oa.fixed_point(x, image, acceleration="none")
    v = solve(plan, tol=1e-15).x
    S = np.diag(1 - v**2)
    u = S @ np.linalg.solve(np.eye(n) - W.T @ S, c)
    exact = {Wp: np.outer(u, v), bp: u}
    rough = plan.solve(v + distance * rng.standard_normal(n), max_iter=1, tol=1e-15, on_failure="return")
    found = rough.vjp(c, [Wp, bp], refine=False, tol=1e-13, on_inexact="return")
    assert 0.8 <= found.error_estimate / total_error(found, exact) <= 2
    assert total_error(found.debiased, exact) <= total_error(found, exact) / 5


@pytest.mark.parametrize(("m", "n"), [(20, 12), (12, 20)])
def test_refinement_makes_piecewise_quadratic_energies_exact(m: int, n: int, rng: np.random.Generator) -> None:
    # The plain gradient at residual 1e-4 is wrong in the third digit; on the right support the refined one is exact.
    parts = lasso(rng, m, n, 9.0, size=0.2)
    plan, c = oa.compile(parts.energy), rng.standard_normal(n)
    exact = parts.support_gradients(solve(plan).x, c)
    count = 0
    for solution, _ in rough_solutions(plan, lambda x: np.abs(x) > 1e-9):
        found = solution.vjp(c, parts.parameters, tol=1e-13)
        assert all(error(found[p], z) <= 1e-10 for p, z in zip(parts.parameters, exact, strict=True))
        assert found.error_kind in ("certified", "estimated")
        count += 1
    assert count


# Default settings.


@pytest.mark.parametrize("condition", [9.0, 1000.0])
@pytest.mark.parametrize("size", [0.3, 0.1])
def test_default_settings(size: float, condition: float, rng: np.random.Generator) -> None:
    parts = lasso(rng, 100, 300, condition, size=size)
    c = rng.standard_normal(300)
    exact = parts.support_gradients(solve(parts.energy, max_iter=200_000).x, c)
    found = oa.compile(parts.energy).solve().vjp(c, parts.parameters)
    for p, z in zip(parts.parameters, exact, strict=True):
        assert error(found[p], z) <= 1e-4


# Single precision.


def alike(found: Array, exact: Array) -> float:
    """The cosine of the angle between two arrays."""
    a, b = as_numpy(found).astype(float).ravel(), np.ravel(exact)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize("condition", [3.0, 31.0], ids=["9", "1e3"])
def test_single_precision_of_piecewise_quadratic_energies(condition: float, rng: np.random.Generator) -> None:
    parts = lasso(rng, 20, 12, condition)
    exact = parts.support_gradients(solve(parts.energy).x, c := rng.standard_normal(12))
    solution = oa.compile(parts.energy, dtype="float32").solve(tol=1e-6, max_iter=50_000, on_failure="return")
    found = solution.vjp(c.astype(np.float32), parts.parameters, tol=1e-6, on_inexact="return")
    for p, z in zip(parts.parameters, exact, strict=True):
        assert as_numpy(found[p]).dtype == np.float32
        assert error(found[p], z) <= 1e-5
        assert alike(found[p], z) >= 0.9999


def test_single_precision_of_smooth_energies(rng: np.random.Generator) -> None:
    A, y, c, lam, eps = design(rng, 20, 12, 31.0), 2 * rng.standard_normal(20), rng.standard_normal(12), 0.05, 0.2
    Ap, yp, lp = parameter(A, "A"), parameter(y, "y"), weight(lam)
    x = oa.Variable(12, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(Ap) @ x - yp) + lp * oa.charbonnier(x, eps)
    exact = solve(energy).vjp(c, [Ap, yp, lp], tol=1e-13, on_inexact="return")
    single = oa.compile(energy, dtype="float32").solve(tol=1e-6, max_iter=50_000, on_failure="return")
    found = single.vjp(c.astype(np.float32), [Ap, yp, lp], tol=1e-6, on_inexact="return")
    for p in (Ap, yp, lp):
        assert error(found[p], exact[p]) <= 3e-3
        assert alike(found[p], exact[p]) >= 0.9999


def test_single_precision_of_total_variation(rng: np.random.Generator) -> None:
    shape, lam = (8, 8), 0.15
    y, c = np.zeros(shape), rng.standard_normal(shape)
    y[2:6, 3:] = 2.0
    y += 0.1 * rng.standard_normal(shape)
    yp, lp = parameter(y, "y"), weight(lam)
    x = oa.Variable(shape, name="x")
    energy = 0.5 * oa.sum_squares(x - yp) + lp * oa.total_variation(x, isotropic=False)
    near = solve(energy).x.ravel()
    exact = LeastSquares([Penalty(image_gradient(shape), lam)], near, c.ravel(), A=np.eye(64), y=y.ravel())
    single = oa.compile(energy, dtype="float32").solve(tol=1e-6, max_iter=20_000, on_failure="return")
    found = single.vjp(c.astype(np.float32), [yp, lp], tol=1e-6, on_inexact="return")
    assert error(found[yp], exact.by_data().reshape(shape)) <= 1e-5
    assert error(found[lp], exact.by_weight().sum()) <= 1e-5
