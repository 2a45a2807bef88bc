"""Small reduced systems as matrices: their eigenvalues, their exact inverse, and solves with it."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from opalg.arrays import Backend
from opalg.implicit.linear_solve import Accuracy, Flat, Solved
from opalg.implicit.null_space import NullSpace
from opalg.iterations import LinearIteration
from opalg.iterations.vectors import norm

FEW = 128  # unknowns up to which every gradient can afford to write its system out
KEPT = 4_000_000  # entries of products that are kept for the next system
MORE = 512  # the same, where curvatures would need many products otherwise
SINGULAR = 30.0  # multiples of epsilon, relative to the largest eigenvalue, up to which one may be rounding
DECIDED = 1e-4  # of the median eigenvalue above zero: where rounding is larger, a small one says nothing
ROUNDS = 6  # corrections of a solve with the inverse
GAIN = 0.5  # a correction that leaves more of the residual than this has met rounding


class DenseSystem:
    """A symmetric system on the null space of held rows, as a matrix on the host.

    Parameters
    ----------
    matrix : array
        ``Z^T A Z``
    basis : array or sparse array
        ``Z``, orthonormal columns that span what may move.
    lib : Backend
        Library of the flat arrays.
    products : int, optional
        How many it took to write it out; by default one for each column.

    Attributes
    ----------
    columns : int
        How many products it took to write it out.
    """

    def __init__(self, matrix: np.ndarray, basis: Any, lib: Backend, products: int | None = None) -> None:
        self.matrix, self.lib = 0.5 * (matrix + matrix.T), lib
        self.columns = len(matrix) if products is None else products
        self._basis, self._transposed = basis, basis.T

    @property
    def values(self) -> np.ndarray:
        """The eigenvalues, ascending."""
        return self._pairs[0]

    @property
    def is_definite(self) -> bool:
        """Whether all eigenvalues are positive by more than rounding."""
        values = self.values
        return not len(values) or bool(values[0] > SINGULAR * self.lib.epsilon * values[-1])

    def inverse(self, flat: Any) -> Any:
        """``Z (Z^T A Z)^-1 Z^T`` times a flat array; the eigenvalues must be positive."""
        values, vectors = self._pairs
        on_host = np.asarray(self.lib.to_numpy(flat), dtype=np.float64)
        small = vectors @ ((vectors.T @ (self._transposed @ on_host)) / values)
        return self.lib.asarray(self._basis @ small, "real")

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(self.matrix)
        return values, vectors


class Columns:
    """Products of one matrix with the columns of a basis, kept for the next basis, which often shares most of them.

    Parameters
    ----------
    product : callable
        The matrix on flat arrays.
    lib : Backend
        Their library; what is kept lives on the host.
    """

    def __init__(self, product: Flat, lib: Backend) -> None:
        self.product, self.lib, self.products = product, lib, 0
        self._known: dict[bytes, np.ndarray] = {}

    def between(self, basis: Any) -> np.ndarray:
        """``Z^T A Z``"""
        by_columns = sp.csc_array(basis)
        matrix = np.empty((basis.shape[1],) * 2)
        kept, transposed = {}, basis.T
        for j, (begin, end) in enumerate(pairwise(by_columns.indptr)):
            places, values = by_columns.indices[begin:end], by_columns.data[begin:end]
            key = places.tobytes() + values.tobytes()
            kept[key] = self._known[key] if key in self._known else self._image(places, values, basis.shape[0])
            matrix[:, j] = transposed @ kept[key]
        self._known = kept if sum(map(len, kept.values())) <= KEPT else {}
        return matrix

    def _image(self, places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
        self.products += 1
        unit = np.zeros(size)
        unit[places] = values
        return np.array(self.lib.to_numpy(self.product(self.lib.asarray(unit, "real"))), np.float64)


def write_out(
    product: Flat,
    size: int,
    null: NullSpace | None,
    lib: Backend,
    few: int = FEW,
    columns: Columns | None = None,
) -> DenseSystem | None:
    """A symmetric system as a matrix; None where it is large.

    Parameters
    ----------
    product : callable
        The system on flat arrays.
    size : int
        Their length.
    null : NullSpace or None
        What may move; None where everything may.
    lib : Backend
    few : int
        The largest dimension that is written out.
    columns : Columns, optional
        What is known of the same system on other null spaces.
    """
    dimension = size if null is None else null.dimension
    if dimension > few or (null is not None and null.labels is None and size > 2 * few):
        return None
    basis = _basis(null, size, lib)
    found = Columns(product, lib) if columns is None else columns
    before = found.products
    matrix = found.between(basis)
    return DenseSystem(matrix, basis, lib, found.products - before)


def dense_inverse(product: Flat, size: int, null: NullSpace | None, lib: Backend) -> Flat | None:
    """The inverse of a system as a map on flat arrays; None where it is large, singular or indefinite."""
    found = write_out(product, size, null, lib, MORE)
    if found is None or not len(found.values):
        return None
    if is_singular(found.values, np.finfo(np.float64).eps) or found.values[0] <= 0:
        return None
    return found.inverse


def is_singular(values: np.ndarray, epsilon: float) -> bool:
    """Whether the least of some eigenvalues is zero but for rounding; False where rounding leaves that open."""
    if not len(values):
        return False
    sizes = np.abs(values)
    rounding = SINGULAR * epsilon * sizes.max()
    if sizes.max() == 0:
        return True
    return bool(sizes.min() <= rounding <= DECIDED * np.median(sizes[sizes > rounding]))


def solve_directly(system: DenseSystem, apply: Flat, rhs: Any, accuracy: Accuracy) -> Solved | None:
    """Solve with the inverse of a definite system; None where that leaves more of the residual than was asked for.

    Parameters
    ----------
    system : DenseSystem
    apply : callable
        The same system on flat arrays, by which the residual is measured and corrected.
    rhs : flat real array
        In the space that may move.
    accuracy : Accuracy

    References
    ----------
    Higham (2002), *Accuracy and Stability of Numerical Algorithms*, chapter 12, for iterative refinement.
    """
    iteration = _Refinement(system, apply, rhs)
    scale = iteration.rhs_norm
    if scale == 0.0:
        return Solved(system.lib.zeros(tuple(rhs.shape)), 0.0, 0, "none", None, "", accuracy.tol)
    iteration.start()
    for _ in range(ROUNDS):
        before = iteration.residual
        iteration.advance()
        if not accuracy.tol * scale < iteration.residual <= GAIN * before:
            break
    if not iteration.residual <= accuracy.tol * scale:
        return None
    relative = iteration.residual / scale
    return Solved(iteration.state, relative, iteration.products, "direct", None, "", accuracy.tol, iteration)


class _Refinement(LinearIteration):
    """``x += A^-1 (b - A x)`` with an inverse that is exact but for rounding."""

    def __init__(self, system: DenseSystem, apply: Flat, rhs: Any) -> None:
        super().__init__(apply, rhs, system.lib, system.inverse)
        self._system = system

    def start(self, z0: Any = None) -> None:
        self._reset()
        self._x = self._own_start(z0)
        self._r = self._first_residual(z0, self._x)
        self.residual = norm(self._r, self.lib)

    def advance(self) -> float:
        self._x = self.lib.add(self._x, self._system.inverse(self._r))
        self._r = self.lib.subtract(self.rhs, self._product(self._x))
        self.residual = norm(self._r, self.lib)
        return self.residual

    @property
    def state(self) -> Any:
        return self._x

    def ritz_values(self) -> np.ndarray:
        return self._system.values


def _basis(null: NullSpace | None, size: int, lib: Backend) -> Any:
    """An orthonormal basis of what may move, as columns."""
    if null is None:
        return sp.eye_array(size, format="csr")
    if null.labels is not None:
        free = np.flatnonzero(null.labels < null.dimension)
        sets = null.labels[free]
        lengths = np.sqrt(np.bincount(sets, minlength=null.dimension))
        return sp.csr_array((1.0 / lengths[sets], (free, sets)), shape=(size, null.dimension))
    projector = np.stack([np.array(lib.to_numpy(null.project(lib.asarray(u, "real")))) for u in np.eye(size)])
    found: np.ndarray = np.linalg.eigh(0.5 * (projector + projector.T))[1][:, size - null.dimension :]
    return found
