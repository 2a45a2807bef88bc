"""Linear systems with known spectra, and the plain loop that the tests of iterations drive them with."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.iterations import Iteration


def orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def symmetric(rng: np.random.Generator, eigenvalues: np.ndarray) -> np.ndarray:
    """A random symmetric matrix with the given eigenvalues."""
    vectors = orthogonal(rng, len(eigenvalues))
    matrix = vectors * eigenvalues @ vectors.T
    return (matrix + matrix.T) / 2


def drive(iteration: Iteration, tolerance: float, limit: int, start: Any = None) -> int:
    """Advance until the residual is at most the tolerance, something happens or the limit is met; the count."""
    iteration.start(start)
    for count in range(1, limit + 1):
        if iteration.advance() <= tolerance or iteration.outcome is not None:
            return count
    return limit


class Matrix:
    """A dense matrix as a map of flat arrays of one library that counts its products and checks its arguments."""

    def __init__(self, matrix: np.ndarray, lib: Any) -> None:
        self.array, self.lib, self.products = lib.asarray(matrix), lib, 0

    def __call__(self, vector: Any) -> Any:
        assert self.lib.owns(vector)
        assert str(vector.dtype).endswith(self.lib.precision)
        self.products += 1
        return self.lib.matmul(self.array, vector)
