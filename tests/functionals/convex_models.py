"""Random combinations of functionals, each built twice: of opalg's combinators, and of cvxpy's atoms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np

import opalg as oa
from opalg.functionals import Functional
from opalg.functionals.argument import ArgumentScaled
from opalg.functionals.boxes import Box
from opalg.functionals.composition import Composition
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.sums import Sum
from opalg.functionals.tilted import Tilted
from opalg.functionals.translated import Translated

SHAPE = (2, 3)
Rng = np.random.Generator


@dataclass(frozen=True)
class Model:
    """A functional, its value in cvxpy, the values of its entries where it is a sum of them, and its constraints."""

    functional: Functional
    total: Callable[[Any], Any]
    entry: Callable[[Any], Any] | None
    constraints: Callable[[Any], list[Any]]

    def prox(self, v: np.ndarray, t: float) -> np.ndarray:
        """The minimiser that cvxpy finds."""
        x = cp.Variable(SHAPE)
        goal = self.total(x) + cp.sum_squares(x - v) / (2 * t)
        problem = cp.Problem(cp.Minimize(goal), self.constraints(x))
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
        assert problem.status == "optimal"
        return np.asarray(x.value)


def _free(x: Any) -> list[Any]:
    return []


def _separable(functional: Functional, entry: Callable[[Any], Any]) -> Model:
    return Model(functional, lambda x: cp.sum(entry(x)), entry, _free)


def base(rng: Rng) -> Model:
    """A functional that is no combination."""
    w = rng.uniform(0.1, 1.5, SHAPE)
    low = rng.uniform(-1.0, 0.2, SHAPE)
    match rng.integers(6):
        case 0:
            return _separable(Norm1(w), lambda x: cp.multiply(w, cp.abs(x)))
        case 1:
            return Model(Norm2(), lambda x: cp.norm(cp.vec(x, order="C")), None, _free)
        case 2:
            return Model(Norm21(), lambda x: cp.sum(cp.norm(x, axis=0)), None, _free)
        case 3:
            return _separable(Huber(0.6), lambda x: 0.5 * cp.huber(x, 0.6))
        case 4:
            return _separable(SumSquares(w), lambda x: cp.multiply(w, cp.square(x)))
    box = Indicator(Box(low, low + 1.0))
    return Model(box, lambda x: cp.sum(0 * x), lambda x: 0 * x, lambda x: [x >= low, x <= low + 1.0])


def combined(rng: Rng, depth: int) -> Model:
    """A combination of combinations, that many deep."""
    if depth == 0:
        return base(rng)
    inner = combined(rng, depth - 1)
    return COMBINATORS[rng.integers(len(COMBINATORS))](rng, inner)


def _weighted(rng: Rng, m: Model) -> Model:
    if m.entry is None:
        w = float(rng.uniform(0.2, 2.0))
        return Model(w * m.functional, lambda x: w * m.total(x), None, m.constraints)
    each, entry = rng.uniform(0.2, 2.0, SHAPE) * rng.integers(0, 2, SHAPE), m.entry
    weighted = oa.Constant(each) * m.functional
    return Model(
        weighted, lambda x: cp.sum(cp.multiply(each, entry(x))), lambda x: cp.multiply(each, entry(x)), m.constraints
    )


def _translated(rng: Rng, m: Model) -> Model:
    b = 0.5 * rng.standard_normal(SHAPE)
    return _behind(Translated(m.functional, b), m, lambda x: x - b, m.entry is not None)


def _scaled(rng: Rng, m: Model) -> Model:
    c = rng.uniform(0.4, 2.0, SHAPE if m.entry else ()) * rng.choice([-1.0, 1.0])
    return _behind(ArgumentScaled(m.functional, c), m, lambda x: cp.multiply(c, x), m.entry is not None)


def _behind(functional: Functional, m: Model, move: Callable[[Any], Any], keeps: bool) -> Model:
    entry = m.entry
    moved = (lambda x: entry(move(x))) if keeps and entry is not None else None
    return Model(functional, lambda x: m.total(move(x)), moved, lambda x: m.constraints(move(x)))


def _tilted(rng: Rng, m: Model) -> Model:
    a, c = rng.standard_normal(SHAPE), rng.uniform(0.0, 1.5, SHAPE if m.entry else ())
    entry = m.entry
    each = None if entry is None else (lambda x: entry(x) + cp.multiply(a, x) + cp.multiply(0.5 * c, cp.square(x)))
    total = lambda x: m.total(x) + cp.sum(cp.multiply(a, x)) + cp.sum(cp.multiply(0.5 * c, cp.square(x)))  # noqa: E731
    return Model(Tilted(m.functional, a, c), total, each, m.constraints)


def _plus_number(rng: Rng, m: Model) -> Model:
    b = float(rng.standard_normal())
    return Model(m.functional + b, lambda x: m.total(x) + b, None, m.constraints)


def _turned(rng: Rng, m: Model) -> Model:
    turn, b = 1.5 * oa.DCT(SHAPE), 0.3 * rng.standard_normal(SHAPE)
    left, right = (oa.DCT((n,)).to_dense() for n in SHAPE)
    return _behind(Composition(m.functional, turn, b), m, lambda x: 1.5 * (left @ x @ right.T) + b, False)


def _squared(rng: Rng, m: Model) -> Model:
    w = float(rng.uniform(0.1, 1.0))
    return Model(m.functional + SumSquares(w), lambda x: m.total(x) + w * cp.sum_squares(x), None, m.constraints)


def _bounded(rng: Rng, m: Model) -> Model:
    low = rng.uniform(-0.4, -0.1, SHAPE)
    functional = (
        m.functional + Indicator(Box(low, None)) if rng.random() < 0.5 else Sum(m.functional, Indicator(Box(low, None)))
    )
    return Model(functional, m.total, m.entry, lambda x: [*m.constraints(x), x >= low])


def _and_norm(rng: Rng, m: Model) -> Model:
    w = float(rng.uniform(0.1, 0.8))
    return Model(
        m.functional + w * Norm2(), lambda x: m.total(x) + w * cp.norm(cp.vec(x, order="C")), None, m.constraints
    )


COMBINATORS = (_weighted, _translated, _scaled, _tilted, _plus_number, _turned, _squared, _bounded, _and_norm)
