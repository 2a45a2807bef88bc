"""Gradients through terms behind operators, against dense references on the manifold of the minimiser, to 1e-9."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.implicit.contract_cases import (
    ACCURACY,
    LeastSquares,
    Penalty,
    Reference,
    convolution,
    design,
    difference,
    error,
    gradients,
    image_gradient,
    parameter,
    weight,
)

Array = np.ndarray
KERNEL = np.array([[0.02, 0.08, 0.05], [0.1, 0.5, 0.1], [0.03, 0.1, 0.02]])


def blocks(shape: tuple[int, ...], rng: np.random.Generator, noise: float = 0.1) -> Array:
    """A piecewise constant signal or image with noise."""
    out = np.zeros(shape)
    out[tuple(slice(n // 4, 3 * n // 4) for n in shape)] = 2.0
    out[tuple(slice(n // 2, None) for n in shape)] -= 1.0
    return out + noise * rng.standard_normal(shape)


def pairs(size: int) -> Array:
    """The rows of both differences at each pixel."""
    return np.stack([np.arange(size), np.arange(size, 2 * size)], axis=1)


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
@pytest.mark.parametrize("lam", [0.3, 60.0], ids=["segments", "one segment"])
@pytest.mark.parametrize("method", ["auto", "primal_dual"])
def test_total_variation_of_a_signal(method: str, lam: float, boundary: str, rng: np.random.Generator) -> None:
    n = 24
    y, c = blocks((n,), rng), rng.standard_normal(n)  # a cotangent constant on segments would prove nothing
    yp, lp = parameter(y, "y"), weight(lam)
    x = oa.Variable(n, name="x")
    energy = 0.5 * oa.sum_squares(x - yp) + lp * oa.total_variation(x, boundary=boundary)
    solution, g = gradients(energy, c, [yp, lp], method=method)
    jumps = np.abs(difference(n, boundary) @ solution.x) > 1e-6
    if lam > 1:
        assert not jumps.any()
        assert error(g[yp], np.full(n, c.mean())) <= ACCURACY
        assert abs(float(g[lp])) <= ACCURACY * np.linalg.norm(c)
        return
    exact = LeastSquares([Penalty(difference(n, boundary), lam)], solution.x, c, A=np.eye(n), y=y)
    assert 2 < exact.free.shape[1] < n
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY


@pytest.mark.parametrize("isotropic", [False, True], ids=["anisotropic", "isotropic"])
@pytest.mark.parametrize("side", [12, 16])
def test_total_variation_deblurring(side: int, isotropic: bool, rng: np.random.Generator) -> None:
    shape, lam = (side, side), 0.12
    K = convolution(KERNEL, shape)
    y, c = (K @ blocks(shape, rng).ravel()).reshape(shape), rng.standard_normal(shape)
    kp, yp, lp = parameter(KERNEL, "k"), parameter(y, "y"), weight(lam)
    x = oa.Variable(shape, name="x")
    variation = oa.total_variation(x, isotropic=isotropic)
    energy = 0.5 * oa.sum_squares(oa.Convolve(kp, shape) @ x - yp) + lp * variation
    solution, g = gradients(energy, c, [kp, yp, lp], max_iter=20_000)
    penalty = Penalty(image_gradient(shape), lam, pairs(side**2) if isotropic else None)
    exact = LeastSquares([penalty], solution.x.ravel(), c.ravel(), A=K, y=y.ravel())
    assert 2 < exact.free.shape[1] < side**2
    assert error(g[yp], exact.by_data().reshape(shape)) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[kp], exact.by_kernel(KERNEL.shape, shape)) <= ACCURACY


def test_total_variation_under_a_sign_constraint(rng: np.random.Generator) -> None:
    shape, lam = (8, 8), 0.1
    K = convolution(KERNEL, shape)
    y, c = blocks(shape, rng) - 0.4, rng.standard_normal(shape)
    kp, yp, lp = parameter(KERNEL, "k"), parameter(y, "y"), weight(lam)
    x = oa.Variable(shape, name="x")
    fit = 0.5 * oa.sum_squares(oa.Convolve(kp, shape) @ x - yp)
    energy = fit + lp * oa.total_variation(x, isotropic=False) + oa.indicator(x >= 0)
    solution, g = gradients(energy, c, [kp, yp, lp])
    penalty = Penalty(image_gradient(shape), lam)
    exact = LeastSquares([penalty], solution.x.ravel(), c.ravel(), np.zeros(64), A=K, y=y.ravel())
    assert exact.at_lower.any() and 2 < exact.free.shape[1] < 64
    assert error(g[yp], exact.by_data().reshape(shape)) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[kp], exact.by_kernel(KERNEL.shape, shape)) <= ACCURACY


def check_analysis(M: Array, A: Array, y: Array, lam: float, c: Array, **options: Any) -> None:
    """Analysis by a dense matrix: gradients in the data, the weight, both matrices and the offset."""
    offset = np.zeros(len(M))
    Mp, Ap, yp, lp, op = parameter(M, "K"), parameter(A, "A"), parameter(y, "y"), weight(lam), parameter(offset, "b")
    x = oa.Variable(A.shape[1], name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(Ap) @ x - yp) + lp * oa.norm1(oa.Matrix(Mp) @ x - op)
    solution, g = gradients(energy, c, [Mp, Ap, yp, lp, op], **options)
    exact = LeastSquares([Penalty(M, lam)], solution.x, c, A=A, y=y)
    assert 0 < exact.active[0].sum() < len(M)
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[Ap], exact.by_design()) <= ACCURACY
    assert error(g[Mp], exact.by_matrix()) <= ACCURACY
    assert error(g[op], exact.by_offset()) <= ACCURACY


def test_fused_lasso_with_a_dense_matrix(rng: np.random.Generator) -> None:
    n = 12
    K = np.concatenate([difference(n)[:-1], 0.3 * np.eye(n)[[2]]])
    check_analysis(K, design(rng, 16, n, 5.0), 3 * blocks((16,), rng), 0.5, rng.standard_normal(n))


@pytest.mark.parametrize("rows", [7, 10], ids=["wide", "square"])
def test_analysis_by_a_random_matrix(rows: int, rng: np.random.Generator) -> None:
    K, A = rng.standard_normal((rows, 10)), design(rng, 14, 10, 5.0)
    check_analysis(K, A, 3 * rng.standard_normal(14), 0.3, rng.standard_normal(10))


def test_analysis_by_a_tall_matrix(rng: np.random.Generator) -> None:
    # More rows than unknowns: at the minimiser the still rows are fewer than the unknowns all the same.
    K, A = rng.standard_normal((15, 10)), design(rng, 14, 10, 5.0)
    check_analysis(K, A, 3 * rng.standard_normal(14), 0.12, rng.standard_normal(10))


def test_total_variation_with_weights_of_edges(rng: np.random.Generator) -> None:
    n = 16
    y, c, d = blocks((n,), rng), rng.standard_normal(n), rng.uniform(0.1, 0.5, n)
    yp, dp = parameter(y, "y"), parameter(d, "weights", nonneg=True)
    x = oa.Variable(n, name="x")
    energy = 0.5 * oa.sum_squares(x - yp) + oa.norm1(oa.FiniteDifference((n,), 0) @ x, weights=dp)
    solution, g = gradients(energy, c, [yp, dp])
    exact = LeastSquares([Penalty(difference(n), d)], solution.x, c, A=np.eye(n), y=y)
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[dp], exact.by_weight()) <= ACCURACY


@pytest.mark.parametrize("shared", [False, True], ids=["disjoint", "overlapping"])
def test_groups(shared: bool, rng: np.random.Generator) -> None:
    n = 12
    groups = [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 10, 11, 0]] if shared else np.arange(n).reshape(4, 3)
    A, y, c = design(rng, 15, n, 5.0), 3 * rng.standard_normal(15), rng.standard_normal(n)
    y = A @ np.concatenate([2 * rng.standard_normal(4), 0.02 * rng.standard_normal(n - 4)]) + 0.02 * y
    lam = 0.15
    wp = parameter(lam * np.ones(4), "weights", nonneg=True)
    Ap, yp = parameter(A, "A"), parameter(y, "y")
    x = oa.Variable(n, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(Ap) @ x - yp) + oa.group_norm(x, groups, weights=wp)
    solution, g = gradients(energy, c, [Ap, yp, wp])
    K = np.eye(n)[np.ravel(groups)]
    sets = np.arange(len(K)).reshape(4, -1)
    exact = LeastSquares([Penalty(K, lam, sets)], solution.x, c, A=A, y=y)
    assert 0 < exact.active[0].sum() < 4
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[wp], exact.by_weight()) <= ACCURACY
    assert error(g[Ap], exact.by_design()) <= ACCURACY


FRAMES = {
    "wavelet": lambda shape: oa.Wavelet(shape, "db2", 1),
    "undecimated": lambda shape: oa.UndecimatedWavelet(shape, "haar", 1),
    "two bases": lambda shape: oa.vstack([oa.Identity(shape), oa.DCT(shape)]),
}


@pytest.mark.parametrize("name", FRAMES)
def test_analysis_by_tight_frames(name: str, rng: np.random.Generator) -> None:
    n, lam = 16, 0.25
    y, c = 2 * rng.standard_normal(n) + blocks((n,), rng), rng.standard_normal(n)
    k = np.array([0.2, 0.7, 0.1])
    kp, yp, lp = parameter(k, "k"), parameter(y, "y"), weight(lam)
    x, W = oa.Variable(n, name="x"), FRAMES[name]((n,))
    energy = 0.5 * oa.sum_squares(oa.Convolve(kp, (n,)) @ x - yp) + lp * oa.norm1(W @ x)
    solution, g = gradients(energy, c, [kp, yp, lp], max_iter=10_000)
    K = np.stack([np.ravel(W @ unit) for unit in np.eye(n)], axis=1)
    exact = LeastSquares([Penalty(K, lam)], solution.x, c, A=convolution(k, (n,)), y=y)
    assert 0 < exact.free.shape[1] < n
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[kp], exact.by_kernel((3,), (n,))) <= ACCURACY


def test_total_variation_with_a_robust_fit(rng: np.random.Generator) -> None:
    # |x - y|_1 + lam TV + small ridge: both terms have kinks, and the data move the manifold.
    n, lam, mu = 14, 0.7, 0.05
    y, c = blocks((n,), rng, 0.3), rng.standard_normal(n)
    yp, lp, mp = parameter(y, "y"), weight(lam), weight(mu, "mu")
    x = oa.Variable(n, name="x")
    energy = oa.norm1(x - yp) + lp * oa.norm1(oa.Gradient((n,)) @ x) + 0.5 * mp * oa.sum_squares(x)
    solution, g = gradients(energy, c, [yp, lp, mp])
    penalties = [Penalty(np.eye(n), 1.0, offset=y), Penalty(difference(n), lam)]
    exact = Reference(lambda v: mu * v, lambda v: mu * np.eye(n), penalties, solution.x, c)
    assert 0 < exact.active[0].sum() < n and 0 < exact.active[1].sum() < n
    assert error(g[yp], exact.by_offset(0)) <= ACCURACY
    scale = float(np.linalg.norm(c))
    assert abs(float(g[lp]) - exact.by_weight(1).sum()) <= ACCURACY * scale
    assert abs(float(g[mp]) + exact.x @ exact.w) <= ACCURACY * scale


def test_a_robust_fit_behind_a_matrix(rng: np.random.Generator) -> None:
    A, c, beta = rng.standard_normal((15, 6)), rng.standard_normal(6), 0.4
    y = A @ rng.standard_normal(6) + rng.standard_t(1.5, 15)
    Ap, yp, bp = parameter(A, "A"), parameter(y, "y"), weight(beta, "beta")
    x = oa.Variable(6, name="x")
    solution, g = gradients(oa.norm1(oa.Matrix(Ap) @ x - yp) + 0.5 * bp * oa.sum_squares(x), c, [Ap, yp, bp])
    penalty = Penalty(A, 1.0, offset=y)
    exact = Reference(lambda v: beta * v, lambda v: beta * np.eye(6), [penalty], solution.x, c)
    assert 0 < exact.free.shape[1] < 6
    assert error(g[yp], exact.by_offset()) <= ACCURACY
    assert error(g[Ap], exact.by_matrix()) <= ACCURACY
    assert error(g[bp], -exact.x @ exact.w) <= ACCURACY


@pytest.mark.parametrize("isotropic", [False, True], ids=["l1 + l1", "l1 + isotropic"])
def test_two_terms_with_kinks(isotropic: bool, rng: np.random.Generator) -> None:
    shape, lam, mu = (6, 6), 0.15, 0.1
    y, c = blocks(shape, rng), rng.standard_normal(shape)
    kp, yp, lp, mp = parameter(KERNEL, "k"), parameter(y, "y"), weight(lam), weight(mu, "mu")
    x = oa.Variable(shape, name="x")
    fit = 0.5 * oa.sum_squares(oa.Convolve(kp, shape) @ x - yp)
    energy = fit + lp * oa.total_variation(x, isotropic=isotropic) + mp * oa.norm1(x)
    solution, g = gradients(energy, c, [kp, yp, lp, mp])
    K = convolution(KERNEL, shape)
    penalties = [Penalty(image_gradient(shape), lam, pairs(36) if isotropic else None), Penalty(np.eye(36), mu)]
    exact = LeastSquares(penalties, solution.x.ravel(), c.ravel(), A=K, y=y.ravel())
    assert exact.active[0].sum() > 0 and 0 < exact.active[1].sum() < 36
    assert error(g[yp], exact.by_data().reshape(shape)) <= ACCURACY
    assert error(g[lp], exact.by_weight(0).sum()) <= ACCURACY
    assert error(g[mp], exact.by_weight(1).sum()) <= ACCURACY
    assert error(g[kp], exact.by_kernel(KERNEL.shape, shape)) <= ACCURACY


def test_two_analysis_terms(rng: np.random.Generator) -> None:
    n, lam, mu = 12, 0.3, 0.2
    A, y, c = design(rng, 15, n, 5.0), 3 * rng.standard_normal(15), rng.standard_normal(n)
    K = rng.standard_normal((6, n))
    Ap, Kp, yp, lp, mp = parameter(A, "A"), parameter(K, "K"), parameter(y, "y"), weight(lam), weight(mu, "mu")
    x = oa.Variable(n, name="x")
    terms = lp * oa.norm1(oa.Gradient((n,)) @ x) + mp * oa.norm1(oa.Matrix(Kp) @ x)
    solution, g = gradients(0.5 * oa.sum_squares(oa.Matrix(Ap) @ x - yp) + terms, c, [Ap, Kp, yp, lp, mp])
    exact = LeastSquares([Penalty(difference(n), lam), Penalty(K, mu)], solution.x, c, A=A, y=y)
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[lp], exact.by_weight(0).sum()) <= ACCURACY
    assert error(g[mp], exact.by_weight(1).sum()) <= ACCURACY
    assert error(g[Ap], exact.by_design()) <= ACCURACY
    assert error(g[Kp], exact.by_matrix(1)) <= ACCURACY


def test_a_smooth_fit_under_total_variation(rng: np.random.Generator) -> None:
    # Not piecewise quadratic: a logistic-like fit, so no polish is exact in one solve.
    n, lam, scale = 14, 0.25, 0.5
    y, c = 2 * blocks((n,), rng), rng.standard_normal(n)
    yp, lp, sp = parameter(y, "y"), weight(lam), parameter(scale, "scale", positive=True)
    x = oa.Variable(n, name="x")
    fit = oa.log_cosh(x - yp, sp)
    solution, g = gradients(fit + lp * oa.norm1(oa.Gradient((n,)) @ x), c, [yp, lp, sp])
    exact = Reference(
        lambda v: np.tanh((v - y) / scale),
        lambda v: np.diag(1 / np.cosh((v - y) / scale) ** 2) / scale,
        [Penalty(difference(n), lam)],
        solution.x,
        c,
    )
    bent = 1 / np.cosh((exact.x - y) / scale) ** 2 / scale
    assert error(g[yp], bent * exact.w) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[sp], (bent * (exact.x - y) / scale) @ exact.w) <= ACCURACY


def test_square_root_lasso(rng: np.random.Generator) -> None:
    # No term is smooth at first sight; away from its kink the norm of the residual is.
    A, y, c, lam = design(rng, 14, 8, 5.0), rng.standard_normal(14), rng.standard_normal(8), 0.15
    y = A @ np.array([3.0, -2.0, 0, 0, 1.5, 0, 0, -3.0]) + 0.3 * y
    Ap, yp, lp = parameter(A, "A"), parameter(y, "y"), weight(lam)
    x = oa.Variable(8, name="x")
    solution, g = gradients(oa.norm2(oa.Matrix(Ap) @ x - yp) + lp * oa.norm1(x), c, [Ap, yp, lp])
    penalties = [Penalty(A, 1.0, np.arange(14)[None], y), Penalty(np.eye(8), lam)]
    exact = Reference(lambda v: 0 * v, lambda v: np.zeros((8, 8)), penalties, solution.x, c)
    assert 0 < exact.active[1].sum() < 8
    assert error(g[yp], exact.by_offset(0)) <= ACCURACY
    assert error(g[lp], exact.by_weight(1).sum()) <= ACCURACY
    assert error(g[Ap], exact.by_matrix(0)) <= ACCURACY


def test_support_vector_machine(rng: np.random.Generator) -> None:
    # max(0, 1 - t) is half of |1 - t| and half of 1 - t.
    A, labels, c, beta = rng.standard_normal((14, 5)), np.sign(rng.standard_normal(14)), rng.standard_normal(5), 0.8
    Ap, bp = parameter(A, "A"), weight(beta, "beta")
    x = oa.Variable(5, name="x")
    solution, g = gradients(oa.hinge(oa.Matrix(Ap) @ x, labels) + 0.5 * bp * oa.sum_squares(x), c, [Ap, bp])
    penalty = Penalty(labels[:, None] * A, 0.5, offset=np.ones(14))
    slope = -0.5 * A.T @ labels
    exact = Reference(lambda v: beta * v + slope, lambda v: beta * np.eye(5), [penalty], solution.x, c)
    assert 0 < exact.free.shape[1] < 5
    assert error(g[bp], -exact.x @ exact.w) <= ACCURACY
    assert error(g[Ap], labels[:, None] * exact.by_matrix() + 0.5 * np.outer(labels, exact.w)) <= ACCURACY
