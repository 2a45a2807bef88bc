"""The energies of `gradients.py` in opalg, and its gradients with their times and counts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gradient_cases import Problem
from gradient_peers import Found, Runner

import opalg as oa

TIGHT_FORWARD = {"tol": 1e-12, "max_iter": 50_000, "time_limit": 15.0, "on_failure": "return"}
TIGHT_BACKWARD = {"tol": 1e-12, "on_inexact": "return"}


@dataclass
class Compiled:
    """A plan with its parameters by the names of `Problem.reference`."""

    plan: Any
    parameters: dict[str, Any]

    def slope(self, problem: Problem) -> Callable[[Any], Any]:
        """The gradient of ``|x - truth|^2 / 2`` on the plan's library."""
        truth = self.plan.backend.asarray(problem.truth, "real")
        return lambda x: x - truth

    def wanted(self) -> list[Any]:
        """The parameters."""
        return list(self.parameters.values())


def parameter(problem: Problem, name: str, dtype: Any = np.float64) -> Any:
    """A parameter with the problem's value; weights stay nonnegative."""
    value = np.asarray(problem.data[name], dtype=dtype)
    return oa.Parameter(value, name=name, nonneg=name == "lam")


def lasso(problem: Problem, dtype: Any = np.float64, **options: Any) -> Compiled:
    """``|A x - y|^2 / 2 + lam |x|_1``."""
    A, y, lam = (parameter(problem, n, dtype) for n in ("A", "y", "lam"))
    x = oa.Variable(problem.truth.shape, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + lam * oa.norm1(x), **options)
    return Compiled(plan, {"lam": lam, "y": y, "A": A})


def smooth(problem: Problem, dtype: Any = np.float64, **options: Any) -> Compiled:
    """``|k * x - y|^2 / 2 + lam sum(sqrt((D x)^2 + eps^2) - eps)``."""
    y, lam = (parameter(problem, n, dtype) for n in ("y", "lam"))
    x = oa.Variable(problem.truth.shape, name="x")
    K = oa.Convolve(problem.data["kernel"].astype(dtype), x.shape)
    D = oa.Gradient(x.shape, boundary="periodic")
    term = oa.charbonnier(D @ x, float(problem.data["eps"]))
    return Compiled(oa.compile(0.5 * oa.sum_squares(K @ x - y) + lam * term, **options), {"lam": lam, "y": y})


def variation(problem: Problem, dtype: Any = np.float64, **options: Any) -> Compiled:
    """``|k * x - y|^2 / 2 + lam TV(x)``."""
    y, lam = (parameter(problem, n, dtype) for n in ("y", "lam"))
    x = oa.Variable(problem.truth.shape, name="x")
    K = oa.Convolve(problem.data["kernel"].astype(dtype), x.shape)
    D = oa.Gradient(x.shape, boundary="periodic")
    term = oa.norm21(D @ x) if problem.data["isotropic"] else oa.norm1(D @ x)
    return Compiled(oa.compile(0.5 * oa.sum_squares(K @ x - y) + lam * term, **options), {"lam": lam, "y": y})


def tanh(problem: Problem, **options: Any) -> Compiled:
    """``x = tanh(W x + b)``; the hyperbolic tangent as the derivative of ``log cosh``."""
    import sympy

    t = sympy.Symbol("t", real=True)
    W, b = (parameter(problem, n) for n in ("W", "b"))
    x = oa.Variable(problem.truth.shape, name="x")
    image = oa.apply(oa.Potential(t, sympy.log(sympy.cosh(t))), oa.Matrix(W) @ x + b)
    return Compiled(oa.fixed_point(x, image, **options), {"b": b, "W": W})


def red(problem: Problem, **options: Any) -> Compiled:
    """Regularisation by denoising with the network on Torch."""
    from gradient_peers import denoiser

    y, lam = (parameter(problem, n) for n in ("y", "lam"))
    x = oa.Variable(problem.truth.shape, name="x")
    mask = oa.Mask(problem.data["mask"].astype(bool))
    pull = mask @ (x - y) + lam * (x - oa.apply(denoiser(problem), x))
    return Compiled(oa.fixed_point(x, x - 0.7 * pull, backend="torch", **options), {"lam": lam, "y": y})


BUILD: dict[str, Callable[..., Compiled]] = {
    "lasso": lasso,
    "smooth": smooth,
    "variation": variation,
    "tanh": tanh,
    "red": red,
}


def gradient(
    compiled: Compiled, problem: Problem, forward: dict[str, Any] | None = None, backward: dict[str, Any] | None = None
) -> tuple[Found, Any, Any]:
    """Solve and differentiate, with the times of both; also the solution and the `Gradients`."""
    slope = compiled.slope(problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        solution = compiled.plan.solve(**(forward or {}))
        middle = time.perf_counter()
        found = solution.vjp(slope, compiled.wanted(), **(backward or {}))
        stop = time.perf_counter()
    arrays = {n: np.asarray(found[p]) for n, p in compiled.parameters.items()}
    if "log lam" in problem.reference:
        arrays["log lam"] = float(problem.data["lam"]) * arrays.pop("lam")
    row = Found(arrays, middle - start, stop - middle, solution.iterations, found.products)
    row.note = note(found)
    return row, solution, found


def timed(compiled: Compiled, problem: Problem, *options: dict[str, Any]) -> Found:
    """The first of what `gradient` returns."""
    return gradient(compiled, problem, *options)[0]


def note(found: Any) -> str:
    """What the gradient says of its own error."""
    if found.relative_error is None:
        return ", ".join(found.flags)
    return ", ".join([f"{found.error_kind} {found.relative_error:.0e}", *found.flags])


def runners(problem: Problem, kind: str, here: list[str]) -> dict[str, Runner]:
    """opalg at its defaults and tight, on NumPy and, where it is here, on Torch."""
    found: dict[str, Runner] = {}
    backends = [b for b in ("numpy", "torch") if b == "numpy" or "torch" in here]
    for backend in ["torch"] if kind == "red" else backends:
        if backend not in backends:
            continue
        compiled = BUILD[kind](problem, **({} if kind == "red" else {"backend": backend}))
        found[f"opalg ({backend}), defaults"] = partial(timed, compiled, problem)
        if backend != "torch" or kind == "red":
            found[f"opalg ({backend}), tight"] = partial(timed, compiled, problem, TIGHT_FORWARD, TIGHT_BACKWARD)
    return found
