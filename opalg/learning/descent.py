"""Descent for a few costly evaluations with inexact gradients; a failed evaluation teaches curvature, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

FIRST = 0.4  # length of the first move of every block
LONGEST = 0.8  # no entry moves farther in one step
SHORTEST = 1e-3  # steps that had to become shorter end the search
WIDEST = 30.0  # how much farther the block with the flattest slope may move than the steepest one asks for
MEMORY = 10


@dataclass(frozen=True)
class Descended:
    """Where a descent ended.

    Attributes
    ----------
    point : array
        The best point.
    value : float
        The value there.
    reason : str
        Why it ended: ``"flat"``, ``"short"`` or ``"steps"``.
    """

    point: np.ndarray
    value: float
    reason: str


def descend(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    blocks: Sequence[int],
    steps: int,
    stop: float,
    project: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Descended:
    """Minimise a function of several blocks of coordinates, each of natural length 1, from the origin.

    Parameters
    ----------
    function : callable
        ``point -> (value, gradient)``; evaluated ``steps`` times at most.
    blocks : sequence of int
        Lengths of the blocks. In the first move the steepest entry of each block goes the same way.
    steps : int
        Evaluations at most.
    stop : float
        A step that changes the value by less ends the search.
    project : callable, optional
        Brings a point that a step leads to back to where the search may go.

    Returns
    -------
    Descended

    Notes
    -----
    Limited-memory BFGS (Nocedal 1980) from a diagonal start, with a cap on the step in place of a line search: a step
    that does not descend halves the cap, and its curvature pair is learnt all the same.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.learning.descent import descend
    >>> weights = np.array([1.0, 100.0])
    >>> found = descend(lambda u: (float(weights @ (u - 1) ** 2), 2 * weights * (u - 1)), [1, 1], 30, 1e-9)
    >>> found.point.round(3).tolist()
    [1.0, 1.0]
    """
    point = np.zeros(sum(blocks))
    value, slope = function(point)
    scale = block_scale(slope, blocks)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    cap = FIRST
    for _ in range(steps - 1):
        move = -direction(slope, scale, pairs)
        largest = float(np.abs(move).max(initial=0.0))
        if largest == 0.0:
            return Descended(point, value, "flat")
        move *= min(1.0, cap / largest)
        if project is not None:
            move = project(point + move) - point
            if not move.any():
                return Descended(point, value, "flat")
        new_value, new_slope = function(point + move)
        level = abs(new_value - value) < stop
        change = new_slope - slope
        if np.isfinite(change).all() and change @ move > 1e-10 * np.linalg.norm(change) * np.linalg.norm(move):
            pairs = [*pairs[-MEMORY + 1 :], (move, change)]
        if new_value < value:
            point, value, slope = point + move, new_value, new_slope
            cap = min(2.0 * cap, LONGEST)
        else:
            cap = 0.5 * min(cap, float(np.abs(move).max()))
        if level:
            return Descended(point, value, "flat")
        if cap < SHORTEST:
            return Descended(point, value, "short")
    return Descended(point, value, "steps")


def block_scale(slope: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """A positive number per entry, the same within a block, that makes the first move of each block ``FIRST`` long."""
    steepest = np.array([np.abs(part).max(initial=0.0) for part in np.split(slope, np.cumsum(blocks)[:-1])])
    floor = max(float(steepest.max(initial=0.0)) / WIDEST, np.finfo(float).tiny)
    return np.repeat(FIRST / np.maximum(steepest, floor), blocks)


def direction(slope: np.ndarray, scale: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The inverse Hessian that the pairs ``(move, change of slope)`` describe, times the slope (Nocedal 1980)."""
    q, weights = slope.copy(), []
    for move, change in reversed(pairs):
        weight = (move @ q) / (move @ change)
        q -= weight * change
        weights.append(weight)
    if pairs:
        move, change = pairs[-1]
        q *= (move @ change) / (change @ (scale * change))
    q *= scale
    for (move, change), weight in zip(pairs, reversed(weights), strict=True):
        q += (weight - (change @ q) / (move @ change)) * move
    return q
