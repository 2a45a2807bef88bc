"""What one linear solve leaves to the next, against dense matrices."""

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ParameterError
from opalg.implicit.linear_solve import Accuracy, solve_general, solve_symmetric
from opalg.implicit.recycling import PAIRS, RECORDED, Pairs, Recorder, Recycling, joined

NUMPY = backend("numpy")
SIZE = 150
KEPT = Recycling(None, True)


def spread_matrix(rng, size=SIZE, condition=1e3):
    """A symmetric matrix with a few small eigenvalues, as a blur with a little regularisation has."""
    q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    values = np.concatenate([np.geomspace(1.0 / condition, 0.3, 15), np.linspace(0.3, 1.0, size - 15)])
    return (q * values) @ q.T


def changed(matrix, rng, amount=0.01):
    """A symmetric matrix near another one, relative in every direction."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * (values * (1 + amount * rng.standard_normal(len(values))))) @ vectors.T


def symmetric(matrix, b, recycling, start=None, **options):
    accuracy = Accuracy(1e-10, 2000, recycling=recycling)
    return solve_symmetric(lambda z: matrix @ z, b, NUMPY, accuracy, start=start, **options)


def random_pairs(rng, symmetric=True):
    s = rng.standard_normal((7, SIZE))
    matrix = spread_matrix(rng)
    return joined(None, (s, s @ matrix), symmetric, 1.0, 1.0, NUMPY), matrix


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_preconditioner_inverts_on_the_pairs(rng, symmetric):
    pairs, matrix = random_pairs(rng, symmetric)
    apply = pairs.around(None, NUMPY)
    np.testing.assert_allclose(np.stack([apply(matrix @ s) for s in pairs.s]), pairs.s, atol=1e-8)


def test_the_preconditioner_is_positive_definite_whatever_the_images_are(rng):
    base = np.diag(rng.uniform(0.5, 2.0, SIZE))
    pairs = Pairs(rng.standard_normal((9, SIZE)), rng.standard_normal((9, SIZE)), True, 1.0)
    apply = pairs.around(lambda r: base @ r, NUMPY)
    dense = np.stack([apply(e) for e in np.eye(SIZE)], 1)
    np.testing.assert_allclose(dense, dense.T, atol=1e-10 * np.abs(dense).max())
    assert np.linalg.eigvalsh(dense)[0] > 0


def test_pairs_are_normalised_and_few(rng):
    s = rng.standard_normal((3 * PAIRS, SIZE))
    matrix = spread_matrix(rng, condition=100.0)
    kept = joined(None, (s, s @ matrix), True, 1.0, 1.0, NUMPY)
    assert kept.s.shape == (PAIRS, SIZE)
    np.testing.assert_allclose(kept.s @ kept.y.T, np.eye(PAIRS), atol=1e-9)
    free = joined(None, (s, s @ matrix), False, 1.0, 1.0, NUMPY)
    np.testing.assert_allclose(free.y @ free.y.T, np.eye(PAIRS), atol=1e-9)


def test_dependent_directions_are_dropped(rng):
    s = rng.standard_normal((3, SIZE))
    kept = joined(None, (np.concatenate([s, s]), np.concatenate([s, s])), True, 1.0, 1.0, NUMPY)
    assert kept.s.shape[0] == 3
    assert joined(None, (np.zeros((2, SIZE)), np.zeros((2, SIZE))), True, 1.0, 1.0, NUMPY) is None


def test_the_recorder_keeps_directions_evenly():
    recorder = Recorder(1, NUMPY)
    for i in range(3 * RECORDED):
        recorder(np.array([float(i)]), np.array([-float(i)]))
    s, y = recorder.pairs()
    np.testing.assert_array_equal(s, -y)
    np.testing.assert_array_equal(np.diff(s[:, 0]), 4.0)
    assert s[0, 0] == 0 and RECORDED // 2 <= len(s) <= RECORDED


def test_a_symmetric_sequence_takes_fewer_products_and_stays_right(rng):
    matrix, b = spread_matrix(rng), rng.standard_normal(SIZE)
    found = symmetric(matrix, b, KEPT)
    for _ in range(4):
        matrix, b = changed(matrix, rng), b + 0.01 * rng.standard_normal(SIZE)
        alone = symmetric(matrix, b, Recycling(None, False), found.state)
        found = symmetric(matrix, b, Recycling(found.pairs, True), found.state)
        assert found.products <= 0.7 * alone.products
        assert np.linalg.norm(matrix @ found.state - b) <= 1e-9 * np.linalg.norm(b)
        assert found.pairs.s.shape[0] <= PAIRS


def test_the_condition_is_remembered_where_pairs_hide_it(rng):
    matrix, b = spread_matrix(rng, condition=1e3), rng.standard_normal(SIZE)
    first = symmetric(matrix, b, KEPT)
    second = symmetric(matrix, b, Recycling(first.pairs, True), first.state + 0.01 * rng.standard_normal(SIZE))
    assert second.condition >= first.condition > 100.0


def test_pairs_of_another_matrix_do_no_harm(rng):
    b = rng.standard_normal(SIZE)
    found = symmetric(spread_matrix(rng), b, KEPT)
    matrix = spread_matrix(rng)
    again = symmetric(matrix, b, Recycling(found.pairs, True))
    assert np.linalg.norm(matrix @ again.state - b) <= 1e-9 * np.linalg.norm(b)


def test_pairs_are_projected_where_the_space_moved(rng):
    matrix, b = spread_matrix(rng), rng.standard_normal(SIZE)
    masks = np.ones((2, SIZE))
    masks[0, :30], masks[1, 20:45] = 0.0, 0.0
    pairs = None
    for mask in masks:
        project = lambda z, m=mask: m * z  # noqa: E731
        held = np.where(mask > 0)[0]
        inner = matrix[np.ix_(held, held)]
        accuracy = Accuracy(1e-10, 2000, recycling=Recycling(pairs, True))
        found = solve_symmetric(lambda z, m=mask: m * (matrix @ z), mask * b, NUMPY, accuracy, project=project)
        assert np.all(found.state[mask == 0] == 0)
        np.testing.assert_allclose(found.state[held], np.linalg.solve(inner, b[held]), rtol=1e-4, atol=1e-4)
        assert found.converged
        pairs = found.pairs


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_negative_curvature_is_still_noticed(rng, scale):
    good = spread_matrix(rng, condition=100.0)
    pairs = symmetric(good, rng.standard_normal(SIZE), KEPT).pairs
    values, vectors = np.linalg.eigh(good)
    values[-1] *= scale
    bad, b = (vectors * values) @ vectors.T, rng.standard_normal(SIZE)
    found = symmetric(bad, b, Recycling(pairs, True))
    assert found.negative is (scale < 0)
    assert np.linalg.norm(bad @ found.state - b) <= 1e-8 * np.linalg.norm(b)


def test_general_sequences_take_fewer_products(rng):
    matrix = np.eye(SIZE) - 0.97 * np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0] @ np.diag(
        np.linspace(0.0, 1.0, SIZE) ** 0.3
    )
    b = rng.standard_normal(SIZE)
    found = solve_general(lambda z: matrix @ z, b, NUMPY, Accuracy(1e-10, 2000, recycling=KEPT))
    for _ in range(3):
        matrix = matrix + 1e-3 * rng.standard_normal((SIZE, SIZE)) / np.sqrt(SIZE)
        plain, aided = (
            Accuracy(1e-10, 2000, recycling=r) for r in (Recycling(None, False), Recycling(found.pairs, True))
        )
        alone = solve_general(lambda z, m=matrix: m @ z, b, NUMPY, plain, start=found.state)
        found = solve_general(lambda z, m=matrix: m @ z, b, NUMPY, aided, start=found.state)
        assert np.linalg.norm(matrix @ found.state - b) <= 1e-9 * np.linalg.norm(b)
        assert found.products < alone.products


def test_large_systems_keep_nothing_unasked():
    assert Recycling().keeps(10_000)
    assert not Recycling().keeps(100_000)
    assert Recycling(None, True).keeps(100_000)
    assert not Recycling(None, False).keeps(10)


def smoothed(rng, library="numpy"):
    x = oa.Variable((24, 24), name="x")
    lam = oa.Parameter(0.2, name="lam", nonneg=True)
    blur = oa.Convolve(np.full((3, 3), 1 / 9), x.shape)
    data = rng.standard_normal(x.shape)
    energy = 0.5 * oa.sum_squares(blur @ x - data) + lam * oa.charbonnier(oa.Gradient(x.shape) @ x, 0.2)
    return oa.compile(energy, backend=library), lam


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_gradients_from_earlier_ones_agree_on_every_library(rng, library):
    if library != "numpy":
        pytest.importorskip(library)
    plan, lam = smoothed(rng, library)
    first = plan.solve(tol=1e-10).vjp(lambda x: x, lam)
    moved = plan.solve(params={lam: 0.202}, tol=1e-10)
    cold, warm, state = (
        moved.vjp(lambda x: x, lam, **o) for o in ({}, {"start": first}, {"start": first, "recycle": False})
    )
    assert float(warm[lam]) == pytest.approx(float(cold[lam]), rel=1e-8)
    assert warm.counts["adjoint"] <= 0.7 * cold.counts["adjoint"]
    assert warm.counts["adjoint"] < state.counts["adjoint"]
    assert state.adjoint.pairs is None and warm.adjoint.pairs is not None


def test_recycle_takes_true_false_or_auto(rng):
    plan, lam = smoothed(rng)
    with pytest.raises(ParameterError, match="recycle must be"):
        plan.solve(tol=1e-6).vjp(lambda x: x, lam, recycle="yes")


def test_an_unstable_fixed_point_is_still_seen_behind_pairs(rng):
    q = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    before = q * np.concatenate([[-1.5, -1.2], np.linspace(-0.9, 0.9, 58)]) @ q.T
    x, b, W = oa.Variable((60,), name="x"), oa.Parameter(rng.standard_normal(60), name="b"), oa.Parameter(before)
    plan = oa.fixed_point(x, oa.Matrix(W) @ x + b)
    earlier, counts = None, []
    for matrix in (before, 1.01 * before):
        point = np.linalg.solve(np.eye(60) - matrix, np.asarray(b.value))
        solution = plan.solve(point, params={W: matrix}, on_failure="return")
        earlier = solution.vjp(solution.x, b, start=earlier, on_inexact="return")
        assert "unstable_fixed_point" in earlier.flags
        np.testing.assert_allclose(earlier[b], np.linalg.solve((np.eye(60) - matrix).T, point), rtol=1e-7, atol=1e-7)
        counts.append(earlier.counts["adjoint"])
    assert counts[1] <= 0.7 * counts[0]
