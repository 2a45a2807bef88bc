"""Small instances of each energy against CVXPY, whose problems are built from dense matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.solving.instances import Instance, makers, points_of

cp = pytest.importorskip("cvxpy")

INSTANCES = {name: make() for name, make in makers().items()}
ACCURACY = 1e-7  # relative, of the interior point solver's optimal value


def problem_of(instance: Instance) -> tuple[dict, Any]:
    at = {v: cp.Variable(int(np.prod(v.shape)), complex=v.kind == "complex") for v in instance.energy.variables}
    objective, constraints = instance.objective(cp, at)
    return at, cp.Problem(cp.Minimize(objective), constraints)


def optimum(instance: Instance) -> tuple[np.ndarray, float]:
    at, problem = problem_of(instance)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return np.concatenate([np.asarray(v.value).ravel() for v in at.values()]), float(problem.value)


@pytest.mark.parametrize("name", INSTANCES)
def test_the_optimum_is_that_of_an_interior_point_solver(name: str) -> None:
    instance = INSTANCES[name]
    x, best = optimum(instance)
    solution = oa.minimize(instance.energy, tol=1e-9, max_iter=30_000)
    assert abs(solution.value - best) <= ACCURACY * max(1.0, abs(best))
    assert solution.certificate.lower_bound is None or solution.certificate.lower_bound <= best + ACCURACY
    if instance.unique:
        assert np.linalg.norm(points_of(solution) - x) <= 1e-3 * np.linalg.norm(x)


@pytest.mark.parametrize("name", INSTANCES)
def test_the_value_reported_is_the_declared_energy_at_the_solution(name: str) -> None:
    instance = INSTANCES[name]
    solution = oa.minimize(instance.energy, tol=1e-6, max_iter=30_000)
    at, problem = problem_of(instance)
    for variable, array in at.items():
        array.value = np.asarray(solution[variable]).ravel()
    assert float(problem.objective.value) == pytest.approx(solution.value, rel=1e-10, abs=1e-12)
    for constraint in problem.constraints:
        assert np.max(constraint.violation()) <= 1e-5
    assert sum(solution.term_values.values()) == pytest.approx(solution.value, rel=1e-10, abs=1e-12)
