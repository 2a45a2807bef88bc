"""Whether random iterates have settled: means over parts of a run, against how they scatter inside a part."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.iterations.vectors import dot, norm

FEWEST = 40  # iterations before anything is said
MOVES = 0.01  # of their size: a drift below does not matter
COHERENT = 2.6  # times the scatter inside a quarter: a steady drift moves its mean by 3.5, a random walk by 2
GROWS = 1.5  # times the steps of the quarter before: growth by a factor, where iterates scatter as far as they move
SAME_WAY = 0.5  # cosine of the angle to the way of the quarter before: noise comes back, a drift goes on
RUNAWAY = 100.0  # times the steps of the first quarter: no start is so close to a fixed point that it leaves
LONG = 0.1  # of their size: shorter steps are no flight
STEADY = 0.9  # of the quarter before: what fades more quickly may yet settle


class Drift:
    """Means of the iterates over the last three quarters of a run.

    Parameters
    ----------
    lib : Backend
    iterations : int
        How long the run is.

    Notes
    -----
    Iterates that have settled scatter around one point, so the mean of a quarter differs from that of the one before by
    less than they scatter. What moves further than that, and hardly less far than in the quarter before, does not
    settle; nor does what takes longer and longer steps.
    """

    def __init__(self, lib: Backend, iterations: int) -> None:
        self.lib, self.length = lib, iterations // 4 if iterations >= FEWEST else 0
        self._first = iterations - 3 * self.length
        self._sums: list[Any] = []
        self._squares: list[float] = []
        self._steps: list[float] = []
        self._count = 0
        self._all: list[float] = []
        self._size = 0.0

    def add(self, flat: Any, step: float = 0.0) -> None:
        """The next iterate, and how far the step to it was."""
        self._count += 1
        self._all.append(step)
        self._size = norm(flat, self.lib)
        place = self._count - self._first - 1
        if not self.length or place < 0:
            return
        if place % self.length == 0:
            self._sums.append(self.lib.copy(flat))
            self._squares.append(self._size**2)
            self._steps.append(step)
        else:
            self._sums[-1] = self.lib.add(self._sums[-1], flat, out=self._sums[-1])
            self._squares[-1] += self._size**2
            self._steps[-1] += step

    def grown(self) -> float | None:
        """How many times as long as at first the steps are in the end, of a run that flees; else None.

        Unlike a drift, this is seen in short runs too, and where the iterates swing to and fro as they grow.
        """
        quarter = len(self._all) // 4
        if quarter < 2:
            return None
        first, last = (float(np.median(part)) for part in (self._all[:quarter], self._all[-quarter:]))
        flees = first > 0 and last > RUNAWAY * first and max(self._all[-quarter:]) > LONG * self._size
        return last / first if flees else None

    def moves(self, steady: bool) -> float | None:
        """How far the mean moved in the last quarter, relative to its size; None where it has settled.

        Parameters
        ----------
        steady : bool
            Whether only what moves nearly as far as in the quarter before counts.
        """
        if self._count < self._first + 3 * self.length or not self.length:
            return None
        before, middle, last = (self.lib.multiply(s, 1.0 / self.length) for s in self._sums)
        now, then = self.lib.subtract(last, middle), self.lib.subtract(middle, before)
        size, moved, earlier = (norm(v, self.lib) for v in (last, now, then))
        scatter = sqrt(max(self._squares[-1] / self.length - size**2, 0.0))
        onwards = dot(now, then, self.lib) > SAME_WAY * moved * earlier
        grows = moved > scatter and self._steps[-1] > GROWS * self._steps[-2]
        if not (moved > MOVES * size and onwards and (grows or moved > COHERENT * scatter)):
            return None
        return None if steady and moved < STEADY * earlier else moved / size


__all__ = ["Drift"]
