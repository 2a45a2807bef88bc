"""The minimiser of a convex function of one number, by bisection on a slope that NumPy computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def scalar_prox(
    slope: Callable[[np.ndarray], np.ndarray],
    v: np.ndarray,
    t: np.ndarray | float,
    low: float = -50.0,
    up: float = 50.0,
) -> np.ndarray:
    """The prox of a convex function of each entry by bisection on its (one-sided) slope plus ``(u - v) / t``."""
    a, b = np.full(v.shape, low), np.full(v.shape, up)
    for _ in range(200):
        middle = 0.5 * (a + b)
        above = slope(middle) + (middle - v) / t > 0
        a, b = np.where(above, a, middle), np.where(above, middle, b)
    return 0.5 * (a + b)
