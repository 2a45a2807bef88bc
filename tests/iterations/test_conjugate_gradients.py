"""Conjugate gradients against dense solves and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg

from opalg.arrays import backend
from opalg.errors import DtypeError, ShapeError
from opalg.iterations import ConjugateGradients, VectorSpace
from tests.iterations.systems import Matrix, drive, orthogonal, symmetric

NUMPY = backend("numpy")


def test_solves_a_positive_definite_system_in_n_iterations(rng, lib):
    n = 25
    matrix, rhs = symmetric(rng, np.linspace(1, 50, n)), rng.normal(size=n)
    product = Matrix(matrix, lib)
    iteration = ConjugateGradients(product, lib.asarray(rhs), lib)
    count = drive(iteration, 1e-10, n + 5)
    assert iteration.outcome is None
    assert count <= n + 2
    assert product.products == iteration.products == count
    np.testing.assert_allclose(lib.to_numpy(iteration.state), np.linalg.solve(matrix, rhs), atol=1e-10)
    assert iteration.true_residual() == pytest.approx(iteration.residual, abs=1e-12)


def test_needs_one_iteration_for_each_distinct_eigenvalue(rng):
    matrix = symmetric(rng, np.repeat([1.0, 5.0, 90.0], 10))
    iteration = ConjugateGradients(Matrix(matrix, NUMPY), rng.normal(size=30), NUMPY)
    assert drive(iteration, 1e-9, 10) == 3


def test_agrees_with_scipy_iterate_by_iterate(rng):
    n = 20
    matrix, rhs = symmetric(rng, np.linspace(0.5, 30, n)), rng.normal(size=n)
    expected = []
    scipy.sparse.linalg.cg(matrix, rhs, maxiter=8, rtol=0, callback=lambda x: expected.append(x.copy()))
    iteration = ConjugateGradients(Matrix(matrix, NUMPY), rhs, NUMPY)
    iteration.start()
    for x in expected:
        residual = iteration.advance()
        np.testing.assert_allclose(iteration.state, x, rtol=1e-10, atol=1e-12)
        assert residual == pytest.approx(np.linalg.norm(rhs - matrix @ x), rel=1e-8)


def test_singular_consistent_system_gives_the_solution_nearest_to_the_start(rng):
    eigenvalues = np.r_[np.zeros(4), np.linspace(1, 20, 16)]
    matrix = symmetric(rng, eigenvalues)
    rhs, start = matrix @ rng.normal(size=20), rng.normal(size=20)
    iteration = ConjugateGradients(Matrix(matrix, NUMPY), rhs, NUMPY)
    assert drive(iteration, 1e-10, 30, start) <= 20
    expected = start + np.linalg.pinv(matrix, rcond=1e-10) @ (rhs - matrix @ start)
    np.testing.assert_allclose(iteration.state, expected, atol=1e-9)


def test_singular_inconsistent_system_is_noticed(rng):
    vectors = orthogonal(rng, 20)
    eigenvalues = np.r_[0.0, 0.0, np.linspace(1, 20, 18)]
    matrix = vectors * eigenvalues @ vectors.T
    rhs = matrix @ rng.normal(size=20) + vectors[:, 0]
    iteration = ConjugateGradients(Matrix(matrix, NUMPY), rhs, NUMPY)
    assert drive(iteration, 1e-9, 200) < 200
    assert iteration.outcome in ("singular", "negative_curvature")
    assert np.all(np.isfinite(iteration.state))


def test_the_zero_operator_is_singular():
    iteration = ConjugateGradients(lambda v: 0 * v, np.ones(3), NUMPY)
    drive(iteration, 1e-9, 5)
    assert iteration.outcome == "singular"
    assert "not in its range" in iteration.message


def test_negative_curvature_is_noticed_with_its_direction(rng, lib):
    matrix = symmetric(rng, np.r_[-2.0, np.linspace(1, 10, 11)])
    iteration = ConjugateGradients(Matrix(matrix, lib), lib.asarray(rng.normal(size=12)), lib)
    drive(iteration, 1e-9, 50)
    assert iteration.outcome == "negative_curvature"
    direction = lib.to_numpy(iteration.direction)
    assert direction @ matrix @ direction < 0
    assert "MINRES" in iteration.message
    before = lib.to_numpy(iteration.state).copy()
    assert iteration.advance() == iteration.residual
    np.testing.assert_array_equal(lib.to_numpy(iteration.state), before)


def test_preconditioner_saves_iterations(rng, lib):
    n = 60
    scales = np.logspace(0, 4, n)
    matrix = symmetric(rng, np.linspace(1, 3, n)) * np.sqrt(np.outer(scales, scales))
    rhs = rng.normal(size=n)
    inverse = lib.asarray(1 / scales)
    plain = ConjugateGradients(Matrix(matrix, lib), lib.asarray(rhs), lib)
    helped = ConjugateGradients(Matrix(matrix, lib), lib.asarray(rhs), lib, lambda r: inverse * r)
    assert drive(helped, 1e-9, 1000) < 0.5 * drive(plain, 1e-9, 1000)
    np.testing.assert_allclose(lib.to_numpy(helped.state), np.linalg.solve(matrix, rhs), rtol=1e-7, atol=1e-9)
    assert helped.true_residual() <= 2e-9


def test_indefinite_preconditioner_is_a_breakdown(rng):
    iteration = ConjugateGradients(lambda v: 2 * v, rng.normal(size=4), NUMPY, lambda r: -r)
    iteration.start()
    assert iteration.outcome == "breakdown"
    assert "preconditioner" in iteration.message


def test_warm_start_and_zero_right_hand_side(rng):
    matrix = symmetric(rng, np.linspace(1, 5, 8))
    rhs = rng.normal(size=8)
    solution = np.linalg.solve(matrix, rhs)
    iteration = ConjugateGradients(Matrix(matrix, NUMPY), rhs, NUMPY)
    start = solution + 1e-6
    kept = start.copy()
    assert drive(iteration, 1e-9, 20, start) < 8
    np.testing.assert_array_equal(start, kept)
    resting = ConjugateGradients(Matrix(matrix, NUMPY), np.zeros(8), NUMPY)
    resting.start()
    assert resting.advance() == 0.0
    assert resting.products == 0
    np.testing.assert_array_equal(resting.state, np.zeros(8))


def test_nan_in_the_operator_leaves_a_finite_state(rng):
    calls = []

    def faulty(v):
        calls.append(1)
        return v * np.arange(1.0, 7.0) if len(calls) < 3 else v * np.nan

    iteration = ConjugateGradients(faulty, rng.normal(size=6), NUMPY)
    drive(iteration, 1e-12, 10)
    assert iteration.outcome == "nonfinite"
    assert np.all(np.isfinite(iteration.state))
    assert np.isfinite(iteration.residual)


def test_identity_that_returns_its_argument_is_safe(rng, lib):
    rhs = rng.normal(size=5)
    iteration = ConjugateGradients(lambda v: v, lib.asarray(rhs), lib)
    assert drive(iteration, 1e-14, 3) == 1
    np.testing.assert_allclose(lib.to_numpy(iteration.state), rhs, rtol=1e-15)


def test_a_map_that_reuses_one_buffer_is_safe(rng):
    matrix, rhs = symmetric(rng, np.linspace(1, 9, 10)), rng.normal(size=10)
    buffer, other = np.empty(10), np.empty(10)
    iteration = ConjugateGradients(
        lambda v: np.matmul(matrix, v, out=buffer), rhs, NUMPY, lambda r: np.multiply(r, 0.5, out=other)
    )
    drive(iteration, 1e-11, 30)
    np.testing.assert_allclose(iteration.state, np.linalg.solve(matrix, rhs), atol=1e-10)


def test_complex_hermitian_system_as_packed_reals(rng, lib):
    n = 12
    root = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    matrix, rhs = root.conj().T @ root + np.eye(n), rng.normal(size=n) + 1j * rng.normal(size=n)
    space, dense = VectorSpace([(n,)], ["complex"], lib), lib.asarray(matrix)
    iteration = ConjugateGradients(
        lambda v: space.pack([lib.matmul(dense, space.unpack(v)[0])]), space.pack([lib.asarray(rhs)]), lib
    )
    drive(iteration, 1e-9, 2 * n + 10)
    (x,) = space.unpack(iteration.state)
    np.testing.assert_allclose(lib.to_numpy(x), np.linalg.solve(matrix, rhs), atol=1e-8)


def test_ritz_values_are_the_spectrum_at_the_end(rng):
    eigenvalues = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    iteration = ConjugateGradients(Matrix(symmetric(rng, eigenvalues), NUMPY), rng.normal(size=5), NUMPY)
    iteration.start()
    assert iteration.ritz_values().shape == (0,)
    for count in range(1, 6):
        iteration.advance()
        ritz = iteration.ritz_values()
        assert len(ritz) == count
        assert eigenvalues[0] - 1e-8 <= ritz[0] <= ritz[-1] <= eigenvalues[-1] + 1e-8
    np.testing.assert_allclose(ritz, eigenvalues, rtol=1e-7)


def test_float32_reaches_its_precision(rng):
    lib = backend("numpy", "float32")
    matrix, rhs = symmetric(rng, np.linspace(1, 10, 30)), rng.normal(size=30)
    iteration = ConjugateGradients(Matrix(matrix, lib), rhs.astype(np.float32), lib)
    drive(iteration, 1e-5 * np.linalg.norm(rhs), 60)
    assert iteration.state.dtype == np.float32
    assert iteration.true_residual() <= 3e-5 * np.linalg.norm(rhs)


def test_misfits_are_refused(rng):
    with pytest.raises(ShapeError, match="right-hand side must be a flat array"):
        ConjugateGradients(lambda v: v, np.ones((2, 2)), NUMPY)
    with pytest.raises(DtypeError, match="VectorSpace"):
        ConjugateGradients(lambda v: v, np.ones(2, complex), NUMPY)
    with pytest.raises(ShapeError, match="3 entries, the right-hand side 2"):
        ConjugateGradients(lambda v: v, np.ones(2), NUMPY).start(np.ones(3))


def test_directions_are_shown_with_their_images_and_are_conjugate(rng):
    matrix, rhs = symmetric(rng, np.linspace(1.0, 5.0, 12)), rng.normal(size=12)
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    iteration = ConjugateGradients(
        Matrix(matrix, NUMPY), rhs, NUMPY, observe=lambda p, q: seen.append((p.copy(), q.copy()))
    )
    iteration.start()
    for _ in range(6):
        iteration.advance()
    directions, images = (np.stack(part) for part in zip(*seen, strict=True))
    np.testing.assert_allclose(images, directions @ matrix, atol=1e-12)
    gram = directions @ images.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-10)


def test_released_iterations_keep_their_state_and_their_spectrum(rng):
    matrix, rhs = symmetric(rng, np.linspace(1.0, 5.0, 12)), rng.normal(size=12)
    iteration = ConjugateGradients(Matrix(matrix, NUMPY), rhs, NUMPY)
    iteration.start()
    for _ in range(5):
        iteration.advance()
    state, values = iteration.state.copy(), iteration.ritz_values()
    iteration.release()
    np.testing.assert_array_equal(iteration.state, state)
    np.testing.assert_array_equal(iteration.ritz_values(), values)
    with pytest.raises(RuntimeError, match="let go"):
        iteration.apply(state)
