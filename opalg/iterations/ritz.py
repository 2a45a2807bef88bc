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
