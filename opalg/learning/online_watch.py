"""What watches an online solve: how far its iterates have come, whether they explode, and how many there were."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.iterations import Iteration
from opalg.learning.drift import Drift
from opalg.solving.progress import Progress, bar

EXPLODED = 1e12  # growth of the steps over all of the first quarter that counts as divergence
SPACING = 16  # iterations between two looks at that


class Watched(Iteration):
    """An iteration whose iterates a `Drift` looks at, and which ends where its steps grow beyond all reason.

    Parameters
    ----------
    inner : Iteration
    drift : Drift

    Notes
    -----
    A single step says nothing of the map, since the blocks that were drawn may be met at the start and others not; so
    medians over eighths of the run are compared.
    """

    def __init__(self, inner: Any, drift: Drift) -> None:
        self.inner, self.drift, self.lib = inner, drift, inner.lib
        self._steps: list[float] = []
        self._fled = False

    def start(self, z0: Any) -> None:
        self.inner.start(z0)
        self._steps, self._fled = [], False

    def advance(self) -> float:
        residual = float(self.inner.advance())
        self.drift.add(self.inner.state, residual)
        self._steps.append(residual)
        self._fled = len(self._steps) % SPACING == 0 and exploded(self._steps)
        return residual

    @property
    def state(self) -> Any:
        return self.inner.state

    @property
    def outcome(self) -> str | None:  # type: ignore[override]
        return "diverged" if self._fled else self.inner.outcome

    @property
    def message(self) -> str:  # type: ignore[override]
        return self.inner.message  # type: ignore[no-any-return]


def exploded(steps: list[float]) -> bool:
    """Whether steps have grown beyond all reason, and still grow: a block that is drawn late lengthens them but once.

    Examples
    --------
    >>> from opalg.learning.online_watch import exploded
    >>> exploded([10.0**i for i in range(32)]), exploded([0.0, 1e-17] * 10 + [1.0] * 12)
    (True, False)
    """
    eighth = len(steps) // 8
    if not eighth:
        return False
    first = max(steps[: 2 * eighth])
    earlier, before, last = (float(np.median(part)) for part in np.reshape(steps[-3 * eighth :], (3, eighth)))
    return 0 < EXPLODED * first < last and last > 2 * before > 4 * earlier


class Counting(Progress):
    """A bar that fills with the iterations, for solves that end after as many as were asked for.

    Parameters
    ----------
    iterations : int
        Where the bar is full.
    label : str
        What stands in front of the bar.
    """

    def __init__(self, iterations: int, label: str) -> None:
        self._bar = bar(iterations, label)

    def update(self, iteration: int, relative: float, kind: str) -> None:
        """Show a measurement."""
        self._bar.n = iteration
        self._bar.set_postfix_str(f"iteration {iteration}, sampled {kind} {relative:.1e}")


__all__ = ["Counting", "Watched", "exploded"]
