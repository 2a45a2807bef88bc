from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.special import kl_div

import opalg as oa
from opalg.arrays import backend
from opalg.emit import call
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.functionals.exactness import Exactness
from opalg.functionals.kl_divergence import KLDivergence, kl_divergence
from opalg.program.expression import Input
from tests.functionals.scalar_oracle import POINTS, Scalar, check_data_gradient, check_prox, check_steps


@pytest.mark.parametrize(("y", "b"), [(2.0, 0.0), (0.3, 0.7), (0.0, 0.4), (0.0, 0.0), (50.0, 3.0)])
def test_prox_against_stationary_points(y: float, b: float) -> None:
    scalar = Scalar(lambda u: kl_div(y, u + b), lambda u: 1 - y / (u + b), (-b,), -b)
    check_prox(KLDivergence(y, b), scalar, points=POINTS)


def test_prox_does_not_cancel_or_overflow() -> None:
    f, v = KLDivergence(2.0), np.array([-1e8, -1e15, 1e15])
    assert np.allclose(f.prox(v, 0.5), [1.0 / (1e8 + 0.5), 1e-15, 1e15], rtol=1e-12, atol=0)
    v = np.array([1e20, -1e20, 1e-30, -1e-30, 0.0], dtype=np.float32)
    for t in (1e-3, 1.0, 50.0):
        found, right = f.prox(v, t), f.prox(v.astype(float), t)
        assert np.all(np.isfinite(found)) and np.allclose(found, right, rtol=1e-5, atol=1e-37)
    g = KLDivergence(np.array([1e20, 1e-30, 0.0], dtype=np.float32))
    assert np.allclose(g.prox(np.array([1e20, 1.0, 1e-30], dtype=np.float32), 0.0), [1e20, 1.0, 1e-30], rtol=1e-6)
    assert np.allclose(g.prox(np.array([1e20, 2.0, 1e-30], dtype=np.float32), 1.0), [1e20, 1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("b", [1000.0, 3.0, -0.25, 1e-3])
@pytest.mark.parametrize("y", [1000.0, 3.0, 0.0])
@pytest.mark.parametrize("t", [1e-6, 1e-3, 1.0, 10.0, 1e4])
def test_small_entries_beside_a_background_do_not_cancel(y: float, b: float, t: float) -> None:
    v = np.concatenate([a * np.geomspace(1e-6, 1e4, 41) for a in (1.0, -1.0)]).astype(np.float32)
    with localcontext() as context:
        context.prec = 60
        wanted = []
        for entry in v:
            middle = Decimal(float(entry)) + Decimal(b) - Decimal(t)
            wanted.append(float((middle + (middle**2 + 4 * Decimal(t) * Decimal(y)).sqrt()) / 2 - Decimal(b)))
    f, right = KLDivergence(y, background=b), np.asarray(wanted)
    noise = np.abs(v) + np.where(y == b, 0.0, t)
    away = right > -b + 1e-4 * abs(b)  # next to the end of the domain, the end itself is what rounding leaves
    rate = 1 + t * y / np.where(away, right + b, 1.0) ** 2
    assert np.all(np.abs(f.prox(v.astype(float), t) - right)[away] <= (1e-14 * noise / rate + 1e-14 * abs(right))[away])
    single = np.abs(f.prox(v, t) - right)[away]
    assert np.all(single <= (1e-6 * noise / rate + 1e-6 * abs(right))[away])


def test_steps_and_gradients_in_the_data() -> None:
    check_steps(KLDivergence(2.0, 0.2))
    check_steps(KLDivergence(0.0))
    v = np.array([0.1, 0.5, -1.0, 4.0])
    check_data_gradient(lambda y: KLDivergence(y, 0.3), 0.6, v)
    check_data_gradient(lambda b: KLDivergence(2.0, b), 0.6, v)


def test_the_step_zero_is_a_projection() -> None:
    f = KLDivergence(np.array([2.0, 0.0, 1.0]), 0.5)
    assert np.allclose(f.prox(np.array([3.0, -2.0, -0.25]), 0.0), [3.0, -0.5, -0.25], atol=1e-15)


def test_values() -> None:
    f = KLDivergence(np.array([2.0, 0.0, 3.0]), np.array([0.5, 0.25, 0.0]))
    expected = np.sum(kl_div([2.0, 0.0, 3.0], [1.5, 0.75, 7.0]))
    assert f.value(np.array([1.0, 0.5, 7.0])) == pytest.approx(expected, rel=1e-13)
    assert f.value(np.array([1.0, -0.25, 0.0])) == np.inf  # counts where none are expected
    assert f.value(np.array([1.0, -0.3, 1.0])) == np.inf
    assert f.value(np.array([1.5, -0.25, 3.0])) == 0.0


def test_values_near_the_data_do_not_cancel() -> None:
    y, d = 1e6, 1e-3
    assert KLDivergence(y).value(np.array([y + d])) == pytest.approx(d**2 / (2 * y), rel=1e-2)
    far = np.array([1e20, 1e-30], dtype=np.float32)
    assert KLDivergence(np.array([1e-30, 1e20], dtype=np.float32)).value(far) == pytest.approx(
        1e20 + 1e20 * (50 * np.log(10) - 1), rel=1e-5
    )


def test_conjugate() -> None:
    f = KLDivergence(np.array([2.0, 0.0]), np.array([0.0, 0.5]))
    assert f.conjugate.value(np.array([0.5, 1.0])) == pytest.approx(2.0 * np.log(2.0) - 0.5)
    assert f.conjugate.value(np.array([1.1, 0.0])) == np.inf
    assert f.conjugate.value(np.array([1.0, 0.0])) == np.inf
    assert np.allclose(f.conjugate.prox(np.array([3.0, -1.0]), 0.0), [1.0, -1.0])


def test_the_gradient_inside_the_domain() -> None:
    f, x, d = KLDivergence(np.array([2.0, 0.0]), 0.5), Input("x", (2,)), Input("d", (2,))
    v, w = np.array([0.5, 0.5]), np.array([1.0, 3.0])
    found = call([f.define_gradient(x), f.define_hessian_product(x, d)], [x, d], [v, w], backend())
    assert np.allclose(found, [[-1.0, 1.0], [2.0, 0.0]])


def test_facts_text_and_messages() -> None:
    f = KLDivergence(np.array([2.0, 1.0]))
    assert f.exactness is Exactness.CLOSED_FORM
    assert KLDivergence(2.0, 0.25).text("x") == "kl_divergence(x, 2, background=0.25)"
    assert KLDivergence(2.0).text("x") == "kl_divergence(x, 2)"
    with pytest.raises(ParameterError, match="background="):
        KLDivergence(np.array([1.0, -1.0]))
    with pytest.raises(DtypeError, match="counts are real"):
        f.value(np.ones(2, dtype=complex))
    with pytest.raises(ShapeError, match="data"):
        f.value(np.ones(3))
    assert "inside its domain" in f.why_not("gradient")
    assert "nonneg=True" in KLDivergence(oa.Parameter(np.ones(2), name="y")).hint()
    y = oa.Constant(np.ones(2))
    assert kl_divergence(oa.Variable((2,), name="x"), y, 0.5).functional is KLDivergence(y, 0.5)


def test_gradient_and_hessian_inside_the_domain_only() -> None:
    f, v, d = KLDivergence(np.array([2.0, 0.0]), 0.5), np.array([0.5, 2.0]), np.array([1.0, -3.0])
    assert np.allclose(f.gradient(v), [-1.0, 1.0], rtol=1e-14)
    assert np.allclose(f.hessian_vector(v, d), 2.0 * d * [1.0, 0.0], rtol=1e-14)
    assert not f.offers("gradient")
    for derivative in (f.gradient, lambda u: f.hessian_vector(u, d)):
        with pytest.raises(ParameterError, match="outside the domain"):
            derivative(np.array([0.5, -2.0]))
