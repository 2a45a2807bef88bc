"""Picard iteration of a compiled step, between two sets of buffers, with controls that are balanced now and then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

from opalg.arrays import Backend
from opalg.emit import BoundFunction
from opalg.iterations.iteration import Iteration

State = tuple[Any, ...]
SATURATED = 1e-6  # a residual this far below the other is one that a bound holds at zero, which says nothing of balance


@dataclass
class Balance:
    """A control that trades one residual against another.

    Parameters
    ----------
    control : Input
        The control, a positive scalar.
    value : float
        Its current value.
    residuals : callable
        ``state -> (squared first residual, squared second residual)``; a larger control makes the first smaller.
    rescale : callable or None
        ``(state, factor) -> state`` that keeps what the state means when the control grows by a factor.
    imbalance : float
        The factor between the residuals up to which the control is left alone.
    """

    control: Any
    value: float
    residuals: Callable[[State], tuple[float, float]]
    rescale: Callable[[State, float], State] | None = None
    imbalance: float = 20.0
    changes: int = 0


class CompiledPicard(Iteration):
    """``z <- T(z)`` for a compiled step; the residual is measured only when asked for.

    Parameters
    ----------
    step : BoundFunction
        ``T``, from state arrays to state arrays.
    lib : Backend
        Library, device and precision.
    balances : sequence of Balance
        Controls that `adapt` may change.
    """

    def __init__(self, step: BoundFunction, lib: Backend, balances: Sequence[Balance] = ()) -> None:
        self.step, self.lib, self.balances = step, lib, list(balances)

    def start(self, z0: State) -> None:
        """Set up from an initial state, which is copied."""
        self._reset()
        self._now = tuple(own(a, self.lib) for a in z0)
        self._next: State | None = None

    def advance(self) -> float:
        following = self.step(*self._now, out=self._next)
        self._now, self._next = following, self._now
        self.products += 1
        return self.residual

    @property
    def state(self) -> State:
        return self._now

    def adapt(self, strength: float) -> bool:
        """Change controls whose two relative residuals differ by more than their imbalance; returns whether any did.

        Each change is at most a factor ``10 ** strength``. A mild imbalance is left alone: balancing too finely helps
        the dual at the cost of the primal.
        """
        changed = False
        for balance in self.balances:
            first, second = balance.residuals(self._now)
            if not (isfinite(first) and isfinite(second)) or first <= 0 or second <= 0:
                continue
            ratio, limit = sqrt(first / second), 10.0**strength
            if 1 / balance.imbalance < ratio < balance.imbalance or not SATURATED < ratio < 1 / SATURATED:
                continue
            factor = min(max(sqrt(ratio), 1 / limit), limit)
            balance.value *= factor
            balance.changes += 1
            if balance.rescale is not None:
                self._now = balance.rescale(self._now, factor)
            changed = True
        if changed:
            self.step.set_controls({b.control: b.value for b in self.balances})
        return changed


def own(array: Any, lib: Backend) -> Any:
    """A copy of an array; numbers as they are."""
    return lib.copy(array) if hasattr(array, "shape") and not isinstance(array, float) else array
