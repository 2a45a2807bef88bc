"""The symmetric system of a prox in its variable, whose derivative may have any range."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.proximal import Proximal, why_not
from tests.implicit.contract_cases import error, parameter, weight
from tests.implicit.points import lineariser_of, refined


def nuclear(rng: np.random.Generator) -> tuple[oa.Energy, list[oa.Parameter]]:
    yp = parameter(rng.standard_normal((5, 6)) + 4 * np.outer(np.arange(1, 6), np.ones(6)), "y")
    lp = weight(1.5)
    x = oa.Variable((5, 6))
    return 0.5 * oa.sum_squares(x - yp) + lp * oa.nuclear_norm(x), [yp, lp]


def test_the_nuclear_norm_has_the_gradients_of_its_prox(rng: np.random.Generator) -> None:
    energy, (yp, lp) = nuclear(rng)
    c = rng.standard_normal((5, 6))
    g = oa.compile(energy, method="proximal_gradient").solve(tol=1e-12).vjp(c, [yp, lp])
    assert g.system == "proximal"

    def prox(y: np.ndarray, lam: float) -> np.ndarray:
        u, s, vt = np.linalg.svd(y, full_matrices=False)
        return (u * np.maximum(s - lam, 0)) @ vt

    y, lam, h = np.asarray(yp.value), float(lp.value), 1e-6
    d = rng.standard_normal(y.shape)
    slope = np.sum(c * (prox(y + h * d, lam) - prox(y - h * d, lam))) / (2 * h)
    assert abs(slope - np.sum(g[yp] * d)) <= 1e-7 * np.linalg.norm(g[yp]) * np.linalg.norm(d)
    slope = np.sum(c * (prox(y, lam + h) - prox(y, lam - h))) / (2 * h)
    assert abs(slope - float(g[lp])) <= 1e-7 * abs(slope)


def test_it_solves_both_ways(rng: np.random.Generator) -> None:
    energy, _ = nuclear(rng)
    here = refined(oa.compile(energy, method="proximal_gradient").solve(tol=1e-10))
    assert isinstance(here.jacobian, Proximal)
    b, r = ([rng.standard_normal(p.shape) for p in here.point] for _ in range(2))
    accuracy = Accuracy(1e-11, 500)
    a, _ = here.jacobian.solve_adjoint(b, accuracy)
    d, _ = here.jacobian.solve_forward(r, accuracy)
    left = sum(np.sum(p * q) for p, q in zip(a, r, strict=True))
    right = sum(np.sum(p * q) for p, q in zip(b, d, strict=True))
    assert abs(left - right) <= 1e-7 * (abs(left) + abs(right))  # <J^-T b, r> = <b, J^-1 r>


@pytest.mark.parametrize("behind", [False, True], ids=["direct", "behind an operator"])
def test_it_says_where_it_does_not_apply(behind: bool, rng: np.random.Generator) -> None:
    x = oa.Variable((4, 4))
    y = rng.standard_normal((4, 4))
    term = oa.norm1(oa.Gradient((4, 4)) @ x) if behind else oa.norm1(x)
    method = "primal_dual" if behind else "proximal_gradient"
    lineariser = lineariser_of(oa.compile(0.5 * oa.sum_squares(x - y) + 0.1 * term, method=method).solve(tol=1e-6))
    reason = why_not(lineariser.equation)
    assert (reason is not None and "operator" in reason) if behind else reason is None


def test_a_frame_in_the_variable(rng: np.random.Generator) -> None:
    yp, lp = parameter(rng.standard_normal(16), "y"), weight(0.4)
    x, W = oa.Variable(16), oa.Wavelet((16,), "db2", 2)
    solution = oa.compile(0.5 * oa.sum_squares(x - yp) + lp * oa.norm1(W @ x)).solve(tol=1e-12)
    c = rng.standard_normal(16)
    g = solution.vjp(c, yp)
    matrix = np.stack([np.ravel(W @ unit) for unit in np.eye(16)], axis=1)
    kept = np.abs(matrix @ yp.value) > 0.4
    assert error(g[yp], matrix.T @ (kept * (matrix @ c))) <= 1e-8
