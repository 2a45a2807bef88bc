"""How the gradient of a solution in one kind of parameter is judged: a table entry builds an energy and its parameters.

An entry is a function ``rng -> (energy, parameters)``. Its gradients are compared with central differences of solves
that start at the solution, along one random direction for each parameter, and with the change of the solution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import opalg as oa

Made = tuple[Any, list[oa.Parameter]]
Maker = Callable[[np.random.Generator], Made]

ACCURACY = 1e-6
STEP = 1e-5
SOLVE: dict[str, Any] = {"tol": 1e-14, "max_iter": 20_000, "on_failure": "return"}
GRADIENT: dict[str, Any] = {"tol": 1e-12, "max_iter": 3000, "on_inexact": "return"}


class Table(dict[str, Maker]):
    """Entries by the name of the function that builds them."""

    def entry(self, maker: Maker) -> Maker:
        """Take a function in; used as a decorator."""
        self[maker.__name__] = maker
        return maker


def parameter(value: Any, name: str, **domain: bool) -> oa.Parameter:
    """A parameter with a name."""
    return oa.Parameter(value, name=name, **domain)


def fit(operator: Any, x: Any, y: Any, ridge: float = 0.2) -> Any:
    """A strongly convex fit of data."""
    return 0.5 * oa.sum_squares(operator @ x - y) + ridge * oa.sum_squares(x)


def complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Complex numbers with independent parts."""
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def design(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """A matrix of norm near 2."""
    return rng.standard_normal((m, n)) / np.sqrt(m)


def near(
    rng: np.random.Generator, shape: tuple[int, ...], term: Callable[[Any], Any], *parameters: oa.Parameter
) -> Made:
    """The prox of one term, at a random point."""
    x = oa.Variable(shape, name="x")
    return 0.5 * oa.sum_squares(x - 2 * rng.standard_normal(shape)) + term(x), list(parameters)


def coupled(rng: np.random.Generator, term: Callable[[Any], Any], *parameters: oa.Parameter) -> Made:
    """A fit of data through a matrix, and one term."""
    x = oa.Variable(6, name="x")
    A = oa.Matrix(design(rng, 9, 6))
    return fit(A, x, 2 * rng.standard_normal(9), 0.1) + term(x), list(parameters)


def as_numpy(array: Any) -> np.ndarray:
    """An array of any library on the host."""
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """``Re <a, b>``."""
    return float(np.sum(np.conj(a) * b).real)


def random_like(node: Any, rng: np.random.Generator) -> np.ndarray:
    """An array of the shape and kind of a parameter or a variable, whose entries have a mean square of 1."""
    d = complex_normal(rng, node.shape) if node.kind == "complex" else rng.standard_normal(node.shape)
    return np.asarray(d / np.sqrt(np.mean(np.abs(d) ** 2)))


def cotangents_of(plan: Any) -> dict[Any, np.ndarray]:
    """The same random cotangents for every backend."""
    rng = np.random.default_rng(11)
    return {v: random_like(v, rng) for v in plan.variables}


def solved(made: Made, backend: str = "numpy", start: Any = None, **compiling: Any) -> tuple[Any, Any, Any]:
    """The plan, the solution and its gradients in every parameter."""
    energy, parameters = made
    plan = energy if isinstance(energy, oa.Plan) else oa.compile(energy, backend=backend, **compiling)
    lib = plan.backend
    x0 = None if start is None else {v: lib.asarray(start[v], v.kind) for v in plan.variables}
    solution = plan.solve(x0=x0, **SOLVE)
    cotangent = {v: lib.asarray(c, v.kind) for v, c in cotangents_of(plan).items()}
    return plan, solution, solution.vjp(cotangent, parameters, **GRADIENT)


def assert_slopes(made: Made, h: float = STEP, accuracy: float = ACCURACY, **compiling: Any) -> None:
    """Gradients are the slopes of solves, and the change of the solution says the same."""
    parameters = made[1]
    rng = np.random.default_rng(7)
    plan, solution, gradients = solved(made, **compiling)
    cotangents = cotangents_of(plan)

    def loss(points: Any) -> float:
        return sum(inner(cotangents[v], as_numpy(points[v])) for v in plan.variables)

    def at(p: oa.Parameter, value: np.ndarray) -> float:
        return loss(plan.solve(x0=solution, params={p: value}, **SOLVE))

    for p in parameters:
        d = random_like(p, rng)
        before, after = at(p, p.value - h * d), at(p, p.value + h * d)
        slope, backward = (after - before) / (2 * h), inner(as_numpy(gradients[p]), d)
        moved = solution.jvp({p: d}, **GRADIENT)
        forward = loss(moved if isinstance(moved, dict) else {plan.variables[0]: moved})
        size = np.linalg.norm(as_numpy(gradients[p])) * np.linalg.norm(d)
        assert size > 1e-6, f"the gradient in {p.label} vanishes"
        bend = abs(after + before - 2 * loss(solution)) / (2 * h)
        assert bend <= 1e-2 * size, f"the slopes in {p.label} differ from side to side: the active set changes"
        assert abs(slope - backward) <= accuracy * size, (p.label, slope, backward)
        assert abs(forward - backward) <= 1e-8 * size, (p.label, forward, backward)


def assert_agrees(made: Made, backend: str, **compiling: Any) -> None:
    """Gradients on another array library are those on NumPy to 1e-10."""
    _, solution, reference = solved(made, **compiling)
    plan, _, found = solved(made, backend, start=solution, **compiling)
    for p in made[1]:
        assert plan.backend.owns(found[p])
        exact = as_numpy(reference[p])
        assert np.linalg.norm(as_numpy(found[p]) - exact) <= 1e-10 * np.linalg.norm(exact), p.label
