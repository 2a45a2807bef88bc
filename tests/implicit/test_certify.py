"""Bounds on errors of gradients hold, and are not given where nothing proves them."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa


def parts(rng: np.random.Generator, l1: bool) -> tuple[oa.Energy, list[oa.Parameter], np.ndarray]:
    A = rng.standard_normal((20, 12))
    y = oa.Parameter(rng.standard_normal(20), name="y")
    lam, mu = oa.Parameter(2.0, name="lambda", nonneg=True), oa.Parameter(0.3, name="mu", positive=True)
    x = oa.Variable((12,), name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + mu * oa.sum_squares(x)
    return (energy + lam * oa.norm1(x), [mu, y, lam], A) if l1 else (energy, [mu, y], A)


def exact(A: np.ndarray, parameters: list[oa.Parameter], x: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
    """By dense solves on the support."""
    values = {p.name: np.asarray(p.value) for p in parameters}
    S, lam = np.abs(x) > 1e-9, values.get("lambda", 0.0)
    s = np.sign(x[S]) if "lambda" in values else np.zeros(S.sum())
    H = A[:, S].T @ A[:, S] + 2 * values["mu"] * np.eye(S.sum())
    best, w = np.linalg.solve(H, A[:, S].T @ values["y"] - lam * s), np.linalg.solve(H, c[S])
    return {"mu": -2 * best @ w, "y": A[:, S] @ w, "lambda": -s @ w}


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("tol", [1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("l1", [False, True])
def test_bounds_hold_and_are_not_idle(l1: bool, tol: float, refine: bool, rng: np.random.Generator) -> None:
    energy, wrt, A = parts(rng, l1)
    c = rng.standard_normal(12)
    solution = oa.compile(energy, method="proximal_gradient").solve(tol=tol)
    found = solution.vjp(c, wrt, refine=refine, estimate="bound")
    truth = exact(A, wrt, oa.compile(energy).solve(tol=1e-13, on_failure="return").x, c)
    if found.error_kind != "certified":
        assert "no_bound" in found.flags and l1 and not refine  # a point so rough that its support proves nothing
        return
    for p in wrt:
        error = np.linalg.norm(found[p] - truth[p.name])
        assert error <= found.error_estimates[p] + 1e-14 * np.linalg.norm(truth[p.name])
    if refine:
        assert found.relative_error < 1e-8


def test_what_has_no_bound_says_so(rng: np.random.Generator) -> None:
    energy, (mu, y), A = parts(rng, False)
    x, lam = energy.variables[0], oa.Parameter(0.5, name="lambda", nonneg=True)
    c = rng.standard_normal(12)
    rough = oa.compile(energy + lam * oa.charbonnier(x, 0.1)).solve(tol=1e-8)
    flat = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A[:5]) @ x - y.value[:5]) + lam * oa.norm1(x)).solve(tol=1e-8)
    M = oa.Parameter(A, name="A")
    inside = oa.compile(0.5 * oa.sum_squares(oa.Matrix(M) @ x - y) + mu * oa.sum_squares(x)).solve(tol=1e-8)
    for solution, wrt in ((rough, mu), (flat, lam), (inside, M)):
        found = solution.vjp(c, wrt, estimate="bound")
        assert found.error_kind == "estimated" and "no_bound" in found.flags
    found = oa.compile(energy).solve(tol=1e-8).vjp(lambda x: x - 1.0, mu, estimate="bound")
    assert "no_bound" in found.flags  # a cotangent that moves with the point has a slope that nobody has bounded


def test_zeros_are_certain(rng: np.random.Generator) -> None:
    energy, (mu, y), _ = parts(rng, False)
    found = oa.compile(energy).solve().vjp(np.zeros(12), [mu, y, "x0"])
    assert found.error_kind == "certified" and found.error_estimate == 0.0 and found.products == 0
