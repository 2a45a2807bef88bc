"""The symmetric system of all split terms against the reduction to the active part, and where only it applies."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.saddle import Saddle
from tests.implicit.contract_cases import error, parameter, weight
from tests.implicit.points import lineariser_of

TIGHT = Accuracy(1e-12, 4000)


def test_it_solves_what_the_reduction_solves(rng: np.random.Generator) -> None:
    x, y = oa.Variable(20), np.repeat([0.0, 2.0, -1.0, 0.5], 5) + 0.1 * rng.standard_normal(20)
    energy = 0.5 * oa.sum_squares(x - y) + 0.4 * oa.norm1(oa.Gradient((20,)) @ x)
    lineariser = lineariser_of(oa.compile(energy, method="primal_dual").solve(tol=1e-10, max_iter=20_000))
    here = lineariser.refined()[0]
    saddle = Saddle(lineariser.equation, lineariser.programs, here.point, 1.0)
    b = [rng.standard_normal(p.shape) for p in here.point]
    b[1] = b[1] * 0.0
    expected, _ = here.jacobian.solve_adjoint(b, TIGHT)
    found, solved = saddle.solve_adjoint(b, TIGHT)
    assert solved.solver == "minres" and solved.converged
    assert error(found[0], expected[0]) <= 1e-8
    there, _ = here.jacobian.solve_forward(b, TIGHT)
    again, _ = saddle.solve_forward(b, TIGHT)
    assert error(again[0], there[0]) <= 1e-8


def test_gradients_agree_between_the_systems(rng: np.random.Generator) -> None:
    M, A = rng.standard_normal((18, 12)), rng.standard_normal((16, 12))
    yp, lp = parameter(3 * rng.standard_normal(16), "y"), weight(0.5)
    x = oa.Variable(12)
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + lp * oa.norm1(oa.Matrix(M) @ x)
    solution = oa.compile(energy).solve(tol=1e-10, max_iter=20_000, on_failure="return")
    c = rng.standard_normal(12)
    first = solution.vjp(c, [yp, lp], tol=1e-11, on_inexact="return")
    second = solution.vjp(c, [yp, lp], tol=1e-11, solver="minres", on_inexact="return")
    assert (first.system, second.system) == ("reduced", "saddle")
    assert error(second[yp], first[yp]) <= 1e-6 and error(second[lp], first[lp]) <= 1e-6


def test_large_matrices_are_left_to_it(rng: np.random.Generator) -> None:
    n = 620
    M, A = rng.standard_normal((200, n)) / 15, rng.standard_normal((640, n)) / 25
    yp = parameter(2 * rng.standard_normal(640), "y")
    x = oa.Variable(n)
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + 0.05 * oa.sum_squares(x) + 0.2 * oa.norm1(oa.Matrix(M) @ x)
    solution = oa.compile(energy).solve(tol=1e-6, max_iter=5000, on_failure="return")
    g = solution.vjp(rng.standard_normal(n), yp, on_inexact="return")
    assert g.system == "saddle" and g.relative_residual <= 1e-6


def test_a_point_that_is_refined_onto_a_kink_leaves_a_symmetric_system() -> None:
    rng, x = np.random.default_rng(6246), oa.Variable(8)
    rows = np.sort(rng.choice(8, 5, replace=False))
    y = oa.Parameter(1.5 * rng.standard_normal(5), name="y")
    energy = 0.5 * oa.sum_squares(oa.Restrict(rows, (8,)) @ x - y) + 0.1534 * oa.sum_squares(x)
    energy = energy + 0.2378 * oa.total_variation(x, boundary="dirichlet") + oa.indicator(oa.simplex(1.051), x)
    plan, direction, c = oa.compile(energy), rng.standard_normal(5), np.arange(8.0)
    found = plan.solve(tol=1e-11, on_failure="return").vjp(c, y)
    moved = [plan.solve(params={y: y.value + h * direction}, tol=1e-12, on_failure="return").x for h in (1e-3, -1e-3)]
    assert found.flags == () and found.relative_residual <= 1e-9
    assert float(found[y] @ direction) == pytest.approx(float(c @ (moved[0] - moved[1])) / 2e-3, rel=1e-6)
