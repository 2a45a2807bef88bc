"""Anderson acceleration for many fixed points at once, each with its own mixing weights, safeguard and end."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.iterations.iteration import FlatMap, Iteration

CONVERGED = "converged"


class BatchedAnderson(Iteration):
    """Safeguarded type-II Anderson acceleration of ``z_s <- T_s(z_s)`` for all rows of an array at once.

    Each sample has its own history, weights, safeguard and outcome. One that has converged or failed is frozen and the
    others go on; their iterates do not depend on it, as long as the map keeps samples apart. The map is applied to all
    rows until all have ended.

    Parameters
    ----------
    map : callable
        ``T``, from a real array of shape ``(samples, n)`` to another.
    lib : Backend
        Library, device and precision.
    tolerance : float
        The residual ``|T(z) - z|`` at which a sample has converged, relative to its scale.
    memory : int
        How many differences to keep; 0 is Picard.
    regularisation : float
        Ridge of the least-squares problems, relative to the trace of the Gram matrix of residual differences scaled to
        unit length.
    growth : float
        The factor over a sample's best residual above which its safeguard acts; infinity turns it off.
    scales : array of shape ``(samples,)``, optional
        What a sample's residual is relative to; ``|T(z)|`` by default.

    Attributes
    ----------
    outcomes : list of str or None
        For each sample None while it goes on, ``"converged"`` or ``"nonfinite"``.
    residuals, relative : NumPy array of float64, shape ``(samples,)``
        ``|T(z) - z|`` of each sample, and that over its scale.
    counts : NumPy array of int, shape ``(samples,)``
        How many applications of the map each sample took part in.
    fallbacks : int
        How often a safeguard acted since `start`.

    Notes
    -----
    As `Anderson` for each row. The quantities of all samples come to the host once for each iteration, where the small
    least-squares problems are solved together.

    References
    ----------
    Anderson (1965); Walker and Ni (2011), Algorithm AA.
    """

    def __init__(
        self,
        map: FlatMap,
        lib: Backend,
        tolerance: float = 1e-10,
        memory: int = 5,
        regularisation: float = 1e-10,
        growth: float = 2.0,
        scales: np.ndarray | None = None,
    ) -> None:
        if not isinstance(memory, int) or memory < 0:
            raise ParameterError(f"the memory of Anderson acceleration must be a nonnegative integer, not {memory!r}")
        if not tolerance >= 0:
            raise ParameterError(f"the tolerance must not be negative or NaN, but {tolerance!r} was given")
        if not regularisation >= 0:
            raise ParameterError(f"the regularisation must be nonnegative, not {regularisation!r}")
        if not growth >= 1:
            raise ParameterError(f"the growth that the safeguard allows must be at least 1, not {growth!r}")
        self._map, self.lib, self.memory, self._scales = map, lib, memory, scales
        self.tolerance, self.regularisation, self.growth = float(tolerance), float(regularisation), float(growth)

    def start(self, z0: Any) -> None:
        self._reset()
        lib = self.lib
        if len(z0.shape) != 2:
            raise ShapeError(f"the initial states must have shape (samples, n), not {tuple(z0.shape)}; reshape them")
        if lib.kind_of(z0) != "real":
            raise DtypeError(f"the initial states must be real, but have dtype {z0.dtype}; pack complex ones as pairs")
        self._z = lib.copy(lib.asarray(z0, "real"))
        samples, length = (int(n) for n in self._z.shape)
        self._image, self._f = lib.copy(self._z), lib.zeros((samples, length))
        self._changes_f = lib.zeros((samples, self.memory, length))
        self._changes_g = lib.zeros((samples, self.memory, length))
        self._gram = np.zeros((samples, self.memory, self.memory))
        self._kept = np.zeros((samples, self.memory), dtype=bool)
        self._slot = 0
        self.outcomes: list[str | None] = [None] * samples
        self._active = np.ones(samples, dtype=bool)
        self.residuals, self.relative = np.full(samples, inf), np.full(samples, inf)
        self.counts = np.zeros(samples, dtype=int)
        self._best = np.full(samples, inf)
        self._has_last = np.zeros(samples, dtype=bool)
        self._accelerated = np.zeros(samples, dtype=bool)
        self.fallbacks = 0

    def advance(self) -> float:
        if self.outcome is not None:
            return self.residual
        lib = self.lib
        image = lib.copy(self._map(self._z))
        self.products += 1
        with np.errstate(all="ignore"):
            f = lib.subtract(image, self._z)
            residuals, sizes = self._norms(f, image)
            active = self._active
            self.counts += active
            bad = active & self._accelerated & ~(residuals <= self.growth * self._best)
            blown = active & ~bad & ~np.isfinite(residuals)
            good = active & ~bad & ~blown
            against = self._remember(good & self._has_last, image, f) if self.memory else None
            self._image = self._chosen(good, image, self._image)
            self._f = self._chosen(good, f, self._f)
        scales = sizes if self._scales is None else self._scales
        self._has_last |= good
        self._best = np.where(good, np.minimum(self._best, residuals), self._best)
        self.residuals = np.where(good, residuals, self.residuals)
        self.relative = np.where(good, residuals / np.where(scales > 0, scales, 1.0), self.relative)
        self._forget(bad)
        self._stop_samples(blown, "nonfinite")
        self._stop_samples(good & (self.residuals <= self.tolerance * scales), CONVERGED)
        self._next_point(good & self._active, bad, against)
        self._close()
        return self.residual

    @property
    def state(self) -> Any:
        return self._image

    def _chosen(self, which: np.ndarray, new: Any, old: Any) -> Any:
        """New rows for some samples, old ones for the others."""
        if which.all():
            return new
        return self.lib.xp.where(self._column(which), new, old) if which.any() else old

    def _forget(self, which: np.ndarray) -> None:
        """Drop the history of samples whose accelerated point was bad; they go on from their last image."""
        self.fallbacks += int(np.count_nonzero(which))
        self._kept[which] = False
        self._best[which] = inf
        self._has_last[which] = False

    def _remember(self, which: np.ndarray, image: Any, f: Any) -> np.ndarray:
        """Put the newest differences in the place of the oldest; the products of all with the residuals.

        The Gram matrices of the differences are brought up to date on the way.
        """
        lib, slot = self.lib, self._slot
        self._slot = (slot + 1) % self.memory
        zero = lib.zeros((1, 1))
        df = self._chosen(which, lib.subtract(f, self._f), zero)
        dg = self._chosen(which, lib.subtract(image, self._image), zero)
        self._changes_f[:, slot, :] = df
        self._changes_g[:, slot, :] = dg
        df = self._changes_f[:, slot, :]
        pair = lib.xp.stack([df, f], axis=2)
        products = np.asarray(lib.to_numpy(lib.xp.matmul(self._changes_f, pair)), dtype=np.float64)
        row, against = products[:, :, 0], products[:, :, 1]
        self._kept[:, slot] = which & np.all(np.isfinite(row), axis=1)
        self._gram[:, slot, :] = self._gram[:, :, slot] = np.where(self._kept[:, slot, None], row, 0.0)
        return against

    def _next_point(self, going: np.ndarray, bad: np.ndarray, against: np.ndarray | None) -> None:
        weights = np.zeros((len(going), 0)) if against is None else self._weights(going, against)
        self._accelerated = going & weights.any(axis=1)
        moved = self._image
        if self._accelerated.any():
            column = self.lib.asarray(weights, "real")[:, None, :]
            moved = self.lib.subtract(self._image, self.lib.xp.matmul(column, self._changes_g)[:, 0, :])
        self._z = self._chosen(going | bad, moved, self._z)

    def _weights(self, going: np.ndarray, against: np.ndarray) -> np.ndarray:
        """The ridge least-squares weights of each sample; zeros where there is no history."""
        lengths = np.sqrt(np.einsum("sii->si", self._gram))
        kept = self._kept & going[:, None] & (lengths > 0)
        if not kept.any():
            return np.zeros(kept.shape)
        scale = np.where(kept, 1.0 / np.where(kept, lengths, 1.0), 0.0)
        gram = self._gram * scale[:, :, None] * scale[:, None, :]
        ridge = max(self.regularisation, self.lib.epsilon) * np.maximum(kept.sum(axis=1), 1)
        gram[:, range(self.memory), range(self.memory)] += np.where(kept, ridge[:, None], 1.0)
        weights = scale * _solved(gram, scale * np.where(kept, against, 0.0))
        weights[~np.all(np.isfinite(weights), axis=1)] = 0.0
        return weights

    def _stop_samples(self, which: np.ndarray, outcome: str) -> None:
        for i in np.flatnonzero(which):
            self.outcomes[i] = outcome
        self._active &= ~which

    def _close(self) -> None:
        """The residual of all, and their common outcome once each has one."""
        self.residual = sqrt(float(np.sum(self.residuals**2)))
        if self._active.any():
            return
        failed = [i for i, outcome in enumerate(self.outcomes) if outcome != CONVERGED]
        if failed:
            self._stop("nonfinite", f"the map is not finite for {len(failed)} samples, sample {failed[0]} first.")
        else:
            self._stop(CONVERGED, "every sample has converged.")

    def _norms(self, *arrays: Any) -> np.ndarray:
        """The Euclidean norms of the rows of some arrays, on the host."""
        xp = self.lib.xp
        squares = xp.stack([xp.sum(a * a, axis=1) for a in arrays])
        return np.sqrt(np.asarray(self.lib.to_numpy(squares), dtype=np.float64))

    def _column(self, values: np.ndarray) -> Any:
        return self.lib.asarray(values)[:, None]


def _solved(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Small symmetric positive definite systems, all at once, by elimination without pivots.

    One step for all systems costs less than LAPACK's calls for thousands of systems of five unknowns.
    """
    m = right.shape[1]
    a, x = np.moveaxis(matrices, 0, -1).copy(), right.T.copy()
    for k in range(m):
        for i in range(k + 1, m):
            factor = a[i, k] / a[k, k]
            a[i, k:] -= factor * a[k, k:]
            x[i] -= factor * x[k]
    for k in reversed(range(m)):
        for j in range(k + 1, m):  # entry by entry, so that a sample's rounding does not depend on the others
            x[k] -= a[k, j] * x[j]
        x[k] /= a[k, k]
    solution: np.ndarray = x.T
    return solution


__all__ = ["BatchedAnderson"]
