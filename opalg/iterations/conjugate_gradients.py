"""Conjugate gradients for symmetric positive (semi)definite systems."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.iterations.iteration import FlatMap, LinearIteration
from opalg.iterations.ritz import tridiagonal_eigenvalues
from opalg.iterations.vectors import dot, norm


class ConjugateGradients(LinearIteration):
    """Preconditioned conjugate gradients for ``A x = b``.

    The residual is that of the recurrence, in the Euclidean norm; `true_residual` measures it afresh. For a singular
    ``A`` with ``b`` in its range the iterates converge to the solution nearest to the start (without preconditioner).

    Parameters
    ----------
    apply : callable
        ``A``, symmetric positive definite or semidefinite, from flat real array to flat real array.
    rhs : flat real array
        The right-hand side ``b``.
    lib : Backend
        Library, device and precision.
    precondition : callable, optional
        A symmetric positive definite approximation of the inverse of ``A``.
    observe : callable, optional
        ``(p, A p) -> None``, called with every direction that is taken; it copies what it keeps.

    Attributes
    ----------
    direction : flat real array
        The search direction; after the outcome ``"negative_curvature"``, one along which the quadratic falls for ever.

    Notes
    -----
    Outcomes: ``"negative_curvature"`` (``p . A p < 0``, beyond rounding), ``"singular"`` (``p . A p`` vanishes to
    rounding: b is not in the range, or the residual is at its floor), ``"breakdown"`` (the preconditioner is not
    positive definite), ``"nonfinite"``.

    References
    ----------
    Hestenes and Stiefel (1952), equations 3:1; Saad (2003), Algorithms 6.18 and 9.1.
    """

    def __init__(
        self,
        apply: FlatMap,
        rhs: Any,
        lib: Backend,
        precondition: FlatMap | None = None,
        observe: Callable[[Any, Any], None] | None = None,
    ) -> None:
        super().__init__(apply, rhs, lib, precondition)
        self.observe = observe
        shape = tuple(self.rhs.shape)
        self.direction = lib.empty(shape)

    def start(self, z0: Any = None) -> None:
        self._reset()
        self._x = self._own_start(z0)
        self._r = self._first_residual(z0, self._x)
        self.residual = norm(self._r, self.lib)
        self._steps: list[float] = []
        self._ratios: list[float] = []
        self._largest = 0.0
        preconditioned = self._preconditioned()
        self.lib.copy(preconditioned, out=self.direction)
        self._rho = self._size = self._inner(preconditioned)
        if not isfinite(self._rho):
            self._stop_nonfinite("the first residual")
        elif self._rho <= 0 < self.residual:
            self._stop_preconditioner()

    def advance(self) -> float:
        if self.outcome is not None or self.residual == 0.0:
            return self.residual
        lib = self.lib
        product = self._product(self.direction)
        curvature = dot(self.direction, product, lib)
        if not self._accept(curvature):
            return self.residual
        if self.observe is not None:
            self.observe(self.direction, product)
        step = self._rho / curvature
        lib.subtract(self._r, lib.multiply(product, step), out=self._r)
        residual = norm(self._r, lib)
        if not isfinite(residual):
            return self._stop_nonfinite("the residual")
        lib.add(self._x, lib.multiply(self.direction, step), out=self._x)
        self.residual = residual
        self._turn(step)
        return residual

    @property
    def state(self) -> Any:
        return self._x

    def release(self) -> None:
        super().release()
        self._r = self.direction = self.observe = None

    def ritz_values(self) -> np.ndarray:
        """The eigenvalue estimates of the (preconditioned) operator so far, ascending; their spread bounds nothing.

        They are the eigenvalues of the Lanczos matrix (Saad 2003, section 6.7.3), which lie inside the spectrum.
        """
        steps, ratios = np.array(self._steps), np.array(self._ratios[:-1])
        diagonal = 1.0 / steps
        diagonal[1:] += ratios / steps[:-1]
        return tridiagonal_eigenvalues(diagonal, np.sqrt(ratios) / steps[:-1])

    def _preconditioned(self) -> Any:
        return self._r if self.precondition is None else self.precondition(self._r)

    def _inner(self, preconditioned: Any) -> float:
        return dot(self._r, preconditioned, self.lib)

    def _accept(self, curvature: float) -> bool:
        """Judge ``p . A p`` against the largest curvature seen, in the metric of the preconditioner."""
        if not isfinite(curvature):
            self._stop_nonfinite("p . A p")
            return False
        quotient = curvature / self._size
        self._largest = max(self._largest, abs(quotient))
        if quotient > self.lib.epsilon * self._largest:
            return True
        if quotient < -10 * self.lib.epsilon * self._largest:
            self._stop(
                "negative_curvature",
                f"the operator is not positive semidefinite: p . A p = {curvature:.3g} along a direction with a "
                f"Rayleigh quotient of {quotient:.3g}; use MINRES, or make the energy convex.",
            )
        else:
            self._stop(
                "singular",
                f"p . A p vanishes to rounding with a residual of {self.residual:.3g} left: the operator is singular "
                f"and the right-hand side not in its range, or the precision is exhausted.",
            )
        return False

    def _turn(self, step: float) -> None:
        """The next search direction."""
        lib = self.lib
        preconditioned = self._preconditioned()
        rho = self._inner(preconditioned)
        if not isfinite(rho):
            self._stop_nonfinite("the preconditioned residual")
            return
        if rho <= 0 < self.residual:
            self._stop_preconditioner()
            return
        ratio = rho / self._rho
        lib.multiply(self.direction, ratio, out=self.direction)
        lib.add(self.direction, preconditioned, out=self.direction)
        # r is orthogonal to the old direction, so |p|^2 in the metric of the preconditioner needs no inner product
        self._size = rho + ratio * ratio * self._size
        self._rho = rho
        self._steps.append(step)
        self._ratios.append(ratio)

    def _stop_preconditioner(self) -> None:
        self._stop(
            "breakdown",
            "r . M r is not positive for a residual r that is not zero: the preconditioner M is not positive "
            "definite, or the squares underflow; scale the system or leave the preconditioner out.",
        )
