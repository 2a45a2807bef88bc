"""Functionals of a user's own, by the protocol alone and by the book: what seeded faults are changes of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import opalg as oa
from opalg.facts import exact
from opalg.functionals import FunctionalFacts
from opalg.program.expression import as_expression

YES = oa.YES


class Own:
    """An object with the methods and facts that it is given."""

    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)

    def but(self, **changes: Any) -> Own:
        """The same with other parts; None takes one away."""
        kept = {name: part for name, part in {**vars(self), **changes}.items() if part is not None}
        return Own(**kept)

    def __repr__(self) -> str:
        return "<own>"


def facts(known: FunctionalFacts | None = None, **said: Any) -> FunctionalFacts:
    for name, kind in (("smoothness", exact), ("strong_convexity", as_expression)):
        if name in said:
            said[name] = kind(said[name])
    return replace(known or FunctionalFacts(), **said)


def total(x: np.ndarray) -> float:
    return float(np.sum(x))


def norm(x: np.ndarray) -> float:
    return float(np.sqrt(np.sum(np.abs(x) ** 2)))


def safe(a: Any, b: Any) -> Any:
    """``a / b``, and zero where b is zero."""
    return np.where(b == 0, 0, a / np.where(b == 0, 1, b)).astype(np.result_type(a, b))


def shrink(v: np.ndarray, t: Any) -> np.ndarray:
    size = np.abs(v)
    return v * safe(np.maximum(size - t, 0).astype(size.dtype), size)


def single(a: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Data in the precision of the argument."""
    return a.astype(np.abs(v).dtype)


def spread(w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Data of the first columns, however many v has."""
    return single(np.resize(w, v.shape[-1:]), v)


# Squares.

SQUARE = Own(
    kinds=("real", "complex"),
    value=lambda v: total(np.abs(v) ** 2),
    gradient=lambda v: 2 * v,
    hessian_vector=lambda v, d: 2 * d,
    prox=lambda v, t: v / (1 + 2 * t),
    conjugate=Own(value=lambda q: total(np.abs(q) ** 2) / 4, prox=lambda q, t: q / (1 + t / 2)),
    facts=facts(
        convex=YES,
        smooth=YES,
        smoothness=2.0,
        strong_convexity=2.0,
        quadratic=YES,
        separable=YES,
        bounded_below=YES,
        homogeneity=2.0,
        phase_invariant=YES,
    ),
)

# Magnitudes.


def in_ball(q: np.ndarray, radius: float = 1.0) -> float:
    return 0.0 if np.max(np.abs(q), initial=0.0) <= radius * (1 + 1e-9) else np.inf


ABSOLUTE = Own(
    kinds=("real", "complex"),
    value=lambda v: total(np.abs(v)),
    prox=shrink,
    conjugate=Own(value=in_ball, prox=lambda q, t: q / np.maximum(np.abs(q), 1)),
    facts=facts(convex=YES, separable=YES, bounded_below=YES, homogeneity=1.0, phase_invariant=YES),
)

W = np.array([0.5, 2.0, 1.0, 0.25])
WEIGHTED = Own(
    value=lambda v: total(spread(W, v) * np.abs(v)),
    prox=lambda v, t: shrink(v, t * spread(W, v)),
    facts=facts(convex=YES, separable=YES),
)


def held(prox: Any) -> Own:
    """The sum of magnitudes with weights of which some are infinite."""
    weights = np.array([1.0, np.inf, 0.5, np.inf])

    def value(v: np.ndarray) -> float:
        w = np.resize(weights, v.shape)
        return total(np.where(v == 0, 0.0, np.where(v == 0, 0.0, w) * np.abs(v)))

    return Own(
        weights=weights,
        value=value,
        prox=lambda v, t: prox(v, t, single(np.resize(weights, v.shape), v)),
        facts=facts(convex=YES, separable=YES),
    )


def shrink_held(v: np.ndarray, t: float, w: np.ndarray) -> np.ndarray:
    limit = np.where(np.isinf(w), np.inf, t * np.where(np.isinf(w), 0, w)).astype(w.dtype)
    return np.where(np.isinf(w), 0, shrink(v, np.where(np.isinf(w), 0, limit))).astype(v.dtype)


# Norms of groups.


def by_largest(x: np.ndarray, axis: Any = None) -> np.ndarray:
    """The Euclidean norm that neither overflows nor vanishes."""
    largest = np.max(np.abs(x), axis=axis, keepdims=True, initial=0.0)
    scaled = x / np.where(largest == 0, 1, largest).astype(largest.dtype)
    return largest * np.sqrt(np.sum(np.abs(scaled) ** 2, axis=axis, keepdims=True))


def shorten(v: np.ndarray, t: float, axis: Any = None) -> np.ndarray:
    size = by_largest(v, axis)
    return v * safe(np.maximum(size - t, 0).astype(size.dtype), size)


LENGTH = Own(
    kinds=("real", "complex"),
    value=lambda v: total(by_largest(v)),
    prox=shorten,
    conjugate=Own(
        value=lambda q: 0.0 if norm(q) <= 1 + 1e-9 else np.inf, prox=lambda q, t: q / np.maximum(by_largest(q), 1)
    ),
    facts=facts(convex=YES, bounded_below=YES, homogeneity=1.0, phase_invariant=YES),
)
GROUPS = Own(
    kinds=("real", "complex"),
    value=lambda v: total(by_largest(v, 0)),
    prox=lambda v, t: shorten(v, t, 0),
    facts=facts(convex=YES, bounded_below=YES, homogeneity=1.0, phase_invariant=YES),
)

# Huber, with delta = 0.5: t^2 / 2 inside, delta (|t| - delta / 2) outside.
DELTA = 0.5


def huber(v: np.ndarray, delta: float = DELTA) -> np.ndarray:
    size = np.abs(v)
    small = np.minimum(size, delta)
    return small**2 / 2 + delta * (size - small)


def clipped(v: np.ndarray, radius: float = DELTA) -> np.ndarray:
    size = np.abs(v)
    return v * safe(np.minimum(size, radius).astype(size.dtype), size)


HUBER = Own(
    value=lambda v: total(huber(v)),
    gradient=clipped,
    hessian_vector=lambda v, d: np.where(np.abs(v) <= DELTA, d, 0),
    prox=lambda v, t: np.where(np.abs(v) <= DELTA * (1 + t), v / (1 + t), v - t * clipped(v)).astype(v.dtype),
    facts=facts(convex=YES, smooth=YES, smoothness=1.0, separable=YES, bounded_below=YES),
)

# sqrt(1 + |v|^2), whose Hessian has a term of rank one.
ROUND = Own(
    value=lambda v: total(np.hypot(1.0, by_largest(v))),
    gradient=lambda v: v / np.hypot(1, by_largest(v)).astype(v.dtype),
    hessian_vector=lambda v, d: (d - v * np.sum(v * d) / (1 + np.sum(v * v))) / np.sqrt(1 + np.sum(v * v)),
    facts=facts(convex=YES, smooth=YES, smoothness=1.0, bounded_below=YES),
)

# Kullback and Leibler, u + b - y log(u + b) for counts y and a background b.
COUNTS, BACKGROUND = 2.0, 0.3


def divergence(v: np.ndarray, b: float = BACKGROUND) -> float:
    if np.min(v, initial=np.inf) <= -b:
        return np.inf
    return total(v + b - COUNTS * np.log(v + b))


def divergence_prox(v: np.ndarray, t: float, b: float = BACKGROUND) -> np.ndarray:
    half = (v + b - t) / 2
    root = np.hypot(half, np.sqrt(COUNTS * t))
    # the larger root, without a difference of large numbers
    s = np.where(half > 0, half + root, safe(COUNTS * t, root - np.where(half > 0, 0, half)))
    return (s - b).astype(v.dtype)


POISSON = Own(
    value=divergence,
    prox=divergence_prox,
    facts=facts(convex=YES, separable=YES, bounded_below=YES),
)

# Sets.


def indicator(contains: Any, project: Any, **said: Any) -> Own:
    return Own(
        value=lambda v: 0.0 if contains(v) else np.inf,
        prox=lambda v, t: project(v),
        facts=facts(convex=YES, indicator=True, bounded_below=YES, **said),
    )


def into_ball(v: np.ndarray, radius: float = 1.5, center: float = 0.4) -> np.ndarray:
    away = v - center
    size = by_largest(away)
    return center + away * safe(np.minimum(size, radius).astype(size.dtype), size)


def in_the_ball(v: np.ndarray) -> bool:
    return bool(np.all(by_largest(v - 0.4) <= 1.5 * (1 + 1e-6 if v.dtype == np.float32 else 1 + 1e-9)))


def onto_simplex(v: np.ndarray, size: float = 2.0) -> np.ndarray:
    if not v.size:
        return v.copy()
    ordered = np.sort(v.ravel())[::-1]
    sums = np.cumsum(ordered) - size
    count = np.arange(1, v.size + 1)
    last = np.max(np.nonzero(ordered - sums / count > 0)[0], initial=0)
    return np.maximum(v - (sums[last] / count[last]).astype(v.dtype), 0)


def in_simplex(v: np.ndarray) -> bool:
    limit = 1e-9 * max(1.0, float(np.sum(np.abs(v))))
    return bool(np.min(v, initial=0.0) >= -limit and abs(np.sum(v) - 2.0) <= limit + 1e-9)


NONNEG = indicator(lambda v: np.min(v, initial=0.0) >= 0, lambda v: np.maximum(v, 0), separable=YES)
BOX = indicator(lambda v: np.max(np.abs(v), initial=0.0) <= 0.8, lambda v: np.clip(v, -0.8, 0.8), separable=YES)
BALL = indicator(in_the_ball, into_ball)
SIMPLEX = indicator(in_simplex, onto_simplex)

# Nonconvex ones.

COUNT = Own(
    value=lambda v: float(np.count_nonzero(v)),
    prox=lambda v, t: np.where(np.abs(v) > np.sqrt(2 * t), v, 0),
    facts=facts(convex=oa.NO, separable=YES, bounded_below=YES, homogeneity=0.0),
)

# |A v|^2 / 2 for a matrix along the last axis.
A = np.random.default_rng(5).standard_normal((4, 4))


def matrix(v: np.ndarray) -> np.ndarray:
    n = v.shape[-1] if v.ndim else 1
    return single(np.resize(A, (n, n)), v)


FORM = Own(
    value=lambda v: total((v @ matrix(v).T) ** 2) / 2,
    gradient=lambda v: v @ (matrix(v).T @ matrix(v)),
    hessian_vector=lambda v, d: d @ (matrix(v).T @ matrix(v)),
    prox=lambda v, t: (v @ np.linalg.inv(np.eye(v.shape[-1]) + t * matrix(v).T @ matrix(v))).astype(v.dtype),
    facts=facts(convex=YES, smooth=YES, smoothness=float(np.linalg.norm(A, 2) ** 2), quadratic=YES, homogeneity=2.0),
)

# |<a, v>|^2 with a complex a.
C = np.array([1.0 + 2j, 0.5 - 1j, -1j, 0.3])


def coefficients(v: np.ndarray) -> np.ndarray:
    return np.resize(C, v.shape).astype(v.dtype)


PHASED = Own(
    kinds=("complex",),
    value=lambda v: float(np.abs(np.vdot(coefficients(v), v)) ** 2),
    gradient=lambda v: 2 * coefficients(v) * np.vdot(coefficients(v), v),
    hessian_vector=lambda v, d: 2 * coefficients(v) * np.vdot(coefficients(v), d),
    facts=facts(convex=YES, smooth=YES, quadratic=YES, homogeneity=2.0, bounded_below=YES),
)

# Magnitudes and squares, |v| + v^2.
ELASTIC = Own(
    kinds=("real", "complex"),
    value=lambda v: total(np.abs(v) + np.abs(v) ** 2),
    prox=lambda v, t: shrink(v, t) / (1 + 2 * t),
    facts=facts(convex=YES, strong_convexity=2.0, separable=YES, bounded_below=YES, phase_invariant=YES),
)

# v - data, in the middle of a square.
DATA = np.array([0.7, -1.2, 0.4, 2.0])
FIT = Own(
    value=lambda v: total((v - spread(DATA, v)) ** 2) / 2,
    gradient=lambda v: v - spread(DATA, v),
    hessian_vector=lambda v, d: 1 * d,
    prox=lambda v, t: (v + t * spread(DATA, v)) / (1 + t),
    facts=facts(convex=YES, smooth=YES, smoothness=1.0, strong_convexity=1.0, separable=YES, quadratic=YES),
)
BATCHED = ABSOLUTE.but(
    batched=True,
    prox=lambda v, t: shrink(v, np.reshape(t, np.shape(t) + (1,) * (v.ndim - np.ndim(t))).astype(np.abs(v).dtype)),
)

RIGHT = {
    "square": SQUARE,
    "absolute": ABSOLUTE,
    "weighted": WEIGHTED,
    "held": held(shrink_held),
    "length": LENGTH,
    "groups": GROUPS,
    "huber": HUBER,
    "round": ROUND,
    "poisson": POISSON,
    "nonneg": NONNEG,
    "box": BOX,
    "ball": BALL,
    "simplex": SIMPLEX,
    "count": COUNT,
    "form": FORM,
    "phased": PHASED,
    "elastic": ELASTIC,
    "fit": FIT,
    "batched": BATCHED,
}
