from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, UnsupportedError
from opalg.facts import NO
from opalg.functionals.exactness import Exactness
from opalg.functionals.robust import (
    Cauchy,
    GemanMcClure,
    TruncatedQuadratic,
    cauchy,
    geman_mcclure,
    truncated_quadratic,
)
from tests.functionals.scalar_oracle import Scalar, check_data_gradient, check_extremes, check_prox, check_steps

FAMILIES = [Cauchy, GemanMcClure, TruncatedQuadratic]


def scalar_of(family: type, s: float) -> Scalar:
    if family is Cauchy:
        return Scalar(lambda u: s**2 / 2 * np.log(1 + (u / s) ** 2), lambda u: u / (1 + (u / s) ** 2))
    if family is GemanMcClure:
        return Scalar(lambda u: u**2 / 2 / (1 + (u / s) ** 2), lambda u: u / (1 + (u / s) ** 2) ** 2)
    return Scalar(lambda u: np.minimum(u**2, s**2) / 2, lambda u: np.where(np.abs(u) < s, u, 0.0), (-s, s))


@pytest.mark.parametrize("scale", [0.05, 0.7, 6.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_prox_is_the_global_minimiser(family: type, scale: float) -> None:
    check_prox(family(scale), scalar_of(family, scale), even=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_prox_on_both_sides_of_its_jump(family: type) -> None:
    f, scalar, t = family(0.7), scalar_of(family, 0.7), 30.0
    v = np.linspace(0.5, 9.0, 60)
    assert np.allclose(f.prox(v, t), [scalar.prox(p, t) for p in v], rtol=1e-10)
    assert np.max(np.diff(f.prox(v, t))) > 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_extremes_and_gradients_in_the_data(family: type) -> None:
    f = family(0.5)
    check_steps(f)
    check_steps(f, "complex")
    check_extremes(f)
    assert np.allclose(f.prox(np.array([1e-30]), 2.0), 1e-30 / 3.0, rtol=1e-12, atol=0)
    check_data_gradient(family, 0.6, np.array([0.0, 0.2, -1.0, 4.0]))


def test_values() -> None:
    assert Cauchy(2.0).value(np.array([2.0, -2.0])) == pytest.approx(4.0 * np.log(2))
    assert GemanMcClure(2.0).value(np.array([2.0, -2.0])) == 2.0
    assert TruncatedQuadratic(2.0).value(np.array([1.0, 3.0 + 4.0j])) == 2.5
    far = np.array([1e20, 1e-30], dtype=np.float32)
    assert Cauchy(2.0).value(far) == pytest.approx(4.0 * (20 * np.log(10) - np.log(2)), rel=1e-6)
    assert GemanMcClure(2.0).value(far) == pytest.approx(2.0, rel=1e-6)
    assert TruncatedQuadratic(2.0).value(far) == 2.0
    assert Cauchy(2.0).value(np.array([1e-9])) == pytest.approx(5e-19, rel=1e-12)


def test_gradients_far_out_are_right() -> None:
    v = np.array([1e20, -1e-30, 1e20], dtype=np.float32)
    assert np.allclose(Cauchy(2.0).gradient(v), [4e-20, -1e-30, 4e-20], rtol=1e-5, atol=0)
    assert np.allclose(GemanMcClure(2.0).gradient(v), [0.0, -1e-30, 0.0], rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize(("family", "lowest"), [(Cauchy, -0.125), (GemanMcClure, -0.25)])
def test_curvature_lies_where_the_page_says(family: type, lowest: float) -> None:
    v = np.linspace(-12.0, 12.0, 4801)
    curvature = family(1.5).hessian_vector(v, np.ones_like(v))
    assert curvature.max() == pytest.approx(1.0, abs=1e-9) and curvature.min() == pytest.approx(lowest, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_facts_and_messages(family: type) -> None:
    f = family(0.5)
    assert f.facts.convex is NO and not f.offers("conjugate_value")
    assert (f.exactness is Exactness.CLOSED_FORM) == (family is TruncatedQuadratic)
    with pytest.raises(ParameterError, match="must be positive"):
        family(0.0)
    with pytest.raises(UnsupportedError, match="convex"):
        f.conjugate.conjugate
    x = oa.Variable((2,), name="x")
    make = {Cauchy: cauchy, GemanMcClure: geman_mcclure, TruncatedQuadratic: truncated_quadratic}[family]
    assert make(x, 0.5).functional is f and f.text("x") == f"{make.__name__}(x, 0.5)"


def test_the_truncated_quadratic_says_what_is_smooth() -> None:
    with pytest.raises(UnsupportedError, match="geman_mcclure"):
        TruncatedQuadratic(1.0).gradient(np.ones(2))
