from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, ShapeError
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.postcomposed import Postcomposed, plus_constant
from opalg.functionals.sum_squares import SumSquares


def test_value_prox_and_conjugate() -> None:
    v, f = np.array([3.0, -4.0]), Postcomposed(Norm2(), 2.0, -1.0)
    assert f.value(v) == pytest.approx(9.0)
    assert np.allclose(f.prox(v, 0.5), Norm2().prox(v, 1.0))
    assert f.conjugate.value(np.array([1.0, 1.0])) == 1.0
    assert Postcomposed(SumSquares(), 2.0, 3.0).conjugate.value(v) == pytest.approx(25 / 8 - 3)


def test_a_constant_ends_homogeneity() -> None:
    assert Postcomposed(Norm2(), 2.0, 1.0).facts.homogeneity is None
    assert Postcomposed(Norm2(), 2.0, 0.0).facts.homogeneity == 1.0
    v = np.array([3e20, 4e20], dtype=np.float32)
    assert Postcomposed(Norm2(), 2.0, 1.0).value(v) == pytest.approx(1e21, rel=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="nonnegative"):
        Postcomposed(Norm1(), -1.0)
    with pytest.raises(ShapeError, match="must be a number"):
        Postcomposed(Norm1(), 1.0, np.ones(3))


def test_simplest_forms() -> None:
    assert repr(plus_constant(plus_constant(Norm2(), 1.0), 2.0)) == "Postcomposed(Norm2(), 1, 3)"
    assert plus_constant(Norm2(), 0.0) is Norm2()
    assert repr(plus_constant(2.0 * Norm2(), 1.0)) == "Postcomposed(Norm2(), 2, 1)"
    assert plus_constant(Norm2(), -2.0).text("x") == "(norm2(x) - 2)"
    b = oa.Parameter(1.0, name="b")
    assert (3.0 * plus_constant(Norm2(), b)).value(np.array([3.0, 4.0])) == pytest.approx(18.0)
