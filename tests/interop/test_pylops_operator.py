"""Operators to and from PyLops: matrices, its solvers, kinds, refusals."""

from __future__ import annotations

import builtins
from types import SimpleNamespace

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.interop import from_pylops, to_pylops
from opalg.testing import check_operator

pylops = pytest.importorskip("pylops", reason="PyLops is not installed: pip install pylops", exc_type=ImportError)


@pytest.mark.parametrize(
    "operator",
    [oa.Gradient((4, 3)), oa.Convolve(np.ones((2, 2)) / 3, (4, 3), boundary="zero"), oa.Gradient((4, 3)).gram],
    ids=repr,
)
def test_there_the_matrix_is_the_same(operator):
    P = to_pylops(operator)
    assert isinstance(P, pylops.LinearOperator)
    assert tuple(P.dims) == operator.in_shape and tuple(P.dimsd) == operator.out_shape
    assert np.allclose(P.todense(), operator.to_dense(), atol=1e-13)
    assert np.allclose(P.H.todense(), operator.to_dense().T, atol=1e-13)
    x = np.random.default_rng(0).standard_normal(operator.in_shape)
    assert np.allclose(P @ x, operator @ x, atol=1e-13)


def test_complex_and_mixed_operators_there():
    F = oa.FFT((3, 4))
    P = to_pylops(F)
    assert P.dtype == np.complex128 and np.allclose(P.todense(), F.to_dense(), atol=1e-13)
    assert to_pylops(oa.Identity((3,)), complex).dtype == np.complex128
    R = to_pylops(oa.RFFT((4,)))  # real to complex: pairs of reals
    assert R.shape == (6, 4) and R.dtype == np.float64
    assert np.allclose(R.H.todense(), R.todense().T, atol=1e-13)


def test_its_solvers_take_them(rng):
    K = oa.Convolve(oa.gaussian_kernel(0.6, 1), (6, 5))
    x = rng.standard_normal((6, 5))
    y = (K @ x).ravel()
    basic = pylops.optimization.basic
    for solver in (basic.cgls, basic.lsqr):
        found = solver(
            to_pylops(K), y, x0=np.zeros(30), niter=500, **({"tol": 1e-14} if solver.__name__ == "cgls" else {})
        )[0]
        assert np.allclose(np.reshape(found, (6, 5)), x, atol=1e-6)
    D = to_pylops(oa.Gradient((6, 5)))
    found = pylops.optimization.leastsquares.regularized_inversion(
        to_pylops(oa.Identity((6, 5))), x.ravel(), [D], epsRs=[1.0], **{"iter_lim": 300, "atol": 1e-14, "btol": 1e-14}
    )[0]
    wanted = np.linalg.solve(np.eye(30) + oa.Gradient((6, 5)).gram.to_dense(), x.ravel())
    assert np.allclose(np.ravel(found), wanted, atol=1e-7)
    sparse = pylops.optimization.sparsity.fista(to_pylops(K), y, x0=np.zeros(30), niter=50, eps=0.1, alpha=0.9)[0]
    assert np.all(np.isfinite(sparse))


def test_they_combine_with_its_own():
    G, I = to_pylops(oa.Gradient((4, 3))), pylops.Identity(24)
    x = np.arange(12.0)
    assert np.allclose((2.0 * I @ G) @ x, 2.0 * (oa.Gradient((4, 3)) @ x.reshape(4, 3)).ravel())
    assert pylops.VStack([G, G]).shape == (48, 12)


@pytest.mark.parametrize(
    "operator",
    [
        pylops.FirstDerivative((6, 5), axis=1),
        pylops.MatrixMult(np.array([[1.0, 2j], [0.5, 1.0]]), dtype=complex),
        pylops.signalprocessing.FFT((8, 3), axis=0, real=True),
        pylops.CausalIntegration((5, 2), axis=0),
    ],
    ids=lambda o: type(o).__name__,
)
def test_here_they_pass_the_kit(operator):
    A = from_pylops(operator)
    report = check_operator(A)
    assert report, str(report)
    kind = "complex" if A.in_kind == "complex" else "real"
    x = np.random.default_rng(0).standard_normal((2, *A.in_shape)) * (1j if kind == "complex" else 1.0)
    wanted = np.reshape([operator.matvec(row.ravel()) for row in x], (2, *A.out_shape))
    assert np.allclose(A @ x, wanted, atol=1e-12)


def test_here_they_are_used_in_energies():
    D = from_pylops(pylops.FirstDerivative((6, 4), axis=0, kind="forward"))
    x, y = oa.Variable((6, 4)), np.random.default_rng(1).standard_normal((6, 4))
    found = oa.minimize(oa.sum_squares(x - y) + 0.5 * oa.sum_squares(D @ x), tol=1e-10).x
    matrix = np.eye(24) + 0.5 * D.to_dense().T @ D.to_dense()
    assert np.allclose(found.ravel(), np.linalg.solve(matrix, y.ravel()), atol=1e-7)


def test_misuse_is_refused(monkeypatch):
    with pytest.raises(ParameterError, match="operator of opalg"):
        to_pylops(np.eye(3))
    with pytest.raises(ParameterError, match="operator of PyLops"):
        from_pylops("matrix")
    with pytest.raises(DtypeError, match="takes real"):
        to_pylops(oa.RFFT((4,)), complex)
    torch = pytest.importorskip("torch")
    with pytest.raises(UnsupportedError, match="NumPy arrays"):
        from_pylops(pylops.Identity(3)) @ torch.ones(3, dtype=torch.float64)
    odd = SimpleNamespace(matvec=None, rmatvec=None, shape=(6, 6), dims=(5,), dimsd=(6,), dtype=float)
    with pytest.raises(ShapeError, match="not the 6 entries"):
        from_pylops(odd)
    real_import = builtins.__import__

    def without_pylops(name, *arguments, **options):
        if name == "pylops":
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_pylops)
    with pytest.raises(UnsupportedError, match="pip install pylops"):
        to_pylops(oa.Identity((3,)))
