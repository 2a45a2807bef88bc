"""Samples of a declared map that diverge: the others are solved and differentiated as if they were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa

ACCELERATIONS = ["anderson", "nesterov", "none"]
BACKENDS = ["numpy", "torch"]
BAD = 1  # the sample that goes astray
RATES = np.array([0.5, 1.0, -0.8])


def astray(v: Any) -> Any:
    """A map whose fixed points repel all that starts at one."""
    return 1e30 * (v * v * v + 1.0)


def slope(v: Any, u: Any) -> Any:
    return 3e30 * v * v * u


def explode(kind: str, x: oa.Variable, rows: list[int]) -> Any:
    """What is added for the bad sample, among some rows: slow growth, one leap, or an overflow."""
    only = oa.Diagonal(np.array([float(i == BAD) for i in rows])[:, None] * np.ones(x.shape))
    if kind == "linear":
        return 29.0 * (only @ x)
    if kind == "leap":
        return 1e15 * (only @ x)
    return only @ oa.apply(astray, x, vjp=slope)


def declare(kind: str, rows: list[int], **options: Any) -> tuple[oa.MapPlan, oa.Parameter, oa.Parameter]:
    """``x <- r x + s b + what explodes``, for some of the samples."""
    x = oa.Variable((len(rows), 3), name="x")
    b = oa.Parameter((np.arange(9.0).reshape(3, 3) + 1.0)[rows], name="b")
    scale = oa.Parameter(0.5, name="scale")
    turned = oa.Diagonal(RATES[rows][:, None] * np.ones((len(rows), 3))) @ oa.apply(
        oa.activation("tanh"), oa.Matrix(np.roll(np.eye(3), 1, axis=0)) @ x
    )
    return oa.fixed_point(x, turned + explode(kind, x, rows) + scale * b, sample_axes=1, **options), b, scale


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("acceleration", ACCELERATIONS)
@pytest.mark.parametrize("kind", ["linear", "leap", "overflow"])
def test_the_others_are_as_if_alone(kind: str, acceleration: str, backend: str) -> None:
    pytest.importorskip(backend)
    options: dict[str, Any] = {"acceleration": acceleration, "backend": backend}
    if kind == "linear" and acceleration == "anderson":
        options["memory"] = 0  # acceleration would find the fixed point that repels
    plan, b, scale = declare(kind, [0, 1, 2], **options)
    lib = plan.backend
    sol = plan.solve(tol=1e-11, max_iter=300, on_failure="return")
    x = lib.to_numpy(sol.x)
    assert sol.status is oa.Status.DIVERGED and not sol
    good, diverged = oa.Status.CONVERGED_RESIDUAL_ONLY, oa.Status.DIVERGED
    assert sol.sample_statuses == (good, diverged, good)
    assert max(sol.sample_residuals[0], sol.sample_residuals[2]) <= 1e-11 < sol.sample_residuals[BAD]
    assert "1 of 3 samples, sample 1 first" in sol.message and "1 DIVERGED" in repr(sol)
    assert np.isfinite(x).all()

    others, own, shared = declare(kind, [0, 2], **options)
    alone = others.solve(tol=1e-11, max_iter=300)
    np.testing.assert_allclose(x[[0, 2]], lib.to_numpy(alone.x), rtol=1e-9, atol=1e-10)

    c = np.arange(9.0).reshape(3, 3) - 3.5
    how: dict[str, Any] = {"on_inexact": "return", "max_iter": 300, "estimate": False}
    found = sol.vjp(lib.asarray(c), [b, scale], per_sample=1, **how)
    wanted = alone.vjp(lib.asarray(c[[0, 2]]), [own, shared], per_sample=1, **how)
    np.testing.assert_allclose(lib.to_numpy(found[b])[[0, 2]], lib.to_numpy(wanted[own]), rtol=1e-7, atol=1e-8)
    by_sample, expected = lib.to_numpy(found.per_sample[scale]), lib.to_numpy(wanted.per_sample[shared])
    np.testing.assert_allclose(by_sample[[0, 2]], expected, rtol=1e-7, atol=1e-8)
    assert np.isfinite(lib.to_numpy(found[b])).all() and np.isfinite(by_sample).all()
    assert "forward_not_converged" in found.flags
    assert found.sample_flags[0] == found.sample_flags[2] == ()
    assert "forward_not_converged" in found.sample_flags[BAD]
    with pytest.raises(oa.InexactSolutionError, match="DIVERGED"):
        sol.vjp(lib.asarray(c), b)


@pytest.mark.parametrize("mode", ["neumann", "phantom", "jacobian_free", "unroll"])
def test_heuristic_gradients_stay_finite(mode: str) -> None:
    plan, b, _ = declare("leap", [0, 1, 2], acceleration="none")
    sol = plan.solve(tol=1e-11, max_iter=300, on_failure="return")
    terms = {} if mode == "jacobian_free" else {"terms": 12}
    found = sol.vjp(np.ones((3, 3)), b, mode=mode, on_inexact="return", **terms)
    others, own, _ = declare("leap", [0, 2], acceleration="none")
    wanted = others.solve(tol=1e-11).vjp(np.ones((2, 3)), own, mode=mode, **terms)
    np.testing.assert_allclose(found[b][[0, 2]], wanted[own], rtol=1e-8)
    assert np.isfinite(found[b]).all()


def test_the_default_raises_with_the_solution() -> None:
    plan, _, _ = declare("leap", [0, 1, 2], acceleration="none")
    with pytest.raises(oa.DivergedError, match="1 of 3 samples, sample 1 first") as caught:
        plan.solve(tol=1e-10)
    assert isinstance(caught.value, oa.NotAContractionError)
    assert [s.success for s in caught.value.solution.sample_statuses] == [True, False, True]


@pytest.mark.parametrize("acceleration", ACCELERATIONS)
def test_a_sample_that_is_not_finite_at_the_start(acceleration: str) -> None:
    x = oa.Variable((3, 2), name="x")
    root = oa.apply(np.sqrt, x, vjp=lambda v, u: 0.5 * u / np.sqrt(v))
    plan = oa.fixed_point(x, 0.5 * root + np.ones((3, 2)), sample_axes=1, acceleration=acceleration)
    start = np.array([[1.0, 2.0], [-1.0, 1.0], [3.0, 4.0]])
    sol = plan.solve(start, tol=1e-10, on_failure="return")
    assert [s.name for s in sol.sample_statuses] == ["CONVERGED_RESIDUAL_ONLY", "NONFINITE", "CONVERGED_RESIDUAL_ONLY"]
    assert sol.status is oa.Status.NONFINITE
    fixed = (0.25 + np.sqrt(0.0625 + 1.0)) ** 2
    np.testing.assert_allclose(sol.x[[0, 2]], fixed, rtol=1e-9)
    np.testing.assert_array_equal(sol.x[1], start[1])
    with pytest.raises(oa.NonFiniteError, match="at the start"):
        plan.solve(-np.ones((3, 2)))


def test_samples_that_run_out_of_iterations_are_told_apart() -> None:
    x = oa.Variable((3, 2), name="x")
    rates = oa.Diagonal(np.array([0.1, 0.999, 1e15])[:, None] * np.ones((3, 2)))
    plan = oa.fixed_point(x, rates @ x + np.ones((3, 2)), sample_axes=1, acceleration="none")
    sol = plan.solve(tol=1e-10, max_iter=40, on_failure="return")
    assert [s.name for s in sol.sample_statuses] == ["CONVERGED_RESIDUAL_ONLY", "MAX_ITER", "DIVERGED"]
    assert sol.status is oa.Status.DIVERGED and sol.iterations == 40
    assert sol.certificate.relative == max(sol.sample_residuals) > 0.9
    again = plan.solve(sol, max_iter=0, tol=1e-10, on_failure="return")
    assert again.iterations == 0 and len(again.sample_statuses) == 3


def test_the_others_may_come_to_a_standstill() -> None:
    """At the limit of the precision, here of a map with noise in it, the solve ends although one sample has failed."""
    x = oa.Variable((3, 2), name="x")
    noise = oa.apply(lambda v: 1e-9 * np.sin(1e12 * v), x)
    for last in (0.5, 1e15):
        rates = oa.Diagonal(np.array([0.3, 0.5, last])[:, None] * np.ones((3, 2)))
        plan = oa.fixed_point(x, rates @ x + np.ones((3, 2)) + noise, sample_axes=1, acceleration="none")
        sol = plan.solve(tol=1e-13, max_iter=5000, on_failure="return")
        failed = last > 1.0
        assert sol.status is (oa.Status.DIVERGED if failed else oa.Status.STAGNATED) and sol.iterations < 500
        assert sol.sample_statuses[2] is sol.status and sol.sample_statuses[0] is oa.Status.STAGNATED
        assert np.isfinite(sol.x).all()


def test_solutions_without_samples_say_nothing_of_them() -> None:
    x = oa.Variable(3, name="x")
    sol = oa.fixed_point(x, 0.5 * x + np.ones(3)).solve()
    assert sol.sample_statuses == () and sol.sample_residuals == () and "samples" not in repr(sol)
    x = oa.Variable((2, 3), name="x")
    sol = oa.fixed_point(x, 0.5 * x + np.ones((2, 3)), sample_axes=1).solve()
    assert sol.sample_statuses == (oa.Status.CONVERGED_RESIDUAL_ONLY,) * 2
    assert "2 CONVERGED_RESIDUAL_ONLY" in sol._repr_html_()


def test_a_module_trains_on_the_samples_that_are_left() -> None:
    """The adjoint of the sample that exploded adds nothing to the gradient of what samples share."""
    torch = pytest.importorskip("torch")
    gradients = []
    for rows in ([0, 1, 2], [0, 2]):
        plan, _, _ = declare("leap", rows, acceleration="none", backend="torch")
        module = plan.as_module(
            tol=1e-11, max_iter=300, on_failure="return", gradient_options={"on_inexact": "return", "max_iter": 300}
        )
        found = module()
        assert torch.isfinite(found).all()
        found[[0, len(rows) - 1]].square().sum().backward()
        gradients.append(float(module.scale.grad))
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-8)
