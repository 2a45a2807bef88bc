"""The table of pointwise proxes with the same written by hand on NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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


CASES: dict[str, Case] = {
    "norm1": Case(fs.Norm1(), [in_blocks(soft), soft_whole]),
    "norm1, complex": Case(fs.Norm1(), [soft_complex], kind="complex"),
    "sum_squares": Case(fs.SumSquares(), [lambda v: v / (1.0 + 2.0 * T), lambda v: v * (1.0 / (1.0 + 2.0 * T))]),
    "norm2": Case(fs.Norm2(), [whole]),
    "norm21 of pairs": Case(fs.Norm21(), [groups], shape=lambda size: (2, size, size)),
    "huber": Case(fs.Huber(0.5), [in_blocks(huber)]),
    "nonneg": Case(fs.Indicator(oa.nonneg), [lambda v: np.maximum(v, 0.0)]),
    "box": Case(fs.Indicator(oa.box(-0.5, 0.5)), [lambda v: np.clip(v, -0.5, 0.5)]),
}
