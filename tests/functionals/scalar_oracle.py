"""Proxes of functions of one real variable by scanning for stationary points: slow, and independent of the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from opalg.arrays import backend
from opalg.functionals import Functional
from opalg.program.differentiate import vjp
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import evaluate

POINTS = (0.0, 1e-3, -0.03, 0.3, -0.9, 1.3, -1.7, 3.1, -8.0, 25.0)
STEPS = (1e-3, 0.3, 1.1, 4.3, 30.0)


@dataclass(frozen=True)
class Scalar:
    """A function of one variable with its slope, as plain formulas on NumPy arrays.

    ``kinks`` are points that may be minimisers without a zero slope, ``lower`` is the left end of the domain.
    """

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    kinks: Sequence[float] = ()
    lower: float = -np.inf

    def prox(self, v: float, t: float) -> float:
        """The best of all stationary points and kinks."""
        wide = np.geomspace(1e-14, 1e5, 600)
        near = np.linspace(min(v, 0.0) - t - 1.0, max(v, 0.0) + t + 1.0, 1801)
        grid = np.unique(np.concatenate([self.lower + wide] if self.lower > -np.inf else [-wide, wide, near]))
        grid = np.setdiff1d(grid, np.asarray(self.kinks))
        candidates = list(self.kinks)
        rest = (grid - v) + t * self.slope(grid)
        for i in np.nonzero(np.sign(rest[:-1]) * np.sign(rest[1:]) <= 0)[0]:
            if any(grid[i] < kink < grid[i + 1] for kink in self.kinks):
                continue
            equation = lambda u: (u - v) + t * float(self.slope(np.asarray(u)))  # noqa: E731
            candidates.append(brentq(equation, grid[i], grid[i + 1], xtol=1e-300, rtol=1e-15, maxiter=500))
        found = np.asarray(candidates)
        return float(found[np.argmin(self.value(found) + (found - v) ** 2 / (2 * t))])


def check_prox(f: Functional, scalar: Scalar, even: bool = False, points: Sequence[float] = POINTS) -> None:
    """The prox of a functional with the same function in every entry, in both precisions and kinds."""
    v = np.asarray(points)
    phases = np.exp(1j * np.linspace(0.0, 6.0, v.size))
    for t in STEPS:
        expected = np.asarray([scalar.prox(p, t) for p in points])
        assert np.allclose(f.prox(v, t), expected, rtol=1e-10, atol=1e-10)
        single = f.prox(v.astype(np.float32), t)
        assert single.dtype == np.float32
        assert np.allclose(single, expected, rtol=1e-5, atol=1e-6 * (1 + np.max(np.abs(v))) * 0.1)
        if even:
            assert np.allclose(f.prox(v * phases, t), expected * phases, rtol=1e-10, atol=1e-10)
            mixed = f.prox((v * phases).astype(np.complex64), t)
            assert mixed.dtype == np.complex64 and np.allclose(mixed, expected * phases, rtol=1e-5, atol=1e-6)


def check_steps(f: Functional, kind: str = "real") -> None:
    """A step for each sample, one of them zero, is that step alone; the argument is left as it was."""
    rng = np.random.default_rng(3)
    v = 2.0 * rng.standard_normal((3, 5)) + (1j * rng.standard_normal((3, 5)) if kind == "complex" else 0.0)
    before, t = v.copy(), np.array([0.7, 0.0, 2.5])
    found = f.prox(v, t)
    for i in range(3):
        assert np.allclose(found[i], f.prox(v[i], float(t[i])), rtol=1e-12, atol=1e-14)
    assert np.array_equal(v, before) and not np.shares_memory(found, v)
    for empty in (np.zeros((0,)), np.zeros((0, 3))):
        assert f.prox(empty, 0.5).shape == empty.shape
    assert f.prox(np.array([0.4]), 0.5).shape == (1,)


def check_extremes(f: Functional, expected: Callable[[np.ndarray, float], np.ndarray] | None = None) -> None:
    """float32 at 1e20 and 1e-30 gives what float64 gives, without a warning, which pytest makes an error."""
    v = np.array([1e20, -1e20, 1e-30, -1e-30, 0.0, 1.0])
    for t in (1e-3, 1.0, 50.0):
        found, right = f.prox(v.astype(np.float32), t), f.prox(v, t)
        if expected is not None:
            assert np.allclose(right, expected(v, t), rtol=1e-9, atol=0)
        assert np.all(np.isfinite(found))
        assert np.allclose(found, right, rtol=1e-5, atol=1e-37)


def check_data_gradient(f: Callable[[Expression], Functional], at: float, v: np.ndarray, t: float = 0.7) -> None:
    """The derivative of the prox in a number that the functional holds, against differences."""
    x, step, p, u = Input("x", v.shape), Input("t", ()), Input("p", ()), Input("u", v.shape)
    weight = np.random.default_rng(5).standard_normal(v.shape)
    lib = backend()
    out = f(p).define_prox(x, step)
    pulled = vjp([out], [u], [p, step])
    values = {x: v, step: np.asarray(t), p: np.asarray(at), u: weight}
    found = [0.0 if g is None else float(evaluate([g], values, lib)[0]) for g in pulled]

    def total(at: float, t: float) -> float:
        bound = {x: v, step: np.asarray(t), p: np.asarray(at)}
        return float(np.sum(weight * evaluate([out], bound, lib)[0]))

    h = 1e-6
    by_data = (total(at + h, t) - total(at - h, t)) / (2 * h)
    by_step = (total(at, t + h) - total(at, t - h)) / (2 * h)
    assert np.allclose(found, [by_data, by_step], rtol=1e-6, atol=1e-8)
