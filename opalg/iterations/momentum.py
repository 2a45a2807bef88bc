"""Nesterov's momentum for the fixed point of any map, with a safeguard."""

from __future__ import annotations

from math import inf, isfinite, sqrt
from typing import Any

from opalg.arrays import Backend
from opalg.errors import ParameterError
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
        self._best = min(self._best, residual)
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


__all__ = ["Momentum"]
