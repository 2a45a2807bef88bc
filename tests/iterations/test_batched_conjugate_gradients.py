"""Batched conjugate gradients against dense solves, sample by sample, and against bad neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.iterations import BatchedConjugateGradients, ConjugateGradients
from tests.iterations.systems import Matrix, orthogonal, symmetric

NUMPY = backend("numpy")


def blocks(lib, matrices):
    """Dense blocks as a map of all samples; each row is multiplied by itself."""
    dense = lib.asarray(np.stack(matrices))
    return lambda x: lib.matmul(dense, x[:, :, None])[:, :, 0]


def drive(iteration, limit=500, start=None):
    iteration.start(start)
    for count in range(1, limit + 1):
        iteration.advance()
        if iteration.outcome is not None:
            return count
    return limit


def some(rng, samples=4, n=12):
    matrices = [symmetric(rng, np.linspace(1, 5 * (k + 1), n)) for k in range(samples)]
    return matrices, rng.normal(size=(samples, n))


def test_solves_each_system(rng, lib):
    matrices, rhs = some(rng)
    iteration = BatchedConjugateGradients(blocks(lib, matrices), lib.asarray(rhs), lib, 1e-12)
    count = drive(iteration)
    assert iteration.outcomes == ["converged"] * 4
    assert iteration.outcome == "converged"
    assert iteration.products == count <= 14
    expected = np.stack([np.linalg.solve(m, b) for m, b in zip(matrices, rhs, strict=True)])
    np.testing.assert_allclose(lib.to_numpy(iteration.state), expected, rtol=1e-10, atol=1e-11)
    true = [np.linalg.norm(b - m @ x) for m, b, x in zip(matrices, rhs, lib.to_numpy(iteration.state), strict=True)]
    np.testing.assert_allclose(iteration.true_residuals(), true, atol=1e-14)
    assert np.all(iteration.true_residuals() <= 2e-12 * iteration.rhs_norms)
    assert iteration.residual == pytest.approx(np.linalg.norm(iteration.residuals))


def test_each_sample_walks_as_if_it_were_alone(rng, lib):
    matrices, rhs = some(rng)
    together = BatchedConjugateGradients(blocks(lib, matrices), lib.asarray(rhs), lib, 0.0)
    alone = [ConjugateGradients(Matrix(m, lib), lib.asarray(b), lib) for m, b in zip(matrices, rhs, strict=True)]
    together.start()
    for single in alone:
        single.start()
    for _ in range(8):
        together.advance()
        residuals = [single.advance() for single in alone]
        np.testing.assert_allclose(together.residuals, residuals, rtol=1e-8)
        for row, single in zip(lib.to_numpy(together.state), alone, strict=True):
            np.testing.assert_allclose(row, lib.to_numpy(single.state), rtol=1e-9, atol=1e-12)


BAD = {
    "negative_curvature": lambda rng, n: (symmetric(rng, np.r_[-2.0, np.linspace(1, 9, n - 1)]), rng.normal(size=n)),
    "singular": lambda rng, n: (np.zeros((n, n)), np.ones(n)),
    "nonfinite": lambda rng, n: (np.full((n, n), np.nan), np.ones(n)),
    "converged": lambda rng, n: (np.eye(n), np.ones(n)),
}


@pytest.mark.parametrize("outcome", sorted(BAD))
def test_a_bad_sample_changes_no_bit_of_the_others(rng, lib, outcome):
    matrices, rhs = some(rng)
    n = rhs.shape[1]
    bad, b = BAD[outcome](rng, n)
    good = BatchedConjugateGradients(blocks(lib, matrices), lib.asarray(rhs), lib, 1e-11)
    spoilt = [*matrices[:2], bad, matrices[3]], np.stack([*rhs[:2], b, rhs[3]])
    iteration = BatchedConjugateGradients(blocks(lib, spoilt[0]), lib.asarray(spoilt[1]), lib, 1e-11)
    good.start()
    iteration.start()
    others, frozen = [0, 1, 3], None
    for _ in range(20):
        good.advance()
        iteration.advance()
        now = lib.to_numpy(iteration.state)
        np.testing.assert_array_equal(now[others], lib.to_numpy(good.state)[others])
        np.testing.assert_array_equal(iteration.residuals[others], good.residuals[others])
        if iteration.outcomes[2] is not None:
            frozen = now[2].copy() if frozen is None else frozen
            np.testing.assert_array_equal(now[2], frozen)
    assert iteration.outcomes == ["converged", "converged", outcome, "converged"]
    assert iteration.outcome == outcome
    assert np.all(np.isfinite(now))
    assert np.all(np.isfinite(iteration.residuals))
    if outcome == "negative_curvature":
        direction = lib.to_numpy(iteration.direction)[2]
        assert direction @ bad @ direction < 0
    if outcome != "converged":
        assert iteration.messages[2].startswith("sample 2: ")
        assert "1 samples failed" in iteration.message


def test_nan_that_comes_later_freezes_the_last_finite_iterate(rng, lib):
    matrices, rhs = some(rng)
    plain, calls = blocks(lib, matrices), []

    def faulty(x):
        calls.append(1)
        poison = np.ones((4, 1))
        poison[1] = np.nan if len(calls) == 4 else 1.0
        return plain(x) * lib.asarray(poison)

    iteration = BatchedConjugateGradients(faulty, lib.asarray(rhs), lib, 1e-11)
    good = BatchedConjugateGradients(plain, lib.asarray(rhs), lib, 1e-11)
    good.start()
    for _ in range(3):
        good.advance()
    third = lib.to_numpy(good.state)[1].copy()
    drive(iteration)
    assert iteration.outcomes == ["converged", "nonfinite", "converged", "converged"]
    np.testing.assert_array_equal(lib.to_numpy(iteration.state)[1], third)


def test_data_that_are_not_finite_stop_only_their_sample(rng, lib):
    matrices, rhs = some(rng)
    rhs[0, 3], rhs[2, 1] = np.inf, np.nan
    iteration = BatchedConjugateGradients(blocks(lib, matrices), lib.asarray(rhs), lib, 1e-11)
    drive(iteration)
    assert iteration.outcomes == ["nonfinite", "converged", "nonfinite", "converged"]
    found = lib.to_numpy(iteration.state)
    np.testing.assert_allclose(found[1], np.linalg.solve(matrices[1], rhs[1]), atol=1e-9)
    assert np.all(np.isfinite(found))


def test_magnitudes_of_data_and_operator_cancel(rng, lib):
    matrices, rhs = some(rng, 5)
    scales, sizes = np.array([1e-150, 1e-75, 1.0, 1e75, 1e150]), np.array([1e-140, 1e60, 1.0, 1e-60, 1e140])
    plain = BatchedConjugateGradients(blocks(lib, matrices), lib.asarray(rhs), lib, 1e-11)
    scaled = BatchedConjugateGradients(
        blocks(lib, [m * s for m, s in zip(matrices, sizes, strict=True)]),
        lib.asarray(rhs * scales[:, None]),
        lib,
        1e-11,
    )
    assert drive(plain) == drive(scaled)
    assert scaled.outcomes == ["converged"] * 5
    undone = lib.to_numpy(scaled.state) * (sizes / scales)[:, None]
    np.testing.assert_allclose(undone, lib.to_numpy(plain.state), rtol=1e-10, atol=1e-12)
    for iteration in (plain, scaled):
        iteration.start()
        for _ in range(4):
            iteration.advance()
    np.testing.assert_allclose(scaled.residuals / scales, plain.residuals, rtol=1e-8)


def test_powers_of_two_change_no_bit(rng):
    matrices, rhs = some(rng)
    results = []
    for exponent in (0, 400, -400):
        iteration = BatchedConjugateGradients(blocks(NUMPY, matrices), np.ldexp(rhs, exponent), NUMPY, 1e-11)
        drive(iteration)
        results.append(np.ldexp(iteration.state, -exponent))
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def test_each_sample_has_its_tolerance(rng):
    matrices, rhs = some(rng, 2, 40)
    matrices = [matrices[0]] * 2
    rhs[1] = rhs[0]
    tolerances = np.array([1e-2, 1e-10])
    iteration = BatchedConjugateGradients(blocks(NUMPY, matrices), rhs, NUMPY, tolerances)
    iteration.start()
    while iteration.outcomes[0] is None:
        iteration.advance()
    assert iteration.outcomes[1] is None
    kept = iteration.residuals[0]
    while iteration.outcome is None:
        iteration.advance()
    assert iteration.residuals[0] == kept > 1e-6 * iteration.rhs_norms[0]
    assert iteration.residuals[1] <= 1e-10 * iteration.rhs_norms[1]


def test_preconditioner_acts_on_all_samples(rng, lib):
    n = 50
    scales = np.logspace(0, 4, n)
    matrices = [symmetric(rng, np.linspace(1, 3, n)) * np.sqrt(np.outer(scales, scales)) for _ in range(3)]
    rhs = rng.normal(size=(3, n))
    inverse, operator = lib.asarray(1 / scales), blocks(lib, matrices)
    plain = BatchedConjugateGradients(operator, lib.asarray(rhs), lib, 1e-10)
    helped = BatchedConjugateGradients(operator, lib.asarray(rhs), lib, 1e-10, lambda r: r * inverse)
    assert drive(helped) < 0.5 * drive(plain, 2000)
    expected = np.stack([np.linalg.solve(m, b) for m, b in zip(matrices, rhs, strict=True)])
    np.testing.assert_allclose(lib.to_numpy(helped.state), expected, rtol=1e-6, atol=1e-9)


def test_indefinite_preconditioner_is_a_breakdown_of_its_sample(rng, lib):
    matrices, rhs = some(rng, 2)
    signs = lib.asarray(np.array([[-1.0], [1.0]]))
    iteration = BatchedConjugateGradients(blocks(lib, matrices), lib.asarray(rhs), lib, 1e-11, lambda r: r * signs)
    drive(iteration)
    assert iteration.outcomes == ["breakdown", "converged"]
    assert "preconditioner" in iteration.message
    np.testing.assert_array_equal(lib.to_numpy(iteration.state)[0], np.zeros(12))


@pytest.mark.parametrize("helped", [False, True])
def test_projection_solves_on_the_subspaces(rng, lib, helped):
    matrices, rhs = some(rng)
    rows = rng.normal(size=(4, 5, 12))
    bases = [scipy.linalg.null_space(k) for k in rows]
    projector = blocks(lib, [z @ z.T for z in bases])
    inverse = lib.asarray(1 / np.linspace(1, 3, 12))
    start = np.stack([scipy.linalg.lstsq(k, rng.normal(size=5))[0] for k in rows])
    iteration = BatchedConjugateGradients(
        blocks(lib, matrices), lib.asarray(rhs), lib, 1e-12, (lambda r: r * inverse) if helped else None, projector
    )
    drive(iteration, start=lib.asarray(start))
    assert iteration.outcomes == ["converged"] * 4
    for k, z, m, b, x0, x in zip(rows, bases, matrices, rhs, start, lib.to_numpy(iteration.state), strict=True):
        expected = x0 + z @ np.linalg.solve(z.T @ m @ z, z.T @ (b - m @ x0))
        np.testing.assert_allclose(x, expected, atol=1e-10)
        np.testing.assert_allclose(k @ x, k @ x0, atol=1e-12)
    assert np.all(iteration.true_residuals() <= 1e-11 * iteration.rhs_norms)


def test_consistent_singular_systems_give_the_solutions_nearest_to_the_start(rng):
    vectors = orthogonal(rng, 10)
    matrix = vectors * np.r_[0.0, 0.0, np.linspace(1, 9, 8)] @ vectors.T
    rhs, start = matrix @ rng.normal(size=10), rng.normal(size=10)
    iteration = BatchedConjugateGradients(blocks(NUMPY, [matrix]), rhs[None], NUMPY, 1e-11)
    drive(iteration, start=start[None])
    expected = start + np.linalg.pinv(matrix, rcond=1e-10) @ (rhs - matrix @ start)
    np.testing.assert_allclose(iteration.state[0], expected, atol=1e-9)


def test_zero_right_hand_sides_and_good_starts_end_at_once(rng, lib):
    matrices, rhs = some(rng, 2)
    rhs[0] = 0
    start = np.stack([np.zeros(12), np.linalg.solve(matrices[1], rhs[1])])
    kept = start.copy()
    iteration = BatchedConjugateGradients(blocks(lib, matrices), lib.asarray(rhs), lib, 1e-10)
    iteration.start(lib.asarray(start))
    assert iteration.outcome == "converged"
    assert iteration.products == 1
    iteration.advance()
    assert iteration.products == 1
    np.testing.assert_array_equal(lib.to_numpy(iteration.state), kept)
    iteration.start()
    assert iteration.outcomes == ["converged", None]
    while iteration.outcome is None:
        iteration.advance()
    np.testing.assert_array_equal(lib.to_numpy(iteration.state)[0], np.zeros(12))


def test_identity_that_returns_its_argument_and_shared_buffers_are_safe(rng, lib):
    rhs = rng.normal(size=(3, 5))
    iteration = BatchedConjugateGradients(lambda v: v, lib.asarray(rhs), lib, 1e-13)
    assert drive(iteration) == 1
    np.testing.assert_allclose(lib.to_numpy(iteration.state), rhs, rtol=1e-15)
    matrices, rhs = some(rng)
    dense, buffer, other = np.stack(matrices), np.empty((4, 12, 1)), np.empty((4, 12))
    iteration = BatchedConjugateGradients(
        lambda v: np.matmul(dense, v[:, :, None], out=buffer)[:, :, 0],
        rhs,
        NUMPY,
        1e-12,
        lambda r: np.multiply(r, 0.5, out=other),
    )
    drive(iteration)
    np.testing.assert_allclose(iteration.state, np.linalg.solve(dense, rhs[:, :, None])[:, :, 0], atol=1e-10)


def test_one_transfer_to_the_host_for_each_iteration(rng, monkeypatch):
    matrices, rhs = some(rng)
    lib = backend("numpy")
    iteration = BatchedConjugateGradients(blocks(lib, matrices), rhs, lib, 1e-11)
    iteration.start()
    transfers, fetch = [], lib.to_numpy
    monkeypatch.setattr(lib, "to_numpy", lambda a: transfers.append(a.shape) or fetch(a))
    for _ in range(5):
        iteration.advance()
    assert transfers == [(4, 4)] * 5


def test_float32_keeps_its_precision(rng):
    lib = backend("numpy", "float32")
    matrices, rhs = some(rng)
    rhs *= np.array([1e-30, 1.0, 1e10, 1e30])[:, None]
    iteration = BatchedConjugateGradients(blocks(lib, matrices), rhs.astype(np.float32), lib, 1e-5)
    drive(iteration)
    assert iteration.state.dtype == np.float32
    assert iteration.outcomes == ["converged"] * 4
    assert np.all(iteration.true_residuals() <= 3e-5 * iteration.rhs_norms)


def test_misfits_are_refused():
    with pytest.raises(ShapeError, match=r"shape \(samples, n\), not \(3,\)"):
        BatchedConjugateGradients(lambda v: v, np.ones(3), NUMPY)
    with pytest.raises(DtypeError, match="pairs of reals"):
        BatchedConjugateGradients(lambda v: v, np.ones((2, 2), complex), NUMPY)
    with pytest.raises(ShapeError, match="2 samples need one tolerance, or 2"):
        BatchedConjugateGradients(lambda v: v, np.ones((2, 2)), NUMPY, np.ones(3))
    with pytest.raises(ParameterError, match="negative or NaN"):
        BatchedConjugateGradients(lambda v: v, np.ones((2, 2)), NUMPY, -1e-3)
    with pytest.raises(ShapeError, match=r"initial states have shape \(2, 3\)"):
        BatchedConjugateGradients(lambda v: v, np.ones((2, 2)), NUMPY).start(np.ones((2, 3)))
