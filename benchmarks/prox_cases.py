"""The table of pointwise proxes with the same written by hand on NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
import sympy

import opalg as oa
from opalg import functionals as fs

Way = Callable[[Any], Any]
T = 0.3


@dataclass
class Case:
    """A functional, its prox by hand in one way or several, and what it is tried on."""

    functional: Any
    ways: list[Way]
    kind: str = "real"
    shape: Callable[[int], tuple[int, ...]] = lambda size: (size, size)
    step: float = T
    positive: bool = False

    def argument(self, size: int, dtype: str) -> Any:
        """A random array."""
        rng, shape = np.random.default_rng(0), self.shape(size)
        v = rng.standard_normal(shape)
        if self.kind == "complex":
            return (v + 1j * rng.standard_normal(shape)).astype("complex128" if dtype == "float64" else "complex64")
        return (np.abs(v) + 0.1 if self.positive else v).astype(dtype)


def in_blocks(way: Callable[[Any, Any], Any]) -> Way:
    """A way by hand over rows that fit the cache, as an expert would; ``way(v, out)`` fills its second argument."""

    def run(v: Any) -> Any:
        out = np.empty_like(v)
        rows = max(1, (1 << 16) // v[0].size)
        for i in range(0, len(v), rows):
            way(v[i : i + rows], out[i : i + rows])
        return out

    return run


def soft(v: Any, out: Any) -> Any:
    """``v - clip(v, -t, t)``."""
    np.clip(v, -T, T, out=out)
    return np.subtract(v, out, out=out)


def soft_whole(v: Any) -> Any:
    """The same on the whole array."""
    out = np.clip(v, -T, T)
    return np.subtract(v, out, out=out)


def soft_complex(v: Any) -> Any:
    """The soft threshold of magnitudes."""
    size = np.abs(v)
    np.maximum(size, T, out=size)
    np.divide(T, size, out=size)
    np.subtract(1.0, size, out=size)
    return v * size


def groups(v: Any) -> Any:
    """Shrink pairs by the length of each."""
    size = v[0] * v[0]
    size += v[1] * v[1]
    np.sqrt(size, out=size)
    np.maximum(size, T, out=size)
    np.divide(T, size, out=size)
    np.subtract(1.0, size, out=size)
    return v * size


def whole(v: Any) -> Any:
    """Shrink the array by its length."""
    return v * (1.0 - T / max(float(np.linalg.norm(v)), T))


def huber(v: Any, out: Any) -> Any:
    """``v - t / (1 + t) clip(v, -(1 + t) d, (1 + t) d)`` with d = 1/2."""
    np.clip(v, -0.5 * (1 + T), 0.5 * (1 + T), out=out)
    np.multiply(out, T / (1 + T), out=out)
    return np.subtract(v, out, out=out)


def hard(v: Any) -> Any:
    """Keep the entries above ``sqrt(2 t)``."""
    return v * (np.abs(v) > np.sqrt(2 * T))


def hinge(v: Any, out: Any) -> Any:
    """``v + clip(1 - v, 0, t)``."""
    np.subtract(1.0, v, out=out)
    np.clip(out, 0.0, T, out=out)
    return np.add(v, out, out=out)


def quantile(v: Any, out: Any) -> Any:
    """``v - clip(v, (q - 1) t, q t)`` with q = 0.3."""
    np.clip(v, -0.7 * T, 0.3 * T, out=out)
    return np.subtract(v, out, out=out)


def elastic(v: Any, out: Any) -> Any:
    """The soft threshold over ``1 + 2 t b``."""
    soft(v, out)
    return np.multiply(out, 1.0 / (1.0 + 2.0 * T), out=out)


def barrier(v: Any, out: Any) -> Any:
    """``(v + sqrt(v^2 + 4 t)) / 2`` of positive numbers."""
    np.multiply(v, v, out=out)
    np.add(out, 4 * T, out=out)
    np.sqrt(out, out=out)
    np.add(out, v, out=out)
    return np.multiply(out, 0.5, out=out)


def poisson(v: Any, out: Any) -> Any:
    """The positive root of ``u^2 - (v - t) u - t y`` with y = 2 and no background."""
    w = v - T
    np.multiply(w, w, out=out)
    np.add(out, 8 * T, out=out)
    np.sqrt(out, out=out)
    np.add(out, w, out=out)
    return np.multiply(out, 0.5, out=out)


def newton(slope: Any, curvature: Any, steps: int, start: Any) -> Way:
    """Newton's method for ``u + t phi'(u) = v`` in blocks; no bracket, and as many steps as these data need."""

    def solve(v: Any, out: Any) -> Any:
        u = start(v)
        for _ in range(steps):
            u = u - (u + T * slope(u) - v) / (1.0 + T * curvature(u))
        out[...] = u

    return in_blocks(solve)


def charbonnier() -> Way:
    """For ``sqrt(u^2 + e^2)`` with e = 1/2."""
    return newton(
        lambda u: u / np.sqrt(u * u + 0.25), lambda u: 0.25 / (u * u + 0.25) ** 1.5, 6, lambda v: v / (1 + 2 * T)
    )


def log_cosh() -> Way:
    """For ``log cosh u``."""
    return newton(np.tanh, lambda u: 1.0 - np.tanh(u) ** 2, 6, lambda v: v / (1 + T))


def logistic() -> Way:
    """For ``log(1 + exp(-u))``."""
    return newton(lambda u: -1.0 / (1.0 + np.exp(u)), lambda u: 0.25 / np.cosh(0.5 * u) ** 2, 5, lambda v: v + 0.5 * T)


def cauchy() -> Way:
    """For ``log(1 + u^2) / 2``; convex with the square at this step."""
    return newton(lambda u: u / (1 + u * u), lambda u: (1 - u * u) / (1 + u * u) ** 2, 6, lambda v: v / (1 + T))


def entropy(v: Any, out: Any) -> Any:
    """``u + t (log u + 1) = v`` through the function of Wright: ``t omega(v / t - 1 - log t)``."""
    np.divide(v, T, out=out)
    out -= 1.0 + np.log(T)
    scipy.special.wrightomega(out, out=out)
    return np.multiply(out, T, out=out)


symbol = sympy.Symbol("t", real=True)
from_sympy = fs.PotentialSum(
    oa.Potential(
        symbol, sympy.Piecewise((symbol**2 / 2, sympy.Abs(symbol) <= 0.5), (sympy.Abs(symbol) / 2 - 0.125, True))
    )
)

CASES: dict[str, Case] = {
    "norm1": Case(fs.Norm1(), [in_blocks(soft), soft_whole]),
    "norm1, complex": Case(fs.Norm1(), [soft_complex], kind="complex"),
    "sum_squares": Case(fs.SumSquares(), [lambda v: v / (1.0 + 2.0 * T), lambda v: v * (1.0 / (1.0 + 2.0 * T))]),
    "norm2": Case(fs.Norm2(), [whole]),
    "norm21 of pairs": Case(fs.Norm21(), [groups], shape=lambda size: (2, size, size)),
    "huber": Case(fs.Huber(0.5), [in_blocks(huber)]),
    "nonneg": Case(fs.Indicator(oa.nonneg), [lambda v: np.maximum(v, 0.0)]),
    "box": Case(fs.Indicator(oa.box(-0.5, 0.5)), [lambda v: np.clip(v, -0.5, 0.5)]),
    "huber, from sympy": Case(from_sympy, [in_blocks(huber)]),
    "norm0": Case(fs.Norm0(), [hard]),
    "hinge": Case(fs.Hinge(1.0), [in_blocks(hinge)]),
    "quantile": Case(fs.Quantile(0.3), [in_blocks(quantile)]),
    "elastic_net": Case(fs.ElasticNet(1.0, 1.0), [in_blocks(elastic)]),
    "norm1 and nonneg": Case(fs.Norm1() + fs.Indicator(oa.nonneg), [lambda v: np.maximum(v - T, 0.0)]),
    "log_barrier": Case(fs.LogBarrier(), [in_blocks(barrier)], positive=True),
    "kl_divergence": Case(fs.KLDivergence(2.0), [in_blocks(poisson)], positive=True),
    "charbonnier": Case(fs.Charbonnier(0.5), [charbonnier()]),
    "log_cosh": Case(fs.LogCosh(1.0), [log_cosh()]),
    "logistic": Case(fs.Logistic(1.0), [logistic()]),
    "cauchy": Case(fs.Cauchy(1.0), [cauchy()]),
    "entropy": Case(fs.Entropy(), [in_blocks(entropy)]),
}
