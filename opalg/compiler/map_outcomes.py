"""How the solve of a declared map ended: what its residuals say of the map, and of each sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import NotAContractionError, OpalgError
from opalg.iterations import BatchedAnderson
from opalg.iterations.contraction import contraction_factor
from opalg.iterations.vectors import norm
from opalg.solving.certificate import Certificate
from opalg.solving.history import Row
from opalg.solving.loop import Measurement, Outcome, quiet
from opalg.solving.status import Status

ENOUGH = 20  # iterations before residuals that have not shrunk say something about the map
GROWN = 10.0  # growth of the residual over the first that counts as divergence where the map lengthens residuals
TURN = 0.75  # of the iterations, before which the smallest residual is one that the solve has left
FAILURES = {"nonfinite": Status.NONFINITE, "diverged": Status.DIVERGED}
BEGUN = (Status.MAX_ITER, Status.TIME_LIMIT, Status.STAGNATED)  # ends that say less than a sample that failed


def measured(residual: float, flat: Any, lib: Backend) -> Measurement:
    """A residual ``|T(x) - x|`` beside ``|x|``; at most one over the rounding unit, which it is at zero."""
    size = max(norm(flat, lib), residual * lib.epsilon)
    return Measurement(Certificate("residual", residual, 0.0 if residual == 0 else residual / size))


@dataclass
class Samples:
    """What is seen of an iteration that ends samples one by one.

    Attributes
    ----------
    iteration : BatchedAnderson
    tolerance : float
    first : array, shape ``(samples,)``
        The residuals of the first measurement.
    ended : Status
        How the loop ended, before `settle` made a failure of that.
    """

    iteration: BatchedAnderson
    tolerance: float
    first: np.ndarray = field(default_factory=lambda: np.zeros(0))
    ended: Status = Status.MAX_ITER

    def measure(self) -> Measurement:
        """The residual of all samples, and the worst relative one of those that have not failed.

        Samples that failed come nowhere, and the loop is to see how the others fare.
        """
        if not len(self.first):
            self.first = self.iteration.residuals.copy()
        relative, failed = self.iteration.relative, self.iteration.failed
        if 0 < np.count_nonzero(failed) < len(failed):
            relative = relative[~failed]
        return self._measurement(relative)

    def _measurement(self, relative: np.ndarray) -> Measurement:
        return Measurement(Certificate("residual", self.iteration.residual, float(np.max(relative, initial=0.0))))

    @property
    def relative(self) -> np.ndarray:
        """What is compared with the tolerance, for each sample; 1 for one that failed before it had any."""
        relative = self.iteration.relative
        return np.where(self.iteration.failed & ~np.isfinite(relative), 1.0, relative)

    def settle(self, outcome: Outcome) -> None:
        """Where samples failed let the outcome say so, name them, and certify no less than the worst of all."""
        self.ended = outcome.status
        for found, status in FAILURES.items():
            failed = [i for i, own in enumerate(self.iteration.outcomes) if own == found]
            if failed and (outcome.status in BEGUN or outcome.status.success or outcome.status is status):
                if outcome.measurement is not None:
                    outcome.measurement = self._measurement(self.relative)
                what = "residuals grow without end" if found == "diverged" else "the map is not finite"
                outcome.status = status
                outcome.message = (
                    f"{what} for {len(failed)} of {len(self.iteration.outcomes)} samples, sample {failed[0]} first; "
                    f"the others are not touched by this, see sample_statuses of the solution"
                )
                return

    def statuses(self, grows: bool) -> tuple[Status, ...]:
        """The status of each sample, given whether the map is known to lengthen residuals."""
        out, succeeded = [], self.ended.success
        for i, (own, relative) in enumerate(zip(self.iteration.outcomes, self.relative.tolist(), strict=True)):
            if own in FAILURES:
                out.append(FAILURES[own])
            elif succeeded or own == "converged" or relative <= self.tolerance:
                out.append(Status.CONVERGED_RESIDUAL_ONLY)
            else:
                grown = grows and len(self.first) and self.iteration.residuals[i] > GROWN * self.first[i]
                out.append(Status.DIVERGED if grown else self.ended)
        return tuple(out)


def growth_of(
    outcome: Outcome, residuals: list[float], step: Callable[[Any], Any], starts: Sequence[Any], lib: Backend
) -> float | None:
    """The factor above 1 by which the map lengthens residuals, where a solve failed for that; it sets the status.

    A solve that ran out of iterations with residuals larger than at its start has diverged, too; one whose residuals
    were smallest long before its end may have passed by a point that it is led away from.
    """
    failed = outcome.status in (Status.DIVERGED, Status.NONFINITE)
    ran_out = outcome.status in (Status.MAX_ITER, Status.TIME_LIMIT) and outcome.iterations >= ENOUGH
    if not failed and not (ran_out and (residuals[-1] > 0.5 * residuals[0] or _has_turned(outcome.history.rows, lib))):
        return None
    with quiet():
        found = [contraction_factor(step, start, lib) for start in starts]
    factor = next((f for f in found if f is not None), None)
    if factor is None or not factor > 1.0 + lib.epsilon**0.5:
        return None
    if not failed and residuals[-1] > GROWN * residuals[0]:
        outcome.status = Status.DIVERGED
    return factor


def _has_turned(rows: Sequence[Row], lib: Backend) -> bool:
    """Whether residuals were smallest before the last quarter of all iterations, and are no rounding errors."""
    least = min(rows, key=lambda row: row.relative)
    return least.iteration < TURN * rows[-1].iteration and rows[-1].relative > lib.epsilon**0.75


def not_a_contraction(error: OpalgError, growth: float) -> NotAContractionError:
    """The same error with the factor."""
    found = NotAContractionError(str(error))
    found.solution, found.contraction = error.solution, growth
    return found


__all__ = ["Samples", "growth_of", "not_a_contraction"]
