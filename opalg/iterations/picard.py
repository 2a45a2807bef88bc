"""Picard iteration: apply the map again and again."""

from __future__ import annotations

from math import isfinite
from typing import Any

from opalg.arrays import Backend
from opalg.errors import ParameterError
from opalg.iterations.iteration import FlatMap, Iteration
from opalg.iterations.vectors import norm, own_vector


class Picard(Iteration):
    """The relaxed fixed-point iteration ``z <- z + relaxation * (T(z) - z)``.

    The residual that `advance` returns is ``|T(z) - z|`` at the point z before the step; for a nonexpansive map and a
    relaxation in (0, 1] the residual after the step is no larger.

    Parameters
    ----------
    map : callable
        ``T``, from flat real array to flat real array.
    lib : Backend
        Library, device and precision.
    relaxation : float
        Positive; 1 is the plain iteration.

    References
    ----------
    Krasnoselskii (1955); Mann (1953); Bauschke and Combettes (2017), Theorem 5.15.
    """

    def __init__(self, map: FlatMap, lib: Backend, relaxation: float = 1.0) -> None:
        if not relaxation > 0:
            raise ParameterError(f"the relaxation of a Picard iteration must be positive, not {relaxation!r}")
        self._map, self.lib, self.relaxation = map, lib, float(relaxation)

    def start(self, z0: Any) -> None:
        self._reset()
        self._z = own_vector(z0, self.lib, "the initial state")
        self._step = self.lib.empty(tuple(self._z.shape))

    def advance(self) -> float:
        if self.outcome is not None:
            return self.residual
        lib = self.lib
        image = self._map(self._z)
        self.products += 1
        lib.subtract(image, self._z, out=self._step)
        residual = norm(self._step, lib)
        if not isfinite(residual):
            return self._stop("nonfinite", "the map gave NaN or infinity; the state is the last finite iterate.")
        self.residual = residual
        if self.relaxation == 1.0:
            lib.copy(image, out=self._z)
        else:
            lib.multiply(self._step, self.relaxation, out=self._step)
            lib.add(self._z, self._step, out=self._z)
        return residual

    @property
    def state(self) -> Any:
        return self._z
