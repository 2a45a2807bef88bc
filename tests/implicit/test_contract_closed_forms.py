"""Gradients of solutions against closed forms, each from dense matrices or transforms of NumPy, to 1e-9 relative."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import opalg as oa
from tests.implicit.contract_cases import (
    ACCURACY,
    LeastSquares,
    Penalty,
    convolution,
    design,
    error,
    gradients,
    image_gradient,
    kernel_gradient,
    lasso,
    parameter,
    solve,
    weight,
)

Array = np.ndarray


@pytest.mark.parametrize("condition", [9.0, 1e3])
@pytest.mark.parametrize("lam", [1e-3, 0.3])
def test_ridge(lam: float, condition: float, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 15, 10, condition), rng.standard_normal(15), rng.standard_normal(10)
    M, yp, lp = parameter(A, "A"), parameter(y, "y"), weight(lam)
    x = oa.Variable(10, name="x")
    _, g = gradients(0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + 0.5 * lp * oa.sum_squares(x), c, [M, yp, lp])
    H = A.T @ A + lam * np.eye(10)
    exact, w = np.linalg.solve(H, A.T @ y), np.linalg.solve(H, c)
    assert error(g[lp], -exact @ w) <= ACCURACY
    assert error(g[yp], A @ w) <= ACCURACY
    assert error(g[M], -(np.outer(A @ exact - y, w) + np.outer(A @ w, exact))) <= ACCURACY
    assert g.flags == () and g.relative_residual <= 1e-10
    assert g.error_kind in ("certified", "estimated")


KERNELS = {
    "odd": ((16,), (5,)),
    "even": ((16,), (4,)),
    "odd, two axes": ((9, 8), (3, 5)),
    "even, two axes": ((8, 8), (2, 4)),
    "one of each": ((8, 9), (1, 4)),
    "as large as the image": ((6, 5), (6, 5)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_quadratic_deblurring_by_transforms(name: str, rng: np.random.Generator) -> None:
    shape, size = KERNELS[name]
    k = rng.uniform(0.1, 1.0, size)
    k /= k.sum()
    y, c, lam = rng.standard_normal(shape), rng.standard_normal(shape), 0.2
    kp, yp, lp = parameter(k, "k"), parameter(y, "y"), weight(lam)
    x = oa.Variable(shape, name="x")
    variation = oa.sum_squares(oa.Gradient(shape, boundary="periodic") @ x)
    _, g = gradients(0.5 * oa.sum_squares(oa.Convolve(kp, shape) @ x - yp) + 0.5 * lp * variation, c, [kp, yp, lp])
    padded = np.zeros(shape)
    padded[tuple(slice(0, s) for s in size)] = k
    axes = tuple(range(len(shape)))
    centre = [-(s // 2) for s in size]
    K = np.fft.fftn(np.roll(padded, centre, axes))
    G = sum(
        np.abs(np.exp(2j * np.pi * np.fft.fftfreq(n)) - 1).reshape(_along(i, shape)) ** 2 for i, n in enumerate(shape)
    )
    H = np.abs(K) ** 2 + lam * G
    X, W = np.conj(K) * np.fft.fftn(y) / H, np.fft.fftn(c) / H
    exact, w = np.fft.ifftn(X).real, np.fft.ifftn(W).real

    def correlate(a: Array, b: Array) -> Array:
        whole = np.fft.ifftn(np.conj(np.fft.fftn(a)) * np.fft.fftn(b)).real
        return np.roll(whole, [-s for s in centre], axes)[tuple(slice(0, s) for s in size)]

    residual = np.fft.ifftn(K * X).real - y
    assert error(g[lp], -np.sum(np.fft.ifftn(G * X).real * w)) <= ACCURACY
    assert error(g[yp], np.fft.ifftn(K * W).real) <= ACCURACY
    assert error(g[kp], -(correlate(w, residual) + correlate(exact, np.fft.ifftn(K * W).real))) <= ACCURACY


def _along(axis: int, shape: tuple[int, ...]) -> list[int]:
    return [-1 if i == axis else 1 for i in range(len(shape))]


def test_soft_threshold_entry_by_entry(rng: np.random.Generator) -> None:
    y, c = np.array([3.0, -2.0, 0.4, -0.3, 0.0, 0.5001, -0.4999]), rng.standard_normal(7)
    yp, lp = parameter(y, "y"), weight(0.5)
    x = oa.Variable(7, name="x")
    _, g = gradients(0.5 * oa.sum_squares(x - yp) + lp * oa.norm1(x), c, [yp, lp])
    kept = np.abs(y) > 0.5
    assert error(g[yp], c * kept) <= 1e-12
    assert error(g[lp], -np.sum(np.sign(y) * c * kept)) <= 1e-12
    assert g.active_margin == pytest.approx(0.0001 / 2.5, rel=1e-4)  # |x_i| over the largest entry


@pytest.mark.parametrize("condition", [3.0, 31.0, 1e3], ids=["9", "1e3", "1e6"])
def test_lasso_on_its_support(condition: float, rng: np.random.Generator) -> None:
    # The condition of the gram matrix is the square of the design's.
    parts = lasso(rng, 20, 12, condition, size=0.02)
    c = rng.standard_normal(12)
    solution, g = gradients(parts.energy, c, parts.parameters)
    assert 0 < np.count_nonzero(np.abs(solution.x) > 1e-8) < 12
    for p, exact in zip(parts.parameters, parts.support_gradients(solution.x, c), strict=True):
        assert error(g[p], exact) <= ACCURACY
    assert g.active_margin is not None and g.active_margin > 0


def test_weighted_lasso(rng: np.random.Generator) -> None:
    A, y, c = design(rng, 16, 10), 3 * rng.standard_normal(16), rng.standard_normal(10)
    lam = rng.uniform(0.5, 1.5, 10) * 0.3 * np.max(np.abs(A.T @ y))
    yp, wp = parameter(y, "y"), parameter(lam, "weights", nonneg=True)
    x = oa.Variable(10, name="x")
    solution, g = gradients(0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + oa.norm1(x, weights=wp), c, [yp, wp])
    exact = LeastSquares([Penalty(np.eye(10), lam)], solution.x, c, A=A, y=y)
    assert 0 < exact.active[0].sum() < 10
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[wp], exact.by_weight()) <= ACCURACY


@pytest.mark.parametrize("size", [2.0, 1e-4], ids=["empty support", "full support"])
def test_lasso_with_everything_or_nothing(size: float, rng: np.random.Generator) -> None:
    A = design(rng, 9, 6, 3.0)
    y, c = A @ np.array([5.0, -4.0, 3.0, -6.0, 4.0, 5.0]), rng.standard_normal(6)
    lam = size * float(np.max(np.abs(A.T @ y)))
    M, yp, lp = parameter(A, "A"), parameter(y, "y"), weight(lam)
    x = oa.Variable(6, name="x")
    solution, g = gradients(0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + lp * oa.norm1(x), c, [M, yp, lp])
    if size > 1:
        assert not solution.x.any()
        assert not any(np.any(g[p]) for p in (M, yp, lp))
        assert all(g[p].shape == p.shape for p in (M, yp, lp))
        return
    exact = LeastSquares([Penalty(np.eye(6), lam)], solution.x, c, A=A, y=y)
    assert exact.active[0].all()
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[M], exact.by_design()) <= ACCURACY


@pytest.mark.parametrize("written", ["two terms", "one term"])
def test_elastic_net(written: str, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 10, 14), 3 * rng.standard_normal(10), rng.standard_normal(14)
    lam, beta = 0.4 * float(np.max(np.abs(A.T @ y))), 0.2
    yp, lp, bp = parameter(y, "y"), weight(lam), weight(beta, "beta")
    x = oa.Variable(14, name="x")
    penalty = oa.elastic_net(x, l1=lp, l2=bp) if written == "one term" else lp * oa.norm1(x) + bp * oa.sum_squares(x)
    solution, g = gradients(0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + penalty, c, [yp, lp, bp])
    exact = LeastSquares([Penalty(np.eye(14), lam)], solution.x, c, A=A, y=y, ridge=2 * beta)
    assert 0 < exact.active[0].sum() < 14
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[bp], -2 * exact.x @ exact.w) <= ACCURACY


@pytest.mark.parametrize("condition", [3.0, 31.0])
def test_group_lasso(condition: float, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 18, 15, condition), 3 * rng.standard_normal(18), rng.standard_normal((5, 3))
    groups = np.arange(15).reshape(5, 3)
    lam = 0.6 * float(np.max(np.linalg.norm((A.T @ y)[groups], axis=1)))
    M, yp, lp = parameter(A, "A"), parameter(y, "y"), weight(lam)
    x = oa.Variable((5, 3), name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(M) @ oa.Reshape((5, 3), (15,)) @ x - yp)
    solution, g = gradients(fit + lp * oa.norm21(x, axis=1), c, [M, yp, lp])
    exact = LeastSquares([Penalty(np.eye(15), lam, groups)], solution.x.ravel(), c.ravel(), A=A, y=y)
    assert 0 < exact.active[0].sum() < 5
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[lp], exact.by_weight().sum()) <= ACCURACY
    assert error(g[M], exact.by_design()) <= ACCURACY


def test_weights_of_groups(rng: np.random.Generator) -> None:
    y, c, lam = 2 * rng.standard_normal((6, 3)), rng.standard_normal((6, 3)), rng.uniform(0.5, 3.5, 6)
    yp, wp = parameter(y, "y"), parameter(lam, "weights", nonneg=True)
    x = oa.Variable((6, 3), name="x")
    solution, g = gradients(0.5 * oa.sum_squares(x - yp) + oa.norm21(x, axis=1, weights=wp), c, [yp, wp])
    penalty = Penalty(np.eye(18), lam, np.arange(18).reshape(6, 3))
    exact = LeastSquares([penalty], solution.x.ravel(), c.ravel(), A=np.eye(18), y=y.ravel())
    assert 0 < exact.active[0].sum() < 6
    assert error(g[yp], exact.by_data().reshape(6, 3)) <= ACCURACY
    assert error(g[wp], exact.by_weight()) <= ACCURACY


@pytest.mark.parametrize("kind", ["scalar", "entries"])
def test_boxes(kind: str, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 14, 9), 3 * rng.standard_normal(14), rng.standard_normal(9)
    lo, up = (-0.8, 1.0) if kind == "scalar" else (-rng.uniform(0.5, 1.2, 9), rng.uniform(0.5, 1.2, 9))
    M, yp, mu = parameter(A, "A"), parameter(y, "y"), weight(0.1, "mu")
    lower, upper = parameter(lo, "lower"), parameter(up, "upper")
    x = oa.Variable(9, name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + 0.5 * mu * oa.sum_squares(x)
    energy = fit + oa.indicator(oa.box(lower, upper), x)
    solution, g = gradients(energy, c, [M, yp, mu, lower, upper])
    exact = LeastSquares([], solution.x, c, np.broadcast_to(lo, 9), np.broadcast_to(up, 9), A=A, y=y, ridge=0.1)
    assert exact.at_lower.any() and exact.at_upper.any() and not (exact.at_lower | exact.at_upper).all()
    free = ~(exact.at_lower | exact.at_upper)
    H, U = A.T @ A + 0.1 * np.eye(9), exact.at_upper
    by_upper = np.where(U, c - H[:, free] @ exact.w[free], 0.0)  # z_U = c_U - H_UF w_F
    assert error(exact.by_bounds()[1], by_upper) <= 1e-12
    by_lower = exact.by_bounds()[0]
    if kind == "scalar":
        by_lower, by_upper = by_lower.sum(), by_upper.sum()
    assert error(g[upper], by_upper) <= ACCURACY
    assert error(g[lower], by_lower) <= ACCURACY
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[mu], -exact.x @ exact.w) <= ACCURACY
    assert error(g[M], exact.by_design()) <= ACCURACY


@pytest.mark.parametrize("condition", [3.0, 31.0])
def test_nonnegative_least_squares(condition: float, rng: np.random.Generator) -> None:
    A, y, c = design(rng, 14, 9, condition), 3 * rng.standard_normal(14), rng.standard_normal(9)
    M, yp = parameter(A, "A"), parameter(y, "y")
    x = oa.Variable(9, name="x")
    solution, g = gradients(0.5 * oa.sum_squares(oa.Matrix(M) @ x - yp) + oa.indicator(x >= 0), c, [M, yp])
    exact = LeastSquares([], solution.x, c, np.zeros(9), A=A, y=y)
    assert 0 < exact.at_lower.sum() < 9
    assert error(g[yp], exact.by_data()) <= ACCURACY
    assert error(g[M], exact.by_design()) <= ACCURACY


def test_projection_onto_the_simplex(rng: np.random.Generator) -> None:
    y, c = rng.standard_normal(8), rng.standard_normal(8)
    yp = parameter(y, "y")
    x = oa.Variable(8, name="x")
    solution, g = gradients(0.5 * oa.sum_squares(x - yp) + oa.indicator(oa.simplex(1.0), x), c, yp)
    S = solution.x > 1e-10
    assert 1 < S.sum() < 8
    assert error(g[yp], np.where(S, c - c[S].mean(), 0.0)) <= ACCURACY


MATRICES = {"0.5": 0.5, "0.9": 0.9, "0.99": 0.99, "far from normal": None}


@pytest.mark.parametrize("name", MATRICES)
def test_linear_fixed_points(name: str, rng: np.random.Generator) -> None:
    n, radius = 12, MATRICES[name]
    if radius is None:
        B = 0.5 * np.eye(n) + 0.1 * np.triu(rng.standard_normal((n, n)), 1)
        B[0, -1] = 10.0
        assert np.linalg.norm(B, 2) > 9.9
    else:
        B = rng.standard_normal((n, n))
        B *= radius / np.max(np.abs(np.linalg.eigvals(B)))
    b, c = rng.standard_normal(n), rng.standard_normal(n)
    Bp, bp = parameter(B, "B"), parameter(b, "b")
    x = oa.Variable(n, name="x")
    _, g = gradients(oa.fixed_point(x, oa.Matrix(Bp) @ x + bp), c, [Bp, bp])
    exact, u = np.linalg.solve(np.eye(n) - B, b), np.linalg.solve((np.eye(n) - B).T, c)
    assert error(g[bp], u) <= ACCURACY
    assert error(g[Bp], np.outer(u, exact)) <= ACCURACY


@pytest.mark.parametrize("a", [0.3, 0.99, -0.9])
def test_scalar_tanh(a: float) -> None:
    x, t = oa.Variable(1, name="x"), sympy.Symbol("t", real=True)
    ap, bp = parameter(a, "a"), parameter(np.array([0.3]), "b")
    image = oa.apply(oa.Potential(t, sympy.log(sympy.cosh(t))), ap * x + bp)  # a potential stands for its derivative
    solution, g = gradients(oa.fixed_point(x, image), np.ones(1), [ap, bp])
    v = float(solution.x[0])
    for _ in range(5):  # Newton's method on v = tanh(a v + b)
        v -= (v - np.tanh(a * v + 0.3)) / (1 - a * (1 - np.tanh(a * v + 0.3) ** 2))
    u = 1 / (1 - a * (1 - v**2))
    assert error(g[ap], u * v * (1 - v**2)) <= ACCURACY
    assert error(g[bp], np.array([u * (1 - v**2)])) <= ACCURACY


@pytest.mark.parametrize("name", ["charbonnier", "huber"])
def test_smooth_total_variation(name: str, rng: np.random.Generator) -> None:
    shape, eps, log_lam = (7, 6), 0.15, -1.2
    kernel = np.array([[0.0, 0.1, 0.05], [0.1, 0.5, 0.1], [0.0, 0.1, 0.05]])
    y, c = rng.standard_normal(shape), rng.standard_normal(shape)
    y[:4] += 2.0
    t, e = parameter(log_lam, "log lambda"), parameter(eps, "eps", positive=True)
    kp, yp = parameter(kernel, "k"), parameter(y, "y")
    x = oa.Variable(shape, name="x")
    term = getattr(oa, name)(oa.Gradient(shape) @ x, e)
    energy = 0.5 * oa.sum_squares(oa.Convolve(kp, shape) @ x - yp) + oa.exp(t) * term
    solution, g = gradients(energy, c, [t, e, kp, yp])
    K, D, lam = convolution(kernel, shape), image_gradient(shape), np.exp(log_lam)
    first, second, by_eps = SMOOTHED[name]

    def slope(v: Array) -> Array:
        return K.T @ (K @ v - y.ravel()) + lam * D.T @ first(D @ v, eps)

    def hessian(v: Array) -> Array:
        return K.T @ K + lam * D.T @ (second(D @ v, eps)[:, None] * D)

    v = solution.x.ravel()
    for _ in range(8):
        v = v - np.linalg.solve(hessian(v), slope(v))
    w = np.linalg.solve(hessian(v), c.ravel())
    assert np.linalg.norm(slope(v)) <= 1e-13 * np.linalg.norm(y)
    assert error(g[t], -lam * first(D @ v, eps) @ (D @ w)) <= ACCURACY
    assert error(g[e], -lam * by_eps(D @ v, eps) @ (D @ w)) <= ACCURACY
    assert error(g[yp], (K @ w).reshape(shape)) <= ACCURACY
    by_matrix = -(np.outer(K @ v - y.ravel(), w) + np.outer(K @ w, v))
    by_kernel = kernel_gradient(lambda unit: float(np.sum(by_matrix * convolution(unit, shape))), (3, 3))
    assert error(g[kp], by_kernel) <= ACCURACY


# First and second derivative of each smoothed magnitude, and the derivative of the first in its width.
SMOOTHED = {
    "charbonnier": (
        lambda t, s: t / np.sqrt(t**2 + s**2),
        lambda t, s: s**2 / (t**2 + s**2) ** 1.5,
        lambda t, s: -s * t / (t**2 + s**2) ** 1.5,
    ),
    "huber": (
        lambda t, s: np.clip(t, -s, s),
        lambda t, s: (np.abs(t) < s).astype(float),
        lambda t, s: np.where(np.abs(t) > s, np.sign(t), 0.0),
    ),
}


def test_the_optimal_value(rng: np.random.Generator) -> None:
    parts = lasso(rng)
    M, yp, lp = parts.parameters
    solution = solve(parts.energy)
    found = solution.value_gradient([M, yp, lp])
    r = parts.A @ solution.x - parts.y
    assert error(found[lp], np.sum(np.abs(solution.x))) <= ACCURACY
    assert error(found[yp], -r) <= ACCURACY
    assert error(found[M], np.outer(r, solution.x)) <= ACCURACY
    value, by, again = oa.hypergradient(oa.compile(parts.energy), "value", [M, yp, lp], tol=1e-12, max_iter=50_000)
    assert value == pytest.approx(again.value, rel=1e-14)
    assert by.counts.get("adjoint", 0) == 0
    for p in (M, yp, lp):
        assert error(by[p], found[p]) <= ACCURACY


def test_the_optimal_value_is_second_order_in_the_error(rng: np.random.Generator) -> None:
    parts = lasso(rng, condition=3.0)
    exact = solve(parts.energy).value_gradient(parts.parameters[2])[parts.parameters[2]]
    h, lam = 1e-4, parts.parameters[2]
    plan = oa.compile(parts.energy)
    values = [
        plan.solve(params={lam: parts.lam + s * h}, tol=1e-13, max_iter=50_000, on_failure="return").value
        for s in (1, -1)
    ]
    assert float(exact) == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-7)


def test_a_quadratic_saddle(rng: np.random.Generator) -> None:
    # min_x max_p  mu/2 |x - a|^2 + <K x, p> - nu/2 |p|^2 - <b, p>, with the dual maximised out.
    K, a, b, c = (rng.standard_normal(s) for s in ((6, 8), 8, 6, 8))
    mu, nu = 0.7, 0.4
    Kp, ap, bp, mp = parameter(K, "K"), parameter(a, "a"), parameter(b, "b"), weight(mu, "mu")
    x = oa.Variable(8, name="x")
    energy = 0.5 * mp * oa.sum_squares(x - ap) + (0.5 / nu) * oa.sum_squares(oa.Matrix(Kp) @ x - bp)
    _, g = gradients(energy, c, [Kp, ap, bp, mp])
    saddle = np.block([[mu * np.eye(8), K.T], [K, -nu * np.eye(6)]])
    point = np.linalg.solve(saddle, np.concatenate([mu * a, b]))
    adjoint = np.linalg.solve(saddle, np.concatenate([-c, np.zeros(6)]))
    (exact, p), (X, Y) = (point[:8], point[8:]), (adjoint[:8], adjoint[8:])
    assert error(g[Kp], np.outer(p, X) + np.outer(Y, exact)) <= ACCURACY
    assert error(g[ap], -mu * X) <= ACCURACY
    assert error(g[bp], -Y) <= ACCURACY
    assert error(g[mp], (exact - a) @ X) <= ACCURACY


def test_a_saddle_with_a_box_for_duals(rng: np.random.Generator) -> None:
    # The Huber function is the maximum over a box of a quadratic: both parts of the saddle are strongly convex.
    K, a, c, delta = rng.standard_normal((7, 8)), 2 * rng.standard_normal(8), rng.standard_normal(8), 0.6
    Kp, ap = parameter(K, "K"), parameter(a, "a")
    x = oa.Variable(8, name="x")
    solution, g = gradients(0.5 * oa.sum_squares(x - ap) + oa.huber(oa.Matrix(Kp) @ x, delta), c, [Kp, ap])
    v = solution.x
    for _ in range(5):
        inside = (np.abs(K @ v) < delta).astype(float)
        v = v - np.linalg.solve(np.eye(8) + K.T @ (inside[:, None] * K), v - a + K.T @ np.clip(K @ v, -delta, delta))
    assert 0 < inside.sum() < 7
    w = np.linalg.solve(np.eye(8) + K.T @ (inside[:, None] * K), c)
    p, q = np.clip(K @ v, -delta, delta), inside * (K @ w)
    assert error(g[Kp], -(np.outer(p, w) + np.outer(q, v))) <= ACCURACY
    assert error(g[ap], w) <= ACCURACY


def test_weights_of_a_fourier_mask(rng: np.random.Generator) -> None:
    shape, lam = (6, 5), 0.3
    m = rng.uniform(0.0, 1.5, shape) * (rng.random(shape) < 0.7)
    data, c = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape) for _ in range(2))
    mp, dp, lp = parameter(m, "mask weights"), parameter(data, "data"), weight(lam)
    x = oa.Variable(shape, name="x", dtype=complex)
    fit = 0.5 * oa.sum_squares(oa.Diagonal(mp) @ oa.FFT(shape) @ x - dp)
    _, g = gradients(fit + 0.5 * lp * oa.sum_squares(x), c, [mp, dp, lp])
    F = np.fft.fft2
    X, W = m * data / (m**2 + lam), F(c, norm="ortho") / (m**2 + lam)
    by_mask = -np.real(np.conj(m * X - data) * W + np.conj(X) * m * W)
    assert not np.iscomplexobj(g[mp])
    assert error(g[mp], by_mask) <= ACCURACY
    assert error(g[dp], m * W) <= ACCURACY
    assert error(g[lp], -np.sum(np.conj(X) * W).real) <= ACCURACY


def test_complex_soft_threshold_with_its_curvature(rng: np.random.Generator) -> None:
    y, c = (rng.standard_normal(6) + 1j * rng.standard_normal(6) for _ in range(2))
    y[0], lam = 0.1 + 0.1j, 0.5
    yp, lp = parameter(y, "y"), weight(lam)
    x = oa.Variable(6, name="x", dtype=complex)
    _, g = gradients(0.5 * oa.sum_squares(x - yp) + lp * oa.norm1(x), c, [yp, lp])
    size = np.abs(y)
    kept, unit = size > lam, y / size
    along = np.real(np.conj(unit) * c)
    by_data = np.where(kept, unit * along + (1 - lam / size) * (c - unit * along), 0.0)
    assert 0 < kept.sum() < 6
    assert error(g[yp], by_data) <= ACCURACY
    assert error(g[lp], -np.sum(along[kept])) <= ACCURACY
