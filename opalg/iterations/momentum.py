"""Nesterov's momentum for the fixed point of any map, with a safeguard; for one state or for many samples."""

from __future__ import annotations

from math import inf, isfinite, sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import ParameterError
from opalg.iterations.batched_anderson import BatchedAnderson
from opalg.iterations.iteration import FlatMap, Iteration
from opalg.iterations.vectors import norm, own_vector


class Momentum(Iteration):
    """``z+ = T(y)`` at ``y = z + b (z - z_before)`` with Nesterov's momentum b, guarded by the residual.

    For the gradient step of a convex energy this accelerates; for other maps nothing promises that, and momentum can
    turn a map that converges into an iteration that does not. So where the residual ``|T(y) - y|`` grows too much over
    the best so far the momentum starts again from nothing at the last good iterate, and after a few of these it stays
    off for good, which leaves the plain iteration.

    Parameters
    ----------
    map : callable
        ``T``, from flat real array to flat real array.
    lib : Backend
        Library, device and precision.
    growth : float
        The factor over the best residual above which the safeguard acts; infinity turns it off. Where residuals are
        random it must be larger than 1.
    patience : int
        How many restarts are made before momentum is given up.

    Attributes
    ----------
    restarts : int
        How often the safeguard acted since `start`.

    References
    ----------
    Nesterov (1983); O'Donoghue and Candes (2015) for restarts.
    """

    def __init__(self, map: FlatMap, lib: Backend, growth: float = 1.0, patience: int = 10) -> None:
        if not growth >= 1:
            raise ParameterError(f"the growth that the safeguard allows must be at least 1, not {growth!r}")
        self._map, self.lib, self.growth, self.patience = map, lib, float(growth), int(patience)
        self.restarts = 0

    def start(self, z0: Any) -> None:
        self._reset()
        lib = self.lib
        self._z = own_vector(z0, lib, "the initial state")
        self._y, self._before = lib.copy(self._z), lib.copy(self._z)
        self._theta, self._best, self.restarts = 1.0, inf, 0
        self._pushed = False

    def advance(self) -> float:
        if self.outcome is not None:
            return self.residual
        lib = self.lib
        image = lib.copy(self._map(self._y))
        self.products += 1
        residual = norm(lib.subtract(image, self._y), lib)
        if self._pushed and not residual <= self.growth * self._best:
            self.restarts += 1
            self._theta, self._pushed = 1.0, False
            self._y = lib.copy(self._z)
            return self.residual
        if not isfinite(residual):
            return self._stop("nonfinite", "the map gave NaN or infinity; the state is the last finite iterate.")
        self._before, self._z, self.residual = self._z, image, residual
        self._best = min(self._best, residual) if residual > 0 else self._best  # a draw may be met by chance
        self._push()
        return residual

    @property
    def state(self) -> Any:
        return self._z

    def _push(self) -> None:
        lib = self.lib
        theta = 0.5 * (1.0 + sqrt(1.0 + 4.0 * self._theta**2))
        momentum, self._theta = (self._theta - 1.0) / theta, theta
        self._pushed = momentum > 0 and self.restarts < self.patience
        if not self._pushed:
            self._y = self._z
            return
        self._y = lib.add(self._z, lib.multiply(lib.subtract(self._z, self._before), momentum))


class BatchedMomentum(BatchedAnderson):
    """`Momentum` for all rows of an array at once, each with its own restarts, outcome and end.

    What it shares with Anderson acceleration, of which it takes no more than the plain map, is how samples end one by
    one: see `BatchedAnderson`.

    Parameters
    ----------
    map : callable
        ``T``, from a real array of shape ``(samples, n)`` to another.
    lib : Backend
        Library, device and precision.
    tolerance : float
        The residual ``|T(z) - z|`` at which a sample has converged, relative to ``|T(z)|``.
    growth : float
        The factor over a sample's best residual above which its safeguard acts; infinity turns it off.
    patience : int
        How many restarts a sample makes before it gives momentum up.

    Attributes
    ----------
    restarts : NumPy array of int
        How often the safeguard acted, for each sample that goes on.
    """

    def __init__(
        self, map: FlatMap, lib: Backend, tolerance: float = 1e-10, growth: float = 1.0, patience: int = 10
    ) -> None:
        super().__init__(map, lib, tolerance, memory=0, growth=growth)
        self.patience = int(patience)

    def start(self, z0: Any) -> None:
        super().start(z0)
        self._last = self._image
        self._theta, self.restarts = np.ones(int(z0.shape[0])), np.zeros(int(z0.shape[0]), dtype=int)

    def _judge(
        self, good: np.ndarray, bad: np.ndarray, blown: np.ndarray, residuals: np.ndarray, scales: np.ndarray
    ) -> None:
        best = self._best
        super()._judge(good, bad, blown, residuals, scales)
        self._best = np.minimum(best, self._best)  # a restart makes nothing that was reached undone

    def _next_point(self, going: np.ndarray) -> None:
        restarted = self._going & ~going
        self.restarts = self.restarts + restarted
        theta = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * self._theta**2))
        self._accelerated = going & (self._theta > 1.0) & (self.restarts < self.patience)
        weights = np.where(self._accelerated, (self._theta - 1.0) / theta, 0.0)
        self._theta = np.where(restarted, 1.0, theta)
        self._point = self._image
        if self._accelerated.any():
            pushes = self.lib.multiply(
                self.lib.subtract(self._image, self._last), self.lib.asarray(weights, "real")[:, None]
            )
            self._point = self.lib.add(self._image, pushes)
        self._last = self._image

    def _compact(self) -> None:
        before = self._order.live
        super()._compact()
        if len(before) != len(self._order.live):
            kept = np.flatnonzero(np.isin(before, self._order.live))
            self._last = self.lib.take(self._last, self.lib.indices(kept), -2)
            self._theta, self.restarts = self._theta[kept], self.restarts[kept]


__all__ = ["BatchedMomentum", "Momentum"]
