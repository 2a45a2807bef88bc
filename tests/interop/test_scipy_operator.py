"""Operators to and from SciPy: matrices, adjoints, solvers, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, cg, gmres, lsmr, lsqr, minres, svds

import opalg as oa
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.interop import from_scipy, to_scipy
from opalg.testing import check_operator
from tests.operators.dense import argument_kinds, real_matrix
from tests.operators.test_contract import CASES


def interleaved(matrix, rows, columns):
    """A matrix over stacked real and imaginary parts, over pairs instead."""

    def order(count, complex_side):
        return np.arange(count).reshape(2, -1).T.ravel() if complex_side else np.arange(count)

    return matrix[order(matrix.shape[0], rows)][:, order(matrix.shape[1], columns)]


@pytest.mark.parametrize("operator", CASES, ids=[f"{i}-{o!r}"[:60] for i, o in enumerate(CASES)])
def test_matrices_are_the_same(operator):
    for kind in argument_kinds(operator):
        out = operator.out_kind(kind)
        L = to_scipy(operator, None if operator.in_kind != "any" else {"real": float, "complex": complex}[kind])
        unit = np.eye(L.shape[1])
        forward, back = L.matmat(unit.astype(L.dtype)), L.rmatmat(np.eye(L.shape[0], dtype=L.dtype))
        assert np.allclose(back, forward.conj().T, atol=1e-12)
        wanted = real_matrix(operator, kind)
        if L.dtype == np.complex128:
            assert kind == out == "complex"
            found = np.block([[forward.real, -forward.imag], [forward.imag, forward.real]])
        else:
            found, wanted = forward, interleaved(wanted, out == "complex", kind == "complex")
            assert L.dtype == np.float64
        assert np.allclose(found, wanted, atol=1e-12)
        assert np.allclose(L.matvec(unit[:, 0].astype(L.dtype)), forward[:, 0], atol=1e-12)
        assert np.allclose(L.rmatvec(np.eye(L.shape[0])[0].astype(L.dtype)), back[:, 0], atol=1e-12)


def test_least_squares_and_singular_values(rng):
    G = oa.Gradient((6, 5))
    L = to_scipy(G)
    x = rng.standard_normal((6, 5))
    found = lsqr(L, (G @ x).ravel(), atol=1e-14, btol=1e-14)[0]
    assert np.allclose(found, (x - x.mean()).ravel(), atol=1e-8)
    largest = svds(L, k=1, return_singular_vectors=False, rng=rng)[0]
    assert largest == pytest.approx(np.linalg.norm(G.to_dense(), 2), rel=1e-8)
    assert largest <= G.norm_bound().value * (1 + 1e-12)


def test_complex_operators_are_complex_and_what_is_linear_over_the_reals_only_is_real(rng):
    assert to_scipy(oa.FFT((4,))).dtype == to_scipy(oa.Gradient((4, 3)), complex).dtype == np.complex128
    conjugation = oa.FunctionOperator(np.conj, np.conj, in_shape=(3,), in_dtype=complex)
    L = to_scipy(conjugation)
    assert L.dtype == np.float64 and L.shape == (6, 6)
    z = rng.standard_normal(3) + 1j * rng.standard_normal(3)
    assert np.array_equal((L @ z.view(float)).view(complex), z.conj())
    assert np.allclose(svds(L, k=2, return_singular_vectors=False, rng=rng), 1.0)


@pytest.mark.parametrize("solver", [cg, minres, lsqr, lsmr, gmres], ids=lambda f: f.__name__)
def test_solvers_take_them(solver, rng):
    A = oa.Gradient((4, 3)).gram + oa.Identity((4, 3))
    x = rng.standard_normal(12)
    options = {"atol": 1e-13, "btol": 1e-13} if solver in (lsqr, lsmr) else {"rtol": 1e-12}
    found = solver(to_scipy(A), A.to_dense() @ x, **options)[0]
    assert np.allclose(found, x, atol=1e-8)


def test_dtypes_that_do_not_fit_are_refused():
    with pytest.raises(DtypeError, match="takes real"):
        to_scipy(oa.RFFT((4,)), complex)
    with pytest.raises(DtypeError, match="float or complex"):
        to_scipy(oa.Identity((4,)), int)
    with pytest.raises(ParameterError, match="operator of opalg"):
        to_scipy(np.eye(3))


@pytest.mark.parametrize("entries", ["real", "complex"])
def test_there_and_back(entries, rng):
    matrix = rng.standard_normal((6, 8)) + (1j * rng.standard_normal((6, 8)) if entries == "complex" else 0)
    A = from_scipy(scipy.sparse.csr_array(matrix), in_shape=(2, 4), out_shape=(3, 2))
    assert (A.in_shape, A.out_shape) == ((2, 4), (3, 2))
    report = check_operator(A)
    assert report, str(report)
    x = rng.standard_normal((5, 2, 4))
    wanted = np.einsum("ij,bj->bi", matrix, x.reshape(5, 8)).reshape(5, 3, 2)
    assert np.allclose(A @ x, wanted, atol=1e-13)
    again = to_scipy(A)
    assert np.allclose(again.matmat(np.eye(8)), matrix, atol=1e-14)


def test_a_real_operator_acts_on_both_parts_of_complex_arrays():
    def positive_only(x):
        if np.iscomplexobj(x):
            raise TypeError("real vectors only")
        return 2.0 * x

    A = from_scipy(LinearOperator((3, 3), matvec=positive_only, rmatvec=positive_only, dtype=float))
    assert np.array_equal(A @ np.array([1, 1j, 2 - 1j]), [2, 2j, 4 - 2j])


def test_a_missing_adjoint_is_said():
    A = from_scipy(LinearOperator((3, 3), matvec=np.cumsum, dtype=float))
    assert np.array_equal(A @ np.ones(3), [1, 2, 3])
    with pytest.raises(UnsupportedError, match="rmatvec"):
        A.H @ np.ones(3)


def test_misuse_is_refused():
    with pytest.raises(ShapeError, match="needs 8"):
        from_scipy(np.ones((6, 8)), in_shape=(3, 3))
    with pytest.raises(ParameterError, match="SciPy does not take"):
        from_scipy("matrix")
    torch = pytest.importorskip("torch")
    with pytest.raises(UnsupportedError, match="NumPy arrays only"):
        from_scipy(np.ones((6, 8))) @ torch.ones(8, dtype=torch.float64)
