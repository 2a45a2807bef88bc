"""Gradients of solutions against closed forms that are computed with dense matrices, to 1e-8 relative."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import opalg as oa
from tests.solving.instances import difference_matrices, periodic_matrix

ACCURACY = 1e-8
SOLVE = partial(oa.Plan.solve, tol=1e-13, max_iter=50_000, on_failure="return")


def close(found: np.ndarray, exact: np.ndarray, accuracy: float = ACCURACY) -> bool:
    """Whether arrays agree, relative to the exact one's norm."""
    return bool(np.linalg.norm(np.asarray(found) - exact) <= accuracy * max(np.linalg.norm(exact), 1e-12))


def gradients(energy: oa.Energy, c: np.ndarray, wrt: list, **options: str) -> tuple[np.ndarray, oa.Solution, dict]:
    solution = SOLVE(oa.compile(energy, **options))
    return solution.x, solution, solution.vjp(c, wrt, on_inexact="return", tol=1e-13)


def design(rng: np.random.Generator, m: int, n: int, condition: float = 9.0) -> np.ndarray:
    u, _ = np.linalg.qr(rng.standard_normal((m, m)))
    v, _ = np.linalg.qr(rng.standard_normal((n, n)))
    k = min(m, n)
    return u[:, :k] @ np.diag(np.geomspace(1.0, 1 / condition, k)) @ v[:, :k].T


@pytest.mark.parametrize("method", ["conjugate_gradient", "proximal_gradient"])
@pytest.mark.parametrize("lam", [1e-2, 1.0, 30.0])
def test_ridge(lam: float, method: str, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 12, 8), rng.standard_normal(12), rng.standard_normal(8)
    M, yp, lp = oa.Parameter(A, name="A"), oa.Parameter(y, name="y"), oa.Parameter(lam, name="lambda", nonneg=True)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + 0.5 * lp * oa.sum_squares(x)
    _, _, g = gradients(energy, c, [M, yp, lp], method=method)
    H = A.T @ A + lam * np.eye(8)
    exact, w = np.linalg.solve(H, A.T @ y), np.linalg.solve(H, c)
    assert close(g[lp], -exact @ w)
    assert close(g[yp], A @ w)
    assert close(g[M], -(np.outer(A @ exact - y, w) + np.outer(A @ w, exact)))


KERNELS = {
    "odd": ((7,), (3,)),
    "even": ((8,), (4,)),
    "two odd": ((6, 5), (3, 3)),
    "two even": ((6, 6), (2, 4)),
    "mixed": ((5, 6), (1, 4)),
}


@pytest.mark.parametrize("method", ["closed_form", "conjugate_gradient"])
@pytest.mark.parametrize("name", KERNELS)
def test_periodic_deblurring(name: str, method: str, rng: np.random.Generator) -> None:
    shape, size = KERNELS[name]
    k = rng.uniform(0.1, 1.0, size)  # not symmetric
    k /= k.sum()
    y, c, lam = rng.standard_normal(shape), rng.standard_normal(shape), 0.3
    kp, yp, lp = oa.Parameter(k, name="k"), oa.Parameter(y, name="y"), oa.Parameter(lam, name="lambda", nonneg=True)
    x = oa.Variable(shape, name="x")
    penalty = oa.sum_squares(oa.Gradient(shape, boundary="periodic") @ x)
    energy = 0.5 * oa.sum_squares(oa.Convolve(kp, shape) @ x - yp) + 0.5 * lp * penalty
    _, _, g = gradients(energy, c, [kp, yp, lp], method=method)
    K = periodic_matrix(k, shape)
    if len(shape) == 2:
        dx, dy = difference_matrices(shape, "periodic")
        G = dx.T @ dx + dy.T @ dy
    else:
        d = np.roll(np.eye(shape[0]), 1, axis=1) - np.eye(shape[0])
        G = d.T @ d
    H = K.T @ K + lam * G
    exact, w = np.linalg.solve(H, K.T @ y.ravel()), np.linalg.solve(H, c.ravel())
    r = K @ exact - y.ravel()
    by_kernel = np.zeros(size)
    for index in np.ndindex(*size):
        unit = np.zeros(size)
        unit[index] = 1.0
        U = periodic_matrix(unit, shape)
        by_kernel[index] = -(r @ U @ w + (K @ w) @ (U @ exact))
    assert close(g[lp], -exact @ G @ w)
    assert close(np.ravel(g[yp]), K @ w)
    assert close(g[kp], by_kernel)


def test_scalar_soft_threshold() -> None:
    y = np.array([3.0, -2.0, 0.4, -0.3, 0.0])
    yp, lp = oa.Parameter(y, name="y"), oa.Parameter(0.5, name="lambda", nonneg=True)
    x = oa.Variable(5, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(x - yp) + lp * oa.norm1(x))
    for i in range(5):
        g = SOLVE(plan).vjp(np.eye(5)[i], [yp, lp])
        kept = abs(y[i]) > 0.5
        assert np.array_equal(g[yp], np.eye(5)[i] * kept)
        assert float(g[lp]) == -np.sign(y[i]) * kept


@pytest.mark.parametrize("condition", [9.0, 1e3])
@pytest.mark.parametrize("size", [0.3, 0.05])
def test_lasso_on_its_support(condition: float, size: float, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 20, 12, condition), 3 * rng.standard_normal(20), rng.standard_normal(12)
    lam = size * np.max(np.abs(A.T @ y))
    w = rng.uniform(0.8, 1.2, 12)
    M, yp, lp = oa.Parameter(A, name="A"), oa.Parameter(y, name="y"), oa.Parameter(lam, name="lambda", nonneg=True)
    wp = oa.Parameter(w, name="w", nonneg=True)
    x = oa.Variable(12, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + lp * oa.norm1(x, weights=wp)
    found, _, g = gradients(energy, c, [M, yp, lp, wp])
    S = np.abs(found) > 1e-9
    assert 0 < S.sum() < 12
    H = A[:, S].T @ A[:, S]
    s = np.sign(found[S])
    exact, u = np.zeros(12), np.zeros(12)
    exact[S] = np.linalg.solve(H, A[:, S].T @ y - lam * w[S] * s)
    u[S] = np.linalg.solve(H, c[S])
    assert np.all(np.sign(exact) == np.sign(np.where(S, found, 0.0)))
    accuracy = ACCURACY if condition < 100 else 1e-6
    assert close(g[lp], -(w[S] * s) @ u[S], accuracy)
    assert close(g[wp], -lam * np.sign(exact) * u, accuracy)
    assert close(g[yp], A @ u, accuracy)
    assert close(g[M], -(np.outer(A @ exact - y, u) + np.outer(A @ u, exact)), accuracy)


def test_lasso_with_an_empty_support(rng: np.random.Generator) -> None:
    A, y = rng.standard_normal((9, 6)), rng.standard_normal(9)
    M, yp = oa.Parameter(A, name="A"), oa.Parameter(y, name="y")
    lp = oa.Parameter(2 * np.max(np.abs(A.T @ y)), name="lambda", nonneg=True)
    x = oa.Variable(6, name="x")
    found, _, g = gradients(
        0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + lp * oa.norm1(x), rng.standard_normal(6), [M, yp, lp]
    )
    assert not found.any()
    for parameter in (M, yp, lp):
        assert not np.any(g[parameter])


def test_lasso_with_a_full_support(rng: np.random.Generator) -> None:
    A, c = design(rng, 9, 6), rng.standard_normal(6)
    y = A @ np.array([5.0, -4.0, 3.0, -6.0, 4.0, 5.0])
    yp, lp = oa.Parameter(y, name="y"), oa.Parameter(1e-3, name="lambda", nonneg=True)
    x = oa.Variable(6, name="x")
    found, _, g = gradients(0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + lp * oa.norm1(x), c, [yp, lp])
    assert np.all(np.abs(found) > 1.0)
    w = np.linalg.solve(A.T @ A, c)
    assert close(g[yp], A @ w)
    assert close(g[lp], -np.sign(found) @ w)


def test_elastic_net(rng: np.random.Generator) -> None:
    A, y, c = design(rng, 10, 14), 3 * rng.standard_normal(10), rng.standard_normal(14)
    lam, beta = 0.4 * np.max(np.abs(A.T @ y)), 0.2
    yp, lp = oa.Parameter(y, name="y"), oa.Parameter(lam, name="lambda", nonneg=True)
    bp = oa.Parameter(beta, name="beta", nonneg=True)
    x = oa.Variable(14, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + lp * oa.norm1(x) + 0.5 * bp * oa.sum_squares(x)
    found, _, g = gradients(energy, c, [yp, lp, bp])
    S = np.abs(found) > 1e-9
    w = np.zeros(14)
    w[S] = np.linalg.solve(A[:, S].T @ A[:, S] + beta * np.eye(S.sum()), c[S])
    assert close(g[lp], -np.sign(found) @ w)
    assert close(g[bp], -found @ w)
    assert close(g[yp], A @ w)


def test_group_lasso(rng: np.random.Generator) -> None:
    groups, size = 5, 3
    n = groups * size
    A, y, c = design(rng, 20, n), 3 * rng.standard_normal(20), rng.standard_normal(n)
    lam = 0.5 * np.max(np.linalg.norm((A.T @ y).reshape(groups, size), axis=1))
    yp, lp = oa.Parameter(y, name="y"), oa.Parameter(lam, name="lambda", nonneg=True)
    x = oa.Variable((groups, size), name="x")
    columns = np.zeros((20, n))
    columns[:, :] = A
    K = sum(oa.Matrix(columns[:, i::size]) @ (oa.Matrix(np.eye(size)[i : i + 1]) @ x) for i in range(0))
    assert K == 0  # the operator below does the same in one piece
    flat = oa.Variable(n, name="flat")
    del flat
    Q = np.linalg.norm(A, 2)
    assert Q > 0
    energy = 0.5 * oa.sum_squares(x - oa.Parameter(np.zeros((groups, size)), name="zero"))
    del energy
    target = oa.Parameter(3 * rng.standard_normal((groups, size)), name="target")
    W = rng.uniform(0.5, 1.5, (groups, size))
    energy = 0.5 * oa.sum_squares(oa.Diagonal(W) @ x - target) + lp * oa.norm21(x, axis=1)
    found, _, g = gradients(energy, c.reshape(groups, size), [target, lp])
    norms = np.linalg.norm(found, axis=1)
    w = np.zeros((groups, size))
    by_lambda = 0.0
    for i in range(groups):
        if norms[i] > 1e-9:
            unit = found[i] / norms[i]
            H = np.diag(W[i] ** 2) + lam / norms[i] * (np.eye(size) - np.outer(unit, unit))
            w[i] = np.linalg.solve(H, c.reshape(groups, size)[i])
            by_lambda -= unit @ w[i]
    assert close(g[target], W * w)
    assert close(g[lp], np.array(by_lambda))
    assert yp.shape == (20,)
