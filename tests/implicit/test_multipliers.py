"""The method of multipliers: from far away to the exact minimiser."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.multipliers import Approach, inner, inward
from opalg.implicit.system import Optimality
from tests.implicit.points import lineariser_of, refined


def approach_of(lineariser: object) -> Approach:
    equation = lineariser.equation
    assert isinstance(equation, Optimality)
    return Approach(
        equation,
        lambda controls: lineariser._programs("functions", controls),
        [lineariser.programs.controls[s.penalty] for s in equation.split],
        lineariser.inspector.masks,
        lineariser._augmented_factors,
        lineariser.at,
        lineariser.sizes,
    )


@pytest.mark.parametrize("isotropic", [False, True], ids=["anisotropic", "isotropic"])
def test_it_leads_from_a_coarse_solution_to_the_minimiser(isotropic: bool, rng: np.random.Generator) -> None:
    shape = (10, 10)
    y = np.zeros(shape)
    y[3:7, 2:8] = 1.0
    y += 0.1 * rng.standard_normal(shape)
    x = oa.Variable(shape)
    energy = 0.5 * oa.sum_squares(x - y) + 0.2 * oa.total_variation(x, isotropic=isotropic)
    plan = oa.compile(energy, method="primal_dual")
    lineariser = lineariser_of(plan.solve(tol=1e-2))
    start = lineariser.at(lineariser.start)
    found, products = approach_of(lineariser)(start, 20_000)
    assert start.relative > 1e-4 and found.relative <= 1e-9 and products > 0
    exact = refined(plan.solve(tol=1e-9, max_iter=50_000))
    assert np.abs(found.point[0] - exact.point[0]).max() <= 1e-7


def test_a_matrix_takes_no_factors_and_still_converges(rng: np.random.Generator) -> None:
    x = oa.Variable(15)
    A, M = rng.standard_normal((20, 15)), rng.standard_normal((18, 15))
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - 3 * rng.standard_normal(20)) + oa.norm1(oa.Matrix(M) @ x)
    lineariser = lineariser_of(oa.compile(energy, method="primal_dual").solve(tol=1e-2, max_iter=5000))
    found, _ = approach_of(lineariser)(lineariser.at(lineariser.start), 20_000)
    assert found.relative <= 1e-9


def test_a_small_budget_is_kept(rng: np.random.Generator) -> None:
    x = oa.Variable(30)
    energy = 0.5 * oa.sum_squares(x - rng.standard_normal(30)) + 0.5 * oa.norm1(oa.Gradient((30,)) @ x)
    lineariser = lineariser_of(oa.compile(energy, method="primal_dual").solve(tol=1e-2))
    _, products = approach_of(lineariser)(lineariser.at(lineariser.start), 10)
    assert products <= 10 + 200


def test_only_what_hardly_moves_is_held() -> None:
    lib = oa.backend("numpy") if callable(getattr(oa, "backend", None)) else None
    assert lib is not None
    u = [np.array([1.0, 1e-13, 0.5])]
    v = [u[0] + 1.0]

    def masks(place: list[np.ndarray]) -> list[np.ndarray]:
        return [(place[0] > 1.0).astype(float)]  # soft thresholding at 1

    moved, found = inward(v, u, 1e-11, masks, lib)
    np.testing.assert_array_equal(found[0], [1, 0, 1])
    np.testing.assert_array_equal(moved[0][[0, 2]], v[0][[0, 2]])
    assert moved[0][1] < 1.0


def test_inner_products_are_real() -> None:
    lib = oa.backend("numpy")
    a, b = np.array([1 + 2j, 3j]), np.array([2 - 1j, 1.0 + 0j])
    assert inner([a, np.ones(2)], [b, np.ones(2)], lib) == pytest.approx(np.vdot(a, b).real + 2)


def test_isotropic_deblurring_is_refined_to_the_end_and_its_adjoint_converges(rng: np.random.Generator) -> None:
    shape, r = (24, 24), np.arange(7) - 3
    kernel = np.exp(-(r[:, None] ** 2 + r**2) / (2 * 1.2**2))
    K = oa.Convolve(kernel / kernel.sum(), shape)
    truth = 0.2 + 0.3 * (np.hypot(*np.meshgrid(np.arange(24) - 10, np.arange(24) - 13)) < 6)
    y, lam = K @ truth + 0.01 * rng.standard_normal(shape), oa.Parameter(0.01, name="lam", nonneg=True)
    x = oa.Variable(shape)
    energy = 0.5 * oa.sum_squares(K @ x - y) + lam * oa.norm21(oa.Gradient(shape, boundary="periodic") @ x)
    plan = oa.compile(energy)
    found = plan.solve(on_failure="return").vjp(lambda u: u - truth, lam, on_inexact="return")
    exact = plan.solve(tol=1e-11, max_iter=100_000, on_failure="return").vjp(lambda u: u - truth, lam, tol=1e-10)
    assert "active_set_uncertain" not in found.flags
    assert found.relative_residual <= 1e-5 and found.counts["adjoint"] <= 200
    assert float(found[lam]) == pytest.approx(float(exact[lam]), rel=1e-5)


def test_a_solution_without_jumps_holds_everything(rng: np.random.Generator) -> None:
    x, y = oa.Variable((6, 7)), oa.Parameter(rng.standard_normal((6, 7)), name="y")
    energy = 0.5 * oa.sum_squares(x - y) + 1.5 * oa.total_variation(x, isotropic=True, boundary="periodic")
    solution = oa.compile(energy, method="primal_dual").solve(tol=1e-2)
    c = rng.standard_normal((6, 7))
    found = solution.vjp(c, y, on_inexact="return")
    assert "active_set_uncertain" not in found.flags
    np.testing.assert_allclose(found[y], np.full((6, 7), c.mean()), rtol=1e-8)


def test_what_counts_as_large_may_be_what_was_before() -> None:
    lib = oa.backend("numpy")
    u = [np.array([1e-14, 3e-14])]
    v = [u[0] + 1.0]

    def masks(place: list[np.ndarray]) -> list[np.ndarray]:
        return [(place[0] > 1.0).astype(float)]

    np.testing.assert_array_equal(inward(v, u, 1e-11, masks, lib)[1][0], [1, 1])
    np.testing.assert_array_equal(inward(v, u, 1e-11, masks, lib, [np.array([0.5, 0.0])])[1][0], [0, 0])
