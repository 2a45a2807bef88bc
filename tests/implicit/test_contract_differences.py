"""Gradients against central differences: re-solved from the minimiser, with the same active set on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import pytest
import sympy

import opalg as oa
from tests.implicit.contract_cases import (
    Array,
    LeastSquares,
    Penalty,
    design,
    difference,
    image_gradient,
    lasso,
    parameter,
    solve,
    weight,
)

ACCURACY = 1e-6


@dataclass(frozen=True)
class Case:
    """An energy, what to differentiate in, and which of its kinks a point sits on."""

    energy: Any
    wrt: list[oa.Parameter]
    pattern: Callable[[Array], Array] = lambda x: np.zeros(0)
    relative: float = 1e-4
    residual: float = 1e-13


def signs(K: Array | None = None, offset: Any = 0.0) -> Callable[[Array], Array]:
    """The signs of ``K x - offset``."""

    def pattern(x: Array) -> Array:
        image = (x.ravel() if K is None else K @ x.ravel()) - offset
        return np.where(np.abs(image) > 1e-7, np.sign(image), 0.0)

    return pattern


def matrix_fit(
    rng: np.random.Generator, m: int, n: int, condition: float = 4.0, size: float = 2.0
) -> tuple[Any, Any, list[oa.Parameter]]:
    """``1/2 |A x - y|^2`` with parameters for A and y."""
    A, y = parameter(design(rng, m, n, condition), "A"), parameter(size * rng.standard_normal(m), "y")
    x = oa.Variable(n, name="x")
    return x, 0.5 * oa.sum_squares(oa.Matrix(A) @ x - y), [A, y]


def weighted_lasso(rng: np.random.Generator) -> Case:
    x, fit, wrt = matrix_fit(rng, 14, 9)
    w, lam = parameter(rng.uniform(0.5, 1.5, 9), "w", nonneg=True), weight(0.6)
    return Case(fit + lam * oa.norm1(x, weights=w), [*wrt, w, lam], signs(), 1e-3)


def elastic_net(rng: np.random.Generator) -> Case:
    x, fit, wrt = matrix_fit(rng, 9, 14)
    l1, l2 = weight(0.4, "l1"), weight(0.2, "l2")
    return Case(fit + oa.elastic_net(x, l1=l1, l2=l2), [*wrt, l1, l2], signs(), 1e-3)


def box(rng: np.random.Generator) -> Case:
    x, fit, wrt = matrix_fit(rng, 14, 9)
    lower, upper = parameter(-rng.uniform(0.5, 1.5, 9), "lower"), parameter(rng.uniform(0.5, 1.5, 9), "upper")

    def pattern(v: Array) -> Array:
        return np.sign(v) * (np.abs(v - np.where(v > 0, upper.value, lower.value)) < 0.01)

    return Case(fit + oa.indicator(oa.box(lower, upper), x), [*wrt, lower, upper], pattern, 1e-3)


def groups(rng: np.random.Generator) -> Case:
    A, y = parameter(design(rng, 16, 12, 4.0), "A"), parameter(2 * rng.standard_normal(16), "y")
    x, w = oa.Variable((4, 3), name="x"), parameter(rng.uniform(0.8, 1.6, 4), "w", nonneg=True)
    fit = 0.5 * oa.sum_squares(oa.Matrix(A) @ oa.Reshape((4, 3), (12,)) @ x - y)
    return Case(fit + oa.norm21(x, axis=1, weights=w), [A, y, w], lambda v: np.linalg.norm(v, axis=1) > 1e-9)


def logistic(rng: np.random.Generator) -> Case:
    A, labels = parameter(rng.standard_normal((20, 6)), "A"), np.sign(rng.standard_normal(20))
    x, lam = oa.Variable(6, name="x"), weight(1.2)
    return Case(oa.logistic(oa.Matrix(A) @ x, labels) + lam * oa.norm1(x), [A, lam], signs())


def smoothed_variation(rng: np.random.Generator) -> Case:
    shape = (6, 5)
    k, y = parameter(rng.uniform(0.05, 0.2, (3, 3)), "k"), parameter(2 * rng.standard_normal(shape), "y")
    log_lam, eps = parameter(-1.0, "log lambda"), parameter(0.3, "eps", positive=True)
    x = oa.Variable(shape, name="x")
    fit = 0.5 * oa.sum_squares(oa.Convolve(k, shape) @ x - y) + 0.05 * oa.sum_squares(x)
    return Case(fit + oa.exp(log_lam) * oa.charbonnier(oa.Gradient(shape) @ x, eps), [k, y, log_lam, eps])


def counts(rng: np.random.Generator) -> Case:
    A = parameter(rng.uniform(0.2, 1.0, (12, 6)), "A")
    y = parameter(rng.poisson(6.0, 12).astype(float) + 1.0, "y", nonneg=True)
    x, lam = oa.Variable(6, name="x"), weight(0.4)
    fit = oa.kl_divergence(oa.Matrix(A) @ x, y, background=0.5)
    return Case(fit + lam * oa.sum_squares(x) + oa.indicator(x >= 0), [lam], signs(), 1e-4)


def nuclear(rng: np.random.Generator) -> Case:
    low = rng.standard_normal((4, 2)) @ rng.standard_normal((2, 5))
    A, lam = parameter(design(rng, 22, 20, 3.0), "A"), weight(0.3)
    y = parameter(np.asarray(A.value) @ (low + 0.05 * rng.standard_normal((4, 5))).ravel(), "y")
    X = oa.Variable((4, 5), name="X")
    fit = 0.5 * oa.sum_squares(oa.Matrix(A) @ oa.Reshape((4, 5), (20,)) @ X - y)
    return Case(fit + lam * oa.nuclear_norm(X), [A, y, lam], lambda v: np.linalg.svd(v)[1] > 1e-7)


def simplex(rng: np.random.Generator) -> Case:
    x, fit, wrt = matrix_fit(rng, 12, 8)
    total = parameter(2.0, "total", positive=True)
    return Case(fit + oa.indicator(oa.simplex(total), x), [*wrt, total], signs(), 1e-3)


def ball(rng: np.random.Generator) -> Case:
    x, fit, wrt = matrix_fit(rng, 12, 8)
    radius = parameter(1.0, "r", positive=True)
    return Case(fit + oa.indicator(oa.norm2(x) <= radius), [*wrt, radius])


def ball_of_the_data(rng: np.random.Generator) -> Case:
    A, y = parameter(design(rng, 8, 8, 3.0), "A"), parameter(2 * rng.standard_normal(8), "y")
    x, radius, a = oa.Variable(8, name="x"), parameter(1.0, "r", positive=True), parameter(rng.standard_normal(8), "a")
    constraint = oa.indicator(oa.norm2(oa.Matrix(A) @ x - y) <= radius)
    return Case(0.5 * oa.sum_squares(x - a) + constraint, [A, y, radius, a], residual=1e-12)


def cone(rng: np.random.Generator) -> Case:
    x, fit, wrt = matrix_fit(rng, 9, 6)
    return Case(fit + oa.indicator(oa.second_order_cone, x), wrt)


def steps(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    out = 0.1 * rng.standard_normal(shape)
    out[: shape[0] // 2] += 2.0
    if len(shape) > 1:
        out[:, shape[1] // 3 :] -= 1.0
    return out


def signal_variation(rng: np.random.Generator) -> Case:
    y, lam, x = parameter(steps((16,), rng), "y"), weight(0.3), oa.Variable(16, name="x")
    return Case(0.5 * oa.sum_squares(x - y) + lam * oa.total_variation(x), [y, lam], signs(difference(16)), 1e-3)


def image_variation(rng: np.random.Generator, isotropic: bool = False) -> Case:
    shape = (6, 6)
    k, y = (
        parameter(np.array([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]]), "k"),
        parameter(steps(shape, rng), "y"),
    )
    lam, x, D = weight(0.12), oa.Variable(shape, name="x"), image_gradient(shape)
    pattern = signs(D)
    if isotropic:
        pattern = lambda v: np.linalg.norm((D @ v.ravel()).reshape(2, -1), axis=0) > 1e-7  # noqa: E731
    fit = 0.5 * oa.sum_squares(oa.Convolve(k, shape) @ x - y)
    return Case(fit + lam * oa.total_variation(x, isotropic=isotropic), [k, y, lam], pattern, residual=1e-12)


def isotropic_variation(rng: np.random.Generator) -> Case:
    return image_variation(rng, isotropic=True)


def fused(rng: np.random.Generator) -> Case:
    x, fit, wrt = matrix_fit(rng, 14, 10)
    K, lam = rng.standard_normal((7, 10)), weight(0.3)
    Kp = parameter(K, "K")
    return Case(fit + lam * oa.norm1(oa.Matrix(Kp) @ x), [*wrt, Kp, lam], lambda v: np.abs(Kp.value @ v) > 0.02)


def overlapping(rng: np.random.Generator) -> Case:
    x, fit, wrt = matrix_fit(rng, 14, 10)
    w, members = parameter(np.array([0.5, 1.4, 1.6]), "w", nonneg=True), [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    energy = fit + oa.group_norm(x, members, weights=w)
    return Case(energy, [*wrt, w], lambda v: np.array([np.linalg.norm(v[g]) > 1e-6 for g in members]), residual=1e-12)


def robust(rng: np.random.Generator) -> Case:
    A, y = parameter(rng.standard_normal((14, 8)), "A"), parameter(3 * rng.standard_normal(14), "y")
    x, beta = oa.Variable(8, name="x"), weight(1.0, "beta")
    energy = oa.norm1(oa.Matrix(A) @ x - y) + beta * oa.sum_squares(x)
    return Case(energy, [A, y, beta], lambda v: np.abs(A.value @ v - y.value) > 0.02, residual=1e-12)


def network(rng: np.random.Generator) -> Case:
    W = rng.standard_normal((8, 8))
    Wp, b = parameter(0.7 * W / np.linalg.norm(W, 2), "W"), parameter(rng.standard_normal(8), "b")
    x, t = oa.Variable(8, name="x"), sympy.Symbol("t", real=True)
    return Case(oa.fixed_point(x, oa.apply(oa.Potential(t, sympy.log(sympy.cosh(t))), oa.Matrix(Wp) @ x + b)), [Wp, b])


CASES = (
    weighted_lasso,
    elastic_net,
    box,
    groups,
    logistic,
    smoothed_variation,
    counts,
    nuclear,
    simplex,
    ball,
    ball_of_the_data,
    cone,
    signal_variation,
    image_variation,
    isotropic_variation,
    fused,
    overlapping,
    robust,
    network,
)


@pytest.mark.parametrize("make", CASES, ids=lambda f: f.__name__)
def test_gradients_are_central_differences(make: Callable[..., Case], rng: np.random.Generator) -> None:
    case = make(rng)
    plan = case.energy if hasattr(case.energy, "solve") else oa.compile(case.energy)
    best = solve(plan, tol=1e-15, max_iter=20_000)
    c, wanted = rng.standard_normal(best.x.shape), case.pattern(best.x)
    found = best.vjp(c, case.wrt, tol=1e-12, on_inexact="return")
    for p in case.wrt:
        value, d = np.asarray(p.value), rng.standard_normal(p.shape)
        radius = best.validity_radius({p: d})
        h = min(case.relative * np.linalg.norm(value) / np.linalg.norm(d), 0.3 * radius)
        assert h > 0 and np.any(found[p]), p
        losses = []
        for s in (1, -1):
            moved = plan.solve(x0=best, params={p: value + s * h * d}, tol=1e-15, max_iter=20_000, on_failure="return")
            assert moved.residual <= case.residual, p
            assert np.array_equal(case.pattern(moved.x), wanted), p
            losses.append(float(np.sum(c * moved.x)))
        slope, size = np.sum(found[p] * d), np.linalg.norm(found[p]) * np.linalg.norm(d)
        assert abs((losses[0] - losses[1]) / (2 * h) - slope) <= ACCURACY * size, p


def first_kink(values: Array, speeds: Array) -> float:
    """The first positive time at which one of ``values + t speeds`` vanishes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        times = -values / speeds
    return float(np.min(times[times > 0], initial=inf))


@pytest.mark.parametrize("name", ["y", "lambda", "A"])
def test_the_validity_radius_of_a_lasso(name: str, rng: np.random.Generator) -> None:
    parts = lasso(rng, 16, 10, 4.0, size=0.2)
    plan = oa.compile(parts.energy)
    best = solve(plan)
    (p,) = [p for p in parts.parameters if p.name == name]
    S, s = np.abs(best.x) > 1e-8, np.sign(best.x)
    d = rng.standard_normal(p.shape)
    dA, dy, dlam = (d if p is q else 0.0 * np.asarray(q.value) for q in parts.parameters)
    r = parts.A @ best.x - parts.y
    moved, B = np.zeros(10), parts.A[:, S]
    force = dA.T @ r + parts.A.T @ (dA @ best.x - dy)
    moved[S] = -np.linalg.solve(B.T @ B, force[S] + dlam * s[S])
    g, speed = parts.A.T @ r, force + parts.A.T @ (parts.A @ moved)
    off = ~S
    exact = min(
        first_kink(best.x[S], moved[S]),
        first_kink(parts.lam - g[off], dlam - speed[off]),
        first_kink(parts.lam + g[off], dlam + speed[off]),
    )
    assert best.validity_radius({p: d}) == pytest.approx(exact, rel=1e-5)
    if name == "A":
        return  # the path is not linear
    for factor, same in ((0.99, True), (1.01, False)):
        later = plan.solve(params={p: np.asarray(p.value) + factor * exact * d}, tol=1e-13, on_failure="return")
        assert np.array_equal(np.abs(later.x) > 1e-8, S) == same


def test_the_validity_radius_of_total_variation(rng: np.random.Generator) -> None:
    case = signal_variation(rng)
    best, (y, lam) = solve(case.energy), case.wrt
    D, d = difference(16), np.array(1.0)
    exact = LeastSquares([Penalty(D, 0.3)], best.x, np.zeros(16), A=np.eye(16), y=np.asarray(y.value))
    jumps = np.flatnonzero(exact.active[0])
    moved = -exact.free @ exact.free.T @ (D[jumps].T @ np.sign(D[jumps] @ exact.x))
    still = np.setdiff1d(np.arange(15), jumps)
    dual = np.cumsum(np.asarray(y.value) - exact.x)[:15] * -1.0
    speed = np.cumsum(moved)[:15]
    assert np.allclose(dual[jumps], 0.3 * np.sign(D[jumps] @ exact.x), atol=1e-9)
    wanted = min(
        first_kink((D @ exact.x)[jumps], (D @ moved)[jumps]),
        first_kink(0.3 - dual[still], 1 - speed[still]),
        first_kink(0.3 + dual[still], 1 + speed[still]),
    )
    assert best.validity_radius({lam: d}) == pytest.approx(wanted, rel=1e-5)


def test_smooth_energies_are_valid_everywhere(rng: np.random.Generator) -> None:
    case = smoothed_variation(rng)
    assert solve(case.energy).validity_radius({case.wrt[1]: rng.standard_normal((6, 5))}) == inf
