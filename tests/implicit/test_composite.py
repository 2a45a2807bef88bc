"""Total variation: solvers agree, differences of exact minimisers agree, and ambiguous duals do not matter."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from tests.implicit.contract_cases import error, parameter, weight
from tests.implicit.points import lineariser_of, refined

LAM = 0.01
KERNEL = np.array([[0.02, 0.08, 0.05], [0.1, 0.5, 0.1], [0.03, 0.1, 0.02]])


def deblurring(side: int, isotropic: bool) -> tuple[oa.Energy, list[oa.Parameter], np.ndarray]:
    rng = np.random.default_rng(3)
    shape = (side, side)
    truth = np.zeros(shape)
    truth[side // 4 : side // 2, side // 4 :] = 1.0
    truth[side // 2 :, : side // 3] = 0.5
    blur = np.array([0.25, 0.5, 0.25])
    kernel = np.outer(blur, blur)
    y = oa.Convolve(kernel, shape) @ truth + 0.02 * rng.standard_normal(shape)
    kp, yp, lp = parameter(kernel, "k"), parameter(y, "y"), weight(LAM)
    x = oa.Variable(shape, name="x")
    fit = 0.5 * oa.sum_squares(oa.Convolve(kp, shape) @ x - yp)
    energy = fit + lp * oa.total_variation(x, isotropic=isotropic, boundary="periodic")
    return energy, [kp, yp, lp], rng.standard_normal(shape)


@pytest.mark.parametrize("isotropic", [False, True], ids=["anisotropic", "isotropic"])
def test_solutions_of_two_methods_have_the_same_gradients(isotropic: bool) -> None:
    energy, leaves, c = deblurring(14, isotropic)
    found = []
    for method in ("admm", "primal_dual"):
        solution = oa.compile(energy, method=method).solve(tol=1e-5, max_iter=20_000)
        found.append(solution.vjp(c, leaves, on_inexact="return"))
    for p in leaves:
        assert error(found[0][p], found[1][p]) <= 1e-6
    for g in found:
        assert g.active_margin is not None and g.active_margin > 0
        assert "active_set_uncertain" not in g.flags


@pytest.mark.parametrize("isotropic", [False, True], ids=["anisotropic", "isotropic"])
def test_gradients_are_differences_of_exact_minimisers(isotropic: bool) -> None:
    energy, leaves, c = deblurring(12, isotropic)
    plan = oa.compile(energy, method="admm")
    solution = plan.solve(tol=1e-6, max_iter=20_000)
    gradients = solution.vjp(c, leaves, on_inexact="return")
    rng = np.random.default_rng(5)

    def loss(p: oa.Parameter, value: np.ndarray) -> float:
        here = refined(plan.solve(x0=solution, params={p: value}, tol=1e-6, max_iter=20_000))
        assert here.relative <= 1e-9
        return float(np.sum(c * here.point[0]))

    for p in leaves:
        d = rng.standard_normal(p.shape) if p.shape else np.float64(1.0)
        h = 1e-4 * np.linalg.norm(p.value) / np.linalg.norm(d)
        slope = (loss(p, p.value + h * d) - loss(p, p.value - h * d)) / (2 * h)
        size = np.linalg.norm(gradients[p]) * np.linalg.norm(d)
        assert abs(slope - np.sum(gradients[p] * d)) <= 1e-6 * size, p.label


def test_a_coarse_solution_is_made_exact() -> None:
    energy, _, _ = deblurring(12, isotropic=True)
    plan = oa.compile(energy, method="admm")
    coarse, fine = plan.solve(tol=1e-3, max_iter=20_000), plan.solve(tol=1e-6, max_iter=20_000)
    lineariser = lineariser_of(coarse)
    lineariser._iterations = 10_000  # a budget that is large enough
    here, exact = lineariser.refined()[0], refined(fine)
    assert here.relative <= 1e-9
    assert error(here.point[0], exact.point[0]) <= 1e-7


def test_groups_that_share_entries() -> None:
    rng = np.random.default_rng(0)
    n = 24
    A, groups = rng.standard_normal((30, n)) / 5, [[i, i + 1, i + 2, i + 3] for i in range(0, n - 3, 2)]
    truth = np.zeros(n)
    truth[4:9] = 2.0
    yp, lp = parameter(A @ truth + 0.05 * rng.standard_normal(30), "y"), weight(0.1)
    x = oa.Variable(n, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - yp) + lp * oa.group_norm(x, groups)
    plan = oa.compile(energy)
    solution = plan.solve(tol=1e-6, max_iter=5000, on_failure="return")
    c = rng.standard_normal(n)
    found = float(solution.vjp(c, lp, on_inexact="return")[lp])

    def at(value: float) -> np.ndarray:
        return refined(plan.solve(params={lp: value}, tol=1e-6, max_iter=5000, on_failure="return")).point[0]

    slope = float(np.sum(c * (at(0.10001) - at(0.09999)))) / 2e-5
    assert abs(found - slope) <= 1e-6 * abs(slope)


def test_an_energy_without_a_smooth_part_is_refined() -> None:
    rng = np.random.default_rng(0)
    A, truth = rng.standard_normal((20, 12)) / 4, np.zeros(12)
    truth[:3] = 2.0
    yp, rp = parameter(A @ truth + 0.1 * rng.standard_normal(20), "y"), weight(0.6, "r")
    x = oa.Variable(12, name="x")
    energy = oa.norm1(x) + oa.indicator(oa.norm2(oa.Matrix(A) @ x - yp) <= rp)
    solution = oa.compile(energy).solve(tol=1e-8, max_iter=20_000)
    assert refined(solution).relative <= 1e-12
    assert "active_set_uncertain" not in solution.vjp(np.ones(12), rp).flags
