"""Safeguarded Anderson acceleration of a fixed-point iteration."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.emit import BoundFunction
from opalg.errors import ParameterError
from opalg.iterations.compiled import State
from opalg.iterations.iteration import FlatMap, Iteration
from opalg.iterations.vectors import VectorSpace, norm, own_vector


class Anderson(Iteration):
    """Type-II Anderson acceleration of ``z <- T(z)``, with a safeguard.

    Where the residual ``|T(z) - z|`` grows too much over the best since the last fall-back, or is not finite, the
    accelerated point is dropped: the iteration goes back to the plain step from the last good point, forgets its
    history and counts one of ``fallbacks``. A point reached by plain steps is always taken, so the acceleration
    fails only where the plain iteration fails as well.

    `state` is ``T(z)`` at the point z whose residual `advance` returned, not the next accelerated point, whose
    residual nobody knows yet.

    Parameters
    ----------
    map : callable
        ``T``, from flat real array to flat real array.
    lib : Backend
        Library, device and precision.
    memory : int
        How many differences to keep; 0 is Picard.
    regularisation : float
        Ridge of the least-squares problem, relative to the trace of the Gram matrix of the residual differences,
        each scaled to unit length; never less than the precision can tell apart.
    damping : float
        In (0, 1]: the part of the residual that the step takes.
    growth : float
        The factor over the best residual above which the safeguard acts; infinity turns it off.

    Attributes
    ----------
    fallbacks : int
        How often the safeguard acted since `start`.

    Notes
    -----
    With ``f = T(z) - z`` and differences ``dF`` of f and ``dG`` of T(z), ``gamma`` minimises ``|f - dF gamma|^2`` plus
    the ridge, and ``z+ = T(z) - dG gamma - (1 - damping) (f - dF gamma)``.

    References
    ----------
    Anderson (1965); Walker and Ni (2011), Algorithm AA and equation 2.2; Scieur, d'Aspremont and Bach (2020) for the
    relative ridge.
    """

    def __init__(
        self,
        map: FlatMap,
        lib: Backend,
        memory: int = 5,
        regularisation: float = 1e-10,
        damping: float = 1.0,
        growth: float = 2.0,
    ) -> None:
        if not isinstance(memory, int) or memory < 0:
            raise ParameterError(f"the memory of Anderson acceleration must be a nonnegative integer, not {memory!r}")
        if not regularisation >= 0:
            raise ParameterError(f"the regularisation must be nonnegative, not {regularisation!r}")
        if not 0 < damping <= 1:
            raise ParameterError(f"the damping must lie in (0, 1], not {damping!r}")
        if not growth >= 1:
            raise ParameterError(f"the growth that the safeguard allows must be at least 1, not {growth!r}")
        self._map, self.lib, self.memory = map, lib, memory
        self.regularisation, self.damping, self.growth = float(regularisation), float(damping), float(growth)
        self.fallbacks = 0
        self._changes_f: Any = None
        self._best = inf
        self._has_last = self._accelerated = False

    def start(self, z0: Any) -> None:
        self._reset()
        lib = self.lib
        self._z = own_vector(z0, lib, "the initial state")
        shape = tuple(self._z.shape)
        self._image, self._f = lib.copy(self._z), lib.zeros(shape)
        self._new_image, self._new_f = lib.empty(shape), lib.empty(shape)
        self._scratch = lib.empty(shape)
        if self._changes_f is None or self._changes_f.shape[1] != shape[0]:
            self._changes_f = lib.zeros((self.memory, *shape))
            self._changes_g = lib.zeros((self.memory, *shape))
        self.fallbacks = 0
        self._forget()

    def advance(self) -> float:
        if self.outcome is not None:
            return self.residual
        lib = self.lib
        lib.copy(self._map(self._z), out=self._new_image)
        self.products += 1
        lib.subtract(self._new_image, self._z, out=self._new_f)
        residual = norm(self._new_f, lib)
        if not residual <= self.growth * self._best and self._accelerated:
            return self._fall_back()
        if not isfinite(residual):
            return self._stop("nonfinite", "the map gave NaN or infinity; the state is the last finite iterate.")
        if self._has_last and self.memory:
            self._remember()
        self._image, self._new_image = self._new_image, self._image
        self._f, self._new_f = self._new_f, self._f
        self._has_last, self.residual = True, residual
        self._best = min(self._best, residual)
        self._next_point()
        return residual

    @property
    def state(self) -> Any:
        return self._image

    def _forget(self) -> None:
        """Drop the history; the next point counts as plain."""
        self._kept = self._slot = 0
        self._gram = np.zeros((self.memory, self.memory))
        self._has_last = self._accelerated = False
        self._best = inf

    def _fall_back(self) -> float:
        self.fallbacks += 1
        self._forget()
        self.lib.copy(self._image, out=self._z)
        return self.residual

    def _remember(self) -> None:
        """Put the newest differences in the place of the oldest and update the Gram matrix."""
        lib, slot = self.lib, self._slot
        lib.subtract(self._new_image, self._image, out=self._scratch)
        self._changes_g[slot, ...] = self._scratch
        lib.subtract(self._new_f, self._f, out=self._scratch)
        self._changes_f[slot, ...] = self._scratch
        self._kept = min(self._kept + 1, self.memory)
        self._slot = (slot + 1) % self.memory
        row = self._against_history(self._scratch)
        self._gram[slot, : self._kept] = self._gram[: self._kept, slot] = row

    def _against_history(self, vector: Any) -> np.ndarray:
        products = self.lib.matmul(self._changes_f[: self._kept, ...], vector)
        return np.asarray(self.lib.to_numpy(products), dtype=float)

    def _next_point(self) -> None:
        lib, k = self.lib, self._kept
        weights = self._weights() if k else np.zeros(0)
        if not weights.any():
            self._accelerated = False
            self._plain_step()
            return
        self._accelerated = True
        packed = lib.asarray(weights, "real")
        lib.matmul(self._changes_g[:k, ...].T, packed, out=self._scratch)
        lib.subtract(self._image, self._scratch, out=self._z)
        if self.damping != 1.0:
            lib.matmul(self._changes_f[:k, ...].T, packed, out=self._scratch)
            lib.subtract(self._f, self._scratch, out=self._scratch)
            lib.multiply(self._scratch, 1.0 - self.damping, out=self._scratch)
            lib.subtract(self._z, self._scratch, out=self._z)

    def _plain_step(self) -> None:
        self.lib.copy(self._image, out=self._z)
        if self.damping != 1.0:
            self.lib.multiply(self._f, 1.0 - self.damping, out=self._scratch)
            self.lib.subtract(self._z, self._scratch, out=self._z)

    def _weights(self) -> np.ndarray:
        """The ridge least-squares weights; zeros where they are not finite."""
        k = self._kept
        lengths = np.sqrt(np.diag(self._gram)[:k])
        scale = np.divide(1.0, lengths, out=np.zeros(k), where=lengths > 0)
        gram = self._gram[:k, :k] * np.outer(scale, scale)
        ridge = max(self.regularisation, self.lib.epsilon) * max(np.trace(gram), self.lib.tiny)
        right = scale * self._against_history(self._f)
        weights = scale * np.linalg.solve(gram + ridge * np.eye(k), right)
        return weights if np.all(np.isfinite(weights)) else np.zeros(k)


class CompiledAnderson(Iteration):
    """`Anderson` for a compiled step, whose states are tuples of arrays.

    Parameters
    ----------
    step : BoundFunction
        ``T``, from state arrays to state arrays.
    lib : Backend
        Library, device and precision.
    memory : int
        How many differences to keep.
    """

    def __init__(self, step: BoundFunction, lib: Backend, memory: int = 5) -> None:
        self.lib, states = lib, step.function.states
        self.space = VectorSpace([s.shape for s in states], [s.kind for s in states], lib)
        self.inner = Anderson(lambda flat: self.space.pack(step(*self.space.unpack(flat))), lib, memory)

    def start(self, z0: State) -> None:
        """Set up from an initial state, which is copied."""
        self.inner.start(self.space.pack(z0))
        self._take_over()

    def advance(self) -> float:
        self.inner.advance()
        self._take_over()
        return self.residual

    def _take_over(self) -> None:
        inner = self.inner
        self.outcome, self.message = inner.outcome, inner.message
        self.residual, self.products = inner.residual, inner.products

    @property
    def state(self) -> State:
        return self.space.unpack(self.inner.state)
