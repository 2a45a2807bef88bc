"""Restarted GMRES for general linear systems."""

from __future__ import annotations

from math import hypot, isfinite
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import ParameterError
from opalg.iterations.iteration import FlatMap, LinearIteration
from opalg.iterations.ritz import hessenberg_eigenvalues, hessenberg_pairs
from opalg.iterations.vectors import norm

_REORTHOGONALISE = 0.7071  # Daniel, Gragg, Kaufman and Stewart (1976): project again after a loss larger than this
_CUTOFF = 20.0  # multiples of epsilon below which a pivot, relative to the largest, is rounding
_STAGNATION = 1e-3  # a whole cycle that lowers the residual by less than this fraction has stagnated
_ROOM = 16  # vectors that a basis has room for at first


class GMRES(LinearIteration):
    """Generalised minimal residuals for ``A x = b``, restarted; one advance is one product with ``A``.

    Within a cycle the residual is that of the Givens recurrence; at the end of a cycle it is recomputed. With a
    preconditioner ``M`` it solves ``A M u = b``, ``x = M u``, so the residual is always that of ``A x = b``.

    Parameters
    ----------
    apply : callable
        ``A``, from flat real array to flat real array of the same length.
    rhs : flat real array
        The right-hand side ``b``.
    lib : Backend
        Library, device and precision.
    restart : int
        Length of a cycle; memory is ``restart + 1`` vectors and a few.
    precondition : callable, optional
        An approximate inverse ``M`` of ``A``, linear.

    Notes
    -----
    Outcomes: ``"stagnated"`` (no decrease of the true residual over one whole cycle), ``"singular"`` (the Krylov
    space is exhausted with a residual left), ``"nonfinite"``. Singular systems with b in the range of A are solved
    where null space and range meet in zero only (Brown and Walker 1997, Theorem 2.6).

    Vectors are orthogonalised by classical Gram-Schmidt, twice where the first pass cancels: two products with the
    basis, and as orthogonal as modified Gram-Schmidt with reorthogonalisation (Giraud, Langou and Rozloznik 2005).

    References
    ----------
    Saad and Schultz (1986), Algorithm 4 and section 3.2.
    """

    def __init__(
        self, apply: FlatMap, rhs: Any, lib: Backend, restart: int = 30, precondition: FlatMap | None = None
    ) -> None:
        super().__init__(apply, rhs, lib, precondition)
        if not isinstance(restart, int) or restart < 1:
            raise ParameterError(f"the restart length of GMRES must be a positive integer, not {restart!r}")
        size = self.rhs.shape[0]
        self.restart = max(1, min(restart, size))
        self._basis = lib.zeros((min(self.restart + 1, _ROOM), size))
        self._w = lib.empty((size,))
        self._combined: Any = None

    def start(self, z0: Any = None) -> None:
        self._reset()
        self._x = self._own_start(z0)
        self._last_rectangle = np.zeros((1, 0))
        self._cycle_best = np.inf
        self._begin_cycle(self._first_residual(z0, self._x))

    def advance(self) -> float:
        if self.outcome is not None or self.residual == 0.0:
            return self.residual
        before, after = self._arnoldi()
        if self.outcome is not None:
            return self.residual
        pivot = self._givens()
        noise = _CUTOFF * self.lib.epsilon
        if after > noise * before:
            self._set_row(self._columns, self._w, 1.0 / after)
        exhausted = after <= noise * before or pivot <= noise * np.abs(np.diag(self._triangle)).max()
        at_floor = self.residual <= self.lib.epsilon * max(self._first, self.rhs_norm)  # look at the true one
        if exhausted or at_floor or self._columns == self.restart:
            self._end_cycle(exhausted)
        return self.residual

    @property
    def state(self) -> Any:
        if self._columns == 0:
            return self._x
        if self._combined is None:
            self._combined = self.lib.add(self._x, self._correction())
        return self._combined

    def release(self) -> None:
        state = self.lib.copy(self.state)
        super().release()
        self._x = self._combined = state
        self._basis = self._w = None

    def ritz_values(self) -> np.ndarray:
        """The eigenvalues of the square Hessenberg matrix of this cycle (at its start, of the last), complex.

        They estimate the (preconditioned) spectrum, first at its outer edges (Saad 2011, section 6.2).
        """
        k = self._columns
        return hessenberg_eigenvalues(self._hessenberg[:k, :k] if k else self._last_rectangle[:-1])

    def ritz_pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values of `hessenberg`, the residuals ``|A x - theta x|`` of their vectors, and their conditions.

        A residual of zero says that the value is an eigenvalue; otherwise it is one of a matrix no farther than the
        residual from the (preconditioned) operator, and about as far from its eigenvalue as residual times condition
        (Saad 2011, sections 3.3 and 6.2).
        """
        rectangle = self.hessenberg()
        k = rectangle.shape[1]
        return hessenberg_pairs(rectangle[:k], float(rectangle[k, k - 1]) if k else 0.0)

    def hessenberg(self) -> np.ndarray:
        """The Hessenberg matrix of this cycle, or of the last where that was longer; one row more than columns.

        Its singular values lie between the least and the largest of the (preconditioned) operator.
        """
        k = self._columns
        return self._hessenberg[: k + 1, :k].copy() if k >= self._last_rectangle.shape[1] else self._last_rectangle

    def arnoldi_relation(self) -> tuple[Any, np.ndarray]:
        """``V``, in rows, and ``H`` of ``A V = V H`` in this cycle, at its start of the last; V is not to be kept.

        The operator is the preconditioned one; H has one row more than columns, and V as many rows.
        """
        k = self._columns
        rectangle = self._hessenberg[: k + 1, :k] if k else self._last_rectangle
        return self._basis[: len(rectangle), ...], rectangle

    def preconditioned_basis(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``H``, ``V.T Z`` and ``Z.T Z`` of this cycle's ``A Z = V H``, with ``Z = M V`` the preconditioned basis.

        They hold what the cycle has learnt about A itself, and take an application of M for each column.
        """
        lib, k = self.lib, self._columns
        if k == 0:
            return np.zeros((1, 0)), np.zeros((1, 0)), np.zeros((0, 0))
        rows = self._basis[:k, ...]
        if self.precondition is not None:
            rows = lib.xp.stack([lib.copy(self.precondition(self._basis[i, ...])) for i in range(k)])
        cross, gram = lib.matmul(self._basis[: k + 1, ...], rows.T), lib.matmul(rows, rows.T)
        rectangle = self._hessenberg[: k + 1, :k].copy()
        return rectangle, np.asarray(lib.to_numpy(cross), dtype=float), np.asarray(lib.to_numpy(gram), dtype=float)

    def _begin_cycle(self, residual: Any) -> None:
        self.residual = norm(residual, self.lib)
        self._columns = 0
        self._combined = None
        self._first = self.residual
        self._hessenberg = np.zeros((self.restart + 1, self.restart))
        self._triangle = np.zeros((self.restart + 1, self.restart))
        self._rotations: list[tuple[float, float]] = []
        self._g = np.zeros(self.restart + 1)
        self._g[0] = self.residual
        if not isfinite(self.residual):
            self._stop_nonfinite("the residual")
        else:
            self.lib.copy(residual, out=self._w)  # into the basis with the first product: until then the last one stays

    def _make_room(self, rows: int) -> None:
        """Let the basis have room for so many vectors; memory follows what is used, not what is allowed."""
        held = int(self._basis.shape[0])
        if rows > held:
            more = min(max(rows, 2 * held), self.restart + 1) - held
            self._basis = self.lib.xp.concat([self._basis, self.lib.zeros((more, int(self._basis.shape[1])))])

    def _set_row(self, row: int, vector: Any, factor: float) -> None:
        self._basis[row, ...] = self.lib.multiply(vector, factor)

    def _arnoldi(self) -> tuple[float, float]:
        """Multiply the newest basis vector and orthogonalise; the norms before and after."""
        lib, k = self.lib, self._columns
        self._make_room(k + 2)
        if k == 0:
            self._set_row(0, self._w, 1.0 / self.residual)
        newest = self._basis[k, ...]
        if self.precondition is not None:
            newest = self.precondition(newest)
        lib.copy(self._product(newest), out=self._w)
        before = length = norm(self._w, lib)
        if not isfinite(before):
            self._stop_nonfinite("A v")
            return before, before
        basis = self._basis[: k + 1, ...]
        after = length
        for _ in range(2):
            overlap = lib.matmul(basis, self._w)
            lib.subtract(self._w, lib.matmul(basis.T, overlap), out=self._w)
            self._hessenberg[: k + 1, k] += np.asarray(lib.to_numpy(overlap), dtype=float)
            length, after = after, norm(self._w, lib)
            if after > _REORTHOGONALISE * length:
                break
        self._hessenberg[k + 1, k] = after
        self._columns, self._combined = k + 1, None
        return before, after

    def _givens(self) -> float:
        """Extend the QR factorisation of the Hessenberg matrix by its newest column; the new pivot."""
        k = self._columns - 1
        column = self._triangle[:, k]
        column[: k + 2] = self._hessenberg[: k + 2, k]
        for i, (cosine, sine) in enumerate(self._rotations):
            above, below = column[i], column[i + 1]
            column[i], column[i + 1] = cosine * above + sine * below, cosine * below - sine * above
        length = hypot(column[k], column[k + 1])
        cosine, sine = (column[k] / length, column[k + 1] / length) if length else (1.0, 0.0)
        self._rotations.append((cosine, sine))
        column[k], column[k + 1] = length, 0.0
        self._g[k + 1] = -sine * self._g[k]
        self._g[k] *= cosine
        self.residual = abs(float(self._g[k + 1]))
        return length

    def _correction(self) -> Any:
        """What this cycle adds to its first iterate."""
        lib, k = self.lib, self._columns
        right = np.zeros(k + 1)
        right[0] = self._first
        # Least squares with a cut-off, not back substitution: the last pivot vanishes where the system is singular.
        weights = np.linalg.lstsq(self._hessenberg[: k + 1, :k], right, rcond=_CUTOFF * lib.epsilon)[0]
        correction = lib.matmul(self._basis[:k, ...].T, lib.asarray(weights, "real"))
        return correction if self.precondition is None else self.precondition(correction)

    def _end_cycle(self, exhausted: bool) -> None:
        k, first = self._columns, self._first
        x = self.lib.add(self._x, self._correction(), out=self._w)
        residual = self.lib.subtract(self.rhs, self._product(x))
        self._last_rectangle = self._hessenberg[: k + 1, :k].copy()
        size = norm(residual, self.lib)
        if not isfinite(size):
            self._columns, self._combined, self.residual = 0, None, first
            self._stop_nonfinite("the residual")
            return
        stalled = size > (1 - _STAGNATION) * first
        if not stalled or size <= first:
            self.lib.copy(x, out=self._x)
        else:
            residual = self.lib.subtract(self.rhs, self._product(self._x))
        self._begin_cycle(residual)
        left = f"a residual of {self.residual:.3g} ({self.residual / max(self.rhs_norm, self.lib.tiny):.1e} of the rhs)"
        if exhausted and size > self.lib.epsilon**0.5 * first:
            self._stop(
                "singular",
                f"the Krylov space is exhausted and leaves {left}: the operator is singular and the right-hand side "
                f"not in its range, or its null space meets its range.",
            )
        elif stalled:
            self._stop(
                "stagnated",
                f"a whole cycle of {k} products did not lower {left}; use a longer cycle (restart > {self.restart}), "
                f"a preconditioner, or float64 where the precision is exhausted.",
            )
