"""Energies as text: what users read is close to what they typed."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import opalg as oa

rng = np.random.default_rng(2)
Y = rng.standard_normal((3, 4))
x, z, v = oa.Variable((3, 4), name="x"), oa.Variable((3, 4), name="z"), oa.Variable((8, 3, 4), name="v")
c = oa.Variable((3, 4), name="c", dtype=complex)
y, b = oa.Parameter(Y, name="y"), oa.Constant(Y, name="b")
k = oa.Parameter(np.ones((2, 2)), name="k")
lam = oa.Parameter(0.7, name="lambda", nonneg=True)
A, D = oa.Matrix(oa.Parameter(rng.standard_normal((4, 4)), name="A")), oa.Gradient((3, 4))
K = oa.Convolve(k, shape=(3, 4))
T = sympy.Symbol("t")
f = oa.norm1(x)

TEXTS = {
    # variables and affine expressions
    "x": lambda: x,
    "x - y": lambda: x - y,
    "x - b": lambda: x - b,
    "x - data": lambda: x - Y,
    "x + data": lambda: x + Y,
    "y - x": lambda: y - x,
    "data - Matrix(A) @ x": lambda: Y - A @ x,
    "1 - x": lambda: 1 - x,
    "-x - 1": lambda: -x - 1,
    "2 * x + z - 1": lambda: 2 * x + z - 1,
    "x - z": lambda: x - z,
    "0.5 * x": lambda: x / 2,
    "2 * x": lambda: 2 * x + 1 - 1,
    "2 * x - 2 * data": lambda: 2 * (x - Y),
    "x - y / 2": lambda: x - y / 2,
    "lambda * x": lambda: lam * x,
    "lambda^2 * x": lambda: lam**2 * x,
    "(1 + lambda) * x": lambda: (1 + lam) * x,
    "exp(lambda) * x": lambda: sympy.exp(lam) * x,
    "Matrix(A) @ x - 2 * z": lambda: A @ x - 2 * z,
    "-3 * Matrix(A) @ x": lambda: -3 * (A @ x),
    "x - Matrix(A) @ x": lambda: x - A @ x,
    "Matrix(A).H @ Matrix(A) @ x": lambda: A.H @ A @ x,
    "Diagonal(y) @ x": lambda: y * x,
    "0 * x": lambda: 0 * x,
    "FFT((3, 4)) @ x": lambda: oa.FFT((3, 4)) @ x,
    "Convolve(k, (3, 4), boundary='periodic') @ x - y": lambda: K @ x - y,
    "Convolve(k, (3, 4), boundary='periodic') @ x + data(k, y)": lambda: K @ (x - y),
    "Gradient((3, 4), boundary='neumann') @ v": lambda: D @ v,
    "FFT((3, 4)) @ v - v": lambda: oa.FFT((3, 4)) @ v - v,
    "c + (0+1j)": lambda: c + 1j,
    # constraints
    "x >= 0": lambda: 0 <= x,  # noqa: SIM300
    "x <= 1": lambda: x <= 1,
    "x >= data": lambda: Y <= x,  # noqa: SIM300
    "x <= lambda": lambda: x <= lam,
    "2 * x - 1 >= y": lambda: 2 * x - 1 >= y,
    "Matrix(A) @ x == b": lambda: A @ x == b,
    "x - z == 0": lambda: x == z,
    "x - z >= 0": lambda: x >= z,
    # terms
    "norm1(x)": lambda: f,
    "sum_squares(Matrix(A) @ x - y)": lambda: oa.sum_squares(A @ x - y),
    "sum_squares(x, weights=y)": lambda: oa.sum_squares(x, weights=y),
    "sum_squares(x, weights=data)": lambda: oa.sum_squares(x, weights=Y),
    "norm1(x, weights=2)": lambda: oa.norm1(x, weights=2),
    "norm2(x - y)": lambda: oa.norm2(x - y),
    "norm21(Gradient((3, 4), boundary='neumann') @ x)": lambda: oa.norm21(D @ x),
    "norm21(x, axis=-1)": lambda: oa.norm21(x, axis=-1),
    "huber(x, 0.1)": lambda: oa.huber(x, 0.1),
    "huber(x, lambda)": lambda: oa.huber(x, lam),
    "pointwise(Potential(t -> t**2), x)": lambda: oa.pointwise(oa.Potential(T, T**2), x),
    "indicator(x >= 0)": lambda: oa.indicator(x >= 0),
    "indicator(x >= 1)": lambda: oa.indicator(x - 1 >= 0),
    "indicator(x <= y)": lambda: oa.indicator(x <= y),
    "indicator(0 <= x <= 1)": lambda: oa.indicator(oa.box(0, 1), x),
    "indicator(Matrix(A) @ x - b == 0)": lambda: oa.indicator(A @ x == b),
    "indicator(affine(2 * Identity((3, 4)), y), x)": lambda: oa.indicator(oa.affine(2 * oa.Identity((3, 4)), y), x),
    # weights and energies
    "0.5 * norm1(x)": lambda: f / 2,
    "6 * norm1(x)": lambda: 2 * (3 * f),
    "-norm1(x)": lambda: -f,
    "lambda * norm1(x)": lambda: lam * f,
    "lambda^2 * norm1(x)": lambda: lam**2 * f,
    "0.5 * lambda^2 * norm1(x)": lambda: lam**2 * f / 2,
    "1 / lambda * norm1(x)": lambda: f / lam,
    "(1 + lambda) * norm1(x)": lambda: (1 + lam) * f,
    "exp(lambda) * norm1(x)": lambda: sympy.exp(lam) * f,
    "2 * norm1(x)": lambda: np.array([2.0]) * f,
    "norm1(x) + norm2(z)": lambda: f + oa.norm2(z),
    "norm1(x) - 2 * norm2(z)": lambda: f - 2 * oa.norm2(z),
    "norm1(x) + 1": lambda: f + 1,
    "-norm1(x) + 1": lambda: 1 - f,
    "norm1(x) - lambda": lambda: f - lam,
    "lambda * norm1(x) + indicator(x >= 0)": lambda: lam * (f + oa.indicator(x >= 0)),
}


@pytest.mark.parametrize("text", TEXTS)
def test_text(text):
    assert repr(TEXTS[text]()) == text


def test_long_energies_break_between_terms():
    energy = 0.5 * oa.sum_squares(K @ x - y) + lam * oa.norm21(D @ x) - 2 * oa.norm1(x) + oa.indicator(x >= 0)
    assert repr(energy).splitlines() == [
        "0.5 * sum_squares(Convolve(k, (3, 4), boundary='periodic') @ x - y)",
        "  + lambda * norm21(Gradient((3, 4), boundary='neumann') @ x)",
        "  - 2 * norm1(x)",
        "  + indicator(x >= 0)",
    ]


def test_variables_without_a_name_are_told_apart():
    one, two = oa.Variable(3), oa.Variable(3)
    assert repr(one) == "x"
    assert repr(one - 2 * two) == "x1 - 2 * x2"
    assert repr(oa.norm1(one) + oa.norm2(two)) == "norm1(x1) + norm2(x2)"
    named = oa.Variable(3, name="x")
    assert repr(named - one) == "x - x1"


def test_big_formulas_stay_short():
    weight = lam
    for _ in range(40):
        weight = weight * weight + 1
    assert len(repr(weight * f)) < 400


def test_names_stay_on_one_line():
    odd = oa.Parameter(1.0, name="a\nb\x00")
    assert repr(odd * f) == "a b * norm1(x)"
