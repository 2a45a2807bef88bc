"""What every iteration is: something that starts at a state and advances; the loop around it lives elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import ShapeError
from opalg.iterations.vectors import flat_vector, norm, own_vector

FlatMap = Callable[[Any], Any]


class Iteration(ABC):
    """A way to seek a solution, one advance at a time, on flat real arrays.

    The map that an iteration is given may return its own buffer, or its argument: results are copied before the map
    is called again, and neither arguments nor results of the map are written to afterwards by the iteration. The map
    must not write to its argument.

    Attributes
    ----------
    outcome : str or None
        None while it makes sense to go on. Otherwise one word: ``"breakdown"``, ``"negative_curvature"``,
        ``"singular"``, ``"stagnated"``, ``"diverged"`` or ``"nonfinite"``. A loop tests its tolerance first: at the
        limit of the precision an iteration may both have reached the tolerance and have stagnated.
    message : str
        A sentence about the outcome: what was found and what to try.
    residual : float
        The absolute residual norm that belongs to `state`; infinite while none was measured.
    products : int
        How often the map was applied since `start`.
    """

    outcome: str | None = None
    message: str = ""
    residual: float = inf
    products: int = 0

    @abstractmethod
    def start(self, z0: Any) -> None:
        """Set up from an initial state, a flat real array, which is copied; resets outcome and counts."""

    @abstractmethod
    def advance(self) -> float:
        """Make one iteration and return the residual norm; after an outcome it changes nothing."""

    @property
    @abstractmethod
    def state(self) -> Any:
        """The current iterate, finite; a buffer that the next `advance` may overwrite, so copy it to keep it."""

    def adapt(self, strength: float) -> bool:
        """Balance controls, where the iteration has any; each by a factor of at most ``10 ** strength``."""
        return False

    def _reset(self) -> None:
        self.outcome, self.message, self.residual, self.products = None, "", inf, 0

    def _stop(self, outcome: str, message: str) -> float:
        self.outcome, self.message = outcome, message
        return self.residual


def _released(vector: Any) -> Any:
    raise RuntimeError("this iteration has let go of its map; make a new one to go on")


class LinearIteration(Iteration):
    """An iteration for the linear system ``A x = b``, with ``A`` given by its products.

    Parameters
    ----------
    apply : callable
        ``A``, from flat real array to flat real array of the same length.
    rhs : flat real array
        The right-hand side ``b``, which must not change while this runs.
    lib : Backend
        Library, device and precision.
    precondition : callable, optional
        An approximate inverse of ``A``.
    """

    def __init__(self, apply: FlatMap, rhs: Any, lib: Backend, precondition: FlatMap | None = None) -> None:
        self.lib = lib
        self.rhs = flat_vector(rhs, lib, "the right-hand side")
        self.rhs_norm = norm(self.rhs, lib)
        self.precondition = precondition
        self._map = apply

    def true_residual(self) -> float:
        """The norm of ``b - A x`` at the current state, computed afresh with one product."""
        return norm(self.lib.subtract(self.rhs, self._product(self.state)), self.lib)

    def release(self) -> None:
        """Let go of the vectors and maps that neither `state` nor the small matrices need; it cannot go on then."""
        self.rhs = self.precondition = None
        self._map = _released

    @abstractmethod
    def ritz_values(self) -> np.ndarray:
        """Estimates of eigenvalues of the (preconditioned) operator from the products so far."""

    def apply(self, vector: Any) -> Any:
        """``A`` times a vector, counted among the products; the result may be a buffer that the next one overwrites."""
        return self._product(vector)

    def _product(self, vector: Any) -> Any:
        self.products += 1
        return self._map(vector)

    def _own_start(self, z0: Any) -> Any:
        """A copy of the initial state, zero where there is none."""
        if z0 is None:
            return self.lib.zeros(tuple(self.rhs.shape))
        x = own_vector(z0, self.lib, "the initial state")
        if x.shape != self.rhs.shape:
            raise ShapeError(f"the initial state has {x.shape[0]} entries, the right-hand side {self.rhs.shape[0]}")
        return x

    def _first_residual(self, z0: Any, x: Any) -> Any:
        """A fresh array ``b - A x``; no product is spent on a zero start."""
        if z0 is None:
            return self.lib.copy(self.rhs)
        return self.lib.subtract(self.rhs, self._product(x))

    def _stop_nonfinite(self, found: str) -> float:
        return self._stop(
            "nonfinite",
            f"{found} is not finite; the state is the last finite iterate. Look for NaN, overflow or a division by "
            f"zero in the map, or use float64.",
        )
