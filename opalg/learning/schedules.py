"""How accurately the lower level is solved while the parameters move, and how steps are accepted then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.implicit.flags import ACTIVE_SET_UNCERTAIN, FORWARD_NOT_CONVERGED
from opalg.learning.descent import descend
from opalg.learning.inexact_descent import LineSearch, descend_along_lines, descend_by_hoag
from opalg.learning.lower_level import SAFETY, Accuracy

FINEST = 1e-12
UNSETTLED_TOL = 1e-4  # solves as accurate as this are taken although their active set is not certain
IDLE, STEEPEST = 0.7, 1e-3  # errors that fall by less than IDLE are not those of the solves; the least factor at once


@dataclass(frozen=True)
class Found:
    """What an evaluation of the objective found, in the coordinates of the search; unknown errors are 0.

    Attributes
    ----------
    value, value_error : float
        The objective and its estimated error.
    slope, slope_error : array, float
        Its gradient and the estimated error of that.
    certificate, relative_residual : float
        What the least accurate solve and linear system reached.
    flags : tuple of str
        What the gradients were marked with.
    """

    value: float
    slope: np.ndarray
    value_error: float
    slope_error: float
    certificate: float
    relative_residual: float
    flags: tuple[str, ...]


class Controller(ABC):
    """The accuracy of one search while it goes on.

    Attributes
    ----------
    accuracy : Accuracy
        Of the next evaluation.
    """

    accuracy: Accuracy

    def enough(self, found: Found) -> bool:
        """Whether an evaluation is accurate enough; where it is not, the accuracy is raised for another one."""
        return True

    def tighten(self) -> bool:
        """Raise the accuracy; False where it cannot rise any more."""
        return False

    def moved(self) -> None:  # noqa: B027, what most schedules need: nothing
        """Told after every point of the search."""

    def minimise(self, search: Any, stop: float) -> str:
        """Search by the rule that belongs to this schedule; the reason for the end."""
        return descend(search.pair, search.blocks, search.steps, stop, search.project).reason


class Schedule(ABC):
    """How accurately `opalg.tune` solves the lower level; the classes of `opalg.learning.schedules`."""

    @abstractmethod
    def begin(self, stop: float) -> Controller:
        """The controller of one search, which ends where a step changes the objective by less than ``stop``."""


@dataclass(frozen=True)
class Fixed(Schedule):
    """The same accuracy throughout.

    Parameters
    ----------
    tol : float, optional
        Relative certificate of the solves; by default that of ``Plan.solve``.
    gradient_tol : float
        Relative residual of the gradients' linear systems.
    estimate : bool
        Estimate the errors of loss and gradients, for the path.

    Examples
    --------
    >>> from opalg.learning.schedules import Fixed
    >>> Fixed(tol=1e-6).begin(1e-3).accuracy.tol
    1e-06
    """

    tol: float | None = None
    gradient_tol: float = 1e-2
    estimate: bool = False

    def begin(self, stop: float) -> Controller:
        controller = _Constant()
        controller.accuracy = Accuracy(self.tol, self.gradient_tol, estimate=self.estimate)
        return controller


class _Constant(Controller):
    """What never changes."""


SEQUENCES = ("exponential", "quadratic", "cubic")


@dataclass(frozen=True)
class Hoag(Schedule):
    """Tolerances that fall by a rule set in advance, with a step length that learns from the loss.

    Parameters
    ----------
    sequence : {"exponential", "quadratic", "cubic"}
        ``first * 0.9**k``, ``first / k**2`` or ``first / k**3``; for solves and linear systems alike.
    first : float
    floor : float
        The sequence stops here.

    Notes
    -----
    HOAG (Pedregosa 2016, Section 3): steps of length ``1 / L`` along the inexact gradient, where L falls by 5 % after a
    decrease up to a slack of the order of the tolerances, and doubles after an increase. An increase of the objective
    by more than `opalg.learning.inexact_descent.RISE` is also taken back, and halves the tolerance. With ``outer=``
    only the tolerances are HOAG's.

    Examples
    --------
    >>> from opalg.learning.schedules import Hoag
    >>> controller = Hoag("quadratic").begin(1e-3)
    >>> controller.moved()
    >>> controller.accuracy.tol == 1e-3 / 4
    True
    """

    sequence: str = "exponential"
    first: float = 1e-3
    floor: float = FINEST

    def __post_init__(self) -> None:
        if self.sequence not in SEQUENCES:
            raise ParameterError(f"the sequence of Hoag is one of {SEQUENCES}, not {self.sequence!r}")
        if not (self.first > 0 and self.floor > 0):
            raise ParameterError(f"tolerances are positive, not {self.first!r} and {self.floor!r}")

    def begin(self, stop: float) -> Controller:
        return _Falling(self)


class _Falling(Controller):
    """Tolerances that fall with every point."""

    def __init__(self, schedule: Hoag) -> None:
        self.schedule, self.count, self.factor = schedule, 1, 1.0
        self._set()

    def _set(self) -> None:
        s, k = self.schedule, self.count
        rule = {"exponential": 0.9 ** (k - 1), "quadratic": k**-2.0, "cubic": k**-3.0}
        tol = max(s.first * rule[s.sequence] * self.factor, s.floor)
        self.accuracy = Accuracy(tol, tol, refine=False)

    def moved(self) -> None:
        self.count += 1
        self._set()

    def tighten(self) -> bool:
        self.factor *= 0.5
        self._set()
        return self.accuracy.tol != self.schedule.floor

    def minimise(self, search: Any, stop: float) -> str:
        return descend_by_hoag(search, self, stop)


@dataclass(frozen=True)
class Maid(Schedule):
    """Accuracy as steps need it: gradients whose error is below their size, and decreases beyond doubt.

    Parameters
    ----------
    first : float
        The first tolerance of the solves, and of the gradients' linear systems.
    eta : float
        A direction is accepted where its error is at most ``1 - eta`` of its length, and a step where it descends by
        ``eta * step * length**2`` at least.
    shrink, grow : float
        Factors on the tolerances after a direction or a line search that failed, and after a step that succeeded.
    backtrack, stretch : float
        Factors on the step within a line search, and after a step that succeeded.
    trials : int
        Of the first line search; each that fails allows one more to those after it.
    first_move : float
        How far the first trial moves, in parts of the parameters' size.
    floor : float
        The finest tolerance.

    Notes
    -----
    MAID (Salehi, Mukherjee, Roberts and Ehrhardt 2024, Algorithm 3.1). The paper's conditions rest on bounds that need
    Lipschitz constants of the energy's Hessian; here ``Gradients.error_estimate``, times 1.25, stands in their place,
    and the loss at points closer to the minimiser bounds the error of the loss. These are first-order *estimates*, so
    the descent that the paper proves is not proved here. With ``outer=`` only the accuracy of directions is MAID's.
    """

    first: float = 1e-2
    eta: float = 1e-4
    shrink: float = 0.5
    grow: float = 1.05
    backtrack: float = 0.5
    stretch: float = 10.0 / 9.0
    trials: int = 4
    first_move: float = 0.4
    floor: float = FINEST

    def __post_init__(self) -> None:
        shares = self.eta, self.shrink, self.backtrack
        if not (self.first > 0 and self.floor > 0 and all(0 < s < 1 for s in shares)):
            raise ParameterError(f"Maid takes positive tolerances, and eta, shrink and backtrack in (0, 1): {self!r}")
        if not (self.grow >= 1 and self.stretch >= 1 and self.trials >= 1 and self.first_move > 0):
            raise ParameterError(f"Maid takes grow and stretch from 1, a trial at least and a first move: {self!r}")

    def begin(self, stop: float) -> Controller:
        rule = LineSearch(self.eta, self.backtrack, self.stretch, self.trials, self.first_move)
        return _Needed(Accuracy(self.first, self.first, False, True), 1.0 - self.eta, self, rule, stop)


@dataclass(frozen=True)
class Adaptive(Schedule):
    """The least accuracy whose estimated errors are a given share of what a step sees; the default of `opalg.tune`.

    Parameters
    ----------
    share : float
        The estimated error of a gradient, times 1.25, is at most this share of its length, and that of the loss at most
        this share of its change, unless both are too small to matter.
    first : float
        The first tolerance of the solves. That of the linear systems is a tenth of ``share``.
    floor : float
        The finest tolerance.
    line_search : bool
        Backtrack along the negative gradient as `Maid`, from a first move of 1 % and then steps of Barzilai and Borwein
        (1988), in place of the quasi-Newton search of `opalg.learning.descent`.

    Notes
    -----
    An evaluation that is not accurate enough is repeated from where its solves ended, with tolerances lowered by what
    its estimate says is missing. Repetitions stand in the path but do not count among ``steps``.
    """

    share: float = 0.2
    first: float = 1e-2
    floor: float = 1e-10
    line_search: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 and self.first > 0 and self.floor > 0):
            raise ParameterError(f"Adaptive takes a share in (0, 1) and positive tolerances: {self!r}")

    def begin(self, stop: float) -> Controller:
        rule = LineSearch(1e-4, 0.5, 4.0, 4, 1e-2, barzilai_borwein=True) if self.line_search else None
        maid = Maid(first=self.first, shrink=0.3, grow=1.5, floor=self.floor)
        accuracy = Accuracy(self.first, 0.1 * self.share, False, True)
        return _Needed(accuracy, self.share, maid, rule, stop, proportional=True)


class _Needed(Controller):
    """Tolerances that follow the estimated errors."""

    def __init__(
        self,
        accuracy: Accuracy,
        share: float,
        factors: Maid,
        rule: LineSearch | None,
        stop: float,
        proportional: bool = False,
    ) -> None:
        self.accuracy, self.share, self.factors, self.rule = accuracy, share, factors, rule
        self.stop, self.proportional = stop, proportional
        self.coarsest = accuracy
        self.last: float | None = None
        self.before: float | None = None
        self.found: Found

    def enough(self, found: Found) -> bool:
        self.found = found
        excess = 0.0 if FORWARD_NOT_CONVERGED in found.flags else self._excess(found)
        if excess <= 1.0 or not self._shrink(excess):
            self.last, self.before = found.value, None
            return True
        self.before = excess
        return False

    def _excess(self, found: Found) -> float:
        """By which factor errors are larger than they may be."""
        length = float(np.linalg.norm(found.slope))
        allowed = self.share * (max(length, sqrt(self.stop)) if self.proportional else length)
        excess = _ratio(SAFETY * found.slope_error, allowed)
        if self.proportional and self.last is not None:
            seen = max(self.share * abs(found.value - self.last), 0.5 * self.stop)
            excess = max(excess, _ratio(found.value_error, seen))
        if self.proportional and ACTIVE_SET_UNCERTAIN in found.flags and (self.accuracy.tol or 0.0) > UNSETTLED_TOL:
            excess = max(excess, 2.0)
        return excess

    def _shrink(self, excess: float) -> bool:
        """Lower the tolerances below what has been reached; that of the linear systems where the other did not help."""
        factor, floor = self.factors.shrink, self.factors.floor
        idle = self.before is not None and excess > IDLE * self.before
        if self.proportional and isfinite(excess):
            factor = max(min(factor, 0.5 / excess), STEEPEST)
        tol, gradient_tol = self.accuracy.tol or 0.0, self.accuracy.gradient_tol
        finer = max(min(tol, self.found.certificate) * factor, floor)
        if not self.proportional or idle:
            gradient_tol = max(min(gradient_tol, self.found.relative_residual) * factor, floor)
        if (finer, gradient_tol) == (tol, self.accuracy.gradient_tol):
            return False
        self.accuracy = replace(self.accuracy, tol=finer, gradient_tol=gradient_tol)
        return True

    def tighten(self) -> bool:
        return FORWARD_NOT_CONVERGED not in self.found.flags and self._shrink(inf)

    def moved(self) -> None:
        grown = self.factors.grow
        tol = min((self.accuracy.tol or 0.0) * grown, self.coarsest.tol or 0.0)
        gradient_tol = min(self.accuracy.gradient_tol * grown, self.coarsest.gradient_tol)
        self.accuracy = replace(self.accuracy, tol=tol, gradient_tol=gradient_tol)

    def minimise(self, search: Any, stop: float) -> str:
        if self.rule is None:
            return super().minimise(search, stop)
        return descend_along_lines(search, self, self.rule, stop)


def _ratio(error: float, allowed: float) -> float:
    if error == 0:
        return 0.0
    return error / allowed if allowed > 0 and isfinite(error) else inf
