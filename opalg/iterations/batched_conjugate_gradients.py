"""Conjugate gradients for many symmetric positive (semi)definite systems at once, each with its own steps and end."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.iterations.iteration import FlatMap, Iteration

CONVERGED = "converged"

_MESSAGES = {
    CONVERGED: "the residual of its recurrence is below its tolerance",
    "negative_curvature": "the operator is not positive semidefinite: p . A p < 0 along a direction; use MINRES, or "
    "make the energy convex",
    "singular": "p . A p vanishes to rounding with a residual left: the operator is singular and the right-hand side "
    "not in its range, or the precision is exhausted",
    "breakdown": "r . M r is not positive for a residual r that is not zero: the preconditioner M is not positive "
    "definite; leave it out",
    "nonfinite": "a product is not finite; the state is the last finite iterate. Look for NaN, overflow or a division "
    "by zero in the map, or use float64",
}


class BatchedConjugateGradients(Iteration):
    """Preconditioned conjugate gradients for systems ``A_s x_s = b_s`` that share one map but nothing else.

    Each sample, one row of arrays of shape ``(samples, n)``, has its own step sizes, residual and outcome. One that has
    converged or failed is frozen at its last iterate, and the others go on: their iterates do not depend on it, to the
    last bit, as long as the map keeps samples apart. The map is applied to all rows until all have ended.

    Parameters
    ----------
    apply : callable
        ``A``, block-diagonal, from a real array of shape ``(samples, n)`` to another; each block symmetric positive
        definite or semidefinite.
    rhs : real array, shape ``(samples, n)``
        The right-hand sides; they are copied.
    lib : Backend
        Library, device and precision.
    tolerance : float, or array of shape ``(samples,)``
        The residual at which a sample has converged, relative to the norm of its right-hand side.
    precondition : callable, optional
        A symmetric positive definite approximation of the inverse of ``A``, sample by sample.
    project : callable, optional
        The orthogonal projector onto subspaces, sample by sample. The right-hand sides, all products and all
        preconditioned residuals are projected, so that the systems are ``P A x = P b``, and x moves within the
        subspaces.

    Attributes
    ----------
    outcomes : list of str or None
        For each sample None while it goes on, otherwise ``"converged"`` or one of the outcomes of
        `ConjugateGradients`.
    residuals : NumPy array of float64, shape ``(samples,)``
        The residual norm of each sample, by its recurrence.
    rhs_norms : NumPy array of float64, shape ``(samples,)``
        The norm of each (projected) right-hand side.
    direction : real array, shape ``(samples, n)``
        The search directions; of a sample with negative curvature, one along which its quadratic falls for ever.
    outcome, message
        None while a sample goes on; then ``"converged"`` where all have, else the outcome of the first that has not.
    residual : float
        The Euclidean norm of `residuals`.

    Raises
    ------
    ShapeError, DtypeError
        Where the right-hand sides are no real array with two axes, or there are not as many tolerances.
    ParameterError
        Where a tolerance is negative or NaN.

    Notes
    -----
    Each sample's residual is scaled by a power of two at the start, so that squares neither overflow nor vanish. The
    quantities of all samples come to the host once for each iteration.

    References
    ----------
    Hestenes and Stiefel (1952), equations 3:1; Saad (2003), Algorithms 6.18 and 9.1.
    """

    def __init__(
        self,
        apply: FlatMap,
        rhs: Any,
        lib: Backend,
        tolerance: Any = 1e-10,
        precondition: FlatMap | None = None,
        project: FlatMap | None = None,
    ) -> None:
        self.lib, self.precondition, self._map, self._project = lib, precondition, apply, project
        rhs = self._own_array(rhs, "the right-hand sides")
        self.rhs = rhs if project is None else lib.copy(project(rhs))
        self.samples = int(rhs.shape[0])
        self.tolerances = _tolerances(tolerance, self.samples)
        self.rhs_norms = self._norms(self.rhs)

    def start(self, z0: Any = None) -> None:
        self._reset()
        lib = self.lib
        self._origin = None if z0 is None else self._own_array(z0, "the initial states")
        if z0 is not None and tuple(z0.shape) != tuple(self.rhs.shape):
            raise ShapeError(f"the initial states have shape {tuple(z0.shape)}, not {tuple(self.rhs.shape)}")
        residual = self.rhs if z0 is None else lib.subtract(self.rhs, self._product(self._origin))
        self.outcomes: list[str | None] = [None] * self.samples
        self.residuals = self._norms(residual)
        finite = np.isfinite(self.residuals)
        self._stop_samples(~finite, "nonfinite")
        self._stop_samples(finite & (self.residuals <= self.tolerances * self.rhs_norms), CONVERGED)
        limit = -int(np.log2(lib.tiny)) - 2  # so that the scale and its inverse are both normal numbers
        exponents = np.frexp(np.where(finite, self.residuals, 1.0))[1]
        self._scales = np.ldexp(1.0, np.clip(exponents, -limit, limit))
        with np.errstate(all="ignore"):
            scaled = residual * self._column(1 / self._scales)
            self._r = lib.xp.where(self._column(finite), scaled, lib.zeros(tuple(scaled.shape)))
        self._x = lib.zeros(tuple(scaled.shape))
        self.direction = lib.copy(self._preconditioned(self._r))
        self._largest = np.zeros(self.samples)
        self._rho = self._inner(self._r, self.direction)
        self._size = self._accepted_rho = self._fetch(self._rho)[0]
        self._judge_rho(self._active(), self._size)
        self._close()

    def advance(self) -> float:
        if self.outcome is not None:
            return self.residual
        where = self.lib.xp.where
        product = self._product(self.direction)
        with np.errstate(all="ignore"):
            curvature = self._inner(self.direction, product)
            step = self._rho / where(curvature == 0, curvature + 1, curvature)
            r = self._r - step[:, None] * product
            squared = self._inner(r, r)
            r = where(self.lib.xp.isfinite(squared)[:, None], r, self._r)  # the preconditioner meets no NaN
        preconditioned = self._preconditioned(r)
        with np.errstate(all="ignore"):
            rho = self._inner(r, preconditioned)
            curvatures, squares, rhos, steps = self._fetch(curvature, squared, rho, step)
            accepted = self._accept(curvatures, squares, steps)
            taken = self._column(accepted)
            self._x = where(taken, self._x + step[:, None] * self.direction, self._x)
            self._r = where(taken, r, self._r)
            self._judge_rho(self._active(), rhos)
            self._turn(self._active(), rho, rhos, preconditioned)
        self._close()
        return self.residual

    @property
    def state(self) -> Any:
        with np.errstate(under="ignore"):
            moved = self._x * self._column(self._scales)
        return moved if self._origin is None else self._origin + moved

    @property
    def messages(self) -> list[str]:
        """A sentence for each sample that has ended, else nothing."""
        return ["" if o is None else f"sample {i}: {_MESSAGES[o]}" for i, o in enumerate(self.outcomes)]

    def true_residuals(self) -> np.ndarray:
        """The norm of each sample's ``b - A x`` at the current state, computed afresh with one product."""
        return self._norms(self.lib.subtract(self.rhs, self._product(self.state)))

    def _product(self, x: Any) -> Any:
        self.products += 1
        found = self._map(x)
        return found if self._project is None else self._project(found)

    def _preconditioned(self, r: Any) -> Any:
        if self.precondition is None:
            return r
        found = self.precondition(r)
        return found if self._project is None else self._project(found)

    def _active(self) -> np.ndarray:
        return np.array([outcome is None for outcome in self.outcomes], dtype=bool)

    def _accept(self, curvatures: np.ndarray, squares: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Which samples take this step; the others among those that go on are stopped, by what was found."""
        active, epsilon = self._active(), self.lib.epsilon
        finite = np.isfinite(curvatures)
        quotients = np.where(finite, curvatures, 0.0) / np.where(self._size > 0, self._size, 1.0)
        self._largest = np.where(active, np.maximum(self._largest, np.abs(quotients)), self._largest)
        positive = quotients > epsilon * self._largest
        falling = quotients < -10 * epsilon * self._largest
        measured = np.isfinite(squares) & np.isfinite(steps)
        self._stop_samples(active & (~finite | (positive & ~measured)), "nonfinite")
        self._stop_samples(active & finite & falling, "negative_curvature")
        self._stop_samples(active & finite & ~positive & ~falling, "singular")
        accepted = active & finite & positive & measured
        found = self._scales * np.sqrt(np.where(accepted, squares, 0.0))
        self.residuals = np.where(accepted, found, self.residuals)
        self._stop_samples(accepted & (self.residuals <= self.tolerances * self.rhs_norms), CONVERGED)
        return accepted

    def _judge_rho(self, active: np.ndarray, rhos: np.ndarray) -> None:
        """Stop samples whose ``r . M r`` is not finite, or not positive."""
        self._stop_samples(active & ~np.isfinite(rhos), "nonfinite")
        self._stop_samples(active & np.isfinite(rhos) & (rhos <= 0), "breakdown")

    def _turn(self, active: np.ndarray, rho: Any, rhos: np.ndarray, preconditioned: Any) -> None:
        """The next search directions of the samples that go on."""
        where, turns = self.lib.xp.where, self.lib.asarray(active)
        ratio = rho / where(self._rho == 0, self._rho + 1, self._rho)
        ratios = rhos / np.where(self._accepted_rho == 0, 1.0, self._accepted_rho)
        self.direction = where(turns[:, None], preconditioned + ratio[:, None] * self.direction, self.direction)
        # r is orthogonal to the old direction, so |p|^2 in the metric of the preconditioner needs no inner product
        self._size = np.where(active, rhos + ratios * ratios * self._size, self._size)
        self._rho = where(turns, rho, self._rho)
        self._accepted_rho = np.where(active, rhos, self._accepted_rho)

    def _stop_samples(self, which: np.ndarray, outcome: str) -> None:
        for i in np.flatnonzero(which):
            self.outcomes[i] = outcome

    def _close(self) -> None:
        """The residual of all, and their common outcome once each has one."""
        largest = float(np.max(self.residuals, initial=0.0))
        scale = largest if 0 < largest < float("inf") else 1.0
        self.residual = scale * sqrt(float(np.sum((self.residuals / scale) ** 2)))
        if None in self.outcomes:
            return
        failed = [i for i, outcome in enumerate(self.outcomes) if outcome != CONVERGED]
        if failed:
            self._stop(str(self.outcomes[failed[0]]), f"{len(failed)} samples failed; {self.messages[failed[0]]}.")
        else:
            self._stop(CONVERGED, "every sample has converged.")

    def _inner(self, a: Any, b: Any) -> Any:
        return self.lib.xp.sum(a * b, axis=-1)

    def _fetch(self, *values: Any) -> np.ndarray:
        """Some quantities of all samples, on the host, as rows."""
        return np.asarray(self.lib.to_numpy(self.lib.xp.stack(values)), dtype=np.float64)

    def _column(self, values: np.ndarray) -> Any:
        return self.lib.asarray(values)[:, None]

    def _norms(self, x: Any) -> np.ndarray:
        """The Euclidean norm of each sample, safe against overflow and underflow of the squares."""
        if x.shape[0] * x.shape[1] == 0:
            return np.zeros(x.shape[0])
        xp = self.lib.xp
        with np.errstate(all="ignore"):
            largest = xp.max(xp.abs(x), axis=-1)
            scaled = x / xp.where(largest > 0, largest, largest + 1)[:, None]
            maxima, squares = self._fetch(largest, self._inner(scaled, scaled))
            return np.where(maxima > 0, maxima * np.sqrt(squares), maxima)

    def _own_array(self, value: Any, what: str) -> Any:
        """A copy on the library's device and in its precision."""
        if len(value.shape) != 2:
            raise ShapeError(f"{what} must have shape (samples, n), not {tuple(value.shape)}; reshape them")
        if self.lib.kind_of(value) != "real":
            raise DtypeError(
                f"{what} must be real, but have dtype {value.dtype}; pack complex arrays as pairs of reals"
            )
        return self.lib.copy(self.lib.asarray(value, "real"))


def _tolerances(tolerance: Any, samples: int) -> np.ndarray:
    """One tolerance for each sample."""
    given = np.asarray(tolerance, dtype=np.float64)
    if given.shape not in ((), (samples,)):
        raise ShapeError(f"{samples} samples need one tolerance, or {samples}, not an array of shape {given.shape}")
    if not np.all(given >= 0):
        raise ParameterError(f"a tolerance must not be negative or NaN, but {tolerance} was given")
    return np.broadcast_to(given, (samples,)).copy()
