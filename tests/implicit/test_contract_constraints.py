"""Gradients under constraints and through terms of whole vectors and matrices, against dense references, to 1e-9."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import brentq

import opalg as oa
from tests.implicit.contract_cases import (
    ACCURACY,
    LeastSquares,
    Penalty,
    design,
    error,
    gradients,
    parameter,
    weight,
)

Array = np.ndarray


def saddle(M: Array, G: Array, c: Array) -> tuple[Array, Array]:
    """The adjoint ``[M, G^T; G, 0] (w, q) = (c, 0)``."""
    n, k = len(M), len(G)
    whole = np.linalg.solve(np.block([[M, G.T], [G, np.zeros((k, k))]]), np.concatenate([c, np.zeros(k)]))
    return whole[:n], whole[n:]


@pytest.mark.parametrize("radius", [0.8, 500.0], ids=["active", "inactive"])
def test_a_ball_around_the_unknown(radius: float, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 12, 8), 3 * rng.standard_normal(12), rng.standard_normal(8)
    Ap, yp, rp = parameter(A, "A"), parameter(y, "y"), parameter(radius, "r", positive=True)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(Ap) @ x - yp) + oa.indicator(oa.norm2(x) <= rp)
    _, g = gradients(energy, c, [Ap, yp, rp])
    H, b = A.T @ A, A.T @ y

    def excess(nu: float) -> float:
        return float(np.linalg.norm(np.linalg.solve(H + nu * np.eye(8), b))) - radius

    if radius > 1:
        assert excess(0.0) < 0
        nu, q = 0.0, 0.0
        exact, w = np.linalg.solve(H, b), np.linalg.solve(H, c)
    else:
        nu = brentq(excess, 1e-9, 1e3, xtol=1e-15, rtol=1e-15)
        exact = np.linalg.solve(H + nu * np.eye(8), b)
        w, multiplier = saddle(H + nu * np.eye(8), exact[None], c)
        q = float(multiplier[0])
    assert error(g[yp], A @ w) <= ACCURACY
    assert error(g[rp], radius * q) <= ACCURACY
    assert error(g[Ap], -(np.outer(A @ exact - y, w) + np.outer(A @ w, exact))) <= ACCURACY


@pytest.mark.parametrize("radius", [1.0, 40.0], ids=["active", "inactive"])
def test_a_ball_around_the_data(radius: float, rng: np.random.Generator) -> None:
    A, y, a, c = design(rng, 8, 8, 4.0), 3 * rng.standard_normal(8), rng.standard_normal(8), rng.standard_normal(8)
    Ap, yp, ap, rp = parameter(A, "A"), parameter(y, "y"), parameter(a, "a"), parameter(radius, "r", positive=True)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(x - ap) + oa.indicator(oa.norm2(oa.Matrix(Ap) @ x - yp) <= rp)
    _, g = gradients(energy, c, [Ap, yp, ap, rp])

    def point(nu: float) -> Array:
        return np.linalg.solve(np.eye(8) + nu * A.T @ A, a + nu * A.T @ y)

    def excess(nu: float) -> float:
        return float(np.linalg.norm(A @ point(nu) - y)) - radius

    if radius > 1:
        assert excess(0.0) < 0
        nu, q, w = 0.0, 0.0, c
    else:
        nu = brentq(excess, 1e-9, 1e6, xtol=1e-15, rtol=1e-15)
        exact = point(nu)
        w, multiplier = saddle(np.eye(8) + nu * A.T @ A, (A.T @ (A @ exact - y))[None], c)
        q = float(multiplier[0])
    exact = point(nu)
    r = A @ exact - y
    assert error(g[ap], w) <= ACCURACY
    assert error(g[yp], nu * A @ w + q * r) <= ACCURACY
    assert error(g[rp], radius * q) <= ACCURACY
    assert error(g[Ap], -(nu * (np.outer(r, w) + np.outer(A @ w, exact)) + q * np.outer(r, exact))) <= ACCURACY


def test_sparsity_under_a_ball_around_the_data(rng: np.random.Generator) -> None:
    # Minimise |x|_1 + ridge under |A x - y| <= r: a kink and a curved constraint at once.
    A, c, r, beta = design(rng, 10, 7, 3.0), rng.standard_normal(7), 0.4, 0.3
    y = A @ np.array([2.0, 0.0, -1.5, 0.0, 0.0, 1.0, 0.0]) + 0.1 * rng.standard_normal(10)
    Ap, yp, rp, bp = parameter(A, "A"), parameter(y, "y"), parameter(r, "r", positive=True), weight(beta, "beta")
    x = oa.Variable(7, name="x")
    constraint = oa.indicator(oa.norm2(oa.Matrix(Ap) @ x - yp) <= rp)
    solution, g = gradients(oa.norm1(x) + 0.5 * bp * oa.sum_squares(x) + constraint, c, [Ap, yp, rp, bp])
    S = np.abs(solution.x) > 1e-7
    assert 0 < S.sum() < 7
    B, s = A[:, S], np.sign(solution.x[S])

    def point(nu: float) -> Array:
        return np.linalg.solve(beta * np.eye(S.sum()) + nu * B.T @ B, nu * B.T @ y - s)

    nu = brentq(lambda t: float(np.linalg.norm(B @ point(t) - y)) - r, 1e-3, 1e6, xtol=1e-13, rtol=1e-15)
    for _ in range(3):  # Newton's method on 1 / |B x - y| = 1 / r
        residual = B @ point(nu) - y
        change = B @ np.linalg.solve(beta * np.eye(S.sum()) + nu * B.T @ B, -B.T @ residual)
        length = np.linalg.norm(residual)
        nu += (1 / r - 1 / length) * length**3 / -float(residual @ change)
    v = point(nu)
    assert np.linalg.norm(v - solution.x[S]) <= 1e-6 * np.linalg.norm(v)
    residual = B @ v - y
    u, multiplier = saddle(beta * np.eye(S.sum()) + nu * B.T @ B, (B.T @ residual)[None], c[S])
    w, exact, q = np.zeros(7), np.zeros(7), float(multiplier[0])
    w[S], exact[S] = u, v
    assert error(g[bp], -exact @ w) <= ACCURACY
    assert error(g[yp], nu * A @ w + q * residual) <= ACCURACY
    assert error(g[rp], r * q) <= ACCURACY
    by_matrix = -(nu * (np.outer(residual, w) + np.outer(A @ w, exact)) + q * np.outer(residual, exact))
    assert error(g[Ap], by_matrix) <= ACCURACY


@pytest.mark.parametrize("total", [3.0, 8.0])
def test_least_squares_on_the_simplex(total: float, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 12, 8, 4.0), 3 * rng.standard_normal(12), rng.standard_normal(8)
    Ap, yp, tp = parameter(A, "A"), parameter(y, "y"), parameter(total, "total", positive=True)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(Ap) @ x - yp) + oa.indicator(oa.simplex(tp), x)
    solution, g = gradients(energy, c, [Ap, yp, tp])
    equations = (np.ones((1, 8)), np.array([total]))
    exact = LeastSquares([], solution.x, c, np.zeros(8), equations=equations, A=A, y=y)
    assert 0 < exact.at_lower.sum() < 7
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[Ap], exact.by_design()) <= ACCURACY
    free = ~exact.at_lower
    _, multiplier = saddle((A.T @ A)[np.ix_(free, free)], np.ones((1, free.sum())), c[free])
    assert error(g[tp], multiplier[0]) <= ACCURACY


def test_a_ball_of_the_one_norm(rng: np.random.Generator) -> None:
    A, y, c = design(rng, 12, 8, 4.0), 3 * rng.standard_normal(12), rng.standard_normal(8)
    yp, rp = parameter(y, "y"), parameter(15.0, "r", positive=True)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + oa.indicator(oa.norm1(x) <= rp)
    solution, g = gradients(energy, c, [yp, rp])
    S = np.abs(solution.x) > 1e-8
    assert 1 < S.sum() < 8
    w = np.zeros(8)
    w[S], multiplier = saddle(A[:, S].T @ A[:, S], np.sign(solution.x[S])[None], c[S])
    assert error(g[yp], A @ w) <= ACCURACY
    assert error(g[rp], multiplier[0]) <= ACCURACY


def test_the_largest_magnitude(rng: np.random.Generator) -> None:
    A, y, c, lam = design(rng, 12, 8, 4.0), 3 * rng.standard_normal(12), rng.standard_normal(8), 1.0
    yp, lp = parameter(y, "y"), weight(lam)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + lp * oa.norm_inf(x)
    solution, g = gradients(energy, c, [yp, lp])
    top = np.abs(solution.x) > np.max(np.abs(solution.x)) * (1 - 1e-6)
    assert 1 < top.sum() < 8
    Z = np.concatenate([np.eye(8)[~top], (top * np.sign(solution.x))[None]]).T  # free entries, and the common magnitude
    u = np.linalg.solve(Z.T @ A.T @ A @ Z, Z.T @ c)
    assert error(g[yp], A @ (Z @ u)) <= ACCURACY
    assert error(g[lp], -u[-1]) <= ACCURACY


def test_equations_beside_a_kink(rng: np.random.Generator) -> None:
    B, b = rng.standard_normal((3, 9)), rng.standard_normal(3)
    y, c, lam = 2 * rng.standard_normal(9), rng.standard_normal(9), 0.6
    Bp, bp, yp, lp = parameter(B, "B"), parameter(b, "b"), parameter(y, "y"), weight(lam)
    x = oa.Variable(9, name="x")
    energy = 0.5 * oa.sum_squares(x - yp) + lp * oa.norm1(x) + oa.indicator(oa.Matrix(Bp) @ x == bp)
    solution, g = gradients(energy, c, [Bp, bp, yp, lp])
    exact = LeastSquares([Penalty(np.eye(9), lam)], solution.x, c, equations=(B, b), A=np.eye(9), y=y)
    S = exact.active[0]
    assert 3 < S.sum() < 9
    w, q = saddle(np.eye(S.sum()), B[:, S], c[S])
    _, p = saddle(np.eye(S.sum()), B[:, S], (y - exact.x)[S] - lam * np.sign(exact.x[S]))
    assert np.linalg.norm(w - exact.w[S]) <= 1e-12 * np.linalg.norm(w)
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[bp], q) <= ACCURACY
    assert error(g[Bp], -(np.outer(p, exact.w) + np.outer(q, exact.x))) <= ACCURACY


def through_prox(
    A: Array, y: Array, near: Array, prox: Callable[[Array, float], tuple[Array, Array]], c: Array
) -> tuple[Array, Array, Array, float]:
    """The fixed point of the proximal gradient map by Newton's method, ``w``, the adjoint ``u`` and the step."""
    tau = 1 / np.linalg.norm(A, 2) ** 2
    G, x = np.eye(len(near)) - tau * A.T @ A, near.copy()
    for _ in range(12):
        image, P = prox(x - tau * A.T @ (A @ x - y), tau)
        x = x - np.linalg.solve(np.eye(len(x)) - P @ G, x - image)
    _, P = prox(x - tau * A.T @ (A @ x - y), tau)
    u = np.linalg.solve(np.eye(len(x)) - G @ P, c)
    return x, tau * P @ u, u, tau


def shrink_values(v: Array, shape: tuple[int, int], t: float) -> tuple[Array, Array, Array]:
    """Singular values shrunk by t: the matrix, its derivative and the matrix of directions, dense (Beck 2017, 7.2)."""
    u, s, w = np.linalg.svd(v.reshape(shape), full_matrices=True)
    k, (m, n) = len(s), shape
    f = np.maximum(s - t, 0)
    both = np.zeros((m, n))
    both[:k, :k] = np.diag(f)
    columns = []
    for unit in np.eye(m * n):
        z = u.T @ unit.reshape(shape) @ w.T
        out = z.copy()
        head = z[:k, :k]
        even, odd = (head + head.T) / 2, (head - head.T) / 2
        gap, total = s[:, None] - s, s[:, None] + s
        same = np.abs(gap) < 1e-12
        slope = np.where(same, (s > t)[:, None].astype(float), (f[:, None] - f) / np.where(same, 1.0, gap))
        out[:k, :k] = slope * even + (f[:, None] + f) / total * odd
        out[k:, :k] = z[k:, :k] * (f / s)
        out[:k, k:] = (f / s)[:, None] * z[:k, k:]
        columns.append((u @ out @ w).ravel())
    directions = np.zeros((m, n))
    directions[:k, :k] = np.diag((s > t).astype(float))
    return (u @ both @ w).ravel(), np.stack(columns, axis=1), (u @ directions @ w).ravel()


@pytest.mark.parametrize("shape", [(4, 5), (6, 4)])
@pytest.mark.parametrize("blurred", [False, True], ids=["denoising", "behind a matrix"])
def test_the_nuclear_norm(blurred: bool, shape: tuple[int, int], rng: np.random.Generator) -> None:
    m, n = shape
    low = rng.standard_normal((m, 2)) @ rng.standard_normal((2, n))
    A = design(rng, m * n + 3, m * n, 3.0) if blurred else np.eye(m * n)
    y, c, lam = (
        A @ (low + 0.1 * rng.standard_normal(shape)).ravel(),
        rng.standard_normal(shape),
        0.1 if blurred else 0.5,
    )
    yp, lp = parameter(y, "y"), weight(lam)
    X = oa.Variable(shape, name="X")
    flat = oa.Reshape(shape, (m * n,)) @ X
    fit = 0.5 * oa.sum_squares((oa.Matrix(A) @ flat if blurred else flat) - yp)
    solution, g = gradients(fit + lp * oa.nuclear_norm(X), c, [yp, lp])
    x, w, u, tau = through_prox(A, y, solution.x.ravel(), lambda v, t: shrink_values(v, shape, lam * t)[:2], c.ravel())
    assert np.linalg.matrix_rank(x.reshape(shape), tol=1e-8) == 2
    directions = shrink_values(x - tau * A.T @ (A @ x - y), shape, lam * tau)[2]
    assert error(g[yp], A @ w) <= ACCURACY
    assert error(g[lp], -tau * directions @ u) <= ACCURACY


def onto_cone(v: Array) -> tuple[Array, Array]:
    """The projection onto the second-order cone outside of it and of its polar, and the derivative."""
    s, rest = v[0], v[1:]
    length = np.linalg.norm(rest)
    assert length > abs(s)
    unit = rest / length
    P = np.zeros((len(v), len(v)))
    P[0, 0], P[0, 1:], P[1:, 0] = 0.5, 0.5 * unit, 0.5 * unit
    P[1:, 1:] = 0.5 * ((1 + s / length) * np.eye(len(rest)) - s / length * np.outer(unit, unit))
    return (s + length) / 2 * np.concatenate([[1.0], unit]), P


def test_the_second_order_cone(rng: np.random.Generator) -> None:
    A, y, c = design(rng, 9, 6, 4.0), 2 * rng.standard_normal(9), rng.standard_normal(6)
    Ap, yp = parameter(A, "A"), parameter(y, "y")
    x = oa.Variable(6, name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(Ap) @ x - yp)
    solution, g = gradients(fit + oa.indicator(oa.second_order_cone, x), c, [Ap, yp])
    exact, w, _, _ = through_prox(A, y, solution.x, lambda v, t: onto_cone(v), c)
    assert error(g[yp], A @ w) <= ACCURACY
    assert error(g[Ap], -(np.outer(A @ exact - y, w) + np.outer(A @ w, exact))) <= ACCURACY


def test_the_cone_of_positive_matrices(rng: np.random.Generator) -> None:
    Y, c = rng.standard_normal((5, 5)), rng.standard_normal((5, 5))
    Y = Y + Y.T
    yp = parameter(Y, "Y")
    X = oa.Variable((5, 5), name="X")
    solution, g = gradients(0.5 * oa.sum_squares(X - yp) + oa.indicator(oa.psd_cone, X), c, yp)
    s, U = np.linalg.eigh(Y)
    f = np.maximum(s, 0)
    assert 0 < np.count_nonzero(f) < 5
    slope = np.where(np.eye(5, dtype=bool), (s > 0).astype(float), (f[:, None] - f) / (s[:, None] - s + np.eye(5)))
    exact = U @ (slope * (U.T @ (c + c.T) @ U / 2)) @ U.T
    assert error(solution.x, (U * f) @ U.T) <= 1e-10
    assert error(g[yp], exact) <= ACCURACY


def test_bounds_for_each_entry_behind_an_operator(rng: np.random.Generator) -> None:
    # lower <= x <= upper with a kink of its own inside: l1 between bounds.
    A, y, c, lam = design(rng, 14, 9, 5.0), 3 * rng.standard_normal(14), rng.standard_normal(9), 0.5
    lo, up = -rng.uniform(0.6, 1.5, 9), rng.uniform(0.6, 1.5, 9)
    yp, lp, lower, upper = parameter(y, "y"), weight(lam), parameter(lo, "lower"), parameter(up, "upper")
    x = oa.Variable(9, name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp)
    energy = fit + lp * oa.norm1(x) + oa.indicator(x >= lower) + oa.indicator(x <= upper)
    solution, g = gradients(energy, c, [yp, lp, lower, upper])
    exact = LeastSquares([Penalty(np.eye(9), lam)], solution.x, c, lo, up, A=A, y=y)
    assert exact.at_lower.any() and exact.at_upper.any() and not exact.active[0].all() and exact.free.shape[1]
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[lower], exact.by_bounds()[0]) <= ACCURACY
    assert error(g[upper], exact.by_bounds()[1]) <= ACCURACY


def test_bounds_on_differences(rng: np.random.Generator) -> None:
    # Differences of a signal between bounds: half spaces behind an operator.
    n = 10
    y, c = np.cumsum(rng.standard_normal(n)), rng.standard_normal(n)
    K = np.eye(n - 1, n, k=1) - np.eye(n - 1, n)
    bound = np.full(n - 1, 0.4)
    yp, bp = parameter(y, "y"), parameter(bound, "bound")
    x = oa.Variable(n, name="x")
    solution, g = gradients(0.5 * oa.sum_squares(x - yp) + oa.indicator(oa.Matrix(K) @ x <= bp), c, [yp, bp])
    tight = K @ solution.x > 0.4 - 1e-7
    assert 0 < tight.sum() < n - 1
    w, q = saddle(np.eye(n), K[tight], c)
    by_bound = np.zeros(n - 1)
    by_bound[tight] = q
    assert error(g[yp], w) <= ACCURACY
    assert error(g[bp], by_bound) <= ACCURACY
