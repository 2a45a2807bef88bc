"""Every method that fits an energy finds the same minimiser on every backend, and what it certifies is true."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.compiler.canonical import canonical
from opalg.compiler.choose import judge
from opalg.methods.problem import Problem
from opalg.program.interpreter import evaluate
from tests.solving.instances import Instance, at_points, makers, points_of

INSTANCES = {name: make() for name, make in makers().items()}
PAIRS = [(name, method) for name, instance in INSTANCES.items() for method in instance.methods]
STRONG = [
    name
    for name, instance in INSTANCES.items()
    if Problem(canonical(instance.energy)[0]).strong_convexity is not None and name != "exponential"
]
ITERATIONS = 30_000


@cache
def reference(name: str) -> tuple[np.ndarray, float]:
    """The most accurate point that any method finds on NumPy, and the lowest energy seen."""
    instance = INSTANCES[name]
    found = []
    for method in instance.methods:
        plan = oa.compile(instance.energy, method=method)
        solution = plan.solve(tol=1e-13, max_iter=ITERATIONS, on_failure="return")
        found.append(points_of(solution))
    values = [value_of(instance, p) for p in found]
    return found[int(np.argmin(values))], min(values)


def value_of(instance: Instance, flat: np.ndarray) -> float:
    """The energy; constraints may be missed a little."""
    finite = tuple(t for t in instance.energy.terms if not t.functional.facts.indicator)
    at = at_points(instance, flat)
    for constraint in set(instance.energy.terms) - set(finite):
        moved = constraint.expression.parts[0].operator @ at[constraint.expression.variables[0]]
        offset = constraint.expression.offset
        moved = moved if offset is None else moved + evaluate([offset], {}, backend("numpy", "float64"))[0]
        assert np.max(np.abs(moved - constraint.functional.set.project(moved))) <= 1e-8 * (1 + np.max(np.abs(flat)))
    return oa.Energy(finite).value(at)


@pytest.mark.parametrize("name", INSTANCES)
def test_the_methods_that_fit_are_those_the_theory_allows(name: str) -> None:
    fits = {c.method.name for c in judge(Problem(canonical(INSTANCES[name].energy)[0])) if c.fit.fits}
    assert fits == set(INSTANCES[name].methods)


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_every_method_finds_the_minimiser(name: str, method: str) -> None:
    instance = INSTANCES[name]
    solution = oa.compile(instance.energy, method=method).solve(tol=instance.tol, max_iter=ITERATIONS)
    assert solution
    assert solution.method == method
    x, best = reference(name)
    mine = points_of(solution)
    assert abs(value_of(instance, mine) - best) <= 1e-8 * max(1.0, abs(best))
    assert abs(solution.value - best) <= 1e-8 * max(1.0, abs(best))
    if instance.unique:
        assert np.linalg.norm(mine - x) <= 1e-5 * np.linalg.norm(x)


@pytest.mark.parametrize("other", ["torch", "array_api_strict"])
@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_every_backend_goes_the_same_way_to_the_minimiser(name: str, method: str, other: str) -> None:
    pytest.importorskip(other)
    energy = INSTANCES[name].energy
    here, there = (oa.compile(energy, method=method, backend=b).solve(tol=1e-4) for b in ("numpy", other))
    assert here.iterations == there.iterations
    assert here.status is there.status
    assert here.value == pytest.approx(there.value, rel=1e-10)
    assert np.linalg.norm(points_of(here) - points_of(there)) <= 1e-8 * np.linalg.norm(points_of(here))


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_no_certificate_claims_more_than_is_true(name: str, method: str) -> None:
    seen: list = []
    instance = INSTANCES[name]
    oa.compile(instance.energy, method=method).solve(tol=1e-9, max_iter=2000, callback=seen.append, on_failure="return")
    _, best = reference(name)
    rounding = 1e-11 * max(1.0, abs(best))
    assert seen
    for info in seen:
        if info.certificate.kind == "duality gap":
            assert info.certificate.lower_bound <= best + rounding
        if info.certificate.kind == "duality gap" and np.isfinite(info.value):
            assert info.certificate.value >= info.value - best - rounding


@pytest.mark.parametrize("name", STRONG)
@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6])
def test_the_error_bound_bounds_the_error(name: str, tol: float) -> None:
    x, _ = reference(name)
    for method in INSTANCES[name].methods:
        solution = oa.minimize(INSTANCES[name].energy, method=method, tol=tol)
        if solution.error_bound is not None:
            assert np.linalg.norm(points_of(solution) - x) <= solution.error_bound * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("name", ["tikhonov", "ridge", "isotropic_periodic", "wavelet"])
def test_a_strongly_convex_energy_has_an_error_bound(name: str) -> None:
    assert oa.minimize(INSTANCES[name].energy, tol=1e-6).error_bound is not None


@pytest.mark.parametrize("name", ["ridge", "lasso", "group", "isotropic_neumann", "deblur_nonneg", "box"])
def test_these_energies_end_with_a_bound(name: str) -> None:
    solution = oa.minimize(INSTANCES[name].energy, tol=1e-6)
    assert solution.status is oa.Status.CONVERGED
    assert solution.certificate.kind == "duality gap"
    assert solution.certificate.value <= 1e-6 * abs(solution.value) * (1 + 1e-6)


@pytest.mark.parametrize(
    ("name", "most"), [("tikhonov", 1), ("ridge", 30), ("lasso", 200), ("deblur_nonneg", 400), ("exponential", 400)]
)
def test_the_chosen_method_takes_a_sane_number_of_iterations(name: str, most: int) -> None:
    assert oa.minimize(INSTANCES[name].energy, tol=1e-6).iterations <= most


def test_conjugate_gradients_end_after_as_many_iterations_as_unknowns() -> None:
    solution = oa.minimize(INSTANCES["ridge"].energy, method="conjugate_gradient", tol=1e-10)
    assert solution.iterations <= 10


def test_acceleration_beats_the_plain_map_by_far(rng: np.random.Generator) -> None:
    A = rng.standard_normal((40, 30)) * np.logspace(0, -1.5, 30)
    x = oa.Variable(30, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - A @ np.ones(30)) + 1e-3 * oa.norm1(x))
    solution = plan.solve(tol=1e-8, max_iter=20_000)
    state = plan.initial_state()
    for _ in range(solution.iterations):
        state = plan.step(state)
    assert plan.energy.value(plan.readout(state)) > solution.value + 100 * solution.certificate.value


def test_backtracking_grows_a_step_that_is_far_too_short() -> None:
    plan = oa.compile(INSTANCES["exponential"].energy)
    free = plan.solve(tol=1e-8)
    tied = plan.solve(tol=1e-8, step=1e-7, max_iter=3000)
    assert tied
    assert tied.iterations < 3 * free.iterations + 300
    assert np.allclose(tied.x, free.x, atol=1e-5)


def test_backtracking_shrinks_a_step_that_is_far_too_long() -> None:
    plan = oa.compile(INSTANCES["exponential"].energy)
    assert np.allclose(plan.solve(tol=1e-9, step=1e6).x, plan.solve(tol=1e-9).x, atol=1e-6)


def test_where_the_repair_of_the_dual_point_is_singular_the_residual_stands_in(rng: np.random.Generator) -> None:
    # The data say nothing of the mean, and differences neither, so no operator that the gap could invert is left.
    shape = (6, 5)
    mask = np.ones(shape, dtype=bool)
    mask[0, 0] = False
    x = oa.Variable(shape, name="x", dtype=complex)
    data = mask * np.fft.fft2(rng.standard_normal(shape), norm="ortho")
    fit = 0.5 * oa.sum_squares(oa.Mask(mask) @ oa.FFT(shape) @ x - data)
    energy = fit + 0.1 * oa.norm21(oa.Gradient(shape, boundary="periodic") @ x)
    solution = oa.minimize(energy, method="primal_dual", tol=1e-8)
    assert solution.status is oa.Status.CONVERGED_RESIDUAL_ONLY
    with pytest.raises(oa.UnsupportedError, match="zero in its spectrum"):
        oa.minimize(energy, method="admm")


@pytest.mark.parametrize("name", ["basis_pursuit", "minimum_norm"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_equations_are_met_to_the_tolerance_and_no_bound_is_claimed_before_they_are(name: str, tol: float) -> None:
    instance = INSTANCES[name]
    solution = oa.minimize(instance.energy, tol=tol)
    (constraint,) = (t for t in instance.energy.terms if t.functional.facts.indicator)
    moved = constraint.expression.parts[0].operator @ solution.x
    offset = evaluate([constraint.expression.offset], {}, backend("numpy", "float64"))[0]
    excess = np.max(np.abs(moved + offset))
    assert solution and excess <= tol * (1 + np.linalg.norm(solution.x))
    assert excess < 1e-13 or solution.status is oa.Status.CONVERGED_RESIDUAL_ONLY
    assert solution.value == pytest.approx(reference(name)[1], rel=100 * tol)
