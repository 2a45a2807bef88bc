"""Small systems as matrices, and solves with them."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.implicit.dense_system import Columns, DenseSystem, solve_directly, write_out
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.null_space import ComponentNullSpace, DenseNullSpace, NullSpace
from opalg.implicit.reduced import Reduced
from opalg.implicit.row_structure import row_structure
from tests.implicit.points import refined

LIB = backend("numpy")


def spaces() -> dict[str, NullSpace | None]:
    rows = row_structure(np.diff, 9).select(np.array([True, True, False, True, False, False, True, True]))
    matrix = np.random.default_rng(5).standard_normal((4, 9))
    return {"all": None, "sets": ComponentNullSpace(rows, LIB), "rows": DenseNullSpace(matrix, LIB)}


@pytest.mark.parametrize("name", ["all", "sets", "rows"])
def test_a_solve_is_that_of_the_projected_system(name: str, rng: np.random.Generator) -> None:
    null, M = spaces()[name], rng.standard_normal((9, 9))
    A = M @ M.T + 0.1 * np.eye(9)
    projector = np.eye(9) if null is None else np.stack([null.project(u) for u in np.eye(9)], axis=1)
    system = write_out(lambda z: A @ z, 9, null, LIB)
    assert system is not None and system.is_definite
    b = projector @ rng.standard_normal(9)
    solved = solve_directly(system, lambda z: projector @ (A @ z), b, Accuracy(1e-12, 100))
    assert solved is not None and solved.converged and solved.solver == "direct"
    np.testing.assert_allclose(solved.state, np.linalg.pinv(projector @ A @ projector) @ b, atol=1e-9)


def test_a_matrix_that_is_a_little_wrong_is_corrected_by_products(rng: np.random.Generator) -> None:
    A, b = np.diag(np.arange(1.0, 7.0)), rng.standard_normal(6)
    system = DenseSystem(A + 1e-4 * rng.standard_normal((6, 6)), np.eye(6), LIB)
    solved = solve_directly(system, lambda z: A @ z, b, Accuracy(1e-13, 100))
    assert solved is not None and 2 <= solved.products <= 5
    np.testing.assert_allclose(solved.state, b / np.arange(1.0, 7.0), rtol=1e-12)


def test_a_matrix_that_is_far_off_solves_nothing(rng: np.random.Generator) -> None:
    A, b = np.diag(np.arange(1.0, 7.0)), rng.standard_normal(6)
    assert solve_directly(DenseSystem(0.1 * A, np.eye(6), LIB), lambda z: A @ z, b, Accuracy(1e-8, 100)) is None


@pytest.mark.parametrize("least", [0.0, 1e-17, -0.5])
def test_systems_that_are_not_positive_are_not_inverted(least: float) -> None:
    assert not DenseSystem(np.diag([least, 1.0, 2.0]), np.eye(3), LIB).is_definite


def test_products_are_limited_and_solvers_asked_for_are_used(rng: np.random.Generator) -> None:
    A, y, x = rng.standard_normal((30, 20)), oa.Parameter(rng.standard_normal(30), name="y"), oa.Variable(20)
    solution = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y)).solve(tol=1e-10)
    c = rng.standard_normal(20)
    direct, iterated = solution.vjp(c, y), solution.vjp(c, y, solver="conjugate_gradients")
    limited = solution.vjp(c, y, max_iter=20, on_inexact="return")
    assert direct.solver == "direct"
    assert {iterated.solver, limited.solver} <= {"conjugate_gradients", "minres"}
    exact = A @ np.linalg.solve(A.T @ A, c)
    np.testing.assert_allclose(direct[y], exact, rtol=1e-10)
    np.testing.assert_allclose(iterated[y], exact, rtol=1e-6)


def test_points_of_one_piece_share_a_matrix(rng: np.random.Generator) -> None:
    A, x = rng.standard_normal((30, 20)), oa.Variable(20)
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - rng.standard_normal(30)) + 2.0 * oa.norm1(x)
    jacobian = refined(oa.compile(energy).solve(tol=1e-6)).jacobian
    assert isinstance(jacobian, Reduced) and "dense" in vars(jacobian)
    kept = np.flatnonzero(jacobian.active.masks[0])
    expected = np.linalg.eigvalsh(A[:, kept].T @ A[:, kept])
    np.testing.assert_allclose(vars(jacobian)["dense"].values, expected, rtol=1e-9)


def test_sets_that_stay_cost_no_products_again(rng: np.random.Generator) -> None:
    M, asked = rng.standard_normal((9, 9)), []
    A = M @ M.T

    def product(z: np.ndarray) -> np.ndarray:
        asked.append(z)
        return A @ z

    columns = Columns(product, LIB)
    rows = row_structure(np.diff, 9)
    for held, products in (((0, 1, 3, 6, 7), 4), ((0, 1, 3, 6), 2), ((0, 1, 3, 6), 0), ((0, 1, 2, 3, 6), 1)):
        asked.clear()
        null = ComponentNullSpace(rows.select(np.array(held)), LIB)
        kept = write_out(product, 9, null, LIB, columns=columns)
        assert kept is not None and len(asked) == products
        alone = write_out(lambda z: A @ z, 9, null, LIB)
        assert alone is not None
        np.testing.assert_allclose(kept.matrix, alone.matrix, rtol=1e-12)
