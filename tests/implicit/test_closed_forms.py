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
    shape = (5, 3)
    k = np.array([[0.1, 0.2, 0.0], [0.1, 1.0, -0.2], [0.0, 0.1, 0.05]])
    K = periodic_matrix(k, shape)
    y, c = 3 * rng.standard_normal(shape), rng.standard_normal(shape)
    lam = 0.5 * np.max(np.linalg.norm((K.T @ y.ravel()).reshape(shape), axis=1))
    yp, lp = oa.Parameter(y, name="y"), oa.Parameter(lam, name="lambda", nonneg=True)
    x = oa.Variable(shape, name="x")
    energy = 0.5 * oa.sum_squares(oa.Convolve(k, shape) @ x - yp) + lp * oa.norm21(x, axis=1)
    found, _, g = gradients(energy, c, [yp, lp], method="proximal_gradient")
    norms = np.linalg.norm(found, axis=1)
    S = np.repeat(norms > 1e-9, 3)
    assert 0 < S.sum() < 15
    Q, n = np.zeros((15, 15)), np.zeros(15)
    for i in np.flatnonzero(norms > 1e-9):
        unit = found[i] / norms[i]
        Q[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = lam / norms[i] * (np.eye(3) - np.outer(unit, unit))
        n[3 * i : 3 * i + 3] = unit
    w = np.zeros(15)
    w[S] = np.linalg.solve((K.T @ K + Q)[np.ix_(S, S)], c.ravel()[S])
    assert close(np.ravel(g[yp]), K @ w)
    assert close(g[lp], np.array(-n @ w))


def test_box_with_parameters_for_bounds(rng: np.random.Generator) -> None:
    A, y, c = design(rng, 12, 8), 2 * rng.standard_normal(12), rng.standard_normal(8)
    yp, mu = oa.Parameter(y, name="y"), oa.Parameter(0.1, name="mu", nonneg=True)
    upper, lower = oa.Parameter(np.full(8, 1.5), name="upper"), oa.Parameter(np.full(8, -1.0), name="lower")
    x = oa.Variable(8, name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + 0.5 * mu * oa.sum_squares(x)
    energy = fit + oa.indicator(x <= upper) + oa.indicator(x >= lower)
    found, _, g = gradients(energy, c, [yp, mu, upper, lower])
    U, L = found >= 1.5 - 1e-9, found <= -1.0 + 1e-9
    F = ~(U | L)
    assert U.any() and L.any() and F.any()
    H = A.T @ A + 0.1 * np.eye(8)
    w = np.zeros(8)
    w[F] = np.linalg.solve(H[np.ix_(F, F)], c[F])
    assert close(g[yp], A @ w)
    assert close(g[mu], -found @ w)
    moved = c - H @ w
    assert close(g[upper], np.where(U, moved, 0.0))
    assert close(g[lower], np.where(L, moved, 0.0))


def test_nonnegative_least_squares(rng: np.random.Generator) -> None:
    A, y, c = design(rng, 12, 8), 2 * rng.standard_normal(12), rng.standard_normal(8)
    M, yp = oa.Parameter(A, name="A"), oa.Parameter(y, name="y")
    x = oa.Variable(8, name="x")
    found, _, g = gradients(0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + oa.indicator(x >= 0), c, [M, yp])
    F = found > 1e-9
    assert 0 < F.sum() < 8
    w, exact = np.zeros(8), np.zeros(8)
    w[F] = np.linalg.solve(A[:, F].T @ A[:, F], c[F])
    exact[F] = np.linalg.lstsq(A[:, F], y)[0]
    assert close(g[yp], A @ w)
    assert close(g[M], -(np.outer(A @ exact - y, w) + np.outer(A @ w, exact)))


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
@pytest.mark.parametrize("lam", [0.3, 50.0])
def test_one_dimensional_total_variation_averages_over_segments(
    lam: float, boundary: str, rng: np.random.Generator
) -> None:
    n = 12
    y = np.repeat([0.0, 2.0, -1.0], 4) + 0.2 * rng.standard_normal(n)
    c = rng.standard_normal(n)  # not constant on segments
    yp, lp = oa.Parameter(y, name="y"), oa.Parameter(lam, name="lambda", nonneg=True)
    x, D = oa.Variable(n, name="x"), oa.Gradient((n,), boundary=boundary)
    energy = 0.5 * oa.sum_squares(x - yp) + lp * oa.norm1(D @ x)
    for method in ("admm", "primal_dual") if boundary == "periodic" else ("primal_dual",):
        found, _, g = gradients(energy, c, [yp, lp], method=method)
        d = np.eye(n, k=1) - np.eye(n)
        d[-1] = 0.0
        if boundary == "periodic":
            d[-1, -1], d[-1, 0] = -1.0, 1.0
        jumps = np.where(np.abs(d @ found) > 1e-7, np.sign(d @ found), 0.0)
        still = d[jumps == 0]
        P = np.eye(n) - np.linalg.pinv(still) @ still
        assert jumps.any() == (lam < 1)
        assert close(g[yp], P @ c)
        assert abs(float(g[lp]) + (d.T @ jumps) @ P @ c) <= ACCURACY * np.linalg.norm(c)


@pytest.mark.parametrize("radius", [0.5, 0.9, 0.99])
def test_linear_fixed_point(radius: float, rng: np.random.Generator) -> None:
    B = rng.standard_normal((10, 10))
    B *= radius / np.max(np.abs(np.linalg.eigvals(B)))
    check_linear(B, rng)


def test_linear_fixed_point_far_from_normal(rng: np.random.Generator) -> None:
    B = 0.5 * np.eye(6) + np.triu(rng.standard_normal((6, 6)), 1)
    B[0, 5] = 10.0
    check_linear(B, rng)


def check_linear(B: np.ndarray, rng: np.random.Generator) -> None:
    n = len(B)
    b, c = rng.standard_normal(n), rng.standard_normal(n)
    Bp, bp = oa.Parameter(B, name="B"), oa.Parameter(b, name="b")
    x = oa.Variable(n, name="x")
    solution = oa.fixed_point(x, oa.Matrix(Bp) @ x + bp).solve(tol=1e-13, on_failure="return")
    exact, u = np.linalg.solve(np.eye(n) - B, b), np.linalg.solve((np.eye(n) - B).T, c)
    assert close(solution.x, exact)
    g = solution.vjp(c, [Bp, bp], tol=1e-13, on_inexact="return")
    assert close(g[bp], u)
    assert close(g[Bp], np.outer(u, exact))
    d = rng.standard_normal(n)
    assert close(solution.jvp({bp: d}, tol=1e-13, on_inexact="return"), np.linalg.solve(np.eye(n) - B, d))


@pytest.mark.parametrize("a", [0.5, 0.95])
def test_scalar_tanh(a: float) -> None:
    x = oa.Variable(1, name="x")
    ap, bp = oa.Parameter(a, name="a"), oa.Parameter(np.array([0.3]), name="b")
    image = oa.apply(np.tanh, ap * x + bp, vjp=lambda v, u: u * (1 - np.tanh(v) ** 2))
    solution = oa.fixed_point(x, image).solve(tol=1e-14, on_failure="return")
    v = float(solution.x[0])
    assert v == pytest.approx(np.tanh(a * v + 0.3), rel=1e-12)
    g = solution.vjp(np.ones(1), [ap, bp])
    u = 1 / (1 - a * (1 - v**2))
    assert float(g[ap]) == pytest.approx(u * v * (1 - v**2), rel=ACCURACY)
    assert float(g[bp][0]) == pytest.approx(u * (1 - v**2), rel=ACCURACY)


# Identities.


def lasso(rng: np.random.Generator) -> tuple[oa.Energy, list[oa.Parameter]]:
    A, y = design(rng, 14, 9), 3 * rng.standard_normal(14)
    yp = oa.Parameter(y, name="y")
    lp = oa.Parameter(0.2 * float(np.max(np.abs(A.T @ y))), name="lambda", nonneg=True)
    x = oa.Variable(9, name="x")
    return 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + lp * oa.norm1(x), [yp, lp]


@pytest.mark.parametrize("factor", [1e-8, 1e-4, -1.0, 1e4, 1e8])
def test_the_gradient_is_linear_in_the_cotangent(factor: float, rng: np.random.Generator) -> None:
    energy, parameters = lasso(rng)
    solution, c = SOLVE(oa.compile(energy)), rng.standard_normal(9)
    one, many = solution.vjp(c, parameters), solution.vjp(factor * c, parameters)
    for p in parameters:
        assert close(many[p] / factor, one[p], 1e-10)


def test_the_start_and_the_step_change_no_gradient(rng: np.random.Generator) -> None:
    energy, parameters = lasso(rng)
    plan, c = oa.compile(energy), rng.standard_normal(9)
    first = SOLVE(plan).vjp(c, parameters)
    for options in ({"x0": rng.standard_normal(9)}, {"step": 0.3}):
        other = SOLVE(plan, **options).vjp(c, parameters)
        for p in parameters:
            assert close(other[p], first[p])


def test_every_forward_method_gives_the_same_gradient(rng: np.random.Generator) -> None:
    shape = (6, 6)
    y, c = rng.standard_normal(shape), rng.standard_normal(shape)
    yp, lp = oa.Parameter(y, name="y"), oa.Parameter(0.05, name="lambda", nonneg=True)
    x, k = oa.Variable(shape, name="x"), np.array([[0.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.1, 0.0]])
    energy = 0.5 * oa.sum_squares(oa.Convolve(k, shape) @ x - yp) + lp * oa.norm1(oa.Wavelet(shape, "haar", 1) @ x)
    found = [gradients(energy, c, [yp, lp], method=m)[2] for m in ("proximal_gradient", "admm")]
    for p in (yp, lp):
        assert close(found[0][p], found[1][p])


def test_samples_add_up(rng: np.random.Generator) -> None:
    energy, parameters = lasso(rng)
    solution, cs = SOLVE(oa.compile(energy)), rng.standard_normal((3, 9))
    together = solution.vjp(cs.sum(axis=0), parameters)
    apart = [solution.vjp(c, parameters) for c in cs]
    for p in parameters:
        assert close(together[p], sum(g[p] for g in apart), 1e-9)


def test_forward_and_backward_agree(rng: np.random.Generator) -> None:
    energy, parameters = lasso(rng)
    solution, c = SOLVE(oa.compile(energy)), rng.standard_normal(9)
    g = solution.vjp(c, parameters, tol=1e-14, on_inexact="return")
    directions = {p: rng.standard_normal(p.shape) for p in parameters}
    moved = solution.jvp(directions, tol=1e-14, on_inexact="return")
    assert c @ moved == pytest.approx(sum(np.sum(g[p] * d) for p, d in directions.items()), rel=1e-11)


def test_complex_data_follow_the_real_inner_product(rng: np.random.Generator) -> None:
    shape = (4, 5)
    mask = rng.random(shape) < 0.6
    mask[0, 0] = True
    data = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    c = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    m, lp = oa.Parameter(data, name="data"), oa.Parameter(0.2, name="lambda", nonneg=True)
    x = oa.Variable(shape, name="x", dtype=complex)
    energy = 0.5 * oa.sum_squares(oa.Mask(mask) @ oa.FFT(shape) @ x - m) + 0.5 * lp * oa.sum_squares(x)
    found, _, g = gradients(energy, c, [m, lp])
    spectrum = mask / (mask + 0.2)
    exact = np.fft.ifft2(spectrum * data, norm="ortho")
    w = np.fft.ifft2(np.fft.fft2(c, norm="ortho") / (mask + 0.2), norm="ortho")
    assert close(found, exact)
    assert close(g[m], mask * np.fft.fft2(w, norm="ortho"))
    assert close(g[lp], np.array(-np.sum(np.conj(exact) * w).real))
