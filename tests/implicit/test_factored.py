"""Sparse preconditioners: blocks found by probing, and factors that invert what they were made of."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from opalg.arrays import Backend
from opalg.implicit.factored import Factored, curvature_blocks, hessian_diagonal, set_diagonal
from opalg.iterations import VectorSpace


def test_blocks_of_groups_are_found(lib: Backend, rng: np.random.Generator) -> None:
    blocks = rng.standard_normal((3, 3, 5))
    blocks = blocks + blocks.transpose(1, 0, 2)
    space = VectorSpace([(3, 5)], ["real"], lib)

    def apply(d: list) -> list:
        return [lib.asarray(np.einsum("ijk,jk->ik", blocks, np.asarray(lib.to_numpy(d[0]))), "real")]

    known: dict = {}
    found = curvature_blocks(apply, space, known)
    assert found is not None and known == {("axes", 0): (0,)}
    d = rng.standard_normal(15)
    expected = np.einsum("ijk,jk->ik", blocks, d.reshape(3, 5)).ravel()
    np.testing.assert_allclose(found @ d, expected, atol=1e-12)
    assert found.nnz == 45


def test_complex_entries_couple_their_parts(rng: np.random.Generator) -> None:
    from opalg.arrays import backend

    host = backend("numpy")
    space = VectorSpace([(4,)], ["complex"], host)
    n = np.exp(1j * rng.uniform(0, 6, 4))
    found = curvature_blocks(lambda d: [d[0] - n * np.real(np.conj(n) * d[0])], space, {})
    assert found is not None and found.nnz <= 16
    d = rng.standard_normal(4) + 1j * rng.standard_normal(4)
    np.testing.assert_allclose(found @ space.pack([d]), space.pack([d - n * np.real(np.conj(n) * d)]), atol=1e-12)


def test_dense_couplings_are_refused(rng: np.random.Generator) -> None:
    from opalg.arrays import backend

    host = backend("numpy")
    matrix = rng.standard_normal((40, 40))
    assert curvature_blocks(lambda d: [matrix @ d[0]], VectorSpace([(40,)], ["real"], host), {}) is None


def test_factors_invert(lib: Backend, rng: np.random.Generator) -> None:
    K = sp.csr_array(np.diff(np.eye(8), axis=0))
    B = sp.csr_array(np.diag(rng.uniform(1, 100, 7)))
    D = rng.uniform(1, 2, 8)
    matrix = np.diag(D) + (K.T @ B @ K).toarray()
    inverse = Factored(D, K, B, lib)
    w = rng.standard_normal(8)
    np.testing.assert_allclose(lib.to_numpy(inverse(lib.asarray(w, "real"))), np.linalg.solve(matrix, w), rtol=1e-10)
    labels = np.array([0, 0, 1, 1, 2, 3, 3, 3])  # the last three are held at zero
    Z = (labels[:, None] == np.arange(3)).astype(float)
    inverse = Factored(Z.T @ D, K, B, lib, labels, 3)
    reduced = Z @ np.linalg.solve(Z.T @ matrix @ Z, Z.T @ w)
    np.testing.assert_allclose(lib.to_numpy(inverse(lib.asarray(w, "real"))), reduced, rtol=1e-10)
    empty = Factored(np.zeros(0), K, B, lib, np.zeros(8, dtype=int), 0)
    assert not np.any(lib.to_numpy(empty(lib.asarray(w, "real"))))


def test_diagonals_of_hessians(lib: Backend, rng: np.random.Generator) -> None:
    d = rng.uniform(0, 1, 30)
    weigh = lib.asarray(d, "real")
    np.testing.assert_allclose(hessian_diagonal(lambda w: lib.multiply(w, weigh), 30, lib), d, rtol=1e-12)
    A = rng.standard_normal((40, 30))
    gram = lib.asarray(A.T @ A, "real")
    found = hessian_diagonal(lambda w: lib.matmul(gram, w), 30, lib)
    assert found is not None and np.ptp(found) == 0
    assert 0.5 <= found[0] / np.mean(np.diag(A.T @ A)) <= 1.5
    assert hessian_diagonal(lambda w: lib.multiply(w, -1.0), 30, lib) is None


def test_diagonals_on_sets(lib: Backend) -> None:
    labels = np.repeat([0, 1, 2, 3], [1, 1, 4, 4])
    found = set_diagonal(lambda w: lib.multiply(w, 2.0), 2.0, labels, 3, lib)
    np.testing.assert_allclose(found, [2.0, 2.0, 8.0])


def test_sets_whose_average_is_negative_by_chance_take_that_of_an_entry(lib: Backend) -> None:
    n = 40
    coupled = lib.asarray(np.eye(n) - 0.9 * (np.ones((n, n)) - np.eye(n)) / 4, "real")
    found = set_diagonal(lambda w: lib.matmul(coupled, w), 1.0, np.arange(n) // 2, n // 2, lib)
    assert np.all(found > 0)
    negative = set_diagonal(lambda w: lib.multiply(w, -1.0), 3.0, np.repeat([0, 1], [1, 4]), 2, lib)
    np.testing.assert_allclose(negative, [3.0, 12.0])
