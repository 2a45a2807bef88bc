"""Gradients of solutions, or of multipliers, that are not unique."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.dense_system import dense_inverse, is_singular
from opalg.implicit.reduced import Reduced
from opalg.implicit.uniqueness import uniqueness_flags
from tests.implicit.contract_cases import design, parameter, weight
from tests.implicit.points import lineariser_of, refined

FLAG = ("solution_not_unique",)


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("sparse", [False, True], ids=["least squares", "lasso"])
def test_columns_that_occur_twice(sparse: bool, twins: bool, rng: np.random.Generator) -> None:
    A = design(rng, 10, 5, 3.0)
    A = np.concatenate([A, A[:, :1] if twins else rng.standard_normal((10, 1))], axis=1)
    yp, x = parameter(3 * rng.standard_normal(10), "y"), oa.Variable(6)
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp)
    plan = oa.compile(energy + 1e-3 * oa.norm1(x) if sparse else energy)
    solution = plan.solve(np.linalg.pinv(A) @ yp.value, tol=1e-12, max_iter=50_000, on_failure="return")
    jacobian = refined(solution).jacobian
    assert uniqueness_flags(jacobian, [yp]) == (FLAG if twins else ())


def test_multipliers_matter_where_their_rows_are_differentiated(rng: np.random.Generator) -> None:
    D = np.stack([np.ravel(oa.Gradient((4, 4)) @ unit) for unit in np.eye(16).reshape(16, 4, 4)], axis=1)
    Kp = parameter(D[np.abs(D).sum(axis=1) > 0], "K")
    yp, x = parameter(0.1 * rng.standard_normal(16), "y"), oa.Variable(16)
    energy = 0.5 * oa.sum_squares(x - yp) + 0.3 * oa.norm1(oa.Matrix(Kp) @ x)
    jacobian = refined(oa.compile(energy).solve(tol=1e-10, max_iter=20_000, on_failure="return")).jacobian
    assert uniqueness_flags(jacobian, [yp]) == ()
    assert uniqueness_flags(jacobian, [Kp, yp]) == FLAG


@pytest.mark.parametrize("term", ["coordinates", "matrix", "nothing"])
def test_eigenvalues_are_those_of_the_reduced_system(term: str, rng: np.random.Generator) -> None:
    A, x, lp = design(rng, 14, 9, 4.0), oa.Variable(9), weight(0.3)
    M = rng.standard_normal((7, 9))
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - 3 * rng.standard_normal(14))
    rows = {"coordinates": np.eye(9), "matrix": M, "nothing": np.zeros((0, 9))}[term]
    if term != "nothing":
        energy = energy + lp * (oa.norm1(x) if term == "coordinates" else oa.norm1(oa.Matrix(M) @ x))
    jacobian = refined(oa.compile(energy).solve(tol=1e-10, max_iter=20_000, on_failure="return")).jacobian
    assert isinstance(jacobian, Reduced)
    held = np.zeros(len(rows), bool) if term == "nothing" else jacobian.active.masks[0] == 0
    basis = np.eye(9)
    if held.any():
        _, s, vt = np.linalg.svd(rows[held])
        basis = vt[len(s) :].T
    expected = np.linalg.eigvalsh(basis.T @ A.T @ A @ basis)
    assert jacobian.dense is not None
    np.testing.assert_allclose(jacobian.dense.values, expected, atol=1e-10)
    inverse = dense_inverse(jacobian.product, jacobian.space.size, jacobian.null_space, jacobian.lib)
    assert inverse is not None
    w = rng.standard_normal(9)
    np.testing.assert_allclose(inverse(w), basis @ np.linalg.solve(basis.T @ A.T @ A @ basis, basis.T @ w), atol=1e-8)


def test_large_systems_are_not_tested(rng: np.random.Generator) -> None:
    x = oa.Variable(600)
    solution = oa.compile(0.5 * oa.sum_squares(x - rng.standard_normal(600)) + 1e-6 * oa.norm1(x)).solve()
    jacobian = lineariser_of(solution).at(lineariser_of(solution).start).jacobian
    assert isinstance(jacobian, Reduced) and jacobian.dense is None
    assert uniqueness_flags(jacobian, []) == ()


def test_zero_is_judged_beside_the_largest() -> None:
    assert is_singular(np.array([1e-17, 1.0]), 2e-16) and not is_singular(np.array([1e-10, 1.0]), 2e-16)
    assert not is_singular(np.zeros(0), 2e-16)
