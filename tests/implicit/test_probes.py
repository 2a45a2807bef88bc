"""debug=True: wrong adjoints and Hessians without symmetry are found before they make a wrong gradient."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa


def test_a_wrong_adjoint_is_found(rng: np.random.Generator) -> None:
    A, y = rng.standard_normal((8, 6)), rng.standard_normal(8)
    wrong = oa.FunctionOperator(lambda v: A @ v, lambda u: 1.1 * (A.T @ u), in_shape=(6,), out_shape=(8,))
    x, p = oa.Variable((6,), name="x"), oa.Parameter(y, name="y")
    energy = 0.5 * oa.sum_squares(wrong @ x - p) + 0.1 * oa.sum_squares(x)
    solution = oa.compile(energy, method="conjugate_gradient").solve(tol=1e-3, on_failure="return")
    with pytest.raises(oa.AdjointError, match="do not match"):
        solution.vjp(np.ones(6), p, on_inexact="return", debug=True)


def test_right_adjoints_pass(rng: np.random.Generator) -> None:
    A, y = rng.standard_normal((8, 6)) + 1j * rng.standard_normal((8, 6)), rng.standard_normal(8) + 0j
    x, p = oa.Variable((6,), name="x", dtype=complex), oa.Parameter(y, name="y")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - p) + 0.3 * oa.norm1(x) + 0.1 * oa.norm21(oa.Gradient((6,)) @ x)
    solution = oa.compile(energy).solve(tol=1e-8)
    plain, probed = (solution.vjp(np.ones(6) + 0j, p, debug=d) for d in (False, True))
    assert np.array_equal(plain[p], probed[p])


def test_a_field_that_is_no_gradient_is_found(rng: np.random.Generator) -> None:
    W = 0.3 * rng.standard_normal((6, 6))
    x, p = oa.Variable((6,), name="x"), oa.Parameter(rng.standard_normal(6), name="y")

    def denoiser(v: np.ndarray) -> np.ndarray:
        return np.tanh(W @ v)

    field = oa.red(
        denoiser, x, vjp=lambda v, u: W.T @ (u * (1 - np.tanh(W @ v) ** 2)),
        jvp=lambda v, d: (1 - np.tanh(W @ v) ** 2) * (W @ d), symmetric=True, lipschitz=3.0,
    )  # fmt: skip
    solution = oa.compile(0.5 * oa.sum_squares(x - p) + 0.2 * field, nonconvex=True).solve(tol=1e-8)
    with pytest.raises(oa.AdjointError, match="not symmetric"):
        solution.vjp(np.ones(6), p, debug=True)


def test_a_wrong_vjp_of_a_map_is_found(rng: np.random.Generator) -> None:
    W, b = 0.2 * rng.standard_normal((6, 6)), oa.Parameter(rng.standard_normal(6), name="b")
    x = oa.Variable((6,), name="x")

    def solve(factor: float) -> oa.Solution:
        applied = oa.apply(
            np.tanh, oa.Matrix(W) @ x + b, vjp=lambda v, u: factor * u * (1 - np.tanh(v) ** 2)
        )  # fmt: skip
        return oa.fixed_point(x, applied).solve(tol=1e-10)

    assert solve(1.0).vjp(np.ones(6), b, debug=True)[b].any()
    with pytest.raises(oa.AdjointError, match="transposed derivative"):
        solve(5.0).vjp(np.ones(6), b, debug=True)
