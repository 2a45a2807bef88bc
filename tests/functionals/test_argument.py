from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError, UnsupportedError
from opalg.functionals.argument import ArgumentScaled
from opalg.functionals.boxes import Box
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.sum_squares import SumSquares
from tests.functionals.scalar_search import scalar_prox


def test_prox_with_a_factor_per_entry_against_bisection() -> None:
    rng = np.random.default_rng(0)
    v, c = 2 * rng.standard_normal((2, 3, 4))
    found = ArgumentScaled(Huber(0.5), c).prox(v, 0.8)
    assert np.allclose(found, scalar_prox(lambda u: c * np.clip(c * u, -0.5, 0.5), v, 0.8), atol=1e-12)


def test_a_negative_factor_turns_bounds_round() -> None:
    f = ArgumentScaled(Indicator(Box(0.0, None)), -2.0)
    assert f.prox(np.array([3.0, -1.0]), 1.0).tolist() == [0.0, -1.0]
    assert f.value(np.array([-1.0])) == 0.0 and f.value(np.array([1.0])) == np.inf


def test_a_complex_factor_turns_the_phase_only() -> None:
    v = np.array([3.0 + 4.0j, 0.1j])
    assert np.allclose(ArgumentScaled(Norm1(), 2j).prox(v, 0.5), Norm1().prox(v, 1.0))
    with pytest.raises(DtypeError, match="complex factor"):
        ArgumentScaled(Norm1(), 2j).prox(v.real, 0.5)


def test_conjugate_divides_by_the_factor() -> None:
    q = np.array([0.5, -1.0])
    assert ArgumentScaled(SumSquares(), 3.0).conjugate.value(q) == pytest.approx((q @ q) / 36)
    assert ArgumentScaled(Norm2(), 3.0).conjugate.value(np.array([2.9, 0.0])) == 0.0
    assert ArgumentScaled(Norm2(), 3.0).conjugate.value(np.array([3.1, 0.0])) == np.inf


def test_constants_take_the_square() -> None:
    f = ArgumentScaled(SumSquares(), np.array([2.0, -3.0]))
    assert f.facts.smoothness is not None and f.facts.smoothness.value == 18.0
    hessian = f.define_hessian_operator((2,), "real")
    assert hessian is not None and np.allclose(hessian.to_dense(), np.diag([8.0, 18.0]))
    assert np.allclose(f.hessian_vector(np.ones(2), np.ones(2)), [8.0, 18.0])


def test_factors_that_cannot_be_are_refused() -> None:
    with pytest.raises(ParameterError, match="must not be zero"):
        ArgumentScaled(Norm1(), np.array([1.0, 0.0]))
    with pytest.raises(UnsupportedError, match="sum over the entries"):
        ArgumentScaled(Norm2(), np.ones(3))
    c = oa.Parameter(0.5, name="c")
    (condition,) = ArgumentScaled(Norm2(), c).define_conditions()
    assert condition[1] and "must not be zero" in condition[2]


def test_simplest_forms_and_text() -> None:
    assert repr(Norm2().scaled(2.0).scaled(3.0)) == "ArgumentScaled(Norm2(), 6)"
    assert Norm2().scaled(1.0) is Norm2()
    assert Norm2().scaled(2.0).text("x - y") == "norm2(2 * (x - y))"
    assert Norm2().scaled(oa.Parameter(1.0, name="c")).latex("x") == r"\left\|c \, x\right\|_2"
