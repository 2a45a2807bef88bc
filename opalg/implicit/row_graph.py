"""Rows that read one entry or a difference of two, as the edges of a graph between the entries."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import cg, splu

from opalg.implicit.row_structure import RowStructure

_WEAKEST = 1e-200  # squared coefficient, relative to the largest: what is weaker would make the Laplacian singular
_MANY, _CROWDED = 30_000, 2.5  # entries, and rows for each of them, from which factors fill up, as on 3-D grids
_DEEP, _LONG = 1e-9, 5000  # relative residual of the iterative solves, two of which follow each other, and their length
_MISSED = 1e-10  # part of a right-hand side that the Laplacian may leave


class RowGraph:
    """The graph whose nodes are the entries of x and whose edges are rows ``c (x[h] - x[t])``.

    A row ``c x[h]`` is an edge to the ground, one more node, at which x is zero. Right-hand sides are matrices, rows or
    entries along their first axis.

    Parameters
    ----------
    rows : RowStructure
        The rows; those of zeros are no edges.

    Attributes
    ----------
    size : int
        How many entries x has.
    edges : array of int64
        Which rows are edges.
    labels : array of int64, shape ``(size,)``
        The component of each entry, from 0; ``free`` for entries that are connected to the ground.
    free : int
        How many components there are without the ground.
    forest : bool
        Whether there is no cycle, not even through the ground: whether the edges' rows are linearly independent.
    """

    def __init__(self, rows: RowStructure) -> None:
        self.size = rows.in_size
        self.edges = np.flatnonzero((rows.coefficient != 0) & (rows.head >= 0) & (rows.head != rows.tail))
        self.count = len(rows)
        kept = rows.select(self.edges)
        self.rows = kept
        self._head, self._tail = kept.head, np.where(kept.tail < 0, self.size, kept.tail)
        _, found = connected_components(self._adjacency(self._head, self._tail), directed=False)
        grounded = found == found[self.size]
        names = np.full(self.size + 1, 0, dtype=np.int64)
        free, names_of_free = np.unique(found[~grounded], return_inverse=True)
        names[grounded], names[~grounded] = len(free), names_of_free
        self.labels, self.free = names[: self.size], len(free)
        self.forest = len(kept) == self.size - self.free

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many entries each component has, the grounded one last."""
        return np.bincount(self.labels, minlength=self.free + 1)

    def centred(self, x: np.ndarray) -> np.ndarray:
        """x without its mean over each free component."""
        sums = self._add(x, self.labels, self.free + 1)
        means = sums / np.maximum(self.sizes, 1)[:, None]
        means[self.free] = 0
        return x - means[self.labels]

    def potentials(self, d: np.ndarray) -> np.ndarray:
        """Values x with ``K x = d`` on the edges of a spanning forest, zero at one entry of each free component."""
        values = np.zeros((self.size + 1, *d.shape[1:]))
        reached, edge, sign = self._links
        coefficients = (sign * self.rows.coefficient[edge])[:, None]
        values[reached] = d[self.edges[edge]] / coefficients
        for ancestors in self._ancestors():
            values += values[ancestors]
        return values[: self.size]

    def flows(self, rho: np.ndarray) -> np.ndarray:
        """Values p on the edges of the spanning forest, zero on others, with ``K^T p = rho``."""
        totals = np.concatenate((rho, np.zeros((1, *rho.shape[1:]))))
        for ancestors in self._ancestors():
            totals = totals + self._add(totals, ancestors, self.size + 1)
            totals[self.size] = 0
        reached, edge, sign = self._links
        p = np.zeros((self.count, *rho.shape[1:]))
        p[self.edges[edge]] = totals[reached] / (sign * self.rows.coefficient[edge])[:, None]
        return p

    def least_squares(self, d: np.ndarray) -> np.ndarray:
        """A minimiser x of ``|K x - d|``."""
        b = self._scatter(self._weights[:, None] * (d[self.edges] / self.rows.coefficient[:, None]))
        x = self._solve(b)
        return x + self._solve(b - self._scatter(self._slopes(x)))

    def smallest_flows(self, rho: np.ndarray) -> np.ndarray:
        """The p of minimum norm with ``K^T p = rho``, for rho in the range of ``K^T``.

        Where coefficients differ so much that the Laplacian does not hold their squares, above eight decades, p still
        gives rho, with the help of the forest, but others may be smaller.
        """
        slopes = self._slopes(self._solve(rho))
        slopes += self._slopes(self._solve(rho - self._scatter(slopes)))
        p = np.zeros((self.count, *rho.shape[1:]))
        p[self.edges] = slopes / self.rows.coefficient[:, None]
        left = self.centred(rho) - self._scatter(slopes)
        missed = np.abs(left).max(initial=0.0) > _MISSED * np.abs(rho).max(initial=0.0)
        return p + self.flows(left) if missed else p

    def _adjacency(self, head: np.ndarray, tail: np.ndarray) -> Any:
        ones = np.ones(len(head), dtype=np.int8)
        graph = coo_array((ones, (head, tail)), shape=(self.size + 1, self.size + 1)).tocsr()
        graph.data[:] = 1  # parallel edges were added up, and may have wrapped around to none
        return graph

    @cached_property
    def _roots(self) -> np.ndarray:
        """One entry of each free component."""
        return np.unique(self.labels, return_index=True)[1][: self.free]

    @cached_property
    def _parents(self) -> np.ndarray:
        """The next node on the way to the ground, in a tree to which the roots are joined."""
        ground = np.full(self.free, self.size)
        joined = self._adjacency(np.append(self._head, self._roots), np.append(self._tail, ground))
        _, parents = breadth_first_order(joined, self.size, directed=False)
        parents = parents.astype(np.int64)
        parents[self.size] = self.size
        return parents

    @cached_property
    def _links(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The nodes that are joined to their parents by an edge, that edge, and 1 where they are its head, else -1."""
        low, high = np.minimum(self._head, self._tail), np.maximum(self._head, self._tail)
        keys, first = np.unique(low * (self.size + 1) + high, return_index=True)
        linked = np.ones(self.size, dtype=bool)
        linked[self._roots] = False
        nodes = np.flatnonzero(linked)
        parents = self._parents[nodes]
        wanted = np.minimum(nodes, parents) * (self.size + 1) + np.maximum(nodes, parents)
        edge = first[np.searchsorted(keys, wanted)]
        return nodes, edge, np.where(self._head[edge] == nodes, 1.0, -1.0)

    def _ancestors(self) -> Any:
        """The parents, the parents' parents, and so on, at distances that double until all is ground."""
        ancestors = self._parents
        while np.any(ancestors != self.size):
            yield ancestors
            ancestors = ancestors[ancestors]

    @cached_property
    def _weights(self) -> np.ndarray:
        c = np.abs(self.rows.coefficient)
        return np.maximum((c / c.max(initial=0.0)) ** 2, _WEAKEST)

    @cached_property
    def _laplacian(self) -> Any:
        """``D^T W D`` with differences D and weights W, and a pin at each root that makes it definite."""
        signs = RowStructure(self.rows.head, self.rows.tail, np.ones(len(self.rows)), self.size).matrix()
        product = csr_array(signs.T @ (diags_array(self._weights) @ signs))
        diagonal = product.diagonal()
        pins = np.zeros(self.size)
        pins[self._roots] = np.where(diagonal[self._roots] > 0, diagonal[self._roots], 1.0)
        return (product + diags_array(pins)).tocsc()

    @cached_property
    def _factors(self) -> Any:
        return splu(self._laplacian, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def _solve(self, b: np.ndarray) -> np.ndarray:
        """The Laplacian's inverse, for b without mean on free components."""
        b = self.centred(b)
        if self.size > _MANY and len(self.rows) > _CROWDED * self.size:
            inverse = diags_array(1 / self._laplacian.diagonal())
            found = [cg(self._laplacian, c, rtol=_DEEP, atol=0.0, maxiter=_LONG, M=inverse) for c in b.T]
            if all(info == 0 for _, info in found):
                return np.stack([x for x, _ in found], axis=1)
        return self._factors.solve(np.ascontiguousarray(b))

    def _slopes(self, x: np.ndarray) -> np.ndarray:
        """``W D x``, weighted differences along the edges."""
        whole = np.concatenate((x, np.zeros((1, *x.shape[1:]))))
        return self._weights[:, None] * (whole[self._head] - whole[self._tail])

    def _scatter(self, slopes: np.ndarray) -> np.ndarray:
        """``D^T`` of values on the edges."""
        gained = self._add(slopes, self._head, self.size + 1) - self._add(slopes, self._tail, self.size + 1)
        return gained[: self.size]

    @staticmethod
    def _add(x: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
        return np.stack([np.bincount(places, column, length) for column in x.T], axis=1)
