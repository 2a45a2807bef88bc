"""What must hold of every gradient: linearity, invariance to units, agreement of methods, libraries and directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sympy

import opalg as oa
from tests.implicit.contract_cases import (
    Array,
    as_numpy,
    design,
    error,
    lasso,
    parameter,
    solve,
    weight,
)


@dataclass(frozen=True)
class Made:
    """An energy or a plan's map, and its parameters."""

    energy: Any
    wrt: tuple[oa.Parameter, ...]
    build: Callable[..., Any] = oa.compile

    def plan(self, **options: Any) -> Any:
        """Compiled."""
        return self.build(self.energy, **options) if self.build is oa.compile else self.build(**options)


def sparse(rng: np.random.Generator, scale: float = 1.0, factor: float = 1.0) -> Made:
    A, y0 = design(rng, 14, 9, 5.0), 3 * rng.standard_normal(14)
    lam0 = 0.2 * float(np.max(np.abs(A.T @ y0)))
    A, y, lam, x = (
        parameter(A, "A"),
        parameter(scale * y0, "y"),
        weight(scale * factor * lam0),
        oa.Variable(9, name="x"),
    )
    return Made(0.5 * factor * oa.sum_squares(oa.Matrix(A) @ x - y) + lam * oa.norm1(x), (y, lam, A))


def grouped(rng: np.random.Generator, scale: float = 1.0, factor: float = 1.0) -> Made:
    d, y0 = parameter(rng.uniform(0.5, 1.5, (5, 3)), "d"), 2 * rng.standard_normal((5, 3))
    y, lam, x = parameter(scale * y0, "y"), weight(scale * factor * 0.9), oa.Variable((5, 3), name="x")
    return Made(0.5 * factor * oa.sum_squares(oa.Diagonal(d) @ x - y) + lam * oa.norm21(x, axis=1), (y, lam, d))


def bounded(rng: np.random.Generator, scale: float = 1.0, factor: float = 1.0) -> Made:
    A, y0, x = parameter(design(rng, 14, 9, 5.0), "A"), 3 * rng.standard_normal(14), oa.Variable(9, name="x")
    y, upper = parameter(scale * y0, "y"), parameter(scale * np.full(9, 0.8), "upper")
    return Made(0.5 * factor * oa.sum_squares(oa.Matrix(A) @ x - y) + oa.indicator(x <= upper), (y, upper, A))


def variation(rng: np.random.Generator, scale: float = 1.0, factor: float = 1.0) -> Made:
    shape = (7, 6)
    y0 = 0.1 * rng.standard_normal(shape)
    y0[2:5, 2:] += 2.0
    kernel = np.array([[0.0, 0.1, 0.05], [0.1, 0.6, 0.1], [0.0, 0.05, 0.0]])
    y, lam, k = parameter(scale * y0, "y"), weight(scale * factor * 0.1), parameter(kernel, "k")
    x = oa.Variable(shape, name="x")
    fit = 0.5 * factor * oa.sum_squares(oa.Convolve(k, shape) @ x - y)
    return Made(fit + lam * oa.total_variation(x, isotropic=False, boundary="periodic"), (y, lam, k))


def smooth(rng: np.random.Generator, scale: float = 1.0, factor: float = 1.0) -> Made:
    A, y0 = parameter(design(rng, 14, 9, 5.0), "A"), 3 * rng.standard_normal(14)
    y, lam, x = parameter(scale * y0, "y"), weight(scale * factor * 0.5), oa.Variable(9, name="x")
    return Made(0.5 * factor * oa.sum_squares(oa.Matrix(A) @ x - y) + lam * oa.charbonnier(x, 0.3 * scale), (y, lam, A))


def image(rng: np.random.Generator, scale: float = 1.0, factor: float = 1.0) -> Made:
    shape = (6, 5)
    data = scale * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    y, lam, m = parameter(data, "y"), weight(factor * 0.2), parameter(rng.uniform(0.2, 1.5, shape), "mask")
    x = oa.Variable(shape, name="x", dtype=complex)
    fit = 0.5 * factor * oa.sum_squares(oa.Diagonal(m) @ oa.FFT(shape) @ x - y)
    return Made(fit + lam * oa.sum_squares(x), (y, lam, m))


def network(rng: np.random.Generator) -> Made:
    W = rng.standard_normal((8, 8))
    Wp, b = parameter(0.7 * W / np.linalg.norm(W, 2), "W"), parameter(rng.standard_normal(8), "b")
    x, t = oa.Variable(8, name="x"), sympy.Symbol("t", real=True)
    image = oa.apply(oa.Potential(t, sympy.log(sympy.cosh(t))), oa.Matrix(Wp) @ x + b)
    return Made(None, (b, Wp), lambda **options: oa.fixed_point(x, image, **options))


ENERGIES = {f.__name__: f for f in (sparse, grouped, bounded, variation, smooth, image)}
ALL = ENERGIES | {"network": network}


def cotangent(shape: tuple[int, ...], rng: np.random.Generator, name: str = "") -> Array:
    c = rng.standard_normal(shape)
    return c + 1j * rng.standard_normal(shape) if name == "image" else c


def prepared(name: str, rng: np.random.Generator, **options: Any) -> tuple[Made, oa.Solution, Array]:
    made = ALL[name](rng)
    solution = solve(made.plan(**options), max_iter=20_000)
    return made, solution, cotangent(tuple(solution.x.shape), rng, name)


def exactly(solution: oa.Solution, c: Any, wrt: Any, **options: Any) -> Any:
    return solution.vjp(c, wrt, tol=1e-13, on_inexact="return", **options)


# Units.


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("factor", [1e-8, -3.0, 1e8])
def test_linearity_in_the_cotangent(factor: float, name: str, rng: np.random.Generator) -> None:
    made, solution, c = prepared(name, rng)
    one, other = solution.vjp(c, made.wrt), solution.vjp(factor * c, made.wrt)
    for p in made.wrt:
        assert error(other[p] / factor, one[p]) <= 1e-10
    size = float(np.sqrt(sum(np.linalg.norm(one[p]) ** 2 for p in made.wrt)))
    assert abs(other.products - one.products) <= 2
    assert other.error_estimate / abs(factor) == pytest.approx(one.error_estimate, rel=1e-2, abs=1e-9 * size)


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_unit_of_the_data(scale: float, name: str, rng: np.random.Generator) -> None:
    # The minimiser scales along; gradients in the data and in weights of degree one stay, the others scale.
    results = []
    for s in (1.0, scale):
        made = ENERGIES[name](np.random.default_rng(3), scale=s)
        solution = solve(made.plan(), max_iter=20_000)
        c = cotangent(solution.x.shape, np.random.default_rng(4), name)
        results.append((made, solution.vjp(c, made.wrt, tol=1e-13, on_inexact="return")))
    (first, one), (second, other) = results
    unit = {"A", "d", "k", "mask"} | ({"lambda"} if name == "image" else set())
    for p, q in zip(first.wrt, second.wrt, strict=True):
        assert error(other[q] / (scale if p.name in unit else 1.0), one[p]) <= 1e-8


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_the_unit_of_the_energy(factor: float, name: str, rng: np.random.Generator) -> None:
    results = []
    for f in (1.0, factor):
        made = ENERGIES[name](np.random.default_rng(3), factor=f)
        solution = solve(made.plan(), max_iter=20_000)
        c = cotangent(solution.x.shape, np.random.default_rng(4), name)
        results.append((made, solution.vjp(c, made.wrt, tol=1e-13, on_inexact="return")))
    (first, one), (second, other) = results
    for p, q in zip(first.wrt, second.wrt, strict=True):
        assert error(other[q] * (factor if p.name == "lambda" else 1.0), one[p]) <= 1e-8


# Adding up, and forward against backward.


@pytest.mark.parametrize("name", ALL)
def test_samples_add_up(name: str, rng: np.random.Generator) -> None:
    made, solution, c = prepared(name, rng)
    parts = [cotangent(c.shape, rng, name) for _ in range(3)]
    together = exactly(solution, sum(parts), made.wrt)
    apart = [exactly(solution, part, made.wrt) for part in parts]
    for p in made.wrt:
        assert error(together[p], sum(as_numpy(g[p]) for g in apart)) <= 1e-9


@pytest.mark.parametrize("name", ALL)
def test_forward_and_backward_are_adjoint(name: str, rng: np.random.Generator) -> None:
    made, solution, c = prepared(name, rng)
    found = exactly(solution, c, made.wrt)
    for p in made.wrt:
        d = cotangent(p.shape, rng, "image" if p.kind == "complex" else "")
        moved = solution.jvp({p: d}, tol=1e-14, on_inexact="return")
        size = np.linalg.norm(found[p]) * np.linalg.norm(d) + np.linalg.norm(c) * np.linalg.norm(moved)
        assert abs(np.vdot(c, moved).real - np.vdot(found[p], d).real) <= 1e-12 * size
    both = solution.jvp({p: np.asarray(p.value) for p in made.wrt[:2]}, tol=1e-14, on_inexact="return")
    each = [solution.jvp({p: np.asarray(p.value)}, tol=1e-14, on_inexact="return") for p in made.wrt[:2]]
    assert error(both, sum(each)) <= 1e-10


# Methods.


def test_start_and_step_of_the_forward_solve_do_not_matter(rng: np.random.Generator) -> None:
    made, solution, c = prepared("sparse", rng)
    plan = made.plan()
    for options in ({"x0": rng.standard_normal(9)}, {"step": 0.5}, {"step": 1.5}):
        other = plan.solve(tol=1e-12, max_iter=50_000, on_failure="return", **options)
        one, two = exactly(solution, c, made.wrt), exactly(other, c, made.wrt)
        assert all(error(two[p], one[p]) <= 1e-8 for p in made.wrt)


def test_splitting_methods_agree(rng: np.random.Generator) -> None:
    found = []
    for method in ("admm", "primal_dual"):
        made = variation(np.random.default_rng(5))
        solution = solve(made.plan(method=method), max_iter=30_000)
        found.append([exactly(solution, np.cos(np.arange(42.0)).reshape(7, 6), made.wrt)[p] for p in made.wrt])
    assert all(error(a, b) <= 1e-8 for a, b in zip(*found, strict=True))


def test_methods_agree_on_a_sparse_transform(rng: np.random.Generator) -> None:
    shape = (8, 8)
    k, y, lam = np.array([[0.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.1, 0.0]]), rng.standard_normal(shape), weight(0.05)
    yp, x, c = parameter(y, "y"), oa.Variable(shape, name="x"), rng.standard_normal(shape)
    energy = 0.5 * oa.sum_squares(oa.Convolve(k, shape) @ x - yp) + lam * oa.norm1(oa.Wavelet(shape, "haar", 1) @ x)
    first, *others = [exactly(solve(energy, method=m), c, [yp, lam]) for m in ("proximal_gradient", "admm")]
    assert all(error(g[p], first[p]) <= 1e-8 for g in others for p in (yp, lam))


def test_methods_agree_on_a_quadratic(rng: np.random.Generator) -> None:
    shape, lam = (8, 8), weight(0.1)
    y, x, c = parameter(rng.standard_normal(shape), "y"), oa.Variable(shape, name="x"), rng.standard_normal(shape)
    smooth = oa.sum_squares(oa.Gradient(shape, boundary="periodic") @ x)
    energy = 0.5 * oa.sum_squares(x - y) + lam * smooth
    methods = ("closed_form", "conjugate_gradient", "proximal_gradient")
    first, *others = [exactly(solve(energy, method=m), c, [y, lam]) for m in methods]
    assert all(error(g[p], first[p]) <= 1e-8 for g in others for p in (y, lam))


def test_accelerations_of_maps_agree(rng: np.random.Generator) -> None:
    made, solution, c = prepared("network", rng)
    plain = solve(made.plan(acceleration="none"))
    one, two = exactly(solution, c, made.wrt), exactly(plain, c, made.wrt)
    assert all(error(two[p], one[p]) <= 1e-8 for p in made.wrt)


# Libraries.


@pytest.mark.parametrize("name", ALL)
def test_libraries_agree(name: str, rng: np.random.Generator) -> None:
    pytest.importorskip("torch")
    made, solution, c = prepared(name, rng, backend="numpy")
    wanted = exactly(solution, c, made.wrt)
    for library in ("torch", "array_api_strict"):
        plan = made.plan(backend=library)
        start = plan.backend.asarray(solution.x)
        other = plan.solve(start, tol=1e-12, max_iter=2000, on_failure="return")
        found = exactly(other, plan.backend.asarray(c), made.wrt)
        for p in made.wrt:
            assert type(found[p]) is type(start) or np.shape(found[p]) == ()
            assert error(plan.backend.to_numpy(plan.backend.asarray(found[p])), wanted[p]) <= 1e-10, library
        assert found.flags == wanted.flags


# The interface.


@pytest.mark.parametrize("name", ALL)
def test_names_stand_for_parameters(name: str, rng: np.random.Generator) -> None:
    made, solution, c = prepared(name, rng)
    by_object, by_name = solution.vjp(c, made.wrt), solution.vjp(c, [p.name for p in made.wrt])
    single = solution.vjp(c, made.wrt[0].name)
    assert list(by_name) == list(made.wrt) and list(single) == [made.wrt[0]]
    for p in made.wrt:
        assert np.array_equal(by_object[p], by_name[p.name])


@pytest.mark.parametrize("name", ALL)
def test_callable_cotangents(name: str, rng: np.random.Generator) -> None:
    made, solution, target = prepared(name, rng)
    plain = solution.vjp(solution.x - target, made.wrt, tol=1e-12, on_inexact="return")
    found = solution.vjp(lambda x: x - target, made.wrt, tol=1e-12, on_inexact="return")
    by_name = solution.vjp(lambda x: {solution.variables[0]: x - target}, made.wrt, tol=1e-12, on_inexact="return")
    for p in made.wrt:
        assert error(found[p], plain[p]) <= 1e-8
        assert error(by_name[p], found[p]) <= 1e-12


def test_start_and_step_have_zeros(rng: np.random.Generator) -> None:
    for name in ("sparse", "smooth", "variation"):
        _, solution, c = prepared(name, rng)
        found = solution.vjp(c, ["x0", "step"], on_inexact="return")
        assert not np.any(found["x0"]) and found["x0"].shape == c.shape and not np.any(found["step"])
        assert found.products == 0 and "no_influence" in found.flags


def outer_steps(name: str, rng: np.random.Generator) -> tuple[Any, oa.Parameter, tuple[int, ...]]:
    """A plan that needs many products, and the parameter that an outer step changes."""
    shape, t = (16, 16), sympy.Symbol("t", real=True)
    kernel, y = np.ones((3, 3)) / 9, 0.05 * rng.standard_normal(shape)
    y[4:12, 6:] += 2.0
    x, lam = oa.Variable(shape, name="x"), weight(0.05)
    fit = 0.5 * oa.sum_squares(oa.Convolve(kernel, shape) @ x - y)
    if name == "smooth":
        return oa.compile(fit + lam * oa.charbonnier(oa.Gradient(shape) @ x, 0.1)), lam, shape
    if name == "lasso":
        parts = lasso(rng, 80, 60, 31.0, size=0.05)
        return oa.compile(parts.energy), parts.parameters[2], (60,)
    if name == "total variation":
        return oa.compile(fit + lam * oa.total_variation(x, isotropic=False, boundary="periodic")), lam, shape
    W, u = rng.standard_normal((40, 40)), oa.Variable(40, name="u")
    b = parameter(0.3 * rng.standard_normal(40), "b")
    image = oa.apply(oa.Potential(t, sympy.log(sympy.cosh(t))), oa.Matrix(0.98 * W / np.linalg.norm(W, 2)) @ u + b)
    return oa.fixed_point(u, image), b, (40,)


@pytest.mark.parametrize("name", ["smooth", "lasso", "total variation", "network"])
def test_a_warm_start_saves_a_third(name: str, rng: np.random.Generator) -> None:
    plan, p, shape = outer_steps(name, rng)
    c, first = rng.standard_normal(shape), solve(plan, max_iter=3000)
    solver = "gmres" if name == "network" else "conjugate_gradients"  # what is solved by its matrix needs no start
    earlier = first.vjp(c, p, tol=1e-6, on_inexact="return", solver=solver)
    moved = {p: 1.01 * np.asarray(p.value)}
    second = plan.solve(first, params=moved, tol=1e-12, max_iter=3000, on_failure="return")
    cold = second.vjp(c, p, tol=1e-4, on_inexact="return", solver=solver)
    warm = second.vjp(c, p, tol=1e-4, on_inexact="return", solver=solver, start=earlier)
    assert cold.counts["adjoint"] >= 10
    assert warm.counts["adjoint"] <= 0.7 * cold.counts["adjoint"]
    assert warm.relative_residual <= 1e-4


def test_a_start_from_another_energy_is_harmless(rng: np.random.Generator) -> None:
    made, solution, c = prepared("sparse", rng)
    other = lasso(rng, 20, 9, 9.0)
    earlier = solve(other.energy).vjp(rng.standard_normal(9), other.parameters)
    warm, cold = exactly(solution, c, made.wrt, start=earlier), exactly(solution, c, made.wrt)
    assert all(error(warm[p], cold[p]) <= 1e-10 for p in made.wrt)


@pytest.mark.parametrize("mode", ["jacobian_free", "phantom", "neumann", "unroll"])
def test_cheap_modes_are_heuristic(mode: str, rng: np.random.Generator) -> None:
    B, b = 0.3 * rng.standard_normal((6, 6)) / np.sqrt(6), rng.standard_normal(6)
    Bp, bp, c, x = parameter(B, "B"), parameter(b, "b"), rng.standard_normal(6), oa.Variable(6, name="x")
    solution = solve(oa.fixed_point(x, oa.Matrix(Bp) @ x + bp))
    found = solution.vjp(c, [Bp, bp], mode=mode)
    assert found.error_kind == "heuristic"
    exact = np.linalg.solve((np.eye(6) - B).T, c)
    if mode == "jacobian_free":
        assert error(found[bp], c) <= 1e-12
        assert error(found[Bp], np.outer(c, np.linalg.solve(np.eye(6) - B, b))) <= 1e-9
    else:
        assert error(found[bp], exact) < error(c, exact)
    assert solution.vjp(c, bp).error_kind != "heuristic"


def test_a_loss_with_its_value(rng: np.random.Generator) -> None:
    made, solution, target = prepared("sparse", rng)
    value, found, _ = oa.hypergradient(
        made.plan(), lambda x: (0.5 * float(np.sum((x - target) ** 2)), x - target), made.wrt, tol=1e-12
    )
    assert value == pytest.approx(0.5 * np.sum((solution.x - target) ** 2), rel=1e-9)
    wanted = exactly(solution, lambda x: x - target, made.wrt)
    assert all(error(found[p], wanted[p]) <= 1e-7 for p in made.wrt)
