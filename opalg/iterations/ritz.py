"""Ritz values: what a Krylov iteration learns about the spectrum at no cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg


def tridiagonal_eigenvalues(diagonal: Sequence[float] | np.ndarray, beside: Sequence[float] | np.ndarray) -> np.ndarray:
    """The eigenvalues of a symmetric tridiagonal matrix, ascending; ``beside`` has one entry less."""
    if len(diagonal) == 0:
        return np.zeros(0)
    return scipy.linalg.eigvalsh_tridiagonal(np.asarray(diagonal), np.asarray(beside, dtype=float))


def hessenberg_eigenvalues(hessenberg: np.ndarray) -> np.ndarray:
    """The eigenvalues of a square upper Hessenberg matrix, complex, in order of their real parts."""
    values = np.linalg.eigvals(hessenberg).astype(complex) if hessenberg.size else np.zeros(0, dtype=complex)
    return values[np.argsort(values.real, kind="stable")]


def hessenberg_pairs(hessenberg: np.ndarray, beside: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The eigenvalues of a square upper Hessenberg matrix, and how good they are as Ritz values.

    Parameters
    ----------
    hessenberg : array, shape ``(k, k)``
        ``V.T A V`` of an Arnoldi relation ``A V = V H + h v e_k.T``.
    beside : float
        The ``h`` of that relation.

    Returns
    -------
    values : array, shape ``(k,)``
        Complex, in order of their real parts.
    residuals : array, shape ``(k,)``
        ``|A x - theta x|`` of each Ritz vector ``x = V y`` of unit length, which is ``h |last entry of y|``.
    conditions : array, shape ``(k,)``
        ``1 / |w.H y|`` for unit left and right eigenvectors of H: by how much a perturbation of H of size 1 moves the
        value, to first order; 1 for a symmetric matrix.

    References
    ----------
    Saad (2011), Proposition 6.8 and section 3.3.
    """
    values, vectors, conditions = eigenpairs(hessenberg)
    return values, abs(beside) * np.abs(vectors[-1]) if len(vectors) else np.zeros(0), conditions


def eigenpairs(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues in order of their real parts, unit eigenvectors, and the conditions ``1 / |w.H y|`` of the values."""
    if not matrix.size:
        return np.zeros(0, dtype=complex), np.zeros((0, 0)), np.zeros(0)
    values, left, right = scipy.linalg.eig(matrix, left=True, right=True)
    order = np.argsort(values.real, kind="stable")
    left, right = (side[:, order] / np.linalg.norm(side[:, order], axis=0) for side in (left, right))
    overlap = np.abs(np.sum(left.conj() * right, axis=0))
    return values.astype(complex)[order], right, 1.0 / np.maximum(overlap, np.finfo(float).tiny)


def projected_pairs(
    rectangle: np.ndarray, cross: np.ndarray, gram: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ritz values of A on the range of Z, and how good they are, from an Arnoldi relation ``A Z = V H``.

    Parameters
    ----------
    rectangle : array, shape ``(k + 1, k)``
        The H.
    cross : array, shape ``(k + 1, k)``
        ``V.T Z``.
    gram : array, shape ``(k, k)``
        ``Z.T Z``; directions in which it vanishes up to rounding are left out.

    Returns
    -------
    values, residuals, conditions : array
        As `hessenberg_pairs` returns them: ``A x - theta x`` is orthogonal to the range of Z.

    References
    ----------
    Saad (2011), section 4.3.1.
    """
    basis = orthonormalising(gram)
    if basis.shape[1] == 0:
        return np.zeros(0, dtype=complex), np.zeros(0), np.zeros(0)
    image, overlap = rectangle @ basis, cross @ basis
    square = overlap.T @ image
    values, vectors, conditions = eigenpairs(square)
    lengths = np.sum(np.abs(image @ vectors) ** 2, axis=0) - np.abs(values) ** 2
    return values, np.sqrt(np.maximum(lengths, 0.0)), conditions


def orthonormalising(gram: np.ndarray) -> np.ndarray:
    """A matrix W such that ``Z W`` has orthonormal columns, where ``gram = Z.T Z``; fewer where that is singular."""
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > max(len(gram) * np.finfo(float).eps * squares.max(initial=0.0), np.finfo(float).tiny)
    return vectors[:, kept] / np.sqrt(squares[kept])
