"""Energies whose gradients have closed forms: opalg's relative errors at tolerances of 1e-12, against dense solves."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from gradient_cases import factors, relative, values

import opalg as oa

CASES: dict[str, Callable[[np.random.Generator], float]] = {}


def case(name: str) -> Callable[[Callable[[np.random.Generator], float]], Any]:
    """Register a case under a name."""

    def register(function: Callable[[np.random.Generator], float]) -> Any:
        CASES[name] = function
        return function

    return register


def solved(energy: Any, c: np.ndarray, wrt: list[Any], plan: Any = None) -> tuple[np.ndarray, Any]:
    """The solution and the gradients of ``<c, x>`` in parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solution = (plan or oa.compile(energy)).solve(tol=1e-12, max_iter=100_000, on_failure="return")
        return solution.x, solution.vjp(c, wrt, tol=1e-12, on_inexact="return")


def worst(found: Any, wanted: dict[Any, Any]) -> float:
    """The largest relative error."""
    return max(relative(found[p], w) for p, w in wanted.items())


def matrix(rng: np.random.Generator, rows: int, columns: int, condition: float = 9.0) -> np.ndarray:
    """A matrix with geometric singular values."""
    u, v = factors(rng, min(rows, columns), max(rows, columns))
    A = (u * values(min(rows, columns), condition)) @ v
    return np.ascontiguousarray(A if rows <= columns else A.T)


@case("ridge")
def _(rng: np.random.Generator) -> float:
    A, y, c, lam = matrix(rng, 12, 8), rng.standard_normal(12), rng.standard_normal(8), 0.3
    M, yp, lp = oa.Parameter(A), oa.Parameter(y), oa.Parameter(lam, nonneg=True)
    x = oa.Variable((8,))
    _, g = solved(0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + 0.5 * lp * oa.sum_squares(x), c, [M, yp, lp])
    H = A.T @ A + lam * np.eye(8)
    exact, w = np.linalg.solve(H, A.T @ y), np.linalg.solve(H, c)
    by_matrix = -(np.outer(A @ exact - y, w) + np.outer(A @ w, exact))
    return worst(g, {lp: -exact @ w, yp: A @ w, M: by_matrix})


@case("periodic deblurring, quadratic")
def _(rng: np.random.Generator) -> float:
    n, lam, k = 24, 0.2, rng.uniform(0.1, 1.0, 5)
    k /= k.sum()
    y, c = rng.standard_normal(n), rng.standard_normal(n)
    kp, yp, lp = oa.Parameter(k), oa.Parameter(y), oa.Parameter(lam, nonneg=True)
    x = oa.Variable((n,))
    smoothness = oa.sum_squares(oa.Gradient((n,), boundary="periodic") @ x)
    _, g = solved(0.5 * oa.sum_squares(oa.Convolve(kp, (n,)) @ x - yp) + 0.5 * lp * smoothness, c, [kp, yp, lp])
    shifts = [np.roll(np.eye(n), i - 2, 0) for i in range(5)]
    K = sum(weight * shift for weight, shift in zip(k, shifts, strict=True))
    D = np.roll(np.eye(n), 1, 1) - np.eye(n)
    H = K.T @ K + lam * D.T @ D
    exact, w = np.linalg.solve(H, K.T @ y), np.linalg.solve(H, c)
    r = K @ exact - y
    by_kernel = np.array([-(r @ S @ w + (K @ w) @ (S @ exact)) for S in shifts])
    return worst(g, {lp: -(D @ exact) @ (D @ w), yp: K @ w, kp: by_kernel})


@case("soft threshold")
def _(rng: np.random.Generator) -> float:
    y, c = np.array([3.0, -2.0, 0.4, -0.3, 0.0]), rng.standard_normal(5)
    yp, lp = oa.Parameter(y), oa.Parameter(0.5, nonneg=True)
    x = oa.Variable((5,))
    _, g = solved(0.5 * oa.sum_squares(x - yp) + lp * oa.norm1(x), c, [yp, lp])
    kept = np.abs(y) > 0.5
    return worst(g, {yp: c * kept, lp: -np.sign(y * kept) @ c})


def weighted_lasso(rng: np.random.Generator, condition: float, beta: float) -> float:
    """A lasso with weights, or with ``beta`` an elastic net, on the support that was found."""
    A, y, c = matrix(rng, 20, 12, condition), 3 * rng.standard_normal(20), rng.standard_normal(12)
    lam, v = 0.1 * np.max(np.abs(A.T @ y)), rng.uniform(0.8, 1.2, 12)
    M, yp = oa.Parameter(A), oa.Parameter(y)
    lp, vp, bp = (oa.Parameter(a, nonneg=True) for a in (lam, v, beta))
    x = oa.Variable((12,))
    energy = 0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + lp * oa.norm1(x, weights=vp)
    wrt = [M, yp, lp, vp] + ([bp] if beta else [])
    found, g = solved(energy + (0.5 * bp * oa.sum_squares(x) if beta else 0), c, wrt)
    S = np.abs(found) > 1e-9
    s, H = np.sign(found), A[:, S].T @ A[:, S] + beta * np.eye(S.sum())
    exact, w = np.zeros(12), np.zeros(12)
    exact[S], w[S] = np.linalg.solve(H, A[:, S].T @ y - (lam * v * s)[S]), np.linalg.solve(H, c[S])
    by_matrix = -(np.outer(A @ exact - y, w) + np.outer(A @ w, exact))
    wanted = {M: by_matrix, yp: A @ w, lp: -(v * s * S) @ w, vp: -lam * s * w}
    return worst(g, wanted | ({bp: -exact @ w} if beta else {}))


@case("weighted lasso, condition 9")
def _(rng: np.random.Generator) -> float:
    return weighted_lasso(rng, 9.0, 0.0)


@case("weighted lasso, condition 1000")
def _(rng: np.random.Generator) -> float:
    return weighted_lasso(rng, 1e3, 0.0)


@case("elastic net")
def _(rng: np.random.Generator) -> float:
    return weighted_lasso(rng, 9.0, 0.05)


@case("group lasso")
def _(rng: np.random.Generator) -> float:
    A, c = matrix(rng, 30, 12), rng.standard_normal((4, 3))
    y = A @ np.concatenate([rng.uniform(1, 2, 6), np.zeros(6)]) + 0.01 * rng.standard_normal(30)
    lam = 0.2 * max(np.linalg.norm((A.T @ y)[3 * i : 3 * i + 3]) for i in range(4))
    yp, lp = oa.Parameter(y), oa.Parameter(lam, nonneg=True)
    x = oa.Variable((4, 3))
    operator = oa.Matrix(A) @ oa.Reshape((4, 3), (12,))
    found, g = solved(0.5 * oa.sum_squares(operator @ x - yp) + lp * oa.norm21(x, axis=1), c, [yp, lp])
    S = np.repeat(np.linalg.norm(found, axis=1) > 1e-9, 3)
    size = np.linalg.norm(found, axis=1)
    n = found / np.where(size > 1e-9, size, 1.0)[:, None]
    Q = np.zeros((12, 12))
    for i in range(4):
        if size[i] > 1e-9:
            Q[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = lam / size[i] * (np.eye(3) - np.outer(n[i], n[i]))
    w = np.zeros(12)
    w[S] = np.linalg.solve((A.T @ A + Q)[np.ix_(S, S)], c.ravel()[S])
    return worst(g, {yp: A @ w, lp: -n.ravel() @ w})


@case("box, with its bound")
def _(rng: np.random.Generator) -> float:
    A, y, c = matrix(rng, 16, 10), 2 * rng.standard_normal(16), rng.standard_normal(10)
    yp, bp = oa.Parameter(y), oa.Parameter(0.8 * np.ones(10))
    x = oa.Variable((10,))
    found, g = solved(0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + oa.indicator(oa.box(0, bp), x), c, [yp, bp])
    H, U = A.T @ A, found >= 0.8 - 1e-9
    F = (found > 1e-9) & ~U
    w = np.zeros(10)
    w[F] = np.linalg.solve(H[np.ix_(F, F)], c[F])
    return worst(g, {yp: A @ w, bp: np.where(U, c - H @ w, 0.0)})


@case("1-D TV denoising")
def _(rng: np.random.Generator) -> float:
    n = 40
    y = np.repeat([0.0, 2.0, -1.0, 1.0], 10) + 0.1 * rng.standard_normal(n)
    c, yp, lp = rng.standard_normal(n), oa.Parameter(y), oa.Parameter(0.7, nonneg=True)
    x = oa.Variable((n,))
    found, g = solved(0.5 * oa.sum_squares(x - yp) + lp * oa.norm1(oa.Gradient((n,)) @ x), c, [yp, lp])
    jumps = np.diff(found) * (np.abs(np.diff(found)) > 1e-6)
    label = np.concatenate([[0], np.cumsum(jumps != 0)])
    mean = (np.bincount(label, c) / np.bincount(label))[label]
    return worst(g, {yp: mean, lp: -np.sign(jumps) @ np.diff(mean)})


@case("linear map, spectral radius 0.99")
def _(rng: np.random.Generator) -> float:
    B = rng.standard_normal((20, 20))
    B *= 0.99 / np.max(np.abs(np.linalg.eigvals(B)))
    b, c = rng.standard_normal(20), rng.standard_normal(20)
    Bp, bp = oa.Parameter(B), oa.Parameter(b)
    x = oa.Variable((20,))
    _, g = solved(None, c, [Bp, bp], oa.fixed_point(x, oa.Matrix(Bp) @ x + bp))
    u, exact = np.linalg.solve(np.eye(20) - B.T, c), np.linalg.solve(np.eye(20) - B, b)
    return worst(g, {bp: u, Bp: np.outer(u, exact)})


@case("Fourier mask weights, complex")
def _(rng: np.random.Generator) -> float:
    n, lam, m = 16, 0.3, rng.uniform(0.5, 1.5, 16)
    y = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    c = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    mp, yp, lp = oa.Parameter(m), oa.Parameter(y), oa.Parameter(lam, nonneg=True)
    x = oa.Variable((n,), dtype=np.complex128)
    operator = oa.Diagonal(mp) @ oa.FFT((n,))
    _, g = solved(0.5 * oa.sum_squares(operator @ x - yp) + 0.5 * lp * oa.sum_squares(x), c, [mp, yp, lp])
    F = np.fft.fft(np.eye(n), norm="ortho")
    A = m[:, None] * F
    H = A.conj().T @ A + lam * np.eye(n)
    exact, w = np.linalg.solve(H, A.conj().T @ y), np.linalg.solve(H, c)
    r = A @ exact - y
    by_mask = -np.real(np.conj(F @ w) * r + np.conj(F @ exact) * (A @ w))
    error = np.linalg.norm(g[yp] - A @ w) / np.linalg.norm(A @ w)
    return max(float(error), worst(g, {mp: by_mask, lp: -np.vdot(exact, w).real}))
