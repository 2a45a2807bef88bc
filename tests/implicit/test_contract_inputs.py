"""The rows of the table of failures that lie in what the user gives, and in the adjoint's solver."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.implicit.contract_cases import (
    design,
    error,
    lasso,
    parameter,
    solve,
)

Array = np.ndarray


# Parameters and options outside their domain.


def test_a_negative_weight_is_refused_before_solving(rng: np.random.Generator) -> None:
    parts = lasso(rng)
    plan = oa.compile(parts.energy)
    with pytest.raises(oa.ParameterError, match="lambda"):
        plan.solve(params={"lambda": -1.0})
    with pytest.raises(oa.ParameterError, match="lambda"):
        oa.hypergradient(plan, "value", parts.parameters[2], params={parts.parameters[2]: -0.1})


def test_a_step_that_is_too_long_is_refused_before_solving(rng: np.random.Generator) -> None:
    parts = lasso(rng)
    plan, limit = oa.compile(parts.energy), 2 / np.linalg.norm(parts.A, 2) ** 2
    assert plan.solve(step=0.9 * limit, tol=1e-6)
    with pytest.raises(oa.ParameterError, match="step"):
        plan.solve(step=1.5 * limit)


def test_steps_of_primal_dual_methods_are_not_for_users(rng: np.random.Generator) -> None:
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(x - rng.standard_normal(8)) + oa.norm1(oa.Gradient((8,)) @ x)
    with pytest.raises(oa.ParameterError, match="step"):
        oa.compile(energy, method="primal_dual").solve(step=100.0)


@pytest.mark.parametrize(
    "options", [{"tolerance": 1e-3}, {"mode": "exakt"}, {"solver": "cg"}, {"on_inexact": "ignore"}]
)
def test_misspelt_options(options: dict, rng: np.random.Generator) -> None:
    parts = lasso(rng)
    solution = solve(parts.energy)
    with pytest.raises((oa.ParameterError, TypeError)):
        solution.vjp(np.ones(12), parts.parameters[1], **options)


@pytest.mark.parametrize("loss", ["value", lambda x: (float(x @ x), 2 * x)], ids=["value", "squares"])
def test_misspelt_options_of_hypergradients(loss: Any, rng: np.random.Generator) -> None:
    parts = lasso(rng)
    with pytest.raises((oa.ParameterError, TypeError)):
        oa.hypergradient(oa.compile(parts.energy), loss, parts.parameters[1], gradient_options={"toll": 1})
    with pytest.raises((oa.ParameterError, TypeError)):
        oa.hypergradient(oa.compile(parts.energy), "valu", parts.parameters[1])


# The adjoint's solver.


def cycle(n: int, radius: float, rng: np.random.Generator) -> tuple[oa.Solution, oa.Parameter, Array, Array]:
    """A cyclic shift: restarted GMRES makes no progress with a memory below n."""
    B = radius * np.roll(np.eye(n), 1, axis=0)
    b, x = parameter(rng.standard_normal(n), "b"), oa.Variable(n, name="x")
    solution = oa.fixed_point(x, oa.Matrix(B) @ x + b).solve(
        np.linalg.solve(np.eye(n) - B, b.value), tol=1e-12, on_failure="return"
    )
    c = np.zeros(n)
    c[0] = 1.0
    return solution, b, c, B


def test_a_stagnating_solver_takes_longer_cycles(rng: np.random.Generator) -> None:
    solution, b, c, B = cycle(60, 0.9999, rng)
    found = solution.vjp(c, b, on_inexact="return", tol=1e-10)
    assert "adjoint_not_converged" not in found.flags
    assert error(found[b], np.linalg.solve((np.eye(60) - B).T, c)) <= 1e-5


def test_a_stagnating_solver_is_reported(rng: np.random.Generator) -> None:
    solution, b, c, _ = cycle(60, 0.9999, rng)
    with pytest.raises(oa.AdjointNotConvergedError):
        solution.vjp(c, b, max_iter=25, tol=1e-10)
    found = solution.vjp(c, b, max_iter=25, tol=1e-10, on_inexact="return")
    assert "adjoint_not_converged" in found.flags
    assert found.relative_residual > 1e-10


def test_conjugate_gradients_on_a_system_that_is_not_symmetric(rng: np.random.Generator) -> None:
    B, x, b = 0.2 * rng.standard_normal((6, 6)), oa.Variable(6, name="x"), parameter(rng.standard_normal(6), "b")
    solution = solve(oa.fixed_point(x, oa.Matrix(B) @ x + b))
    with pytest.raises(oa.OpalgError, match="gmres"):
        solution.vjp(rng.standard_normal(6), b, solver="conjugate_gradients")


def test_an_operator_with_a_wrong_adjoint(rng: np.random.Generator) -> None:
    A = design(rng, 8, 6, 3.0)
    y, c = parameter(rng.standard_normal(8), "y"), rng.standard_normal(6)
    wrong = oa.FunctionOperator(
        lambda v: v @ A.T, lambda u: u @ (A + 1e-2 * np.ones_like(A)), in_shape=(6,), out_shape=(8,)
    )
    x = oa.Variable(6, name="x")
    energy = 0.5 * oa.sum_squares(wrong @ x - y) + 0.5 * oa.sum_squares(x)
    solution = oa.compile(energy).solve(tol=1e-10, max_iter=2000, on_failure="return")
    with pytest.raises(oa.AdjointError):
        solution.vjp(c, y, on_inexact="return", debug=True)


def test_right_operators_pass_the_probes(rng: np.random.Generator) -> None:
    parts = lasso(rng)
    solution, c = solve(parts.energy), rng.standard_normal(12)
    plain = solution.vjp(c, parts.parameters, tol=1e-12)
    probed = solution.vjp(c, parts.parameters, tol=1e-12, debug=True)
    assert all(error(probed[p], plain[p]) <= 1e-12 for p in parts.parameters)


# Cotangents.


def test_a_cotangent_of_zero_needs_no_product(rng: np.random.Generator) -> None:
    parts = lasso(rng)
    found = solve(parts.energy).vjp(np.zeros(12), parts.parameters)
    assert found.products == 0
    assert all(found[p].shape == p.shape and not np.any(found[p]) for p in parts.parameters)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_cotangent_that_is_not_finite(bad: float, rng: np.random.Generator) -> None:
    parts, c = lasso(rng), rng.standard_normal(12)
    c[3] = bad
    solution = solve(parts.energy)
    with pytest.raises(oa.NonFiniteError, match="cotangent"):
        solution.vjp(c, parts.parameters)
    with pytest.raises(oa.NonFiniteError, match="cotangent"):
        solution.vjp(lambda x: c, parts.parameters)


@pytest.mark.parametrize("power", [-300, -200, -40, 40, 200])
def test_a_tiny_or_huge_cotangent_scales_exactly(power: int, rng: np.random.Generator) -> None:
    parts, c = lasso(rng), rng.standard_normal(12)
    solution, scale = solve(parts.energy), 2.0**power
    one, other = solution.vjp(c, parts.parameters), solution.vjp(scale * c, parts.parameters)
    for p in parts.parameters:
        assert error(other[p] / scale, one[p]) <= 1e-12


# What carries no gradient.


def test_start_step_and_unused_parameters_have_zeros(rng: np.random.Generator) -> None:
    parts, unused = lasso(rng), parameter(np.ones((2, 3)), "unused")
    solution, c = solve(parts.energy), rng.standard_normal(12)
    found = solution.vjp(c, [parts.parameters[1], "x0", "step", unused], on_inexact="return")
    assert {"no_influence", "unused_parameter"} <= set(found.flags)
    assert found["x0"].shape == (12,) and not np.any(found["x0"])
    assert not np.any(found["step"]) and np.shape(found["step"]) == ()
    assert found[unused].shape == (2, 3) and not found[unused].any()
    alone = solution.vjp(c, "x0")
    assert alone.products == 0 and not np.any(alone["x0"])


# Precisions.


def test_precisions_are_not_lowered_silently(rng: np.random.Generator) -> None:
    parts, c = lasso(rng), rng.standard_normal(12)
    solution = solve(parts.energy)
    single = c.astype(np.float32)
    found, wanted = solution.vjp(single, parts.parameters[1]), solution.vjp(single.astype(float), parts.parameters[1])
    y = parts.parameters[1]
    assert found[y].dtype == np.float64
    assert error(found[y], wanted[y]) <= 1e-12
    rough = oa.compile(parts.energy, dtype="float32").solve(tol=1e-6, on_failure="return")
    assert rough.x.dtype == np.float32
    assert rough.vjp(single, y, on_inexact="return")[y].dtype == np.float32


def test_a_precise_cotangent_of_a_single_solve(rng: np.random.Generator) -> None:
    parts, c = lasso(rng), rng.standard_normal(12)
    y = parts.parameters[1]
    rough = oa.compile(parts.energy, dtype="float32").solve(tol=1e-6, on_failure="return")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            found = rough.vjp(c, y, on_inexact="return")
        except oa.DtypeError:
            return
    assert seen or found[y].dtype == np.float64 or "demoted" in found.flags
