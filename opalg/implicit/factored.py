"""A preconditioner for sparse rows: the factors of ``D + K^T B K`` with a diagonal D in place of the Hessian of f.

Near jumps that are small the curvature ``B`` of a norm is huge, and conjugate gradients alone would need thousands of
products. ``B`` couples few entries, such as those of one group; which ones is found by probing and verified.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from opalg.arrays import Backend
from opalg.implicit.programs import Arrays
from opalg.iterations import VectorSpace

WIDEST = 16  # entries of one block of B at most
AGREES = 1e-6  # of the check with a random vector
SHIFT = 1e-12  # relative to the largest diagonal entry, where nothing else makes the matrix definite
PROBES = 4  # products with random signs

Flat = Callable[[Any], Any]


def curvature_blocks(
    apply: Callable[[Arrays], Arrays], space: VectorSpace, known: dict[Hashable, Any]
) -> sp.csr_array | None:
    """A symmetric map on the packed arrays of a space as a sparse matrix, where it couples few entries; else None.

    Parameters
    ----------
    apply : callable
        The map, from arrays to arrays; it must not couple entries of different arrays.
    space : VectorSpace
        That of the arrays, on the map's library.
    known : dict
        Remembers along which axes entries are coupled, from one call to the next.
    """
    host = space.lib

    def packed(flat: np.ndarray) -> np.ndarray:
        given = list(space.unpack(host.asarray(flat, "real")))
        return np.asarray(host.to_numpy(space.pack(apply(given))), dtype=np.float64)

    parts = []
    for i in range(len(space.shapes)):
        found = _part(packed, space, i, known)
        if found is None:
            return None
        parts.append(found)
    rows, columns, values = (np.concatenate(p) for p in zip(*parts, strict=True))
    return sp.csr_array((values, (rows, columns)), shape=(space.size, space.size))


def _part(packed: Flat, space: VectorSpace, i: int, known: dict[Hashable, Any]) -> Any:
    """Rows, columns and values of the blocks of array i."""
    begin, end = space.range_of(i)
    shape = (*space.shapes[i], 2) if space.kinds[i] == "complex" else space.shapes[i]
    places = np.arange(begin, end).reshape(shape)
    key = ("axes", i)
    for axes in [known[key]] if key in known else _candidates(shape, space.kinds[i] == "complex"):
        found = _along(packed, space.size, places, axes)
        if found is not None:
            known[key] = axes
            return found
    return None


def _candidates(shape: tuple[int, ...], is_complex: bool) -> Iterator[tuple[int, ...]]:
    """Sets of axes along which entries may be coupled, the smallest blocks first."""
    yield ()
    last = (len(shape) - 1,) if is_complex else ()
    if is_complex:
        yield last
    for axis in sorted(range(len(shape) - len(last)), key=lambda k: shape[k]):
        if prod(shape[k] for k in (axis, *last)) <= WIDEST:
            yield (axis, *last)


def _along(packed: Flat, total: int, places: np.ndarray, axes: tuple[int, ...]) -> Any:
    """The blocks along some axes; None where a random vector shows that there is more."""
    rng = np.random.default_rng(0)
    lengths = [places.shape[a] for a in axes]
    moved = np.moveaxis(places, axes, range(len(axes))).reshape(prod(lengths), -1)
    random, claimed = np.zeros(total), np.zeros(total)
    random[places] = rng.standard_normal(places.shape)
    rows, columns, values = [], [], []
    for j in range(len(moved)):
        unit = np.zeros(total)
        unit[moved[j]] = 1.0
        answer = packed(unit)[moved]
        rows.append(moved.ravel())
        columns.append(np.broadcast_to(moved[j], moved.shape).ravel())
        values.append(answer.ravel())
        claimed[moved] += answer * random[moved[j]]
    wrong = np.abs(packed(random) - claimed).max(initial=0.0)
    if not wrong <= AGREES * max(np.abs(claimed).max(initial=0.0), np.finfo(float).tiny):
        return None
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


class Factored:
    """``Z (Z^T (D + K^T B K) Z)^-1 Z^T`` from sparse factors, with the indicators Z of sets that move as one.

    Parameters
    ----------
    diagonal : array
        ``D``, or ``Z^T D Z`` where sets are given; positive.
    rows : sparse array
        ``K``
    blocks : sparse array
        ``B``, positive semidefinite but for rounding.
    lib : Backend
        Library of the arrays that it is applied to; the factors live on the host.
    labels : array of int, optional
        The set of each entry; those of ``count`` or above are held at zero. By default every entry moves by itself.
    count : int, optional
        How many sets there are.
    """

    def __init__(
        self,
        diagonal: np.ndarray,
        rows: sp.csr_array,
        blocks: sp.csr_array,
        lib: Backend,
        labels: np.ndarray | None = None,
        count: int = 0,
    ) -> None:
        self.lib = lib
        self._sets = _indicators(labels, count) if labels is not None else None
        self._gather: Any = None if self._sets is None else self._sets.T  # SciPy builds it anew at each `.T`
        moving = rows if self._sets is None else sp.csr_array(rows @ self._sets)
        blocks = (blocks + blocks.T) * 0.5
        matrix = sp.csc_array(moving.T @ (blocks @ moving))
        matrix.eliminate_zeros()
        floor = SHIFT * np.abs(matrix.diagonal()).max(initial=1.0)
        matrix = sp.csc_array(matrix + sp.diags_array(np.maximum(diagonal, floor)))
        self._factors = (
            splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
            if matrix.shape[0]
            else None
        )

    def __call__(self, flat: Any) -> Any:
        if self._factors is None:
            return self.lib.zeros(tuple(flat.shape))
        on_host = np.asarray(self.lib.to_numpy(flat), dtype=np.float64)
        if self._sets is None:
            return self.lib.asarray(self._factors.solve(on_host), "real")
        return self.lib.asarray(self._sets @ self._factors.solve(self._gather @ on_host), "real")


def _indicators(labels: np.ndarray, count: int) -> sp.csr_array:
    """One column for each set, 1 at its entries."""
    free = np.flatnonzero(labels < count)
    return sp.csr_array((np.ones(len(free)), (free, labels[free])), shape=(len(labels), count))


def hessian_diagonal(product: Flat, size: int, lib: Backend) -> np.ndarray | None:
    """The diagonal of a Hessian where it is a diagonal matrix, else its mean everywhere; None where that is negative.

    Random signs z give ``z * H z``, the diagonal plus what the other entries add (Hutchinson 1990); where two of them
    agree there are no others.
    """
    found = []
    for seed in (0, 1):
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), size)
        answer = np.asarray(lib.to_numpy(product(lib.asarray(signs, "real"))), dtype=np.float64)
        found.append(signs * answer)
    largest = np.abs(found[0]).max(initial=0.0)
    if np.abs(found[0] - found[1]).max(initial=0.0) <= AGREES * largest:
        return found[0] if found[0].min(initial=0.0) >= 0 else None
    mean = float(np.mean(found))
    return np.full(size, mean) if mean > 0 else None


def set_diagonal(product: Flat, entry: float, labels: np.ndarray, count: int, lib: Backend) -> np.ndarray:
    """About the diagonal of ``Z^T H Z`` with the indicators Z of sets: random signs, averaged over sets of like size.

    What a blur leaves of a set depends on its size above all. Where chance makes an average of few sets negative, it is
    that of ``entry``, the diagonal entries of H, which are all about the same.
    """
    sizes = np.bincount(labels, minlength=count)[:count]
    free = labels < count
    found = np.zeros(count)
    for seed in range(PROBES):
        signs = np.append(np.random.default_rng(seed).choice((-1.0, 1.0), count), np.zeros(len(labels) and 1))
        spread = np.where(free, signs[np.minimum(labels, count)], 0.0)
        answer = np.asarray(lib.to_numpy(product(lib.asarray(spread, "real"))), dtype=np.float64)
        found += signs[:count] * np.bincount(labels, answer, count)[:count] / PROBES
    classes = np.floor(np.log2(np.maximum(sizes, 1))).astype(np.int64)
    totals, entries = np.bincount(classes, found), np.bincount(classes, sizes)
    means = totals / np.maximum(entries, 1)
    means = np.where(means > 0, means, entry)
    return np.asarray(means[classes] * sizes)


__all__: Sequence[str] = ["Factored", "curvature_blocks", "hessian_diagonal", "set_diagonal"]
