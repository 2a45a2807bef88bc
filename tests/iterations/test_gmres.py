"""GMRES against dense solves, least squares over Krylov spaces, and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg

from opalg.arrays import backend
from opalg.errors import ParameterError
from opalg.iterations import GMRES, VectorSpace
from tests.iterations.systems import Matrix, drive, orthogonal

NUMPY = backend("numpy")


def nonsymmetric(rng, n):
    return np.eye(n) * 4 + rng.normal(size=(n, n)) / np.sqrt(n)


def test_solves_a_nonsymmetric_system_in_n_products(rng, lib):
    n = 30
    matrix, rhs = nonsymmetric(rng, n), rng.normal(size=n)
    product = Matrix(matrix, lib)
    iteration = GMRES(product, lib.asarray(rhs), lib, restart=40)
    count = drive(iteration, 1e-11, n + 2)
    assert count <= n
    assert product.products <= count + 1
    np.testing.assert_allclose(lib.to_numpy(iteration.state), np.linalg.solve(matrix, rhs), atol=1e-10)
    assert iteration.true_residual() <= 2e-11


def test_each_residual_is_the_least_over_the_krylov_space(rng):
    n = 12
    matrix, rhs, start = rng.normal(size=(n, n)), rng.normal(size=n), rng.normal(size=n)
    iteration = GMRES(Matrix(matrix, NUMPY), rhs, NUMPY, restart=n)
    iteration.start(start)
    first = rhs - matrix @ start
    krylov = np.linalg.qr(np.stack([np.linalg.matrix_power(matrix, j) @ first for j in range(6)], axis=1))[0]
    for k in range(1, 7):
        residual = iteration.advance()
        basis = krylov[:, :k]
        weights = np.linalg.lstsq(matrix @ basis, first, rcond=None)[0]
        least = np.linalg.norm(first - matrix @ basis @ weights)
        assert residual == pytest.approx(least, rel=1e-9)
        np.testing.assert_allclose(iteration.state, start + basis @ weights, rtol=1e-7, atol=1e-9)


def test_restarted_cycles_agree_with_scipy(rng):
    n = 40
    matrix, rhs = nonsymmetric(rng, n), rng.normal(size=n)
    expected, _ = scipy.sparse.linalg.gmres(matrix, rhs, restart=5, maxiter=3, rtol=0, atol=0)
    iteration = GMRES(Matrix(matrix, NUMPY), rhs, NUMPY, restart=5)
    iteration.start()
    for _ in range(15):
        iteration.advance()
    np.testing.assert_allclose(iteration.state, expected, rtol=1e-9, atol=1e-12)


def test_non_normal_system_keeps_an_orthogonal_basis(rng):
    n = 40
    matrix = np.diag(np.linspace(1, 2, n)) + np.triu(rng.normal(size=(n, n)), 1)
    rhs = rng.normal(size=n)
    iteration = GMRES(Matrix(matrix, NUMPY), rhs, NUMPY, restart=n)
    iteration.start()
    for _ in range(20):
        iteration.advance()
    basis = iteration._basis[:20]
    assert np.abs(basis @ basis.T - np.eye(20)).max() < 1e-14
    drive(iteration, 1e-10, n + 5)
    np.testing.assert_allclose(iteration.state, np.linalg.solve(matrix, rhs), atol=1e-8)


def test_singular_consistent_system(rng, lib):
    n, null = 30, 5
    vectors = orthogonal(rng, n)
    block = np.zeros((n, n))
    block[null:, null:] = nonsymmetric(rng, n - null)
    matrix = vectors @ block @ vectors.T  # null space and range meet in zero only
    rhs = matrix @ rng.normal(size=n)
    iteration = GMRES(Matrix(matrix, lib), lib.asarray(rhs), lib)
    assert drive(iteration, 1e-10, 60) <= n - null + 2
    assert iteration.outcome is None
    np.testing.assert_allclose(matrix @ lib.to_numpy(iteration.state), rhs, atol=1e-9)


def test_singular_inconsistent_system_is_noticed(rng):
    n = 10
    vectors = orthogonal(rng, n)
    block = np.zeros((n, n))
    block[2:, 2:] = nonsymmetric(rng, n - 2)
    matrix = vectors @ block @ vectors.T
    rhs = matrix @ rng.normal(size=n) + vectors[:, 0]
    iteration = GMRES(Matrix(matrix, NUMPY), rhs, NUMPY)
    assert drive(iteration, 1e-9, 100) < 100
    assert iteration.outcome in ("singular", "stagnated")
    assert np.linalg.norm(rhs - matrix @ iteration.state) == pytest.approx(1.0, abs=1e-6)


def test_exhausted_krylov_space_with_a_residual_is_singular():
    shift = np.array([[0.0, 1.0], [0.0, 0.0]])  # null space and range are the same line
    iteration = GMRES(Matrix(shift, NUMPY), np.array([1.0, 0.0]), NUMPY)
    drive(iteration, 1e-12, 10)
    assert iteration.outcome == "singular"
    np.testing.assert_allclose(iteration.residual, 1.0)


def test_stagnation_over_a_whole_cycle_is_noticed():
    n = 8
    cyclic = np.roll(np.eye(n), 1, axis=0)
    rhs = np.eye(n)[0]
    iteration = GMRES(Matrix(cyclic, NUMPY), rhs, NUMPY, restart=4)
    assert drive(iteration, 1e-9, 100) == 4
    assert iteration.outcome == "stagnated"
    assert "restart > 4" in iteration.message
    full = GMRES(Matrix(cyclic, NUMPY), rhs, NUMPY, restart=n)
    assert drive(full, 1e-12, 100) == n
    np.testing.assert_allclose(full.state, cyclic.T @ rhs, atol=1e-13)


def test_right_preconditioner(rng, lib):
    n = 40
    scales = np.logspace(0, 5, n)
    matrix, rhs = nonsymmetric(rng, n) * scales, rng.normal(size=n)
    inverse = lib.asarray(1 / scales)
    plain = GMRES(Matrix(matrix, lib), lib.asarray(rhs), lib, restart=n)
    helped = GMRES(Matrix(matrix, lib), lib.asarray(rhs), lib, restart=n, precondition=lambda v: inverse * v)
    assert drive(helped, 1e-8, 200) < drive(plain, 1e-8, 200)
    assert helped.true_residual() == pytest.approx(helped.residual, rel=1e-4)
    np.testing.assert_allclose(lib.to_numpy(helped.state), np.linalg.solve(matrix, rhs), atol=1e-7)


def test_complex_system_as_packed_reals(rng, lib):
    n = 12
    matrix = np.eye(n) * (3 + 1j) + (rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))) / np.sqrt(n)
    rhs = rng.normal(size=n) + 1j * rng.normal(size=n)
    space, dense = VectorSpace([(n,)], ["complex"], lib), lib.asarray(matrix)
    iteration = GMRES(
        lambda v: space.pack([lib.matmul(dense, space.unpack(v)[0])]), space.pack([lib.asarray(rhs)]), lib
    )
    drive(iteration, 1e-11, 2 * n + 5)
    (x,) = space.unpack(iteration.state)
    np.testing.assert_allclose(lib.to_numpy(x), np.linalg.solve(matrix, rhs), atol=1e-9)


def test_ritz_values_are_the_spectrum_after_n_products(rng):
    n = 8
    matrix = rng.normal(size=(n, n))
    iteration = GMRES(Matrix(matrix, NUMPY), rng.normal(size=n), NUMPY, restart=n)
    iteration.start()
    for k in range(n):
        iteration.advance()
        assert len(iteration.ritz_values()) == k + 1
    found, expected = iteration.ritz_values(), np.linalg.eigvals(matrix)
    assert max(np.abs(found - value).min() for value in expected) < 1e-8


def test_warm_start_is_copied_and_used(rng):
    n = 15
    matrix, rhs = nonsymmetric(rng, n), rng.normal(size=n)
    start = np.linalg.solve(matrix, rhs)
    kept = start.copy()
    iteration = GMRES(Matrix(matrix, NUMPY), rhs, NUMPY)
    iteration.start(start)
    assert iteration.residual < 1e-13
    drive(iteration, 1e-10, 5, start)
    np.testing.assert_array_equal(start, kept)


def test_nan_in_the_operator_leaves_a_finite_state(rng):
    calls = []

    def faulty(v):
        calls.append(1)
        return v * np.arange(1.0, 7.0) if len(calls) < 3 else v * np.nan

    iteration = GMRES(faulty, rng.normal(size=6), NUMPY)
    drive(iteration, 1e-12, 10)
    assert iteration.outcome == "nonfinite"
    assert np.all(np.isfinite(iteration.state))


def test_floor_of_float32_is_reported_as_stagnation(rng):
    lib = backend("numpy", "float32")
    matrix = nonsymmetric(rng, 30)
    iteration = GMRES(Matrix(matrix, lib), rng.normal(size=30).astype(np.float32), lib, restart=15)
    drive(iteration, 1e-12, 400)
    assert iteration.outcome == "stagnated"
    assert iteration.residual < 1e-4


@pytest.mark.parametrize("restart", [0, -1, 2.5])
def test_bad_restart_length(restart):
    with pytest.raises(ParameterError, match="positive integer"):
        GMRES(lambda v: v, np.ones(2), NUMPY, restart=restart)


@pytest.mark.parametrize("products", [4, 6, 9])
def test_the_arnoldi_relation_holds_within_a_cycle_and_after_it(rng, products):
    n, restart = 20, 6
    matrix, rhs = nonsymmetric(rng, n), rng.normal(size=n)
    iteration = GMRES(Matrix(matrix, NUMPY), rhs, NUMPY, restart)
    iteration.start()
    for _ in range(products):
        iteration.advance()
    basis, rectangle = iteration.arnoldi_relation()
    count = products % restart or restart
    assert rectangle.shape == (count + 1, count)
    vectors = np.asarray(basis)
    np.testing.assert_allclose(matrix @ vectors[:count].T, vectors.T @ rectangle, atol=1e-12)


def test_released_iterations_keep_their_state_and_their_spectrum(rng):
    n = 12
    matrix, rhs = nonsymmetric(rng, n), rng.normal(size=n)
    iteration = GMRES(Matrix(matrix, NUMPY), rhs, NUMPY)
    iteration.start()
    for _ in range(5):
        iteration.advance()
    state, values = iteration.state.copy(), iteration.ritz_values()
    iteration.release()
    np.testing.assert_array_equal(iteration.state, state)
    np.testing.assert_array_equal(iteration.ritz_values(), values)
    with pytest.raises(RuntimeError, match="let go"):
        iteration.apply(state)
