"""The functions users write energies with, against their definitions written in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose

import opalg as oa

rng = np.random.default_rng(3)
X0 = rng.standard_normal((3, 4))
C0 = X0 + 1j * rng.standard_normal((3, 4))
W = rng.uniform(0.5, 2.0, (3, 4))
x = oa.Variable((3, 4), name="x")
c = oa.Variable((3, 4), name="c", dtype=complex)
b = oa.Variable((8, 3, 4), name="b")
B0 = rng.standard_normal((8, 3, 4))
T = sympy.Symbol("t")


def differences(v: np.ndarray) -> np.ndarray:
    """Forward differences over the last two axes, zero at the border, on a new axis in front of them."""
    out = np.zeros((*v.shape[:-2], 2, *v.shape[-2:]))
    out[..., 0, :-1, :] = v[..., 1:, :] - v[..., :-1, :]
    out[..., 1, :, :-1] = v[..., :, 1:] - v[..., :, :-1]
    return out


def hub(v: np.ndarray, delta: float) -> float:
    s = np.abs(v)
    return float(np.sum(np.where(s <= delta, s**2 / 2, delta * (s - delta / 2))))


DX = differences(X0)
REAL = {
    "sum_squares": (lambda: oa.sum_squares(x - 1), np.sum((X0 - 1) ** 2)),
    "weighted squares": (lambda: oa.sum_squares(x, weights=W), np.sum(W * X0**2)),
    "one weight": (lambda: oa.sum_squares(x, weights=2), 2 * np.sum(X0**2)),
    "parameter weights": (lambda: oa.norm1(x, weights=oa.Parameter(W, name="w")), np.sum(W * np.abs(X0))),
    "norm1": (lambda: oa.norm1(2 * x), 2 * np.sum(np.abs(X0))),
    "norm2": (lambda: oa.norm2(x), np.sqrt(np.sum(X0**2))),
    "norm21": (lambda: oa.norm21(x), np.sum(np.sqrt(np.sum(X0**2, axis=0)))),
    "norm21 along the last": (lambda: oa.norm21(x, axis=-1), np.sum(np.sqrt(np.sum(X0**2, axis=-1)))),
    "norm21 of all": (lambda: oa.norm21(x, axis=(0, 1)), np.sqrt(np.sum(X0**2))),
    "huber": (lambda: oa.huber(x, 0.5), hub(X0, 0.5)),
    "pointwise": (lambda: oa.pointwise(oa.Potential(T, sympy.cosh(T)), x), np.sum(np.cosh(X0))),
    "isotropic": (lambda: oa.total_variation(x), np.sum(np.sqrt(np.sum(DX**2, axis=0)))),
    "anisotropic": (lambda: oa.total_variation(x, isotropic=False), np.sum(np.abs(DX))),
    "variation of an expression": (lambda: oa.total_variation(2 * x - 1), 2 * np.sum(np.sqrt(np.sum(DX**2, axis=0)))),
    "set": (lambda: oa.indicator(oa.box(-9, 9), x), 0.0),
    "set, outside": (lambda: oa.indicator(oa.nonneg, x), float("inf")),
    "functional called": (lambda: oa.functionals.Norm1()(x), np.sum(np.abs(X0))),
    "functional with weights called": (lambda: oa.functionals.SumSquares(W)(x - 1), np.sum(W * (X0 - 1) ** 2)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_values(name):
    build, wanted = REAL[name]
    assert build().value(X0) == pytest.approx(wanted, rel=1e-13)


COMPLEX = {
    "sum_squares": (lambda: oa.sum_squares(c - 1j), np.sum(np.abs(C0 - 1j) ** 2)),
    "norm1": (lambda: oa.norm1(c, weights=W), np.sum(W * np.abs(C0))),
    "norm2": (lambda: oa.norm2(c), np.sqrt(np.sum(np.abs(C0) ** 2))),
    "norm21": (lambda: oa.norm21(c), np.sum(np.sqrt(np.sum(np.abs(C0) ** 2, axis=0)))),
    "huber": (lambda: oa.huber(c, 0.5), hub(C0, 0.5)),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_values(name):
    build, wanted = COMPLEX[name]
    assert build().value(C0) == pytest.approx(wanted, rel=1e-13)


def test_axes_of_groups_do_not_count_the_batch():
    wanted = np.sum(np.sqrt(np.sum(differences(B0) ** 2, axis=1)))
    D = oa.Gradient((3, 4))
    assert oa.norm21(D @ b).value(B0) == pytest.approx(wanted, rel=1e-13)
    assert oa.norm21(D @ b, axis=-3).value(B0) == pytest.approx(wanted, rel=1e-13)
    assert oa.norm21(D @ b - 0.0, axis=(0, 1)).value(B0) == pytest.approx(
        np.sum(np.sqrt(np.sum(differences(B0) ** 2, axis=(1, 2)))), rel=1e-13
    )
    assert oa.norm21(b).value(B0) == pytest.approx(np.sum(np.sqrt(np.sum(B0**2, axis=0))), rel=1e-13)
    with pytest.raises(oa.ShapeError, match="must be distinct and lie between"):
        oa.norm21(D @ b, axis=3)


def test_a_term_is_what_it_was_made_of():
    term = oa.norm1(x - 1)
    assert term.functional is oa.functionals.Norm1()
    assert term.expression is (x - 1)
    assert oa.functionals.Norm1()(x - 1) is term


def test_the_smooth_ones_have_gradients():
    assert_allclose(oa.huber(x, 0.5).gradient(X0), np.clip(X0, -0.5, 0.5), rtol=1e-13)
    assert_allclose(oa.sum_squares(x, weights=W).gradient(X0), 2 * W * X0, rtol=1e-13)
    assert_allclose(oa.pointwise(oa.Potential(T, sympy.cosh(T)), x).gradient(X0), np.sinh(X0), rtol=1e-13)


A_ROW = oa.Matrix(np.ones((2, 4)))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: oa.norm1(3), oa.NotAffineError, r"norm1\(...\) takes an affine expression.*not int"),
        (lambda: oa.norm2(X0), oa.NotAffineError, r"not ndarray; data have no unknowns.*oa.Variable\(shape\)"),
        (lambda: oa.norm1(oa.Parameter(X0)), oa.NotAffineError, "data have no unknowns"),
        (lambda: oa.norm1(A_ROW), oa.NotAffineError, r"apply the operator to a variable: Matrix\(.*\) @ x"),
        (lambda: oa.norm1(oa.norm1(x)), oa.NotAffineError, "a number already"),
        (lambda: oa.norm1(x >= 0), oa.NotAffineError, r"oa.indicator\(x >= 0\)"),
        (lambda: oa.norm21(X0), oa.NotAffineError, r"norm21\(...\) takes"),
        (lambda: oa.total_variation(X0), oa.NotAffineError, r"total_variation\(...\) takes"),
        (lambda: oa.total_variation(3), oa.NotAffineError, "not int"),
        (lambda: oa.functionals.Norm1()(X0), oa.NotAffineError, r"Norm1\(\).value\(array\)"),
        (lambda: oa.functionals.Norm1()(3), oa.NotAffineError, "not int"),
        (lambda: oa.norm21(x, axis=2), oa.ShapeError, "between -2 and 1"),
        (lambda: oa.sum_squares(x, weights=np.ones(4)), oa.ShapeError, r"\(4,\), the expression \(3, 4\)"),
        (lambda: oa.sum_squares(x, weights="a"), oa.ParameterError, "not str"),
        (lambda: oa.sum_squares(x, weights=1j), oa.DtypeError, "must be real"),
        (lambda: oa.norm1(x, weights=X0 > 0), oa.DtypeError, "bool"),
        (lambda: oa.norm1(x, weights=np.full((3, 4), np.nan)), oa.NonFiniteError, "NaN"),
        (lambda: oa.huber(x, -1), oa.ParameterError, "must be positive"),
        (lambda: oa.pointwise(oa.Potential(T, T**2 + T), c), oa.DtypeError, "takes real arrays"),
        (lambda: oa.pointwise(T**2, x), oa.DtypeError, "needs a Potential"),
        (lambda: oa.indicator(oa.nonneg, c), oa.DtypeError, "real"),
        (lambda: oa.indicator(oa.box(0, np.ones(3)), x), oa.ShapeError, r"\(3,\)"),
        (lambda: oa.indicator(True), oa.ParameterError, r"not bool.*write oa.indicator\(x >= 0\)"),
        (lambda: oa.indicator(x == oa.Variable(3)), oa.ParameterError, "gives False for different shapes"),
        (lambda: oa.indicator(x), oa.ParameterError, "not Variable"),
        (lambda: oa.indicator(oa.nonneg), oa.ParameterError, "not Box"),
        (lambda: oa.indicator(x >= 0, x), oa.ParameterError, "Constraint and Variable"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_border(build, error, words):
    with pytest.raises(error, match=words):
        build()
