"""What Anderson acceleration remembers of many samples at once, and the mixing weights that follow from it."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from opalg.arrays import Backend

Change = tuple[Any, Any]


class SampleHistory:
    """The last differences of residuals and images of every sample, with the Gram matrices of the former.

    Parameters
    ----------
    lib : Backend
    memory : int
        How many differences to keep.
    regularisation : float
        Ridge of the least-squares problems, relative to the trace of the Gram matrix of residual differences scaled to
        unit length.
    shape : tuple of int
        Samples and unknowns.

    Notes
    -----
    Differences lie on the device, Gram matrices of unit vectors on the host, with samples on the last axis, so that
    one operation of the host serves all of them.
    """

    def __init__(self, lib: Backend, memory: int, regularisation: float, shape: tuple[int, int]) -> None:
        self.lib, self.memory = lib, memory
        self.ridge = max(regularisation, lib.epsilon)
        self._f, self._g = lib.empty((memory, *shape)), lib.empty((memory, *shape))
        self._gram = np.zeros((memory, memory, shape[0]))
        self._gram.reshape(-1, shape[0])[:: memory + 1] = 1.0
        self._inverse = np.zeros((memory, shape[0]))  # one over the length of each difference; 0 where there is none
        self._count = 0

    def remember(self, which: np.ndarray, going: np.ndarray, images: Change, residuals: Change) -> None:
        """Put the newest differences of some samples in the place of the oldest.

        Parameters
        ----------
        which : array of bool
            The samples that have new differences.
        going : array of bool
            Those whose history matters at all.
        images, residuals : (array, array)
            The new rows and those before.
        """
        if not self.memory or not (self._count or np.count_nonzero(which)):
            return
        slot, self._count = self._count % self.memory, self._count + 1
        dropped = going & ~which
        self._put(self._g[slot, ...], images, dropped)
        self._put(self._f[slot, ...], residuals, dropped)
        row = self._products(self._f[slot, ...])
        length = np.sqrt(row[slot])
        kept = which & (length > 0) & np.isfinite(row).all(axis=0)
        if np.count_nonzero(kept) < kept.size:
            row[:, ~kept], length[~kept] = 0.0, inf
        self._inverse[slot] = inverse = 1.0 / length
        row *= self._inverse[: self._used]
        row *= inverse
        row[slot] = 1.0
        self._gram[slot, : self._used] = self._gram[: self._used, slot] = row

    def forget(self, which: np.ndarray) -> None:
        """Drop everything about some samples."""
        if np.count_nonzero(which):
            self._inverse[:, which] = 0.0
            self._gram[:, :, which] = np.eye(self.memory)[:, :, None]

    def keep(self, rows: np.ndarray) -> None:
        """Keep some samples only."""
        places = self.lib.indices(rows)
        self._f, self._g = (self.lib.take(d, places, -2) for d in (self._f, self._g))
        self._gram, self._inverse = self._gram[:, :, rows], self._inverse[:, rows]

    def weights(self, f: Any) -> np.ndarray | None:
        """The ridge least-squares weights of each sample for residuals f; zeros where there is no history.

        Returns
        -------
        array, shape ``(differences, samples)``, or None
            None where no sample has any history.
        """
        used = self._used
        kept = self._inverse[:used] > 0
        if not np.count_nonzero(kept):
            return None
        inverse = self._inverse[:used]
        system = np.empty((used, used + 1, kept.shape[1]))
        system[:, :used] = self._gram[:used, :used]
        diagonal = system.reshape(-1, kept.shape[1])[:: used + 2]
        diagonal += kept * (self.ridge * np.maximum(kept.sum(axis=0), 1))
        system[:, used] = np.where(kept, self._products(f) * inverse, 0.0)
        found = _solved(system) * inverse
        finite = np.isfinite(found)
        if np.count_nonzero(finite) < finite.size:
            found[:, ~finite.all(axis=0)] = 0.0
        return found

    def combined(self, weights: np.ndarray) -> Any:
        """The differences of images, each sample's with its own weights."""
        column = self.lib.asarray(weights, "real")[:, :, None]
        return self.lib.xp.sum(self.lib.multiply(self._g[: len(weights), ...], column), axis=0)

    @property
    def _used(self) -> int:
        return min(self._count, self.memory)

    def _put(self, place: Any, change: Change, dropped: np.ndarray) -> None:
        """New minus old rows, zero for some: what is not finite would survive a weight of zero."""
        self.lib.subtract(*change, out=place)
        if np.count_nonzero(dropped):
            place[...] = self.lib.xp.where(self.lib.asarray(dropped)[:, None], self.lib.zeros((1, 1)), place)

    def _products(self, rows: Any) -> np.ndarray:
        """The inner products of all differences of residuals with rows, on the host."""
        terms = self.lib.multiply(self._f[: self._used, ...], rows)
        return np.asarray(self.lib.to_numpy(self.lib.xp.sum(terms, axis=2)), dtype=np.float64)


def _solved(system: np.ndarray) -> np.ndarray:
    """Small symmetric positive definite systems, samples on the last axis, by elimination without pivots.

    One step for all systems costs less than LAPACK's calls for thousands of systems of five unknowns.

    Parameters
    ----------
    system : array, shape ``(m, m + 1, samples)``
        The matrices, and behind their columns the right-hand sides; overwritten.
    """
    for k in range(len(system)):
        row = system[k, k + 1 :] / system[k, k]
        system[:, k + 1 :] -= system[:, k, None] * row
        system[k, k + 1 :] = row
    return system[:, -1]


__all__ = ["SampleHistory"]
