"""An affine map with a data term in blocks, whose fixed point and gradients are known from dense solves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import opalg as oa


@dataclass(frozen=True)
class Toy:
    """``x - step (grad g(x) + lam x)`` with ``g(x) = |A x - y|^2 / (2 blocks)``.

    Attributes
    ----------
    plan : MapPlan
    exact, cotangent : array
        The fixed point, and a cotangent.
    gradient : array
        That of ``<cotangent, x>`` in y.
    """

    plan: Any
    exact: np.ndarray
    cotangent: np.ndarray
    gradient: np.ndarray


def toy(n: int = 40, blocks: int = 24, rows: int = 12, step: float = 0.2, lam: float = 0.4, seed: int = 0) -> Toy:
    """A toy with random blocks."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(rows, n)) / np.sqrt(rows) for _ in range(blocks)]
    x, y = oa.Variable(n, name="x"), oa.Parameter(rng.normal(size=rows * blocks), name="y")
    data = 0.5 / blocks * oa.sum_squares(oa.vstack([oa.Matrix(p) for p in parts]) @ x - y)
    plan = oa.fixed_point(x, x - step * (oa.grad(data) + lam * oa.grad(0.5 * oa.sum_squares(x))), acceleration="none")
    A = np.concatenate(parts)
    H = A.T @ A / blocks + lam * np.eye(n)
    cotangent = rng.normal(size=n)
    return Toy(plan, np.linalg.solve(H, A.T @ y.value / blocks), cotangent, A @ np.linalg.solve(H, cotangent) / blocks)


def bent(n: int = 20, blocks: int = 12, seed: int = 0) -> Any:
    """A map with a projection and a function that is no gradient, as networks give."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n)) / np.sqrt(n)
    x, y = oa.Variable(n, name="x"), oa.Parameter(rng.normal(size=2 * blocks), name="y")
    data = 0.5 / blocks * oa.sum_squares(oa.vstack([oa.Matrix(rng.normal(size=(2, n))) for _ in range(blocks)]) @ x - y)

    def field(v: np.ndarray) -> np.ndarray:
        return np.asarray(v - 0.5 * np.tanh(W @ v))

    def back(v: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.asarray(u - 0.5 * W.T @ (u / np.cosh(W @ v) ** 2))

    image = x - 0.2 * (oa.grad(data) + 0.5 * oa.apply(field, x, vjp=back))
    return oa.fixed_point(x, oa.prox(oa.nonneg, image), acceleration="none"), rng.normal(size=n)


class Every(oa.samplers.Sampler):
    """All blocks, by the way of random ones: to compare that way with the full map."""

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return np.arange(count)

    def check(self, count: int) -> int:
        return count

    def variance_factor(self, count: int) -> float:
        return 1.0


def agreement(iterations: int = 60) -> tuple[float, float]:
    """How far solutions and gradients of the sampled way with all blocks are from those of the full map."""
    plan, cotangent = bent()
    full = plan.solve(max_iter=iterations, tol=0.0, on_failure="return")
    sampled = oa.online(plan, sampler=Every()).solve(max_iter=iterations)
    quiet = {"refine": False, "estimate": False, "on_inexact": "return"}
    a = full.vjp(cotangent, "y", mode="neumann", terms=iterations, **quiet)["y"]
    b = sampled.vjp(cotangent, "y", max_iter=iterations)["y"]
    return _relative(sampled.x, full.x), _relative(b, a)


def scaled_errors(replace: bool, draws: tuple[int, ...] = (4, 8, 16), repeats: int = 400) -> list[float]:
    """``E |x_k - x|^2`` times w, and divided by the correction for a finite population, for several w."""
    case, found = toy(), []
    kind = oa.samplers.WithReplacement if replace else oa.samplers.WithoutReplacement
    for w in draws:
        plan = oa.online(case.plan, sampler=kind(w))
        errors = [np.sum((plan.solve(max_iter=60).x - case.exact) ** 2) for _ in range(repeats)]
        found.append(float(np.mean(errors)) / kind(w).variance_factor(plan.count))
    return found


def spread(values: list[float]) -> float:
    """The largest deviation from the mean, relative to it."""
    return float(np.max(np.abs(np.array(values) / np.mean(values) - 1.0)))


def floor_with_all() -> float:
    """``|x_k - x|^2`` with all blocks, by the sampled way."""
    case = toy()
    return float(np.sum((oa.online(case.plan, sampler=Every()).solve(max_iter=400).x - case.exact) ** 2))


def bias(draws: int = 8, repeats: int = 400) -> float:
    """The error of the mean gradient, in units of what independent unbiased ones would leave of it."""
    case = toy()
    plan = oa.online(case.plan, draws)
    found = [plan.solve(max_iter=60).vjp(case.cotangent, "y", max_iter=60)["y"] for _ in range(repeats)]
    errors = np.array(found) - case.gradient
    return float(np.linalg.norm(errors.mean(axis=0)) / np.sqrt(np.mean(np.sum(errors**2, axis=1)) / repeats))


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
