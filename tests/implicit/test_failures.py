"""What a gradient refuses, flags, or answers with zeros."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import opalg as oa


@pytest.fixture
def parts() -> tuple[oa.Plan, oa.Parameter, oa.Parameter]:
    rng = np.random.default_rng(0)
    y, lam = oa.Parameter(3 * rng.standard_normal(12), name="y"), oa.Parameter(1.0, name="lambda", nonneg=True)
    x = oa.Variable(8, name="x")
    return oa.compile(0.5 * oa.sum_squares(oa.Matrix(rng.standard_normal((12, 8))) @ x - y) + lam * oa.norm1(x)), y, lam


def test_a_solution_that_did_not_converge_has_no_gradient_by_default(parts: tuple) -> None:
    plan, y, lam = parts
    rough = plan.solve(tol=1e-12, max_iter=3, on_failure="return")
    with pytest.raises(oa.InexactSolutionError, match="MAX_ITER"):
        rough.vjp(np.ones(8), lam)
    with pytest.raises(oa.InexactSolutionError):
        rough.jvp({lam: np.array(1.0)})
    with pytest.warns(oa.ConvergenceWarning, match="MAX_ITER") as seen:
        found = rough.vjp(np.ones(8), lam, on_inexact="warn", refine=False)
    assert seen[0].filename == __file__
    assert "forward_not_converged" in found.flags
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "forward_not_converged" in rough.vjp(np.ones(8), [lam, y], on_inexact="return", refine=False).flags
    with pytest.raises(oa.ParameterError, match="on_inexact"):
        rough.vjp(np.ones(8), lam, on_inexact="ignore")


def test_a_gradient_that_ran_out_of_products_is_refused(rng: np.random.Generator) -> None:
    A = rng.standard_normal((30, 30)) * np.logspace(0, -3, 30)
    y, x = oa.Parameter(A @ rng.standard_normal(30), name="y"), oa.Variable(30, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + 1e-4 * oa.sum_squares(x))
    solution = plan.solve(tol=1e-6)
    with pytest.raises(oa.AdjointNotConvergedError, match="max_iter"):
        solution.vjp(np.ones(30), y, max_iter=3, tol=1e-12)
    found = solution.vjp(np.ones(30), y, max_iter=3, tol=1e-12, on_inexact="return")
    assert "adjoint_not_converged" in found.flags
    assert found.relative_residual > 1e-12


def test_a_cotangent_of_zero_gives_zeros_without_a_solve(parts: tuple) -> None:
    plan, y, lam = parts
    found = plan.solve(tol=1e-8).vjp(np.zeros(8), [y, lam])
    assert found.products == 0
    assert not np.any(found[y]) and not np.any(found[lam])
    assert found[y].shape == (12,)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_cotangent_with_nan_is_refused(bad: float, parts: tuple) -> None:
    plan, y, _ = parts
    c = np.ones(8)
    c[2] = bad
    with pytest.raises(oa.NonFiniteError, match="cotangent of x"):
        plan.solve(tol=1e-8).vjp(c, y)


@pytest.mark.parametrize("wrong", [np.ones(7), np.ones((8, 1)), np.ones(()), 1.0, [1.0] * 8])
def test_a_cotangent_of_another_shape_is_refused(wrong: object, parts: tuple) -> None:
    plan, y, _ = parts
    with pytest.raises(oa.ShapeError, match=r"\(8,\)"):
        plan.solve(tol=1e-8).vjp(wrong, y)


def test_a_direction_of_another_shape_is_refused(parts: tuple) -> None:
    plan, y, _ = parts
    with pytest.raises(oa.ShapeError, match="direction of y"):
        plan.solve(tol=1e-8).jvp({y: np.ones(8)})


@pytest.mark.parametrize("wrong", [3.0, np.ones(3), "lamda", None])
def test_what_is_no_parameter_is_refused(wrong: object, parts: tuple) -> None:
    plan, _, _ = parts
    with pytest.raises(oa.ParameterError, match="is neither"):
        plan.solve(tol=1e-8).vjp(np.ones(8), wrong)


def test_misspelt_options_are_refused(parts: tuple) -> None:
    plan, y, _ = parts
    with pytest.raises(oa.ParameterError, match="tolerance"):
        plan.solve(tol=1e-8).vjp(np.ones(8), y, tolerance=1e-3)


def test_an_unused_parameter_has_a_gradient_of_zero(parts: tuple) -> None:
    plan, y, _ = parts
    unused = oa.Parameter(np.ones((2, 3)), name="unused")
    found = plan.solve(tol=1e-8).vjp(np.ones(8), [y, unused])
    assert found[unused].shape == (2, 3) and not found[unused].any()
    assert found[y].any()


def test_gradients_are_a_mapping(parts: tuple) -> None:
    plan, y, lam = parts
    found = plan.solve(tol=1e-8).vjp(np.ones(8), [y, lam])
    assert len(found) == 2 and list(found) == [y, lam]
    assert found["lambda"] is found[lam]
    assert "lambda" in repr(found) and "reduced" in repr(found)
    with pytest.raises(KeyError):
        found["mu"]


@pytest.mark.parametrize("size", [1e-8, 1e-4, 1e4, 1e8])
def test_the_unit_of_the_problem_does_not_matter(size: float) -> None:
    rng = np.random.default_rng(1)
    A, y0, c = rng.standard_normal((12, 8)), 3 * rng.standard_normal(12), rng.standard_normal(8)
    x = oa.Variable(8, name="x")

    def gradient(s: float) -> np.ndarray:
        y, lam = oa.Parameter(s * y0, name="y"), oa.Parameter(s, name="lambda", nonneg=True)
        solution = oa.minimize(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + lam * oa.norm1(x), tol=1e-9)
        return solution.vjp(c, y)[y]

    assert np.allclose(gradient(size), gradient(1.0), rtol=1e-8, atol=1e-12)


def test_a_singular_system_is_named(rng: np.random.Generator) -> None:
    # Two columns are the same: the solution is not unique, and a cotangent that tells them apart has no gradient.
    A = rng.standard_normal((9, 4))
    A = np.concatenate([A, A[:, :1]], axis=1)
    y, x = oa.Parameter(rng.standard_normal(9), name="y"), oa.Variable(5, name="x")
    solution = oa.minimize(oa.sum_squares(oa.Matrix(A) @ x - y), method="conjugate_gradient", tol=1e-9, max_iter=4)
    c = np.array([1.0, 0.0, 0.0, 0.0, -1.0])
    with pytest.raises((oa.SingularAdjointError, oa.AdjointNotConvergedError)):
        solution.vjp(c, y)
    assert "adjoint_not_converged" in solution.vjp(c, y, on_inexact="return").flags


def test_a_singular_system_that_has_an_answer_gives_it(rng: np.random.Generator) -> None:
    A = rng.standard_normal((9, 4))
    A = np.concatenate([A, A[:, :1]], axis=1)
    y, x = oa.Parameter(rng.standard_normal(9), name="y"), oa.Variable(5, name="x")
    solution = oa.minimize(oa.sum_squares(oa.Matrix(A) @ x - y), method="conjugate_gradient", tol=1e-9, max_iter=4)
    v = rng.standard_normal(9)
    assert np.allclose(solution.vjp(A.T @ v, y)[y], A @ np.linalg.pinv(A) @ v, atol=1e-8)


def test_gradients_belong_to_their_own_solve(parts: tuple) -> None:
    plan, y, lam = parts
    first = plan.solve(tol=1e-10)
    before = first.vjp(np.ones(8), [y, lam])
    plan.solve(tol=1e-10, params={lam: 3.0})
    plan.solve(np.ones(8), tol=1e-3)
    after = first.vjp(np.ones(8), [y, lam])
    assert np.array_equal(before[y], after[y]) and before[lam] == after[lam]


@pytest.mark.parametrize("method", ["admm", "primal_dual"])
def test_a_later_solve_does_not_move_the_penalty_of_an_earlier_one(method: str, rng: np.random.Generator) -> None:
    y, x = oa.Parameter(rng.standard_normal((6, 6)), name="y"), oa.Variable((6, 6), name="x")
    plan = oa.compile(0.5 * oa.sum_squares(x - y) + 0.3 * oa.total_variation(x, boundary="periodic"), method=method)
    first, c = plan.solve(tol=1e-12, max_iter=50_000, on_failure="return"), rng.standard_normal((6, 6))
    before = first.vjp(c, y, on_inexact="return")[y]
    plan.solve(100 * rng.standard_normal((6, 6)), tol=1e-3)
    assert np.array_equal(first.vjp(c, y, on_inexact="return")[y], before)


def test_arrays_given_are_not_written(parts: tuple) -> None:
    plan, y, _ = parts
    solution, c = plan.solve(tol=1e-8), np.ones(8)
    kept = solution.x.copy()
    found = solution.vjp(c, y)[y]
    found[:] = np.nan
    assert np.array_equal(c, np.ones(8)) and np.array_equal(solution.x, kept)
    assert np.all(np.isfinite(solution.vjp(c, y)[y]))


@pytest.mark.parametrize(
    "options",
    [
        {"tol": "1e-3"}, {"accuracy": "x"}, {"damping": "a"}, {"per_sample": -1}, {"per_sample": "yes"}, {"terms": 3},
        {"mode": "neumann", "per_sample": True}, {"mode": "neumann", "estimate": "bound"}, {"refine": "yes"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(parts: tuple, options: dict) -> None:
    plan, y, _ = parts
    with pytest.raises(oa.ParameterError):
        plan.solve(tol=1e-8).vjp(np.ones(8), y, **options)


def test_options_that_belong_elsewhere_are_refused(parts: tuple) -> None:
    plan, y, lam = parts
    solution = plan.solve(tol=1e-8)
    with pytest.raises(oa.ParameterError, match="mode"):
        solution.validity_radius({lam: 1.0}, mode="neumann")
    with pytest.raises(oa.ParameterError, match="twice"):
        solution.jvp({"lambda": 1.0, lam: 2.0})
    with pytest.raises(oa.DtypeError, match="complex"):
        solution.vjp(1j * np.ones(8), y)
    with pytest.raises(oa.InexactSolutionError, match="accuracy"):
        solution.vjp(np.ones(8), y, mode="neumann", terms=1, accuracy=1e-9)


def test_a_change_that_is_not_certain_warns(rng: np.random.Generator) -> None:
    U, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    x, y = oa.Variable((60,)), oa.Parameter(rng.standard_normal(60), name="y")
    A = oa.Matrix(U * np.linspace(1, 12, 60) @ U.T)
    solution = oa.compile(0.5 * oa.sum_squares(A @ x - y) + 0.15 * oa.norm1(x)).solve(tol=1e-8)
    with pytest.warns(UserWarning, match="less certain"):
        solution.jvp({y: np.ones(60)}, max_iter=15, refine=False, on_inexact="warn")


def test_a_loss_that_is_flat_at_a_rough_solution_is_not_taken_for_zero(parts: tuple) -> None:
    plan, _, lam = parts
    solution = plan.solve(tol=1e-3)
    found = solution.vjp(lambda x: x - solution.x, lam)
    assert found.error_kind != "certified" or found[lam] == 0.0
