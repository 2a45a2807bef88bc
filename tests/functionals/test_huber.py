"""Known values, facts and refusals of the Huber function."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.functionals import Huber
from opalg.leaves import Constant, Parameter
from opalg.nodes import substitute
from opalg.program.interpreter import number


def test_values_and_gradient() -> None:
    f = Huber(2.0)
    assert f.value(np.array([1.0, -3.0])) == pytest.approx(0.5 + 2 * (3 - 1))
    assert np.allclose(f.gradient(np.array([1.0, -3.0, 0.0])), [1.0, -2.0, 0.0])
    assert f.value(np.array([3 + 4j])) == pytest.approx(2 * (5 - 1))
    assert np.allclose(f.gradient(np.array([3 + 4j, 0j])), [1.2 + 1.6j, 0])


def test_curvature_is_one_at_zero() -> None:
    for v in (np.zeros(2), np.zeros(2, complex)):
        d = np.array([100.0, -3.0]).astype(v.dtype)
        assert np.array_equal(Huber(0.5).hessian_vector(v, d), d)


def test_delta_is_checked() -> None:
    for delta in (0.0, -1.0, np.array([1.0, 0.0])):
        with pytest.raises(ParameterError, match="positive"):
            Huber(delta)
    with pytest.raises(DtypeError, match="real"):
        Huber(1j)
    with pytest.raises(ShapeError, match="delta"):
        Huber(np.ones(3)).value(np.ones(2))


def test_a_delta_that_changes_has_a_condition_and_a_hint() -> None:
    delta = Parameter(2.0, name="delta")
    ((least, strict, sentence),) = Huber(delta).define_conditions()
    assert strict and "delta" in sentence
    assert [number(substitute(least, {delta: Constant(v)})) for v in (3.0, -1.0)] == [3.0, -1.0]
    assert "'delta' with positive=True" in Huber(delta).hint()
    assert Huber(1.0).define_conditions() == [] and Huber(1.0).hint() == ""


def test_delta_may_be_a_parameter() -> None:
    delta = Parameter(2.0, name="delta", positive=True)
    assert Huber(delta).value(np.array([3.0])) == pytest.approx(4.0)
    assert "delta" in Huber(delta).text("x")
