"""Estimates of the norm of an operator by Lanczos' method, with what they are worth."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod, sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.facts import Bound
from opalg.program.expression import Literal


@dataclass(frozen=True)
class NormEstimate(Bound):
    """What Lanczos' method found out about a norm: a number from below, and one from above that probably holds.

    As a `Bound` it is the number from below, of certainty ``"estimate"``: no safe step is built on it.

    Attributes
    ----------
    above : float
        The norm is at most this with the given probability.
    probability : float
        How likely it is that ``above`` holds, over the random start.
    steps : int
        Applications of the operator, and of its adjoint.
    """

    above: float = float("inf")
    probability: float = 0.0
    steps: int = 0

    def __repr__(self) -> str:
        return (
            f"{self.value:.6g} from below, {self.above:.6g} from above with probability {self.probability:g} "
            f"({self.steps} steps)"
        )


def norm_estimate(
    operator: Any, lib: Backend, tolerance: float, probability: float, steps: int, rng: np.random.Generator
) -> NormEstimate:
    """The norm of an operator by Lanczos' method on ``A.H A`` from a random start, fully orthogonalised.

    Notes
    -----
    The largest Ritz value ``r`` is at most ``||A||^2``. From a start that is uniform on the sphere of dimension n, with
    k steps, ``||A||^2 <= r / (1 - e)`` fails with a probability of at most ``1.648 sqrt(n) exp(-sqrt(e) (2 k - 1))``
    (Kuczynski and Wozniakowski 1992, Estimating the largest eigenvalue by the power and Lanczos algorithms with a
    random start, section 4).
    """
    size = prod(operator.in_shape)
    if size == 0:
        return NormEstimate(Literal(0.0), "estimate", 0.0, 1.0, 0)
    kind = "complex" if operator.in_kind == "complex" else "real"
    real_size = size * (2 if kind == "complex" else 1)
    basis = [_random_unit(rng, size, kind)]
    diagonal: list[float] = []
    beside: list[float] = []
    ritz, gap = 0.0, 1.0
    while len(diagonal) < min(steps, real_size):
        image = _gram(operator, lib, basis[-1], kind)
        diagonal.append(_inner(basis[-1], image))
        ritz = max(ritz, float(np.linalg.eigvalsh(_tridiagonal(diagonal, beside))[-1]))
        gap = _gap(len(diagonal), real_size, probability)
        for _ in range(2):
            for vector in basis:
                image = image - _inner(vector, image) * vector
        rest = sqrt(_inner(image, image))
        if rest <= 1e-12 * max(ritz, 1e-300):
            gap = 0.0  # the start lies in what has been seen, so with probability one its largest part does
        if gap <= 2 * tolerance:
            break
        beside.append(rest)
        basis.append(image / rest)
    above = sqrt(ritz / (1 - gap)) * (1 + 1e-10) if gap < 1 else float("inf")
    return NormEstimate(Literal(sqrt(ritz)), "estimate", above, probability, len(diagonal))


def _gap(steps: int, size: int, probability: float) -> float:
    """The relative gap that so many steps leave with that probability."""
    if steps >= size:
        return 0.0
    return (log(1.648 * sqrt(size) / max(1 - probability, 1e-300)) / (2 * steps - 1)) ** 2


def _gram(operator: Any, lib: Backend, x: np.ndarray, kind: str) -> np.ndarray:
    image = operator.apply(lib.asarray(x.reshape(operator.in_shape), kind))
    back = lib.to_numpy(operator.H.apply(image)).reshape(-1)
    return back.astype(complex if kind == "complex" else float)


def _random_unit(rng: np.random.Generator, size: int, kind: str) -> np.ndarray:
    x = rng.standard_normal(size)
    if kind == "complex":
        x = x + 1j * rng.standard_normal(size)
    return x / sqrt(_inner(x, x))


def _inner(u: np.ndarray, v: np.ndarray) -> float:
    return float(np.vdot(u, v).real)


def _tridiagonal(diagonal: list[float], beside: list[float]) -> np.ndarray:
    return np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
