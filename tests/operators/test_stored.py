"""Stored matrices: made once, and kept once where a library applies the transpose as fast."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from opalg.arrays import backend
from opalg.operators import stored as stored_module
from opalg.operators.matrix import SparseMatrix
from opalg.operators.stored import StoredMatrix, multiply_stored


def wide() -> scipy.sparse.csr_array:
    """Rows of 30 entries."""
    return scipy.sparse.csr_array(np.random.default_rng(0).standard_normal((4, 30)))


def test_the_matrix_is_made_when_it_is_first_needed_and_once():
    made = []
    stored = StoredMatrix(lambda: made.append(1) or wide())
    assert not made
    lib = backend("numpy", "float64")
    assert stored.on(lib) is stored.on(lib)
    assert stored.on(lib, True) is stored.on(lib, True)
    assert made == [1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_keeps_no_second_copy_for_the_adjoint(dtype):
    stored, lib = StoredMatrix(wide), backend("numpy", dtype)
    forward, back = stored.on(lib), stored.on(lib, True)
    assert forward.dtype == back.dtype == dtype
    assert np.shares_memory(forward.data, back.data)
    assert np.shares_memory(stored.on(backend("numpy", "float64")).data, stored.matrix.data)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_products_with_the_matrix_and_its_transpose(library):
    pytest.importorskip(library)
    stored, lib, dense = StoredMatrix(wide), backend(library, "float64"), wide().toarray()
    x, y = np.random.default_rng(1).standard_normal((2, 5, 6)), np.random.default_rng(2).standard_normal((2, 2, 2))
    forward = multiply_stored(lib, stored.on(lib), lib.asarray(x), (5, 6), (2, 2))
    back = multiply_stored(lib, stored.on(lib, True), lib.asarray(y), (2, 2), (5, 6))
    np.testing.assert_allclose(np.asarray(forward), (x.reshape(2, 30) @ dense.T).reshape(2, 2, 2), atol=1e-12)
    np.testing.assert_allclose(np.asarray(back), (y.reshape(2, 4) @ dense).reshape(2, 5, 6), atol=1e-12)


def test_libraries_without_sparse_matrices_are_told_apart():
    assert StoredMatrix(wide).on(backend("array_api_strict", "float64")) is None


def test_a_sparse_operator_makes_its_adjoint_matrix_when_an_adjoint_is_applied():
    operator = SparseMatrix(wide() * (1 + 2j))
    operator @ np.ones(30)
    assert "adjoint_matrix" not in operator.__dict__
    np.testing.assert_allclose(operator.H @ np.ones(4), (1 - 2j) * wide().toarray().sum(0))
    assert "adjoint_matrix" in operator.__dict__


def test_numpy_copies_the_transpose_where_it_would_scatter_far(monkeypatch):
    monkeypatch.setattr(stored_module, "_CACHED", 16)
    stored, lib = StoredMatrix(wide), backend("numpy", "float64")
    assert not np.shares_memory(stored.on(lib).data, stored.on(lib, True).data)
    y = np.ones((2, 4))
    wanted = y @ wide().toarray()
    assert np.allclose(multiply_stored(lib, stored.on(lib, True), y, (4,), (30,)), wanted)
