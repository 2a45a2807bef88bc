"""Small reduced systems as matrices: their eigenvalues, and their exact inverse as a preconditioner."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.implicit.linear_solve import Flat
from opalg.implicit.reduced import Reduced

FEW = 512  # unknowns up to which a system is written out
SINGULAR = 30.0  # multiples of epsilon, relative to the largest eigenvalue, up to which one may be rounding
DECIDED = 1e-4  # of the median eigenvalue above zero: where rounding is larger, a small one says nothing


def eigenvalues(jacobian: Reduced, few: int = FEW) -> np.ndarray | None:
    """The eigenvalues of ``H + K^T C K`` on the null space of the held rows; None where it is large."""
    found = _matrix(jacobian, few)
    return None if found is None else np.linalg.eigvalsh(found[0])


def is_singular(values: np.ndarray, epsilon: float) -> bool:
    """Whether the least of some eigenvalues is zero but for rounding; False where rounding leaves that open."""
    if not len(values):
        return False
    sizes = np.abs(values)
    rounding = SINGULAR * epsilon * sizes.max()
    if sizes.max() == 0:
        return True
    return bool(sizes.min() <= rounding <= DECIDED * np.median(sizes[sizes > rounding]))


def dense_inverse(jacobian: Reduced) -> Flat | None:
    """The inverse of a small system as a map on flat arrays; None where it is large, singular or indefinite."""
    found = _matrix(jacobian)
    if found is None or not found[0].size:
        return None
    matrix, basis = found
    values, vectors = np.linalg.eigh(matrix)
    if is_singular(values, np.finfo(np.float64).eps) or values[0] <= 0:
        return None
    lib = jacobian.lib
    half = lib.asarray(basis @ (vectors / np.sqrt(values)), "real")
    transposed = lib.asarray(np.ascontiguousarray((basis @ (vectors / np.sqrt(values))).T), "real")
    return lambda flat: lib.matmul(half, lib.matmul(transposed, flat))


def _matrix(jacobian: Reduced, few: int = FEW) -> tuple[np.ndarray, np.ndarray] | None:
    """The system in an orthonormal basis of what may move, and that basis."""
    null, size, lib = jacobian.null_space, jacobian.space.size, jacobian.lib
    dimension = size if null is None else null.dimension
    if dimension > few or (null is not None and null.labels is None and size > 2 * few):
        return None
    basis = _basis(jacobian, size)
    columns = [
        np.array(lib.to_numpy(jacobian.product(lib.asarray(b, "real"))), dtype=np.float64)
        for b in np.ascontiguousarray(basis.T)
    ]
    if not columns:
        return np.zeros((0, 0)), basis
    matrix = basis.T @ np.stack(columns, axis=1)
    return 0.5 * (matrix + matrix.T), basis


def _basis(jacobian: Reduced, size: int) -> np.ndarray:
    """An orthonormal basis of what may move, as columns."""
    null, lib = jacobian.null_space, jacobian.lib
    if null is None:
        return np.eye(size)
    if null.labels is not None:
        basis = np.zeros((size, null.dimension))
        free = np.flatnonzero(null.labels < null.dimension)
        basis[free, null.labels[free]] = 1.0
        return basis / np.linalg.norm(basis, axis=0)
    columns: list[Any] = [np.array(lib.to_numpy(null.project(lib.asarray(u, "real")))) for u in np.eye(size)]
    projector = np.stack(columns)
    found: np.ndarray = np.linalg.eigh(0.5 * (projector + projector.T))[1][:, size - null.dimension :]
    return found
