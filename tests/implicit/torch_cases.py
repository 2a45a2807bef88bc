"""Small solves on Torch for the tests of solver modules: energies of every sort of system, maps, and networks."""

from __future__ import annotations

from typing import Any

import numpy as np

import opalg as oa

N, M = 3, 4
TIGHT: dict[str, Any] = {"tol": 1e-14, "max_iter": 50_000, "on_failure": "return"}
EXACT: dict[str, Any] = {**TIGHT, "gradient_options": {"on_inexact": "return"}}


def data(*shape: int, seed: int = 0, scale: float = 1.0, backend: str = "torch") -> Any:
    """Real random numbers."""
    return _on(backend, scale * np.random.default_rng(seed).standard_normal(shape))


def complex_data(*shape: int, seed: int = 0, scale: float = 1.0, backend: str = "torch") -> Any:
    """Complex random numbers."""
    rng = np.random.default_rng(seed)
    return _on(backend, scale * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)))


def _on(backend: str, array: Any) -> Any:
    if backend == "numpy":
        return np.asarray(array)
    import torch

    return torch.as_tensor(array)


def number(value: float, backend: str = "torch") -> Any:
    """An array without axes."""
    return _on(backend, np.asarray(value))


def weight(value: float, backend: str = "torch") -> oa.Parameter:
    """A weight that must not be negative."""
    return oa.Parameter(number(value, backend), name="lam", nonneg=True)


def _fit(backend: str, scale: float = 1.0) -> tuple[oa.Variable, Any]:
    x = oa.Variable(N, name="x")
    matrix = oa.Parameter(data(M, N, seed=1, backend=backend), name="A")
    y = oa.Parameter(data(M, seed=2, scale=scale, backend=backend), name="y")
    return x, 0.5 * oa.sum_squares(oa.Matrix(matrix) @ x - y)


def ridge(backend: str = "torch") -> Any:
    """Smooth and quadratic."""
    x, fit = _fit(backend)
    return oa.compile(fit + weight(0.3, backend) * oa.sum_squares(x), backend=backend)


def lasso(backend: str = "torch") -> Any:
    """A prox by entries."""
    x, fit = _fit(backend, 3.0)
    return oa.compile(fit + weight(0.4, backend) * oa.norm1(x), backend=backend)


def charbonnier(backend: str = "torch") -> Any:
    """Smooth, behind an operator."""
    x, y = oa.Variable(N, name="x"), oa.Parameter(data(N, seed=3, backend=backend), name="y")
    return oa.compile(
        0.5 * oa.sum_squares(x - y) + weight(0.4, backend) * oa.charbonnier(oa.Gradient((N,)) @ x, 0.3), backend=backend
    )


def group_lasso(backend: str = "torch") -> Any:
    """A prox by groups, with curvature."""
    x, y = oa.Variable((2, N), name="x"), oa.Parameter(data(2, N, seed=4, scale=2.0, backend=backend), name="y")
    d = oa.Parameter(1 + data(2, N, seed=5, backend=backend) ** 2, name="d")
    energy = 0.5 * oa.sum_squares(oa.Diagonal(d) @ x - y) + weight(0.4, backend) * oa.norm21(x, axis=0)
    return oa.compile(energy, backend=backend)


def total_variation(backend: str = "torch") -> Any:
    """A prox behind an operator."""
    x = oa.Variable(5, name="x")
    y = oa.Parameter(_on(backend, np.array([0.0, 0.2, 3.0, 3.1, 1.0])), name="y")
    d = oa.Parameter(1 + 0.1 * data(5, seed=6, backend=backend) ** 2, name="d")
    energy = 0.5 * oa.sum_squares(oa.Diagonal(d) @ x - y) + weight(0.3, backend) * oa.norm1(oa.Gradient((5,)) @ x)
    return oa.compile(energy, backend=backend)


def complex_ridge(backend: str = "torch") -> Any:
    """A complex unknown with complex parameters."""
    x = oa.Variable(2, dtype="complex", name="x")
    matrix = oa.Parameter(complex_data(3, 2, seed=7, backend=backend), name="A")
    y = oa.Parameter(complex_data(3, seed=8, backend=backend), name="y")
    energy = 0.5 * oa.sum_squares(oa.Matrix(matrix) @ x - y) + weight(0.3, backend) * oa.sum_squares(x)
    return oa.compile(energy, backend=backend)


def complex_lasso(backend: str = "torch") -> Any:
    """A complex unknown with a prox."""
    x = oa.Variable(N, dtype="complex", name="x")
    d = oa.Parameter(1 + 0.2 * complex_data(N, seed=9, backend=backend), name="d")
    y = oa.Parameter(complex_data(N, seed=10, scale=2.0, backend=backend), name="y")
    energy = 0.5 * oa.sum_squares(oa.Diagonal(d) @ x - y) + weight(0.3, backend) * oa.norm1(x)
    return oa.compile(energy, backend=backend)


def two_variables(backend: str = "torch") -> Any:
    """Two unknowns, of different shapes."""
    x, b = oa.Variable(N, name="x"), oa.Variable(1, name="b")
    y = oa.Parameter(data(N, seed=11, scale=2.0, backend=backend), name="y")
    ones = oa.Matrix(_on(backend, np.ones((N, 1))))
    energy = 0.5 * oa.sum_squares(x + ones @ b - y) + weight(0.3, backend) * oa.norm1(x) + oa.sum_squares(b)
    return oa.compile(energy, backend=backend)


def linear_map(backend: str = "torch") -> Any:
    """A map that is no gradient."""
    x = oa.Variable(N, name="x")
    matrix = oa.Parameter(data(N, N, seed=12, scale=0.2, backend=backend), name="W")
    b = oa.Parameter(data(N, seed=13, backend=backend), name="b")
    return oa.fixed_point(x, oa.Matrix(matrix) @ x + b, backend=backend)


def tanh_map() -> Any:
    """A map that is not linear."""
    import torch

    x = oa.Variable(N, name="x")
    matrix = oa.Parameter(data(N, N, seed=12, scale=0.2), name="W")
    b = oa.Parameter(data(N, seed=13), name="b")
    return oa.fixed_point(x, oa.apply(torch.tanh, oa.Matrix(matrix) @ x + b))


ENERGIES = (ridge, lasso, charbonnier, group_lasso, total_variation, complex_ridge, complex_lasso, two_variables)


def network(out: int = N) -> Any:
    """A small network in double precision."""
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(N, 2), torch.nn.Tanh(), torch.nn.Linear(2, out))
    return layers.double().eval()


def with_network(kind: str) -> Any:
    """A plan whose energy, or map, calls a network."""
    x, y = oa.Variable(N, name="x"), oa.Parameter(data(N, seed=3), name="y")
    net = network(1 if "scalar" in kind else N)
    if kind == "map":
        return oa.fixed_point(x, 0.3 * oa.apply(net, x) + y)
    term = {
        "gradient_step": lambda: oa.gradient_step(net, x),
        "scalar": lambda: oa.scalar_network(net, x),
        "scalar and norm1": lambda: oa.scalar_network(net, x) + oa.norm1(x),
        "red": lambda: oa.red(net, x, lipschitz=3.0),
    }[kind]()
    return oa.compile(oa.sum_squares(x - 2 * y) + 0.3 * term, nonconvex=True)


NETWORKS = ("map", "gradient_step", "scalar", "scalar and norm1", "red")


def as_function(module: Any) -> tuple[Any, list[Any]]:
    """The module as a function of all its parameters, and their values."""
    import torch

    names = [n for n, _ in module.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in module.parameters()]

    def solve(*given: Any) -> Any:
        out = torch.func.functional_call(module, dict(zip(names, given, strict=True)))
        return tuple(out.values()) if isinstance(out, dict) else out

    return solve, values
