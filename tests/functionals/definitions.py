"""Definitions in NumPy that know nothing of the library: functions of an entry, bisection, and projections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Function = Callable[[Any], Any]
LONG = np.longdouble
STEPS = (1e-3, 0.37, 1.0, 21.0, 1e3)


@dataclass(frozen=True)
class Scalar:
    """A function of each entry by its value and one of its slopes, on an interval; ``kinks`` and ends are no slopes."""

    value: Function
    slope: Function
    low: Any = -np.inf
    high: Any = np.inf
    convex: bool = True
    center: Any = 0.0

    def total(self, v: Any) -> float:
        """The sum over the entries; infinite outside the interval."""
        inside = np.all((v >= self.low) & (v <= self.high))
        return float(np.sum(self.value(v))) if inside else np.inf

    def prox(self, v: Any, t: Any) -> np.ndarray:
        """The minimiser of ``phi(u) + (u - v)^2 / (2 t)`` by bisection of its slope; by search where not convex."""
        v, t = np.broadcast_arrays(np.asarray(v, LONG), np.asarray(t, LONG))
        if not self.convex:
            even = Scalar(lambda u: self.value(u + self.center), lambda u: self.slope(u + self.center), convex=False)
            return self.center + even._search(v - self.center, t)
        return root(lambda u: u - v + t * self.slope(u), v, self.low, self.high)

    def _search(self, v: Any, t: Any) -> np.ndarray:
        """The best of 0, v and every stationary point between them; functions here are least at 0, and even."""
        shares = np.concatenate([np.linspace(0, 1, 500, dtype=LONG)[1:], np.geomspace(LONG(1e-8), LONG(1), 200)])
        grid = np.unique(shares).reshape(-1, *([1] * v.ndim)) * np.abs(v)

        def rises(u: Any) -> Any:
            return u - np.abs(v) + t * self.slope(u)

        residuals = rises(grid)
        turns = (residuals[:-1] <= 0) & (residuals[1:] > 0)
        best, cost = np.zeros_like(v), self.value(0 * v) + v * v / (2 * t)
        for k in range(1, 4):
            there = turns & (np.cumsum(turns, axis=0) == k)
            low, high = (np.sum(np.where(there, ends, 0), axis=0) for ends in (grid[:-1], grid[1:]))
            low, high = (np.where(np.any(there, axis=0), end, np.abs(v)) for end in (low, high))
            for _ in range(75):
                middle = (low + high) / 2
                right = rises(middle) > 0
                low, high = np.where(right, low, middle), np.where(right, middle, high)
            candidate = (low + high) / 2
            other = self.value(candidate) + (candidate - np.abs(v)) ** 2 / (2 * t)
            best, cost = np.where(other < cost, candidate, best), np.minimum(other, cost)
        return np.sign(v) * best

    def weighted(self, w: Any) -> Scalar:
        """``w phi(u)``."""
        return replace(self, value=lambda u: w * self.value(u), slope=lambda u: w * self.slope(u))

    def shifted(self, b: Any) -> Scalar:
        """``phi(u - b)``."""
        ends = {name: getattr(self, name) + b for name in ("low", "high", "center")}
        return replace(self, value=lambda u: self.value(u - b), slope=lambda u: self.slope(u - b), **ends)

    def argument(self, c: Any) -> Scalar:
        """``phi(c u)``."""
        ends = np.divide(self.low, c), np.divide(self.high, c)
        new = Scalar(lambda u: self.value(c * u), lambda u: c * self.slope(c * u), np.minimum(*ends), np.maximum(*ends))
        return replace(new, convex=self.convex, center=self.center / c)

    def tilted(self, a: Any, c: Any) -> Scalar:
        """``phi(u) + a u + c u^2 / 2``."""
        return replace(
            self, value=lambda u: self.value(u) + a * u + c * u**2 / 2, slope=lambda u: self.slope(u) + a + c * u
        )

    def within(self, low: Any, high: Any) -> Scalar:
        """The same on a smaller interval."""
        return replace(self, low=np.maximum(self.low, low), high=np.minimum(self.high, high))


def root(increasing: Function, start: Any, floor: Any = -np.inf, ceiling: Any = np.inf) -> np.ndarray:
    """Where an increasing function of each entry changes its sign, between two ends."""
    shape = np.broadcast_shapes(np.shape(start), np.shape(floor), np.shape(ceiling))
    floor, ceiling = (np.broadcast_to(np.asarray(end, LONG), shape) for end in (floor, ceiling))
    middle = np.clip(np.asarray(start, LONG), floor, ceiling)
    low, high = middle, middle
    with np.errstate(all="ignore"):
        for k in range(-10, 9):
            low, high = np.maximum(middle - LONG(16) ** k, floor), np.minimum(middle + LONG(16) ** k, ceiling)
            left = (low == floor) | (increasing(low) <= 0)
            if np.all(left & ((high == ceiling) | (increasing(high) >= 0))):
                break
        for _ in range(105):
            middle = (low + high) / 2
            right = increasing(middle) > 0
            low, high = np.where(right, low, middle), np.where(right, middle, high)
    return (low + high) / 2


def by_magnitude(prox: Function, v: Any) -> np.ndarray:
    """The prox of a function of magnitudes, from that of the magnitudes."""
    size = np.abs(v)
    phase = np.where(size > 0, v / np.where(size > 0, size, 1), 0)
    return phase * prox(size).astype(float)


def inner(a: Any, b: Any) -> float:
    """``Re <a, b>``."""
    return float(np.real(np.vdot(a, b)))


def slope_along(value: Callable[[Any], float], v: Any, direction: Any, step: float = 1e-3) -> float:
    """The derivative along a direction, by differences of sixth order."""
    taps = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
    return sum(c * (value(v + k * step * direction) - value(v - k * step * direction)) for k, c in taps) / step


def onto_simplex(v: Any, total: float = 1.0) -> np.ndarray:
    """The projection of a vector by sorting (Held, Wolfe, Crowder 1974)."""
    falling = np.sort(v)[::-1]
    thetas = (np.cumsum(falling) - total) / np.arange(1, v.size + 1)
    theta = thetas[np.flatnonzero(falling >= thetas)[-1]]
    return np.maximum(v - theta, 0)


def onto_ball1(v: Any, radius: float = 1.0) -> np.ndarray:
    """The projection onto the l1 ball by that of the magnitudes onto a simplex."""
    size = np.abs(v)
    if np.sum(size) <= radius:
        return v
    return by_magnitude(lambda m: onto_simplex(m.ravel(), radius).reshape(m.shape), v)


def falling_fit(y: Any) -> np.ndarray:
    """The nonincreasing vector nearest to y, by pooling adjacent violators."""
    blocks: list[list[float]] = []
    for entry in y:
        blocks.append([float(entry), 1.0])
        while len(blocks) > 1 and blocks[-2][0] <= blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    return np.concatenate([np.full(int(n), a) for a, n in blocks]) if blocks else np.zeros(0)


def ordered_prox(v: Any, weights: Any, t: float) -> np.ndarray:
    """The prox of the ordered weighted l1 norm of a vector."""
    size = np.abs(v)
    order = np.argsort(-size, kind="stable")
    result = np.empty_like(size)
    result[order] = np.maximum(falling_fit(size[order] - t * np.asarray(weights)), 0)
    return by_magnitude(lambda m: result, v)


def bisect(increasing: Callable[[Any], Any], low: float, high: float) -> float:
    """The root of an increasing function of a number."""
    low, high = LONG(low), LONG(high)
    for _ in range(120):
        middle = (low + high) / 2
        low, high = (low, middle) if increasing(middle) > 0 else (middle, high)
    return float((low + high) / 2)
