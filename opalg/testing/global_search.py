"""The lowest value of a function of one to three real variables, found by looking everywhere; it may have kinks,
jumps, several valleys, and infinite values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from math import inf, isfinite

import numpy as np

Objective = Callable[[np.ndarray], float]
_SIDES = {1: 81, 2: 13, 3: 7}
_TURN = (np.sqrt(5.0) - 1) / 2


def lowest(
    objective: Objective,
    center: np.ndarray,
    radius: float,
    starts: Iterable[np.ndarray] = (),
    polish: int = 100,
    fineness: float = 1.0,
) -> tuple[np.ndarray, float]:
    """The best point that is found, and its value.

    Parameters
    ----------
    objective : callable
        Takes a vector of one to three numbers; may be infinite.
    center : array
        The middle of the cube that is searched.
    radius : float
        Half its side.
    starts : iterable of arrays
        More points to look at; the first one is always begun at.
    polish : int
        How many values to spend on each of the best points.
    fineness : float
        The share of the values to spend, up to 1.

    Notes
    -----
    A grid over the cube, then from each of its best points and the given ones a search in shrinking steps along all
    axes and diagonals, which needs no slopes; on a line, golden sections.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.testing.global_search import lowest
    >>> point, value = lowest(lambda x: abs(x[0] - 0.3) + min(0.0, x[0] + 1.0), np.zeros(1), 2.0)
    >>> bool(abs(point[0] - 0.3) < 1e-8), bool(abs(value) < 1e-8)
    (True, True)
    """
    count = len(center)
    ticks = np.linspace(-1.0, 1.0, max(5, round(_SIDES[count] * min(1.0, fineness) ** (1 / count))))
    polish = max(20, round(polish * fineness))
    spacing = radius * (ticks[1] - ticks[0])
    given = list(starts)
    seen = [center + radius * np.array(place) for place in itertools.product(ticks, repeat=count)]
    found = sorted(((objective(x), k) for k, x in enumerate([*given, *seen])), key=lambda pair: pair[0])
    ranked = [(given + seen)[k] for value, k in found[:24] if isfinite(value)]
    best, at = inf, center
    for start in [*given[:1], *_apart(ranked, spacing)]:
        point, value = _descend(objective, start, spacing, polish)
        if value < best:
            best, at = value, point
    return at, best


def _apart(places: list[np.ndarray], spacing: float) -> list[np.ndarray]:
    """Up to two of the places, the first ones first, none beside another."""
    kept: list[np.ndarray] = []
    for place in places:
        if len(kept) < 2 and all(np.max(np.abs(place - k)) > 1.5 * spacing for k in kept):
            kept.append(place)
    return kept


def _descend(objective: Objective, start: np.ndarray, step: float, polish: int) -> tuple[np.ndarray, float]:
    if len(start) == 1:
        return _golden(objective, start, step, min(polish, 40))
    moves = [np.array(m, dtype=float) for m in itertools.product((-1, 0, 1), repeat=len(start)) if any(m)]
    moves = [m for m in moves if np.sum(np.abs(m)) in (1, len(start))]  # axes and corners
    best, value, spent = start, objective(start), 0
    while spent < polish and step > 1e-9 * (1.0 + float(np.max(np.abs(best)))):
        moved = False
        for move in moves:
            trial = best + step * move
            found = objective(trial)
            spent += 1
            if found < value:
                best, value, moved = trial, found, True
        step = step if moved else step * 0.2
    return best, value


def _golden(objective: Objective, start: np.ndarray, step: float, count: int) -> tuple[np.ndarray, float]:
    """Golden sections between the neighbours of a grid point, keeping the best that was seen."""
    low, high = start[0] - step, start[0] + step
    best, value = start, objective(start)
    a, b = high - _TURN * (high - low), low + _TURN * (high - low)
    at_a, at_b = objective(np.array([a])), objective(np.array([b]))
    for _ in range(count):
        for place, found in ((a, at_a), (b, at_b)):
            if found < value:
                best, value = np.array([place]), found
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - _TURN * (high - low)
            at_a = objective(np.array([a]))
        else:
            low, a, at_a = a, b, at_b
            b = low + _TURN * (high - low)
            at_b = objective(np.array([b]))
    return best, value
