"""Spectral forms against the dense matrices of their operators."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.functionals.spectral_form import entries_of, matrix_form, spectral_form
from opalg.leaves import Parameter
from opalg.operators import DCT, Convolve, Diagonal, DiagonalIn, LowRank, Mask, Matrix
from opalg.operators.algebra import Identity, LinearOperator, Zero
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate, number

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 4))
OPERATORS = [
    Matrix(A + A.T),
    -2.0 * Matrix(A + A.T),
    Diagonal(RNG.standard_normal((2, 3))),
    Mask(RNG.random((3, 3)) < 0.5),
    Zero((3,)),
    1.5 * Identity((2, 2)),
    DiagonalIn(DCT((5,)), RNG.standard_normal(5)),
    Convolve(RNG.standard_normal((3,)), (6,)).gram,
]


@pytest.mark.parametrize("operator", OPERATORS, ids=repr)
def test_functions_of_an_operator(operator: LinearOperator) -> None:
    form = spectral_form(operator)
    assert form is not None
    x = Input("x", operator.in_shape)
    v = RNG.standard_normal(operator.in_shape)
    (found,) = evaluate([form.applied(lambda s, t: 1.0 + s * s, x)], {x: v}, backend())
    M = operator.to_dense()
    assert np.allclose(found.ravel(), v.ravel() + M @ (M @ v.ravel()), atol=1e-12)
    values = np.linalg.eigvalsh(M)
    assert number(form.largest) == pytest.approx(np.max(np.abs(values)), abs=1e-12)
    if form.spectrum.shape == operator.in_shape:
        assert number(form.lowest) == pytest.approx(values[0], abs=1e-12)


def test_entries_of_products_and_sums() -> None:
    u = RNG.standard_normal((4, 1))
    built = Matrix(A).H @ Matrix(A) + 2.0 * Identity((4,)) - Diagonal(np.arange(4.0)) + LowRank(u)
    expected = A.T @ A + 2.0 * np.eye(4) - np.diag(np.arange(4.0)) + u @ u.T
    found = matrix_form(built)
    assert found is not None and np.allclose(found, expected)


def test_what_is_no_dense_matrix_has_no_entries() -> None:
    assert entries_of(Diagonal(np.ones(3))) is None and entries_of(Matrix(A) @ Diagonal(np.ones(4))) is not None
    assert matrix_form(Matrix(Parameter(A, name="A"))) is None
    assert spectral_form(Matrix(Parameter(A, name="A"))) is None
    assert spectral_form(Convolve(RNG.standard_normal((3,)), (6,))) is None
