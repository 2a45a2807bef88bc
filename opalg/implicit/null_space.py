"""Null spaces of rows of linear maps: orthogonal projectors, particular solutions and multipliers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import isqrt
from typing import Any

import numpy as np
import scipy.linalg

from opalg.arrays import Backend
from opalg.errors import ParameterError, ShapeError
from opalg.implicit.row_graph import RowGraph
from opalg.implicit.row_structure import RowStructure

FlatMap = Callable[[Any], Any]

_CONSISTENT = 1e4  # multiples of epsilon up to which a right-hand side counts as one in the range
_CHUNK = 64  # entries that are added up one after the other at least
_CLEAR = 1e6  # how far apart the singular values of a clear rank are: the rest is rounding


class NullSpace(ABC):
    """The space ``{w : K w = 0}`` of some rows K, the inactive ones, of linear maps; all arrays are flat and real.

    A complex variable is packed as pairs of reals (`opalg.iterations.VectorSpace`); a row of the structure of such a
    variable then stands for ``width = 2`` consecutive rows of K.

    Attributes
    ----------
    lib : Backend
        Library, device and precision of the arrays.
    size : int
        The length of w.
    rows : int
        The length of d and of p, how many rows K has.
    dimension : int
        The dimension of the null space.
    unique : bool
        Whether no other p gives the same ``K^T p``: whether the rows are linearly independent, those of zeros aside,
        whose multipliers act on nothing.
    exact : bool
        Whether the space is right but for rounding; False where it rests on a rank that is not clear.
    labels : array of int or None
        For each entry the set of entries that it moves with, all of them equal; ``dimension`` or more for those held at
        zero. None where the space is no such space.
    """

    lib: Backend
    size: int
    rows: int
    dimension: int
    unique: bool
    exact: bool = True
    labels: np.ndarray | None = None

    @abstractmethod
    def project(self, flat: Any) -> Any:
        """The nearest point of the null space, a fresh array."""

    @abstractmethod
    def particular(self, d: Any) -> Any:
        """The smallest w with ``K w = d``; where there is none, the smallest among the least-squares solutions."""

    @abstractmethod
    def multipliers(self, rho: Any) -> Any:
        """The smallest p with ``K^T p = rho``, for rho in the range of ``K^T``, that is orthogonal to the space."""


class CoordinateNullSpace(NullSpace):
    """Rows that read one entry each: a mask.

    Parameters
    ----------
    rows : RowStructure
        The inactive rows, none of them a difference.
    lib : Backend
        Library, device and precision.
    width : int
        How many consecutive packed entries stand for one entry of the structure: 2 for complex variables.

    Raises
    ------
    ParameterError
        Where a row is a difference.

    Notes
    -----
    Rows ``c_r x[h]`` of one entry share it: both the least-squares solution and the smallest multipliers weigh them by
    ``c_r / sum c^2``.
    """

    def __init__(self, rows: RowStructure, lib: Backend, width: int = 1) -> None:
        if not rows.single:
            place = int(np.flatnonzero(rows.tail >= 0)[0])
            raise ParameterError(
                f"a CoordinateNullSpace takes rows that read one entry, but row {place} is a difference; "
                f"use ComponentNullSpace"
            )
        self.lib, self.size, self.rows = lib, rows.in_size * width, len(rows) * width
        used = rows.coefficient != 0
        fixed = np.bincount(rows.head[used], minlength=rows.in_size)
        self.dimension = width * int(np.count_nonzero(fixed == 0))
        self.unique = bool(np.all(fixed <= 1))
        largest = np.zeros(rows.in_size)
        np.maximum.at(largest, rows.head[used], np.abs(rows.coefficient[used]))
        c = rows.coefficient[used] / largest[rows.head[used]]
        squares = np.bincount(rows.head[used], c**2, rows.in_size)
        shares = np.zeros(len(rows))
        shares[used] = c / squares[rows.head[used]] / largest[rows.head[used]]
        free = np.repeat(fixed == 0, width)
        self.labels = np.where(free, np.cumsum(free) - 1, self.dimension)
        self._mask = lib.asarray(free.astype(np.float64), "real")
        self._shares = lib.asarray(np.repeat(shares, width), "real")
        self._heads = lib.indices(_widened(np.maximum(rows.head, 0), width))

    def project(self, flat: Any) -> Any:
        return self.lib.multiply(flat, self._mask)

    def particular(self, d: Any) -> Any:
        if self.rows == 0:
            return self.lib.zeros((self.size,))
        return self.lib.add_at(self.lib.multiply(d, self._shares), self._heads, self.size, -1, True)

    def multipliers(self, rho: Any) -> Any:
        return self.lib.multiply(self.lib.take(rho, self._heads, -1), self._shares)


class ComponentNullSpace(NullSpace):
    """Rows that read one entry or a difference of two: means over connected components.

    The null space of ``c (x[h] - x[t])`` holds what is constant on each component of the graph of the rows, and zero
    on those that a row ``c x[h]`` touches.

    Parameters
    ----------
    rows : RowStructure
        The inactive rows.
    lib : Backend
        Library, device and precision.
    width : int
        How many consecutive packed entries stand for one entry of the structure: 2 for complex variables.

    Notes
    -----
    Projections run on the library's device. Particular solutions and multipliers are found on the host: along a
    spanning forest, and where there are cycles by the Laplacian ``K^T K`` with one entry of each component held.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.arrays import backend
    >>> from opalg.implicit.null_space import ComponentNullSpace
    >>> from opalg.implicit.row_structure import row_structure
    >>> rows = row_structure(np.diff, 5).select(np.array([True, True, False, True]))
    >>> ComponentNullSpace(rows, backend("numpy")).project(np.array([0.0, 1.0, 5.0, 2.0, 4.0]))
    array([2., 2., 2., 3., 3.])
    """

    def __init__(self, rows: RowStructure, lib: Backend, width: int = 1) -> None:
        self.lib, self.size, self.rows = lib, rows.in_size * width, len(rows) * width
        self._structure, self._width = rows, width
        self._graph = RowGraph(rows)
        self.dimension = self._graph.free * width
        self.unique = self._graph.forest
        self.labels = _widened(self._graph.labels, width)
        self._means = _Means(self.labels, self.dimension, lib)

    def project(self, flat: Any) -> Any:
        return self._means(flat)

    def particular(self, d: Any) -> Any:
        wanted = self._on_host(d)
        w = self._graph.potentials(wanted)
        if not self._graph.forest:
            left = wanted - self._structure.apply(w)
            left[self._structure.coefficient == 0] = 0
            sizes = np.abs(wanted) + np.abs(self._structure.coefficient)[:, None] * np.abs(w).max(initial=0.0)
            if np.any(np.abs(left) > _CONSISTENT * self.lib.epsilon * sizes):
                w = w + self._graph.least_squares(left)
        return self._on_device(self._graph.centred(w))

    def multipliers(self, rho: Any) -> Any:
        way = self._graph.flows if self._graph.forest else self._graph.smallest_flows
        return self._on_device(way(self._on_host(rho)))

    def _on_host(self, flat: Any) -> np.ndarray:
        return np.asarray(self.lib.to_numpy(flat), dtype=np.float64).reshape(-1, self._width)

    def _on_device(self, values: np.ndarray) -> Any:
        return self.lib.asarray(values.reshape(-1), "real")


class TightFrameNullSpace(NullSpace):
    """Some rows of a map whose rows are all orthogonal and equally long, ``K K^T = s I``.

    Parameters
    ----------
    apply, adjoint : callable
        The whole map and its adjoint, from flat real array to flat real array.
    scale : float
        The number s.
    inactive : boolean array, or array of int
        The inactive rows among all rows of the packed map: a mask, or their positions, all different.
    out_size : int
        How many rows the packed map has.
    size : int
        The length of w.
    lib : Backend
        Library, device and precision.

    Raises
    ------
    ParameterError
        Where s is not positive.
    ShapeError
        Where the map has more rows than columns, or a row lies outside.
    """

    def __init__(
        self, apply: FlatMap, adjoint: FlatMap, scale: float, inactive: Any, out_size: int, size: int, lib: Backend
    ) -> None:
        if not 0 < scale < float("inf"):
            raise ParameterError(f"K K^T = s I of a TightFrameNullSpace needs a positive number s, not {scale}")
        if out_size > size:
            raise ShapeError(
                f"K K^T = s I needs at most as many rows as columns, not {out_size} rows for {size} columns"
            )
        mask = np.zeros(out_size, dtype=bool)
        try:
            mask[inactive] = True
        except IndexError as error:
            raise ShapeError(f"the inactive rows must be among the {out_size} rows of the map: {error}") from None
        places = np.flatnonzero(mask)
        if np.asarray(inactive).dtype.kind != "b":
            places = np.asarray(inactive, dtype=np.int64)
        self.lib, self.size, self.rows = lib, size, len(places)
        self.dimension, self.unique = size - self.rows, True
        self._apply, self._adjoint, self._out_size = apply, adjoint, out_size
        self._inverse = 1.0 / scale
        self._mask = lib.asarray(mask * self._inverse, "real")
        self._places = lib.indices(places)

    def project(self, flat: Any) -> Any:
        return self.lib.subtract(flat, self._adjoint(self.lib.multiply(self._apply(flat), self._mask)))

    def particular(self, d: Any) -> Any:
        whole = self.lib.add_at(self.lib.multiply(d, self._inverse), self._places, self._out_size, -1, False)
        return self.lib.copy(self._adjoint(whole))

    def multipliers(self, rho: Any) -> Any:
        return self.lib.multiply(self.lib.take(self._apply(rho), self._places, -1), self._inverse)


class DenseNullSpace(NullSpace):
    """Any rows of a small map, by a singular value decomposition.

    Parameters
    ----------
    matrix : array, shape ``(rows, size)``
        The inactive rows, real; on the host.
    lib : Backend
        Library, device and precision.

    Raises
    ------
    ShapeError
        Where it is no matrix.

    Notes
    -----
    The rows are brought to length 1 before their rank is judged, so that it does not depend on their weights: singular
    values up to ``max(rows, size) eps`` times the largest count as zero. It is called exact where all others are at
    least a million times that.
    """

    def __init__(self, matrix: np.ndarray, lib: Backend) -> None:
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.ndim != 2:
            raise ShapeError(f"the rows of a DenseNullSpace must be a matrix, not an array of shape {matrix.shape}")
        self.lib, (self.rows, self.size) = lib, matrix.shape
        self._matrix = matrix
        largest = np.abs(matrix).max(axis=1, initial=0.0)
        self._kept = largest > 0
        scaled = matrix[self._kept] / largest[self._kept, None]
        lengths = np.linalg.norm(scaled, axis=1)
        self._lengths = lengths * largest[self._kept]
        u, s, vt = _singular(scaled / lengths[:, None])
        floor = max(matrix.shape) * np.finfo(np.float64).eps * s.max(initial=0.0)
        rank = int(np.count_nonzero(s > floor))
        self.exact = rank == 0 or bool(s[rank - 1] > _CLEAR * floor)
        self.dimension, self.unique = self.size - rank, rank == len(scaled)
        self._left, self._values, self._right = u[:, :rank], s[:rank], vt[:rank].T
        self._complement = rank < self.dimension
        basis = self._right if self._complement else vt[rank:].T
        self._basis, self._transposed = (lib.asarray(np.ascontiguousarray(b), "real") for b in (basis, basis.T))

    def project(self, flat: Any) -> Any:
        if self._basis.shape[1] == 0:
            return self.lib.copy(flat) if self._complement else self.lib.zeros((self.size,))
        part = self.lib.matmul(self._basis, self.lib.matmul(self._transposed, flat))
        return self.lib.subtract(flat, part) if self._complement else part

    def particular(self, d: Any) -> Any:
        wanted = self._on_host(d)
        kept = wanted[self._kept]
        w = self._right @ (self._left.T @ (kept / self._lengths) / self._values)
        left = kept - self._matrix[self._kept] @ w
        sizes = np.abs(kept) + self._lengths * np.linalg.norm(w)
        if np.any(np.abs(left) > _CONSISTENT * self.lib.epsilon * sizes):
            q, r = self._triangular()
            w = w + self._right @ scipy.linalg.solve_triangular(r, q.T @ left)
        return self.lib.asarray(w, "real")

    def multipliers(self, rho: Any) -> Any:
        inside = self._right.T @ self._on_host(rho)
        p = np.zeros(self.rows)
        if self.unique:
            p[self._kept] = self._left @ (inside / self._values) / self._lengths
        else:
            q, r = self._triangular()
            p[self._kept] = q @ scipy.linalg.solve_triangular(r, inside, trans="T")
        return self.lib.asarray(p, "real")

    def _triangular(self) -> tuple[np.ndarray, np.ndarray]:
        """The factors of ``K V``, of full column rank, with an orthonormal basis V of the range of ``K^T``."""
        return np.linalg.qr(self._matrix[self._kept] @ self._right)

    def _on_host(self, flat: Any) -> np.ndarray:
        return np.asarray(self.lib.to_numpy(flat), dtype=np.float64)


class _Means:
    """Means over sets of entries, in place of the entries; zero where the label is ``count`` or above.

    Large sets are added up in chunks first: shorter sums round less, and parallel devices wait less for each other.
    """

    def __init__(self, labels: np.ndarray, count: int, lib: Backend) -> None:
        self.lib = lib
        self._total = max(count, int(labels.max(initial=-1)) + 1)
        sizes = np.bincount(labels, minlength=self._total)
        factors = np.where(np.arange(self._total) < count, 1.0 / np.maximum(sizes, 1), 0.0)
        parts, owners = _chunks(labels, sizes)
        self._parts, self._owners, self._labels = lib.indices(parts), lib.indices(owners), lib.indices(labels)
        self._factors = lib.asarray(factors, "real")

    def __call__(self, flat: Any) -> Any:
        sums = self.lib.add_at(flat, self._parts, self._owners.shape[0], -1, True)
        if self._owners.shape[0] > self._total:
            sums = self.lib.add_at(sums, self._owners, self._total, -1, True)
        return self.lib.take(self.lib.multiply(sums, self._factors), self._labels, -1)


def _chunks(labels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each entry its chunk, and for each chunk its label."""
    length = max(_CHUNK, isqrt(int(sizes.max(initial=0))))
    counts = np.maximum(-(-sizes // length), 1)
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return (np.cumsum(counts) - counts)[labels] + rank // length, np.repeat(np.arange(len(sizes)), counts)


def _widened(places: np.ndarray, width: int) -> np.ndarray:
    """Positions of entries as positions of their packed parts."""
    return (places[:, None] * width + np.arange(width)).reshape(-1).astype(np.int64)


def _singular(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values and vectors, the right ones complete."""
    rows, columns = matrix.shape
    if rows == 0 or columns == 0:
        return np.zeros((rows, 0)), np.zeros(0), np.eye(columns)
    if rows <= columns:
        return np.linalg.svd(matrix, full_matrices=True)
    return np.linalg.svd(matrix, full_matrices=False)
