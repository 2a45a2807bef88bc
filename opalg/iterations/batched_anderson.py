"""Anderson acceleration for many fixed points at once, each with its own mixing weights, safeguard and end."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.iterations.iteration import FlatMap, Iteration
from opalg.iterations.sample_history import SampleHistory

CONVERGED = "converged"
WORTH = 0.8  # the share of samples that go on below which the others' rows are dropped
GROWN = 1e8  # growth of a sample's residual over its first that ends it


class BatchedAnderson(Iteration):
    """Safeguarded type-II Anderson acceleration of ``z_s <- T_s(z_s)`` for all rows of an array at once.

    Each sample has its own history, weights, safeguard and outcome. One that has converged or failed is frozen and the
    others go on; their iterates do not depend on it, as long as the map keeps samples apart. One that has failed rests
    at the last point whose image was finite, and counts as diverged where its residuals grew beyond all reason or to
    infinity. The map is applied to all rows until all have ended, those of samples that have ended where they rest.

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
        For each sample None while it goes on, ``"converged"``, ``"diverged"`` or ``"nonfinite"``.
    failed : NumPy array of bool, shape ``(samples,)``
        Which ones have ended otherwise than converged.
    residuals, relative : NumPy array of float64, shape ``(samples,)``
        ``|T(z) - z|`` of each sample, and that over its scale.
    counts : NumPy array of int, shape ``(samples,)``
        How many applications of the map each sample took part in.
    fallbacks : int
        How often a safeguard acted since `start`.

    Notes
    -----
    As `Anderson` for each row. The small least-squares problems are solved together on the host. Rows of samples that
    have ended are dropped from everything but the map once there are enough of them.

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
        samples = int(z0.shape[0])
        self._point = lib.copy(lib.asarray(z0, "real"))
        self._image, self._f = self._point, lib.zeros(tuple(self._point.shape))
        self._kept = self._point  # the last points whose images were finite, where samples that fail come to rest
        self._history = SampleHistory(lib, self.memory, self.regularisation, tuple(self._point.shape))
        self._done, self._order = lib.zeros((0, int(z0.shape[1]))), _Order(samples, lib)
        self._state: Any = self._point
        self.outcomes: list[str | None] = [None] * samples
        self.failed = np.zeros(samples, dtype=bool)
        self.residuals, self.relative = np.full(samples, inf), np.full(samples, inf)
        self.counts = np.zeros(samples, dtype=int)
        self._going = np.ones(samples, dtype=bool)
        self._best, self._first = np.full(samples, inf), np.full(samples, inf)
        self._has_last, self._begun = np.zeros(samples, dtype=bool), False  # has every sample a first residual?
        self._accelerated = np.zeros(samples, dtype=bool)
        self.fallbacks = 0
        if samples == 0:
            self._stop(CONVERGED, "there are no samples.")

    def advance(self) -> float:
        if self.outcome is not None:
            return self.residual
        going = self._going
        image = self._rows(self._map(self._whole(self._point)))
        self.products += 1
        self.counts[self._order.live] += going
        with np.errstate(all="ignore"):
            f = self.lib.subtract(image, self._point)
            residuals = self._norms(f)
            scales = self._norms(image) if self._scales is None else self._scales[self._order.live]
            bad = going & self._accelerated & ~(residuals <= self.growth * self._best)
            blown = going & ~(bad | np.isfinite(residuals))
            missed = bad | blown
            good = going & ~missed
            fresh, images, changes = good & self._has_last, (image, self._image), (f, self._f)
            self._image, self._f, kept = image, f, self._point
            if np.count_nonzero(missed):  # which takes a fifth of the time of any, and there are many in a solve
                self._image, self._f = self._but(missed, *images), self._but(missed, *changes)
                kept = self._but(missed, kept, self._kept)
            self._kept = kept
            self._judge(good, bad, blown, residuals, scales)
            if self.outcome is None:  # nobody asks for the history of samples that have all ended
                self._history.forget(bad)
                self._history.remember(fresh, going, images, changes)
                self._next_point(good & self._going)
        self._compact()
        return self.residual

    @property
    def state(self) -> Any:
        if self._state is None:
            self._state = self._whole(self._image)
        return self._state

    def _rows(self, whole: Any) -> Any:
        """The rows of the samples that are worked on; a fresh array."""
        if self._order.is_whole:
            return self.lib.copy(whole)
        return self.lib.take(whole, self._order.on_device[0], -2)

    def _whole(self, rows: Any) -> Any:
        """An array with a row for each sample: those given, and the last images of samples that have ended."""
        if self._order.places is None:
            return rows
        return self.lib.take(self.lib.xp.concat([rows, self._done]), self._order.on_device[1], -2)

    def _but(self, which: np.ndarray, new: Any, old: Any) -> Any:
        """New rows, but the old ones for some."""
        if not np.count_nonzero(which):
            return new
        return self.lib.xp.where(self.lib.asarray(which)[:, None], old, new)

    def _judge(
        self, good: np.ndarray, bad: np.ndarray, blown: np.ndarray, residuals: np.ndarray, scales: np.ndarray
    ) -> None:
        """Write down how far each sample is, and end those that are through."""
        live = self._order.live
        self._best = np.where(good, np.minimum(self._best, residuals), self._best)
        self._has_last = self._has_last | good
        if np.count_nonzero(bad):
            self._best[bad], self._has_last[bad] = inf, False
            self.fallbacks += int(np.count_nonzero(bad))
        if not self._begun:
            self._first = np.where(np.isfinite(self._first), self._first, np.where(good, residuals, inf))
            self._begun = bool(np.isfinite(self._first).all())
        seen = live[good]
        self.residuals[seen] = residuals[good]
        self.relative[seen] = (residuals / np.where(scales > 0, scales, 1.0))[good]
        converged, grown = good & (residuals <= self.tolerance * scales), good & (residuals > GROWN * self._first)
        ended = blown | converged | grown
        if np.count_nonzero(ended):
            places, lost = np.flatnonzero(ended), ended & ~converged
            for sample in live[places].tolist():
                self.outcomes[sample] = CONVERGED
            if np.count_nonzero(lost):
                self._lose(lost, grown, blown & np.isposinf(residuals))
            rests = self._but(lost, self._image, self._kept)
            rows = self.lib.take(rests, self.lib.indices(places), -2)
            self._done = self.lib.xp.concat([self._done, rows])
            self._order.end(places)
            self._going = self._going & ~ended
        self._state = None
        self.residual = sqrt(float(np.dot(self.residuals, self.residuals)))
        if not np.count_nonzero(self._going):
            self._close()

    def _lose(self, lost: np.ndarray, grown: np.ndarray, infinite: np.ndarray) -> None:
        """Write down which samples have failed, and how."""
        live = self._order.live
        burst = infinite & (self.residuals[live] >= self._first) & np.isfinite(self._first)
        for place in np.flatnonzero(lost).tolist():
            self.failed[live[place]] = True
            self.outcomes[live[place]] = "diverged" if grown[place] or burst[place] else "nonfinite"

    def _next_point(self, going: np.ndarray) -> None:
        """Where the map is applied next: the accelerated point, or the last image where there is no history."""
        weights = self._history.weights(self._f)
        self._accelerated = going if weights is None else going & weights.any(axis=0)
        self._point = self._image
        if weights is None or not np.count_nonzero(self._accelerated):
            self._accelerated = np.zeros(len(going), dtype=bool)
            return
        self._point = self.lib.subtract(self._image, self._history.combined(weights))

    def _compact(self) -> None:
        """Work on fewer rows from here on, where enough samples have ended."""
        if self.outcome is not None or np.count_nonzero(self._going) > WORTH * len(self._going):
            return
        kept = np.flatnonzero(self._going)
        places = self.lib.indices(kept)
        self._point, self._image, self._f, self._kept = (
            self.lib.take(rows, places, -2) for rows in (self._point, self._image, self._f, self._kept)
        )
        self._history.keep(kept)
        self._order.keep(kept)
        self._going, self._best, self._first, self._has_last, self._accelerated = (
            v[kept] for v in (self._going, self._best, self._first, self._has_last, self._accelerated)
        )

    def _close(self) -> None:
        """The common outcome, now that each sample has one."""
        for outcome, what in (("nonfinite", "the map is not finite"), ("diverged", "residuals grow without end")):
            failed = [i for i, found in enumerate(self.outcomes) if found == outcome]
            if failed:
                self._stop(outcome, f"{what} for {len(failed)} samples, sample {failed[0]} first.")
                return
        self._stop(CONVERGED, "every sample has converged.")

    def _norms(self, rows: Any) -> np.ndarray:
        """The Euclidean norms of rows, on the host."""
        norms = self.lib.xp.linalg.vector_norm(rows, axis=1)
        return np.asarray(self.lib.to_numpy(norms), dtype=np.float64)


class _Order:
    """Which sample each row belongs to, and where the rows of all samples are.

    Attributes
    ----------
    live : array of int
        The samples of the rows that are worked on; some of them may have ended.
    places : array of int or None
        For every sample its row among those that are worked on and, behind these, those of samples that have ended.
        None while each row is that of its own sample.
    on_device : tuple of array
        Both once more, as indices of the library.
    """

    def __init__(self, samples: int, lib: Backend) -> None:
        self.samples, self.lib, self.live = samples, lib, np.arange(samples)
        self.is_whole = True
        self.places: np.ndarray | None = None
        self.on_device: tuple[Any, ...] = ()
        self._ended = np.zeros(0, dtype=int)

    def end(self, rows: np.ndarray) -> None:
        """Some rows have ended, and are put behind those that ended before."""
        self._ended = np.concatenate([self._ended, self.live[rows]])
        self._find()

    def keep(self, rows: np.ndarray) -> None:
        """Only some rows are worked on from here on."""
        self.live, self.is_whole = self.live[rows], False
        self._find()

    def _find(self) -> None:
        places = np.empty(self.samples, dtype=int)
        places[self.live] = np.arange(len(self.live))
        places[self._ended] = len(self.live) + np.arange(len(self._ended))
        self.places = places
        self.on_device = (self.lib.indices(self.live), self.lib.indices(places))


__all__ = ["BatchedAnderson"]
