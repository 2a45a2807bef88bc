"""Functionals with one seeded fault each, and what a report should say about it."""

from __future__ import annotations

from typing import Any

import numpy as np

import opalg as oa
from tests.testing.own_functionals import (
    ABSOLUTE,
    BATCHED,
    COUNT,
    ELASTIC,
    FIT,
    FORM,
    GROUPS,
    HUBER,
    LENGTH,
    NONNEG,
    PHASED,
    POISSON,
    ROUND,
    SQUARE,
    WEIGHTED,
    A,
    Own,
    by_largest,
    clipped,
    coefficients,
    facts,
    held,
    in_ball,
    matrix,
    safe,
    shrink,
    total,
)
from tests.testing.prox_faults import PROXES, SETS, Fault, fault

YES = oa.YES


def _declaring(name: str, base: Own, words: str, **said: Any) -> Fault:
    """A functional that is right, with other facts."""
    return Fault(name, lambda: base.but(facts=facts(base.facts, **said)), words, "facts")


def _hard_at_zero(v: np.ndarray, t: float) -> np.ndarray:
    """``>=`` where ``>`` belongs: with t = 0 the entries that are 0 come to 0 / 0."""
    return np.where(np.abs(v) >= t, v * (1 - t / np.abs(v)), 0).astype(v.dtype)


def _plain_shorten(v: np.ndarray, t: float, axis: Any = 0) -> np.ndarray:
    """Squares overflow in single precision."""
    size = np.sqrt(np.sum(np.abs(v) ** 2, axis=axis, keepdims=True))
    return v * safe(np.maximum(size - t, 0).astype(size.dtype), size)


def _cancelling(v: np.ndarray, t: float) -> np.ndarray:
    half = (v + 0.3 - t) / 2
    return (half + np.sqrt(half**2 + 2.0 * t) - 0.3).astype(v.dtype)


def _overwriting(v: np.ndarray, t: float) -> np.ndarray:
    v /= 1 + 2 * t
    return v.copy()


def _view(v: np.ndarray) -> np.ndarray:
    return v if np.min(v, initial=0.0) >= 0 else np.maximum(v, 0)


def _keeping_step() -> Own:
    """A factor that is computed for the first step only."""
    kept: list[float] = []

    def prox(v: np.ndarray, t: float) -> np.ndarray:
        kept[:] = kept or [1 / (1 + 2 * t)]
        return v * kept[0]

    return SQUARE.but(prox=prox)


def _keeping_result() -> Own:
    """A result that is found again by where its argument lies in memory."""
    kept: dict[tuple[int, float], np.ndarray] = {}

    def prox(v: np.ndarray, t: float) -> np.ndarray:
        place = (v.__array_interface__["data"][0], v.shape, v.dtype, t)
        return kept.setdefault(place, v / (1 + 2 * t)).copy()

    return SQUARE.but(prox=prox)


def _drawing() -> Own:
    rng = np.random.default_rng(0)
    return SQUARE.but(prox=lambda v, t: v / (1 + 2 * t) * (1 + 1e-14 * rng.standard_normal()))


def _buffered() -> Own:
    buffers: dict[Any, np.ndarray] = {}

    def prox(v: np.ndarray, t: float) -> np.ndarray:
        out = buffers.setdefault((v.shape, v.dtype), np.empty_like(v))
        np.divide(v, 1 + 2 * t, out=out)
        return out

    return SQUARE.but(prox=prox)


def _dual(**changes: Any) -> Any:
    return SQUARE.conjugate.but(**changes)


def _nan_at_zero(v: np.ndarray) -> np.ndarray:
    return v / np.abs(v) * np.abs(v) * 2


DERIVATIVES = [
    fault("half the gradient", SQUARE, "0.5 times", "gradient", gradient=lambda v: v),
    fault("twice the gradient", HUBER, "2 times", "gradient", gradient=lambda v: 2 * clipped(v)),
    fault("minus the gradient", SQUARE, "sign", "gradient", gradient=lambda v: -2 * v),
    fault(
        "absolute values",
        SQUARE,
        "signs or phases",
        "gradient",
        kinds=("real",),
        gradient=lambda v: (2 * np.abs(v)).astype(v.dtype),
    ),
    fault(
        "a conjugate missing",
        PHASED,
        "conjugate",
        "gradient",
        gradient=lambda v: 2 * np.conj(coefficients(v)) * np.conj(np.vdot(coefficients(v), v)),
    ),
    fault("the data left out", FIT, "linear part", "gradient", gradient=lambda v: 1 * v),
    fault(
        "a ridge left out",
        FORM,
        "quadratic part",
        "gradient",
        gradient=lambda v: v @ (matrix(v).T @ matrix(v)) + 0.5 * v,
    ),
    fault(
        "the transposed matrix in the gradient", FORM, "", "gradient", gradient=lambda v: v @ (matrix(v) @ matrix(v).T)
    ),
    fault("NaN in the gradient of zero", SQUARE, "0 / 0", "zeros", gradient=_nan_at_zero),
    fault("half the Hessian", SQUARE, "0.5 times", "hessian", hessian_vector=lambda v, d: 1 * d),
    fault(
        "the Hessian not transposed",
        FORM,
        "not symmetric",
        "hessian",
        hessian_vector=lambda v, d: d @ (matrix(v) @ matrix(v)),
    ),
    fault(
        "a term of the Hessian forgotten",
        ROUND,
        "rank one",
        "hessian",
        hessian_vector=lambda v, d: d / np.hypot(1, by_largest(v)).astype(v.dtype),
    ),
    fault(
        "a diagonal Hessian",
        FORM,
        "diagonal",
        "hessian",
        hessian_vector=lambda v, d: np.diag(matrix(v).T @ matrix(v)) * d,
    ),
]

DUALS = [
    fault(
        "the conjugate's prox with the step inverted",
        SQUARE,
        "1 / step",
        "moreau",
        conjugate=_dual(prox=lambda q, t: q / (1 + 1 / (2 * t))),
    ),
    fault(
        "the conjugate's prox with twice its step",
        SQUARE,
        "2 times its step",
        "moreau",
        conjugate=_dual(prox=lambda q, t: q / (1 + t)),
    ),
    fault("f for its conjugate", SQUARE, "that of f", "moreau", conjugate=SQUARE),
    fault(
        "a dual ball of another radius",
        ABSOLUTE,
        "0.5 times",
        "moreau",
        conjugate=ABSOLUTE.conjugate.but(prox=lambda q, t: q / np.maximum(2 * np.abs(q), 1)),
    ),
    fault(
        "a conjugate of half the size",
        SQUARE,
        "0.5 times",
        "fenchel",
        conjugate=_dual(value=lambda q: total(np.abs(q) ** 2) / 8),
    ),
    fault(
        "a conjugate with a small domain",
        ABSOLUTE,
        "check the radius",
        "fenchel",
        conjugate=ABSOLUTE.conjugate.but(value=lambda q: in_ball(q, 0.8)),
    ),
    fault(
        "a conjugate with a large domain",
        ABSOLUTE,
        "domain that is too large",
        "fenchel",
        conjugate=ABSOLUTE.conjugate.but(value=lambda q: in_ball(q, 1.7)),
    ),
]

FACTS = [
    _declaring("half the smoothness", SQUARE, "0.5 times", smoothness=1.0),
    _declaring("nine tenths of the smoothness", HUBER, "0.9 times", smoothness=0.9),
    _declaring("smoothness of a matrix by its rows", FORM, "Lipschitz", smoothness=float(np.max(np.sum(A**2, 1)))),
    _declaring("strong convexity too large", SQUARE, "strongly convex", strong_convexity=2.2),
    _declaring("strong convexity of a sum too large", ELASTIC, "strongly convex", strong_convexity=2.1),
    _declaring("declared convex", COUNT, "above a chord", convex=YES),
    _declaring("declared separable", LENGTH, "declared separable", separable=YES),
    _declaring("declared quadratic", HUBER, "third differences", quadratic=YES),
    _declaring("declared homogeneous", HUBER, "homogeneous", homogeneity=1.0),
    _declaring("declared an indicator", ABSOLUTE, "takes the value", indicator=True),
    Fault("declared bounded below", lambda: Own(value=total, facts=facts(bounded_below=YES)), "falls to", "facts"),
    Fault(
        "declared smooth",
        lambda: ABSOLUTE.but(kinds=("real",), prox=None, gradient=np.sign, facts=facts(smooth=YES)),
        "jumps",
        "facts",
    ),
    Fault(
        "declared to see magnitudes only",
        lambda: FIT.but(facts=facts(phase_invariant=YES)),
        "changes with the phases",
        "phases",
    ),
]

MANNERS = [
    fault("zero over zero at a step of zero", ABSOLUTE, "0 / 0", "steps", prox=_hard_at_zero),
    fault("a step of zero divided by", SQUARE, "0 / 0", "steps", prox=lambda v, t: (v / t) / (1 / np.float64(t) + 2)),
    fault("cancellation at huge steps", POISSON, "1e30", "steps", prox=_cancelling),
    Fault("infinite weights", lambda: held(lambda v, t, w: v * (1 - t * w / np.maximum(np.abs(v), t * w))), "0 / 0"),
    fault("overflow in a norm", GROUPS, "overflow", "extremes", prox=_plain_shorten),
    fault(
        "overflow in a value", LENGTH, "overflow", "extremes", value=lambda v: float(np.sqrt(np.sum(np.abs(v) ** 2)))
    ),
    fault(
        "the largest of nothing",
        ABSOLUTE,
        "start value",
        "sizes",
        prox=lambda v, t: shrink(v, t) * (1 + 0 * np.max(np.abs(v))),
    ),
    fault("returns its argument", NONNEG, "Return a copy", "fresh", prox=lambda v, t: _view(v)),
    Fault("returns a buffer", _buffered, "Return a copy", "fresh"),
    fault("overwrites its argument", SQUARE, "Work on a copy", "inputs", prox=_overwriting),
    Fault("a factor kept from the first call", _keeping_step, "kept from an earlier call"),
    Fault("a result kept for a place in memory", _keeping_result, "memory", "repeatable"),
    Fault("draws at random", _drawing, "state", "repeatable"),
    fault("promoted to double", SQUARE, "precision", "dtype", prox=lambda v, t: v / np.full((1,) * v.ndim, 1 + 2 * t)),
    fault(
        "computed in single precision",
        SQUARE,
        "precision",
        "dtype",
        prox=lambda v, t: (v / (1 + 2 * t)).astype(np.complex64 if np.iscomplexobj(v) else np.float32),
    ),
    fault(
        "entries as they lie in memory",
        WEIGHTED,
        "strides",
        "layout",
        prox=lambda v, t: WEIGHTED.prox(v.ravel(order="K").reshape(v.shape), t),
    ),
    fault(
        "steps along the last axis",
        BATCHED,
        "last one",
        "batch",
        prox=lambda v, t: shrink(v, np.asarray(t, np.abs(v).dtype)),
    ),
    fault(
        "one step for all samples",
        BATCHED,
        "All samples",
        "batch",
        prox=lambda v, t: shrink(v, np.asarray(t, np.abs(v).dtype).ravel()[0]),
    ),
    fault(
        "another value for complex arrays",
        SQUARE,
        "complex one",
        "phases",
        value=lambda v: total(np.abs(v) ** 2) * (0.5 if np.iscomplexobj(v) else 1),
        facts=None,
        gradient=None,
        prox=None,
    ),
    fault("NaN in the value of zero", SQUARE, "limit", "value", value=lambda v: total(np.abs(v) ** 4 / np.abs(v) ** 2)),
    fault("the wrong shape", SQUARE, "shape", "prox", prox=lambda v, t: (v / (1 + 2 * t)).ravel()),
    fault("an exception", SQUARE, "IndexError", "gradient", gradient=lambda v: 2 * v[9]),
]

FAULTS = [*PROXES, *SETS, *DERIVATIVES, *DUALS, *FACTS, *MANNERS]
