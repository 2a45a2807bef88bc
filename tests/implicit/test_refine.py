"""Points made exact: Newton steps, the method of multipliers, and what is held where it is in doubt."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.refine import newton, refine
from tests.implicit.contract_cases import lasso
from tests.implicit.points import lineariser_of, refined


def test_a_lasso_is_exact_after_a_step(rng: np.random.Generator) -> None:
    parts = lasso(rng)
    solution = oa.compile(parts.energy, method="proximal_gradient").solve(tol=1e-4)
    here = refined(solution)
    assert here.relative <= 1e-14
    S = np.abs(here.point[0]) > 0
    exact = np.linalg.solve(
        parts.A[:, S].T @ parts.A[:, S], parts.A[:, S].T @ parts.y - parts.lam * np.sign(here.point[0][S])
    )
    np.testing.assert_allclose(here.point[0][S], exact, rtol=1e-11)


def test_the_best_point_is_kept(rng: np.random.Generator) -> None:
    solution = oa.compile(lasso(rng).energy, method="proximal_gradient").solve(tol=1e-3)
    lineariser = lineariser_of(solution)
    start = lineariser.at(lineariser.start)
    found, products = newton(start, lineariser.at, 50)
    assert found.relative <= start.relative and 0 < products <= 60


def test_a_budget_of_nothing_changes_nothing(rng: np.random.Generator) -> None:
    solution = oa.compile(lasso(rng).energy, method="proximal_gradient").solve(tol=1e-3)
    lineariser = lineariser_of(solution)
    start = lineariser.at(lineariser.start)
    found, products = refine(start, lineariser.at, budget=0)
    assert found is start and products == 0


def test_a_smooth_energy_is_refined_by_newton_steps(rng: np.random.Generator) -> None:
    A, y = rng.standard_normal((12, 8)), rng.standard_normal(12)
    x = oa.Variable(8)
    solution = oa.compile(oa.huber(oa.Matrix(A) @ x - y, 0.5) + 0.05 * oa.sum_squares(x)).solve(tol=1e-4)
    assert refined(solution).relative <= 1e-13


@pytest.mark.parametrize("isotropic", [False, True], ids=["anisotropic", "isotropic"])
def test_multipliers_end_inside_their_bounds(isotropic: bool, rng: np.random.Generator) -> None:
    # Rows around a square depend on each other: a solver's multipliers may lie on their bounds where nothing moves.
    shape, lam = (14, 14), 0.3
    y = np.zeros(shape)
    y[4:10, 3:9] = 1.0
    y += 0.1 * rng.standard_normal(shape)
    x = oa.Variable(shape)
    energy = 0.5 * oa.sum_squares(x - y) + lam * oa.total_variation(x, isotropic=isotropic)
    solution = oa.compile(energy, method="primal_dual").solve(tol=1e-6, max_iter=20_000)
    lineariser = lineariser_of(solution)
    here = lineariser.refined()[0]
    assert here.relative <= 1e-9
    margin, flags = lineariser.margin(here)
    assert margin is not None and margin > 1e-9 and flags == ()
    # what is held is exactly what does not move
    assert here.active is not None
    moves = np.abs(here.active.u[0]) > 0
    held = here.active.masks[0] == 0
    assert not np.any(moves & held)


def test_a_step_that_is_no_solution_is_not_taken(rng: np.random.Generator) -> None:
    solution = oa.compile(lasso(rng).energy, method="proximal_gradient").solve(tol=1e-3)
    lineariser = lineariser_of(solution)
    start = lineariser.at(lineariser.start)
    step, solved = start.jacobian.solve_forward(start.residual, Accuracy(1e-12, 200))
    assert solved.converged
    there = lineariser.at([a - 1e6 * b for a, b in zip(start.point, step, strict=True)])
    found, _ = newton(there, lineariser.at, 1)
    assert found.relative <= there.relative
