"""Gradients of single-precision solves against dense references in double for the same rounded data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa

BACKENDS = ["numpy", "torch", "array_api_strict"]


class Lasso:
    """A lasso of a condition in single precision, with the exact gradients of ``<c, x>``."""

    def __init__(self, rng: np.random.Generator, condition: float, **options: Any) -> None:
        u, _, vt = np.linalg.svd(rng.standard_normal((20, 30)), full_matrices=False)
        self.A = ((u * np.geomspace(1, 1 / np.sqrt(condition), 20)) @ vt).astype(np.float32)
        data = (self.A @ np.where(rng.random(30) < 0.2, 3.0, 0.0)).astype(np.float32)
        self.c = rng.standard_normal(30).astype(np.float32)
        weight = np.float32(0.02)
        self.y, self.lam = oa.Parameter(data, name="y"), oa.Parameter(np.asarray(weight), name="lam", nonneg=True)
        x = oa.Variable(30, name="x")
        energy = 0.5 * oa.sum_squares(oa.Matrix(self.A) @ x - self.y) + self.lam * oa.norm1(x)
        self.plan = oa.compile(energy, **options)
        self.solution = self.plan.solve(on_failure="return")
        exact = oa.compile(energy, dtype="float64").solve(tol=1e-12, max_iter=100_000, on_failure="return").polish()
        support = np.flatnonzero(np.abs(exact) > 1e-9)
        B = self.A[:, support].astype(float)
        w = np.linalg.solve(B.T @ B, self.c[support].astype(float))
        self.wanted = {self.y: B @ w, self.lam: -float(np.sign(exact[support]) @ w)}

    def error(self, found: Any, parameter: Any) -> float:
        """The relative error of a gradient."""
        array = np.asarray(self.plan.backend.to_numpy(found[parameter]), dtype=float)
        return float(np.linalg.norm(array - self.wanted[parameter]) / np.linalg.norm(self.wanted[parameter]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("condition", [9.0, 1e3])
def test_gradients_of_single_solves_have_all_their_digits(
    rng: np.random.Generator, backend: str, condition: float
) -> None:
    pytest.importorskip(backend)
    case = Lasso(rng, condition, backend=backend)
    assert case.plan.backend.precision == "float32"
    found = case.solution.vjp(case.plan.backend.asarray(case.c), [case.y, case.lam], on_inexact="return")
    for parameter in (case.y, case.lam):
        assert str(found[parameter].dtype).endswith("float32")
        assert case.error(found, parameter) < 1e-6
    assert found.proven and "forward_not_converged" not in found.flags
    assert str(found.debiased[case.y].dtype).endswith("float32")


def test_less_and_more_precision_on_request(rng: np.random.Generator) -> None:
    case = Lasso(rng, 1e4)
    for precision, used in (("float32", np.float32), ("float64", np.float64), ("auto", np.float64)):
        found = case.solution.vjp(case.c, case.y, precision=precision, on_inexact="return")
        assert found[case.y].dtype == np.float32
        assert found.adjoint.state.dtype == used
        assert case.error(found, case.y) < (1e-3 if precision == "float32" else 1e-6)


def test_large_problems_keep_their_precision_unless_asked(rng: np.random.Generator) -> None:
    x, b = oa.Variable(2**17 + 1, name="x"), oa.Parameter(rng.standard_normal(2**17 + 1).astype(np.float32), name="b")
    solution = oa.compile(0.5 * oa.sum_squares(x - b) + 0.3 * oa.norm1(x)).solve()
    seen = []
    for precision in ("auto", "float64"):
        found = solution.vjp(np.ones(x.shape, np.float32), b, precision=precision)
        seen.append(str(found.adjoint.state.dtype))
    assert seen == ["float32", "float64"]


def test_changes_second_derivatives_and_points_are_rounded_back(rng: np.random.Generator) -> None:
    case = Lasso(rng, 9.0)
    options = {"on_inexact": "return"}
    assert case.solution.jvp({case.lam: 1.0}, **options).dtype == np.float32
    assert case.solution.polish().dtype == np.float32
    along, found = case.solution.second_order(case.c, {case.lam: 1.0}, [case.y, case.lam], **options)
    assert along.dtype == found[case.y].dtype == np.float32
    assert case.solution.value_gradient(case.y)[case.y].dtype == np.float32
    moved = case.solution.jvp({case.lam: 1.0}, **options)
    assert float(case.c @ moved) == pytest.approx(case.wanted[case.lam], rel=1e-5)


def test_losses_are_called_in_the_precision_of_the_plan(rng: np.random.Generator) -> None:
    case, seen = Lasso(rng, 9.0), []

    def slope(x: Any) -> Any:
        seen.append(x.dtype)
        return 2 * x

    case.solution.vjp(slope, case.lam, on_inexact="return")
    assert set(seen) == {np.dtype(np.float32)}


def test_parameters_of_one_solve_enter_in_double(rng: np.random.Generator) -> None:
    case = Lasso(rng, 9.0)
    other = case.plan.solve(params={"lam": np.float32(0.05)}, tol=1e-6, on_failure="return")
    moved = oa.compile(case.plan.energy, dtype="float64").solve(params={"lam": np.float32(0.05)}, tol=1e-12)
    options = {"on_inexact": "return"}
    wanted = moved.vjp(case.c.astype(float), case.y, **options)[case.y]
    np.testing.assert_allclose(other.vjp(case.c, case.y, **options)[case.y], wanted, rtol=1e-5, atol=1e-6)


def test_a_warm_start_of_another_precision_is_not_taken(rng: np.random.Generator) -> None:
    case = Lasso(rng, 1e3)
    first = case.solution.vjp(case.c, case.y, precision="float32", on_inexact="return")
    again = case.solution.vjp(case.c, case.y, start=first, on_inexact="return")
    assert case.error(again, case.y) < 1e-6


def test_bounds_cover_the_rounding_of_the_result(rng: np.random.Generator) -> None:
    data = rng.standard_normal(12).astype(np.float32)
    y, x = oa.Parameter(data, name="y"), oa.Variable(12, name="x")
    solution = oa.compile(0.5 * oa.sum_squares(x - y) + 0.7 * oa.sum_squares(x)).solve()
    c = rng.standard_normal(12).astype(np.float32)
    found = solution.vjp(c, y, estimate="bound")
    true = float(np.linalg.norm(found[y].astype(float) - c.astype(float) / 2.4))
    assert found.error_kind == "certified" and true <= found.error_estimate < 1e-6


def test_networks_compute_in_their_own_precision(rng: np.random.Generator) -> None:
    b, x = oa.Parameter(rng.standard_normal(4).astype(np.float32), name="b"), oa.Variable(4, name="x")
    image = oa.apply(np.tanh, 0.5 * x + b, vjp=lambda v, u: u * (1 - np.tanh(v) ** 2))
    solution = oa.fixed_point(x, image).solve(tol=1e-6)
    found = solution.vjp(np.ones(4, np.float32), b)
    assert found[b].dtype == found.adjoint.state.dtype == np.float32
    with pytest.raises(oa.UnsupportedError, match="networks"):
        solution.vjp(np.ones(4, np.float32), b, precision="float64")


def test_less_than_the_plan_is_refused() -> None:
    y, x = oa.Parameter(np.ones(3), name="y"), oa.Variable(3, name="x")
    solution = oa.compile(oa.sum_squares(x - y)).solve()
    with pytest.raises(oa.ParameterError, match="less than this plan"):
        solution.vjp(np.ones(3), y, precision="float32")
    with pytest.raises(oa.ParameterError, match="precision"):
        solution.vjp(np.ones(3), y, precision="half")
