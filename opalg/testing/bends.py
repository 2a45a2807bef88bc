"""Why a map is not linear."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from opalg.testing.subject import Side
from opalg.testing.trial import Trial, far

SINGLE = 5e-6  # what sums of many terms in single precision come to, relative


def why_not_linear(trial: Trial, side: Side, x: np.ndarray, image: np.ndarray) -> Callable[[float], str]:
    """A function of the error that was seen, which gives a sentence about the likely reason, or nothing."""

    @lru_cache(maxsize=1)
    def bend() -> str:
        return _bend(trial, side, x, image)

    def hint(error: float) -> str:
        return "" if error <= trial.tolerance else bend()

    return hint


def _bend(trial: Trial, side: Side, x: np.ndarray, image: np.ndarray) -> str:
    def differs(factor: float, offset: float | np.ndarray = 0.0) -> float:
        """How far A(factor x) is from factor A x, where both are without an offset."""
        wanted = factor * (image - offset)
        return far(trial.run(side, factor * x) - offset, wanted, float(np.abs(offset).max(initial=0.0)))

    if any(differs(1.0) > 0 for _ in range(4)):
        return "It gives another result for the same argument: it is random, as dropout is, or keeps a state"
    zero = trial.run(side, np.zeros_like(x))
    if np.any(zero != 0):
        affine = differs(-1.0, zero) <= trial.tolerance and differs(2.0, zero) <= trial.tolerance
        return f"It adds a constant, such as a bias: take {side.name}(0) away" if affine else ""
    if max(differs(factor) for factor in (-1.0, 1.75, 1e4, -1e-4)) <= SINGLE:
        return in_single_precision(trial.tolerance)
    if differs(2.0) <= trial.tolerance < differs(-1.0):
        return (
            f"{side.name}(2 x) is twice {side.name} x, but {side.name}(-x) is not minus it: a clamp, an absolute value?"
        )
    small = 1e-4 * x
    if far(trial.run(side, 0.5 * small), 0.5 * trial.run(side, small)) <= trial.tolerance:
        return "It is linear for small arguments: large values are clipped, or saturate"
    return ""


def in_single_precision(tolerance: float) -> str:
    """The suspicion that something computes in single precision, where more is asked for."""
    if tolerance > 1e-9:
        return ""
    return "The difference is as small as rounding in single precision: is some array float32 or complex64?"
