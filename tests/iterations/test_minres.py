"""MINRES against dense solves and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg

from opalg.arrays import backend
from opalg.iterations import MINRES, VectorSpace
from tests.iterations.systems import Matrix, drive, orthogonal, symmetric

NUMPY = backend("numpy")
INDEFINITE = np.r_[-np.linspace(1, 10, 8), np.linspace(0.5, 20, 17)]


def test_solves_an_indefinite_system(rng, lib):
    matrix, rhs = symmetric(rng, INDEFINITE), rng.normal(size=25)
    product = Matrix(matrix, lib)
    iteration = MINRES(product, lib.asarray(rhs), lib)
    count = drive(iteration, 1e-10, 60)
    assert count <= 25 + 10
    assert product.products == count
    np.testing.assert_allclose(lib.to_numpy(iteration.state), np.linalg.solve(matrix, rhs), atol=1e-9)
    assert iteration.true_residual() <= 2e-10


def test_each_residual_is_the_least_over_the_krylov_space(rng):
    matrix, rhs = symmetric(rng, INDEFINITE[5:15]), rng.normal(size=10)
    krylov = np.linalg.qr(np.stack([np.linalg.matrix_power(matrix, j) @ rhs for j in range(6)], axis=1))[0]
    iteration = MINRES(Matrix(matrix, NUMPY), rhs, NUMPY)
    iteration.start()
    for k in range(1, 7):
        basis = krylov[:, :k]
        weights = np.linalg.lstsq(matrix @ basis, rhs, rcond=None)[0]
        assert iteration.advance() == pytest.approx(np.linalg.norm(rhs - matrix @ basis @ weights), rel=1e-8)
        np.testing.assert_allclose(iteration.state, basis @ weights, rtol=1e-7, atol=1e-9)


def test_agrees_with_scipy_iterate_by_iterate(rng):
    matrix, rhs = symmetric(rng, INDEFINITE), rng.normal(size=25)
    expected = []
    scipy.sparse.linalg.minres(matrix, rhs, maxiter=10, rtol=0, callback=lambda x: expected.append(x.copy()))
    iteration = MINRES(Matrix(matrix, NUMPY), rhs, NUMPY)
    iteration.start()
    for x in expected:
        iteration.advance()
        np.testing.assert_allclose(iteration.state, x, rtol=1e-9, atol=1e-12)


def test_singular_consistent_system(rng, lib):
    matrix = symmetric(rng, np.r_[np.zeros(5), INDEFINITE])
    rhs = matrix @ rng.normal(size=30)
    iteration = MINRES(Matrix(matrix, lib), lib.asarray(rhs), lib)
    drive(iteration, 1e-9, 80)
    assert iteration.outcome is None
    np.testing.assert_allclose(lib.to_numpy(iteration.state), np.linalg.pinv(matrix, rcond=1e-10) @ rhs, atol=1e-8)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_singular_inconsistent_system_ends_at_a_least_squares_solution(rng, precision):
    lib = backend("numpy", precision)
    vectors = orthogonal(rng, 30)
    matrix = vectors * np.r_[np.zeros(5), INDEFINITE] @ vectors.T
    rhs = matrix @ rng.normal(size=30) + 0.5 * vectors[:, 0]
    iteration = MINRES(Matrix(matrix, lib), rhs.astype(precision), lib)
    assert drive(iteration, 1e-6, 500) < 200
    assert iteration.outcome == "singular"
    assert "least-squares" in iteration.message
    assert np.linalg.norm(rhs - matrix @ iteration.state) == pytest.approx(0.5, rel=1e-2)


def test_the_zero_operator_is_singular():
    iteration = MINRES(lambda v: 0 * v, np.ones(3), NUMPY)
    drive(iteration, 1e-9, 5)
    assert iteration.outcome == "singular"
    np.testing.assert_array_equal(iteration.state, np.zeros(3))


def test_preconditioner_saves_iterations_and_residual_is_euclidean(rng, lib):
    scales = np.logspace(0, 2, 50)
    inner = symmetric(rng, np.r_[-np.linspace(1, 2, 20), np.linspace(1, 3, 30)])
    matrix, rhs = inner * np.sqrt(np.outer(scales, scales)), rng.normal(size=50)
    inverse = lib.asarray(1 / scales)
    plain = MINRES(Matrix(matrix, lib), lib.asarray(rhs), lib)
    helped = MINRES(Matrix(matrix, lib), lib.asarray(rhs), lib, lambda r: inverse * r)
    helped.start()
    for _ in range(10):
        residual = helped.advance()
        assert residual == pytest.approx(helped.true_residual(), rel=1e-9)
    assert drive(helped, 1e-8, 500) < 0.7 * drive(plain, 1e-8, 500)
    np.testing.assert_allclose(lib.to_numpy(helped.state), np.linalg.solve(matrix, rhs), atol=1e-7)


def test_preconditioned_iterates_agree_with_scipy(rng):
    matrix, rhs = symmetric(rng, INDEFINITE), rng.normal(size=25)
    inverse = np.linspace(0.5, 2.0, 25)
    expected = []
    scipy.sparse.linalg.minres(
        matrix, rhs, M=np.diag(inverse), maxiter=8, rtol=0, callback=lambda x: expected.append(x.copy())
    )
    iteration = MINRES(Matrix(matrix, NUMPY), rhs, NUMPY, lambda r: inverse * r)
    iteration.start()
    for x in expected:
        iteration.advance()
        np.testing.assert_allclose(iteration.state, x, rtol=1e-9, atol=1e-12)


def test_indefinite_preconditioner_is_a_breakdown(rng):
    iteration = MINRES(lambda v: 2 * v, rng.normal(size=4), NUMPY, lambda r: -r)
    iteration.start()
    assert iteration.outcome == "breakdown"


def test_eigenvector_as_right_hand_side_needs_one_iteration(rng):
    vectors = orthogonal(rng, 10)
    matrix = vectors * np.linspace(-3, 4, 10) @ vectors.T
    iteration = MINRES(Matrix(matrix, NUMPY), vectors[:, 2], NUMPY)
    assert drive(iteration, 1e-13, 5) == 1


def test_warm_start_is_copied_and_used(rng):
    matrix, rhs = symmetric(rng, INDEFINITE), rng.normal(size=25)
    start = np.linalg.solve(matrix, rhs) + 1e-7
    kept = start.copy()
    iteration = MINRES(Matrix(matrix, NUMPY), rhs, NUMPY)
    assert drive(iteration, 1e-7, 60, start) < 0.8 * drive(iteration, 1e-7, 60)
    np.testing.assert_array_equal(start, kept)


def test_complex_hermitian_system_as_packed_reals(rng, lib):
    n = 10
    root = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    matrix, rhs = root + root.conj().T, rng.normal(size=n) + 1j * rng.normal(size=n)
    space, dense = VectorSpace([(n,)], ["complex"], lib), lib.asarray(matrix)
    iteration = MINRES(
        lambda v: space.pack([lib.matmul(dense, space.unpack(v)[0])]), space.pack([lib.asarray(rhs)]), lib
    )
    drive(iteration, 1e-9, 60)
    (x,) = space.unpack(iteration.state)
    np.testing.assert_allclose(lib.to_numpy(x), np.linalg.solve(matrix, rhs), atol=1e-7)


def test_ritz_values_lie_inside_the_spectrum_and_fill_it(rng):
    eigenvalues = np.array([-5.0, -1.0, 2.0, 3.0, 9.0])
    iteration = MINRES(Matrix(symmetric(rng, eigenvalues), NUMPY), rng.normal(size=5), NUMPY)
    iteration.start()
    for _ in range(4):
        iteration.advance()
        ritz = iteration.ritz_values()
        assert eigenvalues[0] - 1e-9 <= ritz[0] <= ritz[-1] <= eigenvalues[-1] + 1e-9
    iteration.advance()
    np.testing.assert_allclose(iteration.ritz_values(), eigenvalues, rtol=1e-7)


def test_nan_in_the_operator_leaves_a_finite_state(rng):
    calls = []

    def faulty(v):
        calls.append(1)
        return v * np.arange(1.0, 7.0) if len(calls) < 3 else v * np.nan

    iteration = MINRES(faulty, rng.normal(size=6), NUMPY)
    drive(iteration, 1e-12, 10)
    assert iteration.outcome == "nonfinite"
    assert np.all(np.isfinite(iteration.state))
