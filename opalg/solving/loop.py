"""The only loop: advance an iteration, measure now and then, stop for a reason that has a name.

It knows neither plans nor energies: it drives forward solves and the linear systems of gradients alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np

from opalg.iterations import Iteration
from opalg.solving.certificate import Certificate
from opalg.solving.history import History, Row
from opalg.solving.progress import Progress
from opalg.solving.status import Status

ADAPT_FIRST, ADAPT_GROWTH = 10, 2  # controls are balanced at counts of their own, so that looking changes nothing
_STALLED, _PROGRESS = 8, 0.95  # measurements in a row that each better the best by less than 5 % count as a standstill
_STATUSES = {"diverged": Status.DIVERGED, "nonfinite": Status.NONFINITE, "stagnated": Status.STAGNATED}
_EXPLODED = 1e12  # growth of the energy over its first value that counts as divergence


@dataclass(frozen=True)
class Measurement:
    """What a measurement finds: a certificate, and the energy where it came along."""

    certificate: Certificate
    value: float | None = None


@dataclass(frozen=True)
class Info:
    """What a callback is given."""

    iteration: int
    seconds: float
    value: float | None
    certificate: Certificate
    state: Any


@dataclass
class Limits:
    """When to stop.

    Attributes
    ----------
    tol : float
        On the relative certificate.
    max_iter : int
    time_limit : float or None
        Seconds.
    spacing, growth : int, float
        Measure after ``spacing`` iterations, then after as many more, or when the count has grown by the factor where
        that is later. The schedule never depends on the clock, so that runs repeat to the bit.
    look_at_start : bool
        Whether to measure before the first iteration.
    follow : bool
        Whether to measure after every iteration, for a callback; a standstill is judged on the schedule all the same.
    adapt_until : int
        The last iteration at which controls may be balanced; after it they rest, so that convergence is that of the
        fixed map.
    watch_growth : bool
        Whether growth beyond all reason ends the loop; not where the iteration ends samples one by one, since one of
        them that diverges is no reason to stop the others.
    watch_standstill : bool
        Whether a small certificate that falls no further ends the loop; not where it is random.
    """

    tol: float
    max_iter: int
    time_limit: float | None = None
    spacing: int = 10
    growth: float = 1.15
    look_at_start: bool = True
    follow: bool = False
    adapt_until: int = 2000
    watch_growth: bool = True
    watch_standstill: bool = True


@dataclass
class Outcome:
    """How the loop ended: status, count, last measurement and last finite state."""

    status: Status
    iterations: int
    measurement: Measurement | None
    state: Any
    history: History = field(default_factory=History)
    message: str = ""


def run(
    iteration: Iteration,
    measure: Callable[[Any], Measurement],
    limits: Limits,
    *,
    keep: Callable[[Any], Any],
    callback: Callable[[Info], Any] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Advance an iteration that has been started until a limit is met.

    Parameters
    ----------
    iteration : Iteration
        Started; it is advanced in place.
    measure : callable
        ``state -> Measurement``.
    limits : Limits
    keep : callable
        Copies a state, so that the last finite one survives.
    callback : callable, optional
        Called with an `Info` at each measurement; True stops the loop.
    progress : Progress, optional

    Returns
    -------
    Outcome
        With the last finite state; Ctrl-C gives ``Status.INTERRUPTED`` and loses nothing.
    """
    watch = _Watch(iteration, measure, limits, keep, callback, progress)
    try:
        with quiet():
            return watch.run()
    except KeyboardInterrupt:
        return watch.interrupted()
    finally:
        if progress is not None:
            progress.close()


class _Watch:
    """The state of one run of the loop."""

    def __init__(self, iteration, measure, limits, keep, callback, progress) -> None:  # type: ignore[no-untyped-def]
        self.iteration, self.measure, self.limits, self.keep = iteration, measure, limits, keep
        self.callback, self.progress = callback, progress
        self.begin = time.perf_counter()
        self.history = History()
        self.count = 0
        self.last: Measurement | None = None
        self.kept: Any = None
        self.best, self.stalled = inf, 0
        self.first_value: float | None = None

    def run(self) -> Outcome:
        limits = self.limits
        status = self._look() if limits.look_at_start or limits.max_iter == 0 else None
        next_look, next_adapt = min(limits.spacing, limits.max_iter), ADAPT_FIRST
        while status is None:
            while self.count < next_look and self.iteration.outcome is None and not self._late():
                self.iteration.advance()
                self.count += 1
                if self.count == next_adapt and self.count < limits.adapt_until:
                    self.iteration.adapt(1.0 / (1.0 + self.count / 60.0))
                    next_adapt = max(self.count + ADAPT_FIRST, self.count * ADAPT_GROWTH)
                if limits.follow and self.count < next_look and self.iteration.outcome is None and not self._late():
                    status = self._look(scheduled=False)
                    if status is not None:
                        return self.outcome(status)
            status = self._look()
            following = max(self.count + limits.spacing, int(self.count * limits.growth))
            near_the_end = limits.max_iter - following < limits.spacing // 2
            next_look = limits.max_iter if near_the_end else following
        return self.outcome(status)

    def _late(self) -> bool:
        return self.limits.time_limit is not None and time.perf_counter() - self.begin > self.limits.time_limit

    def _look(self, scheduled: bool = True) -> Status | None:
        """Measure; the status where that ends the loop, for want of progress only where the look was scheduled."""
        found = self.measure(self.iteration.state)
        relative, kind = found.certificate.relative, found.certificate.kind
        if not _is_finite(found):
            return Status.NONFINITE
        self.last, self.kept = found, self.keep(self.iteration.state)
        seconds = self._note(found)
        if self.progress is not None:
            self.progress.update(self.count, relative, kind)
        answer = None
        if self.callback is not None:
            answer = self.callback(Info(self.count, seconds, found.value, found.certificate, self.iteration.state))
        return self._judge(found, isinstance(answer, (bool, np.bool_)) and bool(answer), scheduled)

    def _note(self, found: Measurement) -> float:
        """Write a measurement down; the seconds since the start."""
        seconds, certificate = time.perf_counter() - self.begin, found.certificate
        self.history.rows.append(Row(self.count, seconds, found.value, certificate.relative, certificate.kind))
        return seconds

    def _judge(self, found: Measurement, stop: bool, scheduled: bool) -> Status | None:
        relative = found.certificate.relative
        if relative <= self.limits.tol:
            return Status.CONVERGED if found.certificate.is_bound else Status.CONVERGED_RESIDUAL_ONLY
        if self.iteration.outcome is not None:
            return _STATUSES.get(self.iteration.outcome, Status.BREAKDOWN)
        if stop is True:
            return Status.STOPPED
        if self._exploded(found):
            return Status.DIVERGED
        if not scheduled:
            return None
        self.stalled = 0 if relative < _PROGRESS * self.best else self.stalled + 1
        self.best = min(self.best, relative)
        if self._late():
            return Status.TIME_LIMIT
        if self.count >= self.limits.max_iter:
            return Status.MAX_ITER
        if self.stalled >= _STALLED and self._at_floor():
            return Status.STAGNATED
        return None

    def _exploded(self, found: Measurement) -> bool:
        """Whether the energy, or a residual where no energy is known, has grown beyond all reason."""
        size = found.certificate.value if found.value is None else abs(found.value)
        if not self.limits.watch_growth or not isfinite(size):
            return False
        if self.first_value is None:
            self.first_value = size
        return size > _EXPLODED * max(self.first_value, self.limits.tol)

    def _at_floor(self) -> bool:
        """Whether what is left can be rounding: small for the precision, and no better than it was."""
        if not self.limits.watch_standstill:
            return False
        recent = [row.relative for row in self.history.rows[-_STALLED:]]
        return self.best <= sqrt(self.iteration.lib.epsilon) and min(recent) > 0.5 * self.best

    def interrupted(self) -> Outcome:
        """The outcome after Ctrl-C: the iterate as it is, measured once more so that all numbers are its own."""
        found = self.measure(self.iteration.state)
        if _is_finite(found) or self.last is None:
            if not self.history.rows:
                self._note(found)
            self.last = found
            return self.outcome(Status.INTERRUPTED)
        return Outcome(Status.INTERRUPTED, self.count, self.last, self.kept, self.history, self.iteration.message)

    def outcome(self, status: Status) -> Outcome:
        """The outcome with the last finite state."""
        state = self.kept if status is Status.NONFINITE and self.kept is not None else self.keep(self.iteration.state)
        return Outcome(status, self.count, self.last, state, self.history, self.iteration.message)


def quiet() -> np.errstate:
    """A context without NumPy's warnings: trial steps may overflow and diverging solves do, and the status says so."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")


def _is_finite(found: Measurement) -> bool:
    """Whether a measurement is free of NaN; the gap at a point that misses a constraint may be infinite."""
    relative, value = found.certificate.relative, found.value
    if value is not None and value != value:
        return False
    return isfinite(relative) or (relative == inf and value is not None)
