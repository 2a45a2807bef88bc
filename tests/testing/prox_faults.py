"""Proxes and projections with one seeded fault each, and what a report should say about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.testing.own_functionals import (
    ABSOLUTE,
    BALL,
    BOX,
    COUNT,
    ELASTIC,
    FIT,
    FORM,
    GROUPS,
    HUBER,
    LENGTH,
    NONNEG,
    POISSON,
    SIMPLEX,
    SQUARE,
    WEIGHTED,
    Own,
    W,
    by_largest,
    clipped,
    divergence_prox,
    indicator,
    into_ball,
    norm,
    onto_simplex,
    safe,
    shorten,
    shrink,
    spread,
    total,
)


@dataclass(frozen=True)
class Fault:
    """A fault: the functional, words that its hint or message must hold, and the property that must fail."""

    name: str
    build: Callable[[], Any]
    words: str
    property: str = "prox"


def fault(name: str, base: Own, words: str, of: str = "prox", **changes: Any) -> Fault:
    """One of the right functionals with other parts."""
    return Fault(name, lambda: base.but(**changes), words, of)


def _parts(v: np.ndarray, t: float) -> np.ndarray:
    if np.iscomplexobj(v):
        return (shrink(v.real, t) + 1j * shrink(v.imag, t)).astype(v.dtype)
    return shrink(v, t)


def _divided(v: np.ndarray, t: float) -> np.ndarray:
    size = by_largest(v, 0)
    return v / size * np.maximum(size - t, 0)


def _without_max(v: np.ndarray, t: float) -> np.ndarray:
    return v * (1 - safe(t, by_largest(v))).astype(v.dtype)


def _lost_imaginary(v: np.ndarray, t: float) -> np.ndarray:
    return np.maximum(np.abs(v) - t, 0).astype(v.dtype)


def _last(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    if u.size:
        u.flat[-1] = v.flat[-1]
    return u


PROXES = [
    fault("half the step", ABSOLUTE, "0.5 t", prox=lambda v, t: shrink(v, t / 2)),
    fault("twice the step", ABSOLUTE, "2 t", prox=lambda v, t: shrink(v, 2 * t)),
    fault("a half too many in the square", SQUARE, "0.5 t", prox=lambda v, t: v / (1 + t)),
    fault("the step squared", ABSOLUTE, "squared", prox=lambda v, t: shrink(v, t * t)),
    fault("the step inverted", ABSOLUTE, "inverted", prox=lambda v, t: shrink(v, 1 / max(t, 1e-300))),
    fault("the root of the step", ABSOLUTE, "root", prox=lambda v, t: shrink(v, t**0.5)),
    fault("the step not used", ABSOLUTE, "t is not used", prox=lambda v, t: shrink(v, 1.0)),
    fault("weights missing", WEIGHTED, "weights are missing", prox=shrink),
    fault("weights twice", WEIGHTED, "weights are missing", prox=lambda v, t: shrink(v, t * spread(W, v) ** 2)),
    fault("minus the prox", ABSOLUTE, "sign is wrong", prox=lambda v, t: -shrink(v, t)),
    fault("the rest instead of the prox", ABSOLUTE, "v - prox(v, t)", prox=lambda v, t: v - shrink(v, t)),
    fault("the prox of the conjugate", ABSOLUTE, "conjugate", prox=lambda v, t: v - shrink(v, 1.0)),
    fault("Moreau without its step", ABSOLUTE, "factor t", prox=lambda v, t: v - v / np.maximum(np.abs(v), t)),
    fault("the argument as it is", ABSOLUTE, "argument as it is", prox=lambda v, t: 1 * v),
    fault("sign lost", ABSOLUTE, "magnitudes only", kinds=("real",), prox=_lost_imaginary),
    fault("real and imaginary parts", ABSOLUTE, "one by one", prox=_parts),
    fault("a conjugate too many", ABSOLUTE, "conjugate", prox=lambda v, t: np.conj(shrink(v, t))),
    fault("groups along the other axis", GROUPS, "another axis", prox=lambda v, t: shorten(v, t, -1)),
    fault("zero groups divided", GROUPS, "0 / 0", "zeros", prox=_divided),
    fault("no maximum with zero", LENGTH, "", prox=_without_max),
    fault(
        "a projection for a prox", SQUARE, "does not depend on t", prox=lambda v, t: v / np.maximum(by_largest(v), 1)
    ),
    fault("delta squared", HUBER, "", prox=lambda v, t: (v - t * clipped(v, 0.25)).astype(v.dtype)),
    fault("delta misplaced", HUBER, "", prox=lambda v, t: np.where(np.abs(v) <= 0.5, v / (1 + t), shrink(v, t))),
    fault("background ignored", POISSON, "", prox=lambda v, t: divergence_prox(v, t, 0.0)),
    fault("data left out", FIT, "linear part", prox=lambda v, t: v / (1 + t)),
    fault(
        "data with the wrong sign", FIT, "conjugate", prox=lambda v, t: (v - t * (FIT.prox(0 * v, 1.0) * 2)) / (1 + t)
    ),
    fault("shrunk after scaling", ELASTIC, "", prox=lambda v, t: shrink(v / (1 + 2 * t), t)),
    fault("threshold without the root", COUNT, "", prox=lambda v, t: np.where(np.abs(v) > 2 * t, v, 0)),
    fault("threshold without the two", COUNT, "0.5 t", prox=lambda v, t: np.where(np.abs(v) > np.sqrt(t), v, 0)),
    fault("a soft threshold for a hard one", COUNT, "", prox=lambda v, t: shrink(v, np.sqrt(2 * t))),
    fault(
        "the transposed matrix",
        FORM,
        "",
        prox=lambda v, t: FORM.prox(v, t) @ (np.eye(v.shape[-1]) + 0.1 * np.tri(v.shape[-1])),
    ),
    fault("one entry forgotten", SQUARE, "such as (2, 3)", prox=lambda v, t: _last(v, v / (1 + 2 * t))),
    fault(
        "negative entries forgotten",
        ABSOLUTE,
        "negative entries",
        kinds=("real",),
        prox=lambda v, t: np.where(v > 0, shrink(v, t), v),
    ),
]


def _off_by_the_sum(v: np.ndarray) -> np.ndarray:
    return onto_simplex(v, 1.0)


def _unclipped(v: np.ndarray) -> np.ndarray:
    return v - (np.sum(v) - 2) / max(v.size, 1)


def _scaled(v: np.ndarray) -> np.ndarray:
    u = np.maximum(v, 0)
    return 2 * u / np.sum(u) if np.any(u) else onto_simplex(v)


SETS = [
    fault("ball of another radius", BALL, "radius", prox=lambda v, t: into_ball(v, 1.0)),
    fault(
        "ball at zero of another radius",
        indicator(lambda v: norm(v) <= 1.5, lambda v: into_ball(v, 1.5, 0.0)),
        "0.666667 times",
        prox=lambda v, t: into_ball(v, 1.0, 0.0),
    ),
    fault("ball without its center", BALL, "center", prox=lambda v, t: into_ball(v, 1.5, 0.0)),
    fault("simplex with another sum", SIMPLEX, "not in the domain", prox=lambda v, t: _off_by_the_sum(v)),
    fault("simplex without clipping", SIMPLEX, "not in the domain", prox=lambda v, t: _unclipped(v)),
    fault("simplex clipped and scaled", SIMPLEX, "nearest one", "brute_force", prox=lambda v, t: _scaled(v)),
    fault("absolute value for a maximum", NONNEG, "abs", prox=lambda v, t: np.abs(v)),
    fault("not clipped at all", NONNEG, "argument as it is", prox=lambda v, t: 1 * v),
    fault("box scaled", BOX, "", prox=lambda v, t: v / max(1, np.max(np.abs(v), initial=0.0) / 0.8)),
    fault("moved with each step", NONNEG, "", prox=lambda v, t: np.maximum(v - t, 0)),
    fault("finite outside", BOX, "takes the value", "facts", value=lambda v: total(np.maximum(np.abs(v) - 0.8, 0))),
    fault(
        "a projection that goes on",
        BOX,
        "moved by projecting",
        "nonexpansive",
        prox=lambda v, t: np.clip(0.9 * v, -0.8, 0.8),
    ),
]
