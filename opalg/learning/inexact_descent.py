"""Descent along gradients that are only as accurate as a schedule makes them: the step rules of HOAG and MAID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from opalg.learning.descent import LONGEST, SHORTEST

RISE = 0.2  # a rise of the objective by more is taken back; of a logarithm, a loss that grows by 22 %
DECIDED = 0.1  # errors below this part of the least step are not lowered in order to decide on a trial
PATIENCE = 3  # steps in a row that change too little end a search whose steps grow slowly
LEARN_DOWN, LEARN_UP = 0.95, 2.0  # factors on the curvature that HOAG assumes, after a decrease and after an increase


def descend_by_hoag(search: Any, controller: Any, stop: float) -> str:
    """Steps ``-slope / L`` with an ``L`` that learns from the objective.

    Parameters
    ----------
    search : Search
        The objective.
    controller : Controller
        Gives the tolerances.
    stop : float
        A step that changes the objective by less ends the search.

    Returns
    -------
    str
        ``"flat"`` or ``"short"``.

    Notes
    -----
    Pedregosa 2016, Section 3.1 and the author's code: with the tolerances ``e``, ``e'`` before and after a step ``d``,
    a decrease is enough where ``f' <= f + e + e' + e |d| - L |d|^2 / 2``.
    """
    point = np.zeros(sum(search.blocks))
    at = search(point)
    curvature = float(np.linalg.norm(at.slope)) * len(point) or 1.0
    while True:
        tol = controller.accuracy.tol
        new_point = search.project(point - _capped(at.slope / curvature))
        length = float(np.linalg.norm(new_point - point))
        if length == 0.0:
            return "flat"
        if length < SHORTEST * stop:
            return "short"
        new = search(new_point)
        if new.value - at.value > RISE:
            curvature *= LEARN_UP
            controller.tighten()
            continue
        slack = tol + controller.accuracy.tol + tol * length
        enough = new.value <= at.value + slack - 0.5 * curvature * length**2
        level = abs(new.value - at.value) < stop
        curvature *= LEARN_DOWN if enough else 1.0 if new.value <= at.value else LEARN_UP
        point, at = new_point, new
        if level:
            return "flat"


@dataclass(frozen=True)
class LineSearch:
    """Backtracking from a step that grows, or from that of Barzilai and Borwein.

    Attributes
    ----------
    eta : float
        The part of the descent that the slope promises that has to come.
    backtrack, stretch : float
        Factors on the step after a failure and after a success.
    trials : int
        Of one line search.
    first_move : float
        Length of the first trial, in the largest entry.
    barzilai_borwein : bool
    """

    eta: float
    backtrack: float
    stretch: float
    trials: int
    first_move: float
    barzilai_borwein: bool = False


def descend_along_lines(search: Any, controller: Any, rule: LineSearch, stop: float) -> str:
    """Steps along the negative slope that descend whatever the errors of the objective are.

    Parameters
    ----------
    search : Search
        The objective, with estimated errors.
    controller : Controller
        Gives the tolerances.
    rule : LineSearch
    stop : float
        A step that changes the objective by less, where its errors are smaller, too, ends the search.

    Returns
    -------
    str
        ``"flat"`` or ``"short"``.

    Notes
    -----
    Salehi et al. 2024, Algorithm 3.1: a trial is accepted where its value plus its error lies below the current value
    minus its error minus ``eta * step * |slope|^2``. Where a line search fails, the accuracy rises and it is repeated;
    here it also rises at once where errors leave a trial undecided, as a shorter step would not decide it.
    """
    point = np.zeros(sum(search.blocks))
    at = search(point)
    step, trials, level = _step_of(at.slope, rule.first_move), rule.trials, 0
    while True:
        if not at.slope.any():
            return "flat"
        found = _trial(search, controller, point, at, step, trials, rule, DECIDED * stop)
        if found is None:
            if _promise(at.slope, step) < stop or not controller.tighten():
                return "short"
            trials += 1
            at = search(point)
            continue
        at, new_point, new, step = found
        change, moved = new.slope - at.slope, new_point - point
        drop = at.value - new.value
        point, at = new_point, new
        straight = not (rule.barzilai_borwein and change @ moved > 0)
        step = step * rule.stretch if straight else float(moved @ moved) / float(change @ moved)
        level = level + 1 if drop < stop and _promise(at.slope, step) < stop else 0
        if level == (PATIENCE if straight else 1):
            return "flat"


def _trial(
    search: Any, controller: Any, point: np.ndarray, at: Any, step: float, trials: int, rule: LineSearch, small: float
) -> tuple[Any, np.ndarray, Any, float] | None:
    """The first point of a line search that is accepted: where it starts from, the point, what is there, the step.

    Errors below ``small`` are not worth lowering.
    """
    for _ in range(trials):
        move = _capped(step * at.slope)
        trial = search.project(point - move)
        if not (trial != point).any():
            return None
        new = search(trial)
        taken = float(np.abs(move).max()) / float(np.abs(at.slope).max())
        wanted = rule.eta * taken * float(at.slope @ at.slope)
        while (doubt := new.value_error + at.value_error) > max(small, abs(new.value + wanted - at.value)):
            if not controller.tighten():
                break
            if new.value_error >= at.value_error:
                new = search(trial)
            else:
                at = search(point)
        if new.value + doubt <= at.value - wanted:
            return at, trial, new, taken
        step = rule.backtrack * taken
    return None


def _step_of(slope: np.ndarray, move: float) -> float:
    """The step whose largest move is given."""
    largest = float(np.abs(slope).max(initial=0.0))
    return move / largest if largest > 0 else 1.0


def _promise(slope: np.ndarray, step: float) -> float:
    """What a step lowers the objective by, to first order."""
    return float(_capped(step * slope) @ slope)


def _capped(move: np.ndarray) -> np.ndarray:
    """The move, shortened where an entry would move farther than `LONGEST`."""
    largest = float(np.abs(move).max(initial=0.0))
    return move if largest <= LONGEST else move * (LONGEST / largest)
