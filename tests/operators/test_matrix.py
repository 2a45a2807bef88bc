"""Dense and sparse matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from opalg.arrays import backend
from opalg.errors import DtypeError, ShapeError
from opalg.leaves import Constant, Parameter
from opalg.operators import DenseMatrix, Matrix, SparseMatrix
from tests.operators.dense import check_parameter_gradient


@pytest.mark.parametrize("complex_data", [False, True])
def test_multiplies_the_last_axis(rng, complex_data):
    m, x = rng.standard_normal((3, 4)) * (1 + 1j if complex_data else 1), rng.standard_normal((2, 5, 4))
    assert np.allclose(Matrix(m) @ x, np.einsum("ij,abj->abi", m, x))
    assert np.allclose(Matrix(scipy.sparse.csr_array(m)) @ x, np.einsum("ij,abj->abi", m, x))


@pytest.mark.parametrize("complex_data", [False, True])
def test_gradient_in_the_entries(rng, complex_data):
    m = Parameter(rng.standard_normal((3, 2)) * (1 - 2j if complex_data else 1), name="M")
    check_parameter_gradient(Matrix(m), m, rng)
    check_parameter_gradient(Matrix(m).H, m, rng)


def test_bound_is_that_of_schur_or_frobenius():
    m = np.array([[1.0, -1.0], [1.0, 1.0]])
    assert Matrix(m).norm_bound().value == pytest.approx(2.0)
    assert Matrix(np.diag([3.0, 1.0])).norm_bound().value == pytest.approx(3.0)
    assert Matrix(scipy.sparse.csr_array(m)).norm_bound().value == pytest.approx(2.0)
    assert Matrix(np.ones((2, 2)) / 4).norm_bound().certainty == "upper"


def test_the_kind_of_matrix_decides_the_class():
    sparse = scipy.sparse.eye_array(3, format="csc")
    assert isinstance(Matrix(sparse), SparseMatrix)
    assert isinstance(Matrix(Constant(sparse)), SparseMatrix)
    assert isinstance(Matrix(np.eye(3)), DenseMatrix)


def test_the_sparse_matrix_is_a_copy():
    given = scipy.sparse.csr_array(np.eye(2))
    made = Matrix(given)
    given.data[...] = 7.0
    assert np.array_equal(made @ np.ones(2), np.ones(2))
    assert np.array_equal(made.H @ np.ones(2), np.ones(2))


def test_real_sparse_on_complex_torch(rng):
    m, lib = rng.standard_normal((3, 4)), backend("torch")
    z = rng.standard_normal((2, 4)) + 1j * rng.standard_normal((2, 4))
    assert np.allclose(lib.to_numpy(Matrix(scipy.sparse.csr_array(m)) @ lib.asarray(z)), z @ m.T)


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match=r"\(m, n\)"):
        Matrix(np.ones(3))
    with pytest.raises(DtypeError):
        Matrix(np.ones((2, 2), int))
    with pytest.raises(DtypeError):
        Matrix(scipy.sparse.csr_array(np.ones((2, 2), int)))
    with pytest.raises(DtypeError, match="boolean"):
        Matrix(scipy.sparse.csr_array(np.ones((2, 2), bool)))
