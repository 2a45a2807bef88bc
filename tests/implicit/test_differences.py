"""Gradients of solutions against central differences of solves, and forward against backward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy

import opalg as oa

ACCURACY = 1e-6
Made = tuple[oa.Energy, list[oa.Parameter]]


def parameter(value: object, name: str, **domain: bool) -> oa.Parameter:
    return oa.Parameter(value, name=name, **domain)


def design(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.standard_normal((m, n)) / np.sqrt(m)


def smooth_matrix(rng: np.random.Generator) -> Made:
    M, y = parameter(design(rng, 12, 8), "M"), parameter(rng.standard_normal(12), "y")
    lam, delta = parameter(0.5, "lambda", nonneg=True), parameter(0.3, "delta", positive=True)
    x = oa.Variable(8, name="x")
    return 0.5 * oa.sum_squares(oa.Matrix(M) @ x - y) + lam * oa.huber(x, delta), [M, y, lam, delta]


def lasso(rng: np.random.Generator) -> Made:
    M, y = parameter(design(rng, 12, 8), "M"), parameter(2 * rng.standard_normal(12), "y")
    lam, w = parameter(0.3, "lambda", nonneg=True), parameter(rng.uniform(0.5, 1.5, 8), "w", nonneg=True)
    x = oa.Variable(8, name="x")
    return 0.5 * oa.sum_squares(oa.Matrix(M) @ x - y) + lam**2 * oa.norm1(x, weights=w), [M, y, lam, w]


def kernel(rng: np.random.Generator) -> Made:
    shape = (6, 5)
    k, y = parameter(rng.uniform(0.1, 0.5, (3, 2)), "k"), parameter(rng.standard_normal(shape), "y")
    d = parameter(rng.uniform(0.5, 1.5, shape), "d")
    x = oa.Variable(shape, name="x")
    smooth = oa.sum_squares(oa.Gradient(shape) @ x)
    fit = 0.5 * oa.sum_squares(oa.Diagonal(d) @ (oa.Convolve(k, shape) @ x) - y)
    return fit + 0.2 * smooth + 0.1 * oa.sum_squares(x), [k, y, d]


def zero_kernel(rng: np.random.Generator) -> Made:
    shape = (7,)
    k, y = parameter(rng.uniform(0.1, 0.5, 4), "k"), parameter(rng.standard_normal(shape), "y")
    x = oa.Variable(shape, name="x")
    fit = 0.5 * oa.sum_squares(oa.Convolve(k, shape, boundary="zero") @ x - y)
    return fit + 0.2 * oa.sum_squares(x) + 0.05 * oa.norm1(x), [k, y]


def width(rng: np.random.Generator) -> Made:
    shape = (8, 8)
    sigma, y = parameter(1.1, "sigma", positive=True), parameter(rng.standard_normal(shape), "y")
    lam = parameter(0.05, "lambda", nonneg=True)
    x = oa.Variable(shape, name="x")
    K = oa.Convolve(oa.gaussian_kernel(sigma, 2), shape)
    variation = oa.sum_squares(oa.Gradient(shape, boundary="periodic") @ x)
    return 0.5 * oa.sum_squares(K @ x - y) + lam * variation + oa.indicator(x >= 0), [sigma, y, lam]


def potential(rng: np.random.Generator) -> Made:
    t, s = sympy.symbols("t s")
    scale, y = parameter(0.7, "scale", positive=True), parameter(rng.standard_normal(12), "y")
    M = parameter(design(rng, 12, 8), "M")
    x = oa.Variable(8, name="x")
    charbonnier = oa.Potential(t, sympy.sqrt(t**2 + s**2) - s, s=scale)
    return oa.pointwise(charbonnier, oa.Matrix(M) @ x - y) + 0.2 * oa.sum_squares(x), [scale, y, M]


def group(rng: np.random.Generator) -> Made:
    y, lam = parameter(2 * rng.standard_normal((4, 3)), "y"), parameter(0.8, "lambda", nonneg=True)
    d = parameter(rng.uniform(0.5, 1.5, (4, 3)), "d")
    x = oa.Variable((4, 3), name="x")
    return 0.5 * oa.sum_squares(oa.Diagonal(d) @ x - y) + lam * oa.norm21(x, axis=1), [y, lam, d]


def wavelet(rng: np.random.Generator) -> Made:
    shape = (8, 8)
    k, y = parameter(rng.uniform(0.1, 0.3, (3, 3)), "k"), parameter(rng.standard_normal(shape), "y")
    lam, x = parameter(0.1, "lambda", nonneg=True), oa.Variable(shape, name="x")
    ridge = 0.05 * oa.sum_squares(x)
    sparse = lam * oa.norm1(oa.Wavelet(shape, "db2", 1) @ x)
    return 0.5 * oa.sum_squares(oa.Convolve(k, shape) @ x - y) + ridge + sparse, [k, y, lam]


def masked(rng: np.random.Generator) -> Made:
    shape = (4, 5)
    mask = rng.random(shape) < 0.6
    data = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    m, lam = parameter(data, "m"), parameter(0.3, "lambda", nonneg=True)
    d = parameter(rng.standard_normal(shape) + 1j * rng.standard_normal(shape), "d")
    x = oa.Variable(shape, name="x", dtype=complex)
    fit = 0.5 * oa.sum_squares(oa.Mask(mask) @ oa.FFT(shape) @ (oa.Diagonal(d) @ x) - m)
    return fit + 0.1 * oa.sum_squares(x) + lam * oa.norm1(x), [m, lam, d]


def two_variables(rng: np.random.Generator) -> Made:
    y, lam = parameter(np.cumsum(rng.standard_normal(9)), "y"), parameter(0.4, "lambda", nonneg=True)
    u, v = oa.Variable(9, name="u"), oa.Variable(9, name="v")
    D = oa.Gradient((9,), boundary="periodic")
    return 0.5 * oa.sum_squares(u + v - y) + lam * oa.norm1(u) + 0.5 * oa.sum_squares(D @ v), [y, lam]


MAKERS: dict[str, Callable[[np.random.Generator], Made]] = {
    f.__name__: f
    for f in (
        smooth_matrix,
        lasso,
        kernel,
        zero_kernel,
        width,
        potential,
        group,
        wavelet,
        masked,
        two_variables,
    )
}


def as_numpy(array: object) -> np.ndarray:
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)


def inner(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(np.conj(a) * b).real)


def random_like(p: oa.Parameter, rng: np.random.Generator) -> np.ndarray:
    d = rng.standard_normal(p.shape)
    return d + 1j * rng.standard_normal(p.shape) if p.kind == "complex" else d


def check(energy: oa.Energy, parameters: list[oa.Parameter], backend: str, h: float = 1e-5, **options: object) -> float:
    """The worst relative error of gradients along random directions; forward and backward must agree as well."""
    rng = np.random.default_rng(7)
    plan = oa.compile(energy, backend=backend, **options)
    many = 30_000 if backend == "numpy" else 300
    solve = {"tol": 1e-14, "max_iter": many, "on_failure": "return"}
    solution = plan.solve(**solve)
    cotangents = {
        v: rng.standard_normal(v.shape) + (1j * rng.standard_normal(v.shape) if v.kind == "complex" else 0)
        for v in plan.variables
    }
    given = {v: plan.backend.asarray(c) for v, c in cotangents.items()}
    gradients = solution.vjp(given, parameters, tol=1e-12, max_iter=5000, on_inexact="return")

    def loss(values: dict) -> float:
        found = plan.solve(x0=solution, params=values, **solve)
        return sum(inner(cotangents[v], as_numpy(found[v])) for v in plan.variables)

    worst = 0.0
    for p in parameters:
        d = random_like(p, rng)
        difference = (loss({p: p.value + h * d}) - loss({p: p.value - h * d})) / (2 * h)
        backward = inner(as_numpy(gradients[p]), d)
        moved = solution.jvp({p: d}, tol=1e-12, max_iter=5000, on_inexact="return")
        moved = moved if isinstance(moved, dict) else {plan.variables[0]: moved}
        forward = sum(inner(cotangents[v], as_numpy(moved[v])) for v in plan.variables)
        size = np.linalg.norm(as_numpy(gradients[p])) * np.linalg.norm(d)
        assert size > 0, p
        assert abs(forward - backward) <= 1e-8 * size, p
        worst = max(worst, abs(difference - backward) / size)
    return worst


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_are_slopes(name: str, rng: np.random.Generator) -> None:
    energy, parameters = MAKERS[name](rng)
    assert check(energy, parameters, "numpy") <= ACCURACY


@pytest.mark.parametrize("name", ["smooth_matrix", "lasso", "kernel", "group", "masked"])
def test_gradients_are_slopes_on_torch(name: str, rng: np.random.Generator) -> None:
    pytest.importorskip("torch")
    energy, parameters = MAKERS[name](rng)
    assert check(energy, parameters, "torch") <= ACCURACY


def steps(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A piecewise constant signal with small noise: its jumps stay where they are along a difference."""
    out = np.zeros(shape)
    out[: shape[0] // 2] = 2.0
    if len(shape) == 2:
        out[:, : shape[1] // 2] += 1.0
    return out + 0.05 * rng.standard_normal(shape)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("method", ["admm", "primal_dual"])
def test_total_variation_of_signals(method: str, isotropic: bool, rng: np.random.Generator) -> None:
    y, lam = parameter(steps((16,), rng), "y"), parameter(0.3, "lambda", nonneg=True)
    x = oa.Variable(16, name="x")
    energy = 0.5 * oa.sum_squares(x - y) + lam * oa.total_variation(x, isotropic=isotropic, boundary="periodic")
    assert check(energy, [y, lam], "numpy", h=1e-4, method=method) <= ACCURACY


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("method", ["admm", "primal_dual"])
def test_total_variation_of_images(method: str, isotropic: bool, rng: np.random.Generator) -> None:
    shape = (5, 4)
    y, lam = parameter(steps(shape, rng), "y"), parameter(0.1, "lambda", nonneg=True)
    k = parameter(np.array([[0.0, 0.05, 0.0], [0.05, 0.8, 0.05], [0.0, 0.05, 0.0]]), "k")
    x = oa.Variable(shape, name="x")
    variation = oa.total_variation(x, isotropic=isotropic, boundary="periodic")
    energy = 0.5 * oa.sum_squares(oa.Convolve(k, shape) @ x - y) + lam * variation
    assert check(energy, [y, lam, k], "numpy", h=1e-5, method=method) <= ACCURACY


def test_total_variation_under_a_sign_constraint(rng: np.random.Generator) -> None:
    shape = (5, 4)
    y, lam = parameter(steps(shape, rng) - 1.2, "y"), parameter(0.1, "lambda", nonneg=True)
    x = oa.Variable(shape, name="x")
    variation = oa.total_variation(x, isotropic=False, boundary="periodic")
    energy = 0.5 * oa.sum_squares(x - y) + lam * variation + oa.indicator(x >= 0)
    for method in ("admm", "primal_dual"):
        assert check(energy, [y, lam], "numpy", h=1e-5, method=method) <= ACCURACY


def test_minimum_norm_under_equations(rng: np.random.Generator) -> None:
    A, b = parameter(rng.standard_normal((3, 7)), "A"), parameter(rng.standard_normal(3), "b")
    x = oa.Variable(7, name="x")
    energy = 0.5 * oa.sum_squares(x) + oa.indicator(oa.Matrix(A) @ x == b)
    assert check(energy, [A, b], "numpy", h=1e-5) <= ACCURACY


def test_a_parameter_in_two_places(rng: np.random.Generator) -> None:
    M, lam = parameter(design(rng, 12, 8), "M"), parameter(0.4, "lambda", nonneg=True)
    x = oa.Variable(8, name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(M) @ x - lam)
    assert check(fit + lam * oa.norm1(x) + lam**2 * oa.sum_squares(x), [M, lam], "numpy") <= ACCURACY
