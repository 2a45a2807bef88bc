"""Infimal convolutions with a variable of their own."""

from __future__ import annotations

import numpy as np
import pytest

from opalg import Variable, minimize, sum_squares
from opalg.energies.infimal import split_infimal_convolution
from opalg.errors import DtypeError, NotAffineError
from opalg.functionals.boxes import nonneg
from opalg.functionals.huber import Huber
from opalg.functionals.infimal import InfimalConvolution
from opalg.functionals.norms import Norm1, Norm2
from opalg.operators import Matrix


def test_the_least_over_the_variable_is_the_infimal_convolution() -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal(6)
    x = Variable((6,), name="x")
    f, g = Norm1(0.7), Norm2()
    energy = sum_squares(x - y) + split_infimal_convolution(f, g, x)
    found = minimize(energy, tol=1e-9).x[x]
    assert np.allclose(found, InfimalConvolution(f, g).prox(y, 0.5), atol=1e-4)


def test_values_and_the_hidden_variable() -> None:
    x = Variable((3,), name="x", dtype=complex)
    energy = split_infimal_convolution(Norm1(), Huber(1.0), 2.0 * x - 1.0)
    (other,) = [v for v in energy.variables if v is not x]
    assert other.shape == (3,) and other.kind == "complex" and other.name == "part of x"
    at = {x: np.full(3, 0.5 + 0.5j), other: np.array([0.0, 1j, 0.5j])}
    assert energy.value(at) == pytest.approx(1.0 + 0.0 + 0.5 + 0.5 + 0.125)


def test_expressions_of_several_variables_and_names() -> None:
    x, z = Variable((2,), name="x"), Variable((3,), name="z")
    e = Matrix(np.ones((2, 3))) @ z + x
    assert split_infimal_convolution(Norm1(), Norm2(), e).variables[-1].name == "part of z and x"
    assert split_infimal_convolution(Norm1(), Norm2(), x, name="smooth").variables[-1].name == "smooth"


def test_refusals() -> None:
    x = Variable((2,), name="x")
    with pytest.raises(DtypeError, match="functionals"):
        split_infimal_convolution(nonneg, Norm1(), x)  # type: ignore[arg-type]
    with pytest.raises(NotAffineError, match="affine"):
        split_infimal_convolution(Norm1(), Norm2(), np.zeros(2))
