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

    def argument(self, size: int, dtype: str) -> Any:
        """A random array."""
        rng, shape = np.random.default_rng(0), self.shape(size)
        v = rng.standard_normal(shape)
        if self.kind == "complex":
            return (v + 1j * rng.standard_normal(shape)).astype("complex128" if dtype == "float64" else "complex64")
        return v.astype(dtype)


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


def exact_huber(v: Any, out: Any) -> Any:
    """``(v - c) + c / (1 + t)`` with the same clipped c, which keeps all digits of the result for long steps, too."""
    inside = np.clip(v, -0.5 * (1 + T), 0.5 * (1 + T))
    np.subtract(v, inside, out=out)
    np.multiply(inside, 1 / (1 + T), out=inside)
    return np.add(out, inside, out=out)


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


def positive_part(v: Any, out: Any) -> Any:
    """``max(v, 0)``, for which NumPy has vector instructions where it clips only."""
    return np.clip(v, 0.0, np.inf, out=out)


def positive_soft(v: Any, out: Any) -> Any:
    """``max(v - t, 0)``."""
    np.subtract(v, T, out=out)
    return np.clip(out, 0.0, np.inf, out=out)


def positive_root(w: Any, product: float, out: Any) -> Any:
    """The positive root of ``s^2 - w s = product``, ``max(w, 0) + product / q``: right for either sign of w."""
    q = np.square(w)
    q *= 0.25
    q += product
    np.sqrt(q, out=q)
    np.abs(w, out=out)
    out *= 0.5
    q += out
    np.divide(product, q, out=q)
    np.clip(w, 0.0, np.inf, out=out)
    return np.add(out, q, out=out)


def chosen_root(w: Any, product: float, out: Any) -> Any:
    """The same as ``where(w > 0, q, product / q)``."""
    q = np.square(w)
    q += 4.0 * product
    np.sqrt(q, out=q)
    q += np.abs(w)
    q *= 0.5
    np.divide(product, q, out=out)
    np.copyto(out, q, where=w > 0.0)
    return out


def barrier(root: Any) -> Way:
    """``(v + sqrt(v^2 + 4 t)) / 2``."""
    return in_blocks(lambda v, out: root(v, T, out))


def poisson(root: Any) -> Way:
    """The positive root of ``u^2 - (v - t) u - t y`` with y = 2 and no background."""
    return in_blocks(lambda v, out: root(v - T, 2 * T, out))


def newton(derivatives: Any, start: Any) -> Way:
    """Newton's method for ``u + t phi'(u) = v`` in blocks, to the same steps as opalg's; no bracket.

    ``derivatives(u)`` gives ``phi'`` and ``phi''``, which share what they can.
    """

    def solve(v: Any, out: Any) -> Any:
        u, enough = start(v), np.finfo(v.dtype).eps ** 0.7
        for _ in range(20):
            step, rate = derivatives(u)
            step *= T
            step += u
            step -= v
            rate *= T
            rate += 1.0
            step /= rate
            u -= step
            np.abs(step, out=step)
            if step.max() <= enough:
                break
        out[...] = u

    return in_blocks(solve)


def charbonnier(u: Any) -> tuple[Any, Any]:
    """The derivatives of ``sqrt(u^2 + e^2)`` with e = 1/2."""
    inverse = np.square(u)
    inverse += 0.25
    np.sqrt(inverse, out=inverse)
    np.divide(1.0, inverse, out=inverse)
    second = np.square(inverse)
    second *= inverse
    second *= 0.25
    return np.multiply(u, inverse, out=inverse), second


def log_cosh(u: Any) -> tuple[Any, Any]:
    """The derivatives of ``log cosh u``."""
    first = np.tanh(u)
    second = np.square(first)
    return first, np.subtract(1.0, second, out=second)


def logistic(u: Any) -> tuple[Any, Any]:
    """The derivatives of ``log(1 + exp(-u))``."""
    first = np.exp(u)
    first += 1.0
    np.divide(-1.0, first, out=first)
    second = np.subtract(-1.0, first)
    second *= first
    return first, second


def cauchy(u: Any) -> tuple[Any, Any]:
    """The derivatives of ``log(1 + u^2) / 2``, which is convex with the square at this step."""
    damping = np.square(u)
    damping += 1.0
    np.divide(1.0, damping, out=damping)
    second = np.multiply(2.0, damping)
    second -= 1.0
    second *= damping
    return np.multiply(u, damping, out=damping), second


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
    "nonneg": Case(fs.Indicator(oa.nonneg), [in_blocks(positive_part), lambda v: np.maximum(v, 0.0)]),
    "box": Case(fs.Indicator(oa.box(-0.5, 0.5)), [lambda v: np.clip(v, -0.5, 0.5)]),
    "huber, from sympy": Case(from_sympy, [in_blocks(exact_huber)]),
    "norm0": Case(fs.Norm0(), [hard]),
    "hinge": Case(fs.Hinge(1.0), [in_blocks(hinge)]),
    "quantile": Case(fs.Quantile(0.3), [in_blocks(quantile)]),
    "elastic_net": Case(fs.ElasticNet(1.0, 1.0), [in_blocks(elastic)]),
    "norm1 and nonneg": Case(fs.Norm1() + fs.Indicator(oa.nonneg), [in_blocks(positive_soft)]),
    "log_barrier": Case(fs.LogBarrier(), [barrier(positive_root), barrier(chosen_root)]),
    "kl_divergence": Case(fs.KLDivergence(2.0), [poisson(positive_root), poisson(chosen_root)]),
    "charbonnier": Case(fs.Charbonnier(0.5), [newton(charbonnier, lambda v: v / (1 + 2 * T))]),
    "log_cosh": Case(fs.LogCosh(1.0), [newton(log_cosh, lambda v: v / (1 + T))]),
    "logistic": Case(fs.Logistic(1.0), [newton(logistic, lambda v: v + 0.5 * T)]),
    "cauchy": Case(fs.Cauchy(1.0), [newton(cauchy, lambda v: v / (1 + T))]),
    "entropy": Case(fs.Entropy(), [in_blocks(entropy)]),
}
