"""Dense and sparse matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from opalg.arrays import backend
from opalg.errors import DtypeError, ShapeError
from opalg.leaves import Constant, Parameter
from opalg.operators import DenseMatrix, Matrix, SparseMatrix
from opalg.operators.matrix import CoordinateMatrix
from opalg.testing import check_operator
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


COORDINATES = np.array([0, 2, 2, 3, 0]), np.array([1, 0, 2, 2, 1])  # one place twice


@pytest.mark.parametrize("complex_data", [False, True])
def test_entries_at_coordinates_are_those_of_scipy(rng, complex_data, lib):
    values = rng.standard_normal(5) * (1 - 2j if complex_data else 1)
    made = SparseMatrix.from_coordinates(values, *COORDINATES, (4, 3))
    wanted = scipy.sparse.coo_array((values, COORDINATES), shape=(4, 3)).toarray()
    x, y = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3)), rng.standard_normal(4)
    assert np.allclose(lib.to_numpy(made @ lib.asarray(x)), x @ wanted.T)
    assert np.allclose(lib.to_numpy(made.H @ lib.asarray(y)), y @ wanted.conj())
    assert np.allclose(made.conj().to_dense(), wanted.conj())
    size = abs(scipy.sparse.coo_array((np.abs(values), COORDINATES), shape=(4, 3)).toarray())
    assert float(made.norm_bound()) == pytest.approx(np.sqrt(size.sum(0).max() * size.sum(1).max()))


@pytest.mark.parametrize("complex_data", [False, True])
def test_gradient_in_the_entries_at_coordinates(rng, complex_data):
    values = Parameter(rng.standard_normal(5) * (1 - 2j if complex_data else 1), name="values")
    made = SparseMatrix.from_coordinates(values, *COORDINATES, (4, 3))
    check_parameter_gradient(made, values, rng)
    check_parameter_gradient(made.H, values, rng)
    scalar = Parameter(0.7, name="all")
    check_parameter_gradient(SparseMatrix.from_coordinates(scalar, *COORDINATES, (4, 3)), scalar, rng)


def test_members_with_coordinates_keep_what_they_promise(rng):
    for member in CoordinateMatrix.examples(rng):
        for library, dtype in (("numpy", "float64"), ("torch", "float32"), ("array_api_strict", "float64")):
            check_operator(member, library=library, dtype=dtype).raise_if_failed()


def test_coordinates_are_checked(rng):
    with pytest.raises(ShapeError, match="indices 0 to 3"):
        SparseMatrix.from_coordinates(np.ones(1), [4], [0], (4, 3))
    with pytest.raises(ShapeError, match="indices 0 to 2"):
        SparseMatrix.from_coordinates(np.ones(1), [0], [-1], (4, 3))
    with pytest.raises(ShapeError, match="as many values"):
        SparseMatrix.from_coordinates(np.ones(2), [0], [0], (4, 3))
    with pytest.raises(ShapeError, match="two positive numbers"):
        SparseMatrix.from_coordinates(np.ones(1), [0], [0], (4,))
    with pytest.raises(DtypeError, match="integers"):
        SparseMatrix.from_coordinates(np.ones(1), [0.5], [0], (4, 3))


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match=r"\(m, n\)"):
        Matrix(np.ones(3))
    with pytest.raises(DtypeError):
        Matrix(np.ones((2, 2), int))
    with pytest.raises(DtypeError):
        Matrix(scipy.sparse.csr_array(np.ones((2, 2), int)))
    with pytest.raises(DtypeError, match="boolean"):
        Matrix(scipy.sparse.csr_array(np.ones((2, 2), bool)))
