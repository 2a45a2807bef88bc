"""Known values, facts and refusals of the sum of squares."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import DtypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals import Norm1, SumSquares
from opalg.leaves import Parameter
from opalg.program.differentiate import vjp
from opalg.program.expression import Input, Literal
from opalg.program.interpreter import evaluate

V = np.array([3.0, -4.0])


def test_there_is_no_hidden_half() -> None:
    assert SumSquares().value(V) == 25.0
    assert SumSquares().value(V * 1j) == 25.0
    assert np.array_equal(SumSquares().gradient(V), 2 * V)


def test_weights_and_prox() -> None:
    f = SumSquares([1.0, 2.0])
    assert f.value(V) == 41.0
    assert np.allclose(f.prox(V, 0.5), V / np.array([2.0, 3.0]))
    assert f.conjugate.value(V) == pytest.approx(9 / 4 + 16 / 8)


def test_a_zero_weight_closes_the_conjugate() -> None:
    f = SumSquares([1.0, 0.0])
    assert np.isinf(f.conjugate.value(V))
    assert f.conjugate.value(np.array([2.0, 0.0])) == 1.0
    assert not f.offers("dual_gauge")


def test_facts() -> None:
    facts = SumSquares([1.0, 2.0]).facts
    assert facts.smoothness is not None and facts.smoothness.value == 4.0 and facts.smoothness.certainty == "exact"
    assert facts.quadratic is YES and facts.convex is YES
    assert SumSquares([1.0, -2.0]).facts.convex is NO
    assert SumSquares([1.0, -2.0]).facts.smoothness.value == 4.0  # type: ignore[union-attr]
    free = Parameter(1.0)
    assert SumSquares(free).facts.convex is UNKNOWN
    assert SumSquares(free**2).facts.convex is YES
    assert SumSquares(Parameter(1.0, nonneg=True) * 2.0 + 1.0).facts.convex is YES


def test_conjugate_facts_mirror_those_of_the_function() -> None:
    facts = SumSquares(2.0).conjugate.facts
    assert facts.smooth is YES and facts.smoothness is not None and facts.smoothness.value == 0.25
    assert np.allclose(SumSquares(2.0).conjugate.gradient(V), V / 4)


def test_a_biconjugate_needs_convexity() -> None:
    f = SumSquares(3.0)
    assert f.conjugate.conjugate is f
    with pytest.raises(UnsupportedError, match="not known to be convex"):
        _ = SumSquares(Parameter(1.0)).conjugate.conjugate


def test_structural_equality() -> None:
    w = Parameter(1.0)
    assert SumSquares(w) is SumSquares(w)
    assert SumSquares() is SumSquares() and SumSquares() is not Norm1()


def test_refusals() -> None:
    with pytest.raises(DtypeError, match="real"):
        SumSquares(np.array([1j, 2.0]))
    with pytest.raises(DtypeError, match="number, an array"):
        SumSquares("2")
    with pytest.raises(NonFiniteError, match="weights"):
        SumSquares([1.0, np.nan])
    with pytest.raises(ShapeError, match="does not broadcast"):
        SumSquares([1.0, 2.0, 3.0]).value(V)
    with pytest.raises(ParameterError, match="nonnegative"):
        SumSquares().prox(V, -1.0)
    with pytest.raises(ParameterError, match="nonnegative"):
        SumSquares().prox(V, float("nan"))
    with pytest.raises(DtypeError, match="floating"):
        SumSquares().value(np.array([1, 2]))
    with pytest.raises(DtypeError, match="arrays of NumPy"):
        SumSquares().value([1.0, 2.0])


def test_gradients_flow_into_weights() -> None:
    w = Parameter(np.array([1.0, 2.0]), nonneg=True)
    x = Input("x", (2,))
    (slope,) = vjp([SumSquares(w).define_value(x)], [Literal(1.0)], [w])
    assert slope is not None
    assert np.allclose(evaluate([slope], {x: V}, backend())[0], V**2)


def test_weights_of_unknown_sign_have_a_hint() -> None:
    w = Parameter(1.0, name="w")
    assert SumSquares(w).facts.convex is UNKNOWN
    assert SumSquares(w).hint() == "declare the parameter 'w' with nonneg=True"
    assert SumSquares(Parameter(1.0, name="w", nonneg=True)).hint() == SumSquares().hint() == ""
