"""Known values, facts and refusals of the norms."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import NO, YES
from opalg.functionals import Functional, Norm1, Norm2, Norm21
from opalg.leaves import Constant, Parameter
from opalg.nodes import substitute
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate, number


def test_soft_threshold() -> None:
    v = np.array([-3.0, -0.5, 0.0, 1.0, 2.5])
    assert np.array_equal(Norm1().prox(v, 1.0), [-2.0, 0.0, 0.0, 0.0, 1.5])
    assert np.array_equal(Norm1([0.0, 1.0, 1.0, 0.5, 2.0]).prox(v, 1.0), [-3.0, 0.0, 0.0, 0.5, 0.5])


def test_complex_soft_threshold_keeps_the_phase() -> None:
    v = np.array([3 + 4j, 0.3 + 0.4j, 0j])
    assert np.allclose(Norm1().prox(v, 1.0), [0.8 * (3 + 4j), 0, 0])
    assert Norm1().value(v) == pytest.approx(5.5)


def test_group_norms() -> None:
    v = np.array([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]])
    assert Norm21().value(v) == 6.0
    assert Norm21(axis=-1).value(v) == pytest.approx(np.sqrt(10) + 4)
    assert Norm21(axis=(0, 1)).value(v) == Norm2().value(v) == pytest.approx(np.sqrt(26))
    assert np.allclose(Norm21().prox(v, 1.0), [[2.4, 0, 0], [3.2, 0, 0]])


def test_negative_axes_leave_batches_alone() -> None:
    v = np.random.default_rng(0).standard_normal((5, 2, 3))
    each = np.stack([Norm21(axis=-2).prox(sample, 0.4) for sample in v])
    assert np.allclose(Norm21(axis=-2).prox(v, 0.4), each)


@pytest.mark.parametrize("axis", [2, -3, (0, 0), (0, -2)])
def test_axes_are_checked(axis: int | tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="axes"):
        Norm21(axis=axis).value(np.ones((2, 3)))


@pytest.mark.parametrize("axis", ["0", 1.5, True, ()])
def test_axes_are_integers(axis: object) -> None:
    with pytest.raises(ShapeError, match="integer"):
        Norm21(axis=axis)  # type: ignore[arg-type]


def test_norms_have_no_gradient() -> None:
    with pytest.raises(UnsupportedError, match="no gradient"):
        Norm1().gradient(np.ones(3))
    with pytest.raises(UnsupportedError, match="no gradient"):
        Norm2().hessian_vector(np.ones(3), np.ones(3))


def test_negative_weights_are_not_convex_and_have_no_prox() -> None:
    f = Norm1([1.0, -1.0])
    assert f.facts.convex is NO and not f.offers("prox")
    assert Norm1([1.0, 0.0]).facts.convex is YES


def test_conjugate_is_infinite_outside_the_ball() -> None:
    assert Norm1(2.0).conjugate.value(np.array([2.0, -2.0])) == 0.0
    assert np.isinf(Norm1(2.0).conjugate.value(np.array([2.001, 0.0])))
    assert np.isinf(Norm2().conjugate.value(np.array([0.8, 0.7])))
    assert np.allclose(Norm1(2.0).conjugate.prox(np.array([5.0, -1.0]), 3.0), [2.0, -1.0])


def test_gauge_of_a_zero_weight() -> None:
    x = Input("q", (2,))
    gauge = Norm1([1.0, 0.0]).define_dual_gauge(x)
    inside, outside = (evaluate([gauge], {x: np.array(q)}, backend())[0] for q in ([0.5, 0.0], [0.5, 1e-3]))
    assert inside == 0.5 and outside > 1e200


def test_gradient_of_the_prox_in_its_threshold() -> None:
    lam, x, t, u = Parameter(0.5, nonneg=True), Input("x", (3,)), Input("t", ()), Input("u", (3,))
    (slope,) = vjp([Norm1(lam).define_prox(x, t)], [u], [lam])
    assert slope is not None
    values = {x: np.array([2.0, -3.0, 0.1]), t: np.asarray(2.0), u: np.array([1.0, 1.0, 7.0])}
    assert evaluate([slope], values, backend())[0] == pytest.approx(2.0 * (-1.0 + 1.0))
    values[u] = np.array([1.0, 0.0, 7.0])
    assert evaluate([slope], values, backend())[0] == pytest.approx(-2.0)


@pytest.mark.parametrize("f", [Norm2(), Norm21(), Norm1()])
def test_tiny_arrays_in_single_precision(f: Norm2) -> None:
    v = np.full((2, 3), 1e-25, np.float32)
    assert not f.prox(v, 1e-10).any()
    assert np.array_equal(f.prox(v, 0.0), v)


def test_weights_that_change_have_a_condition_and_a_hint() -> None:
    w = Parameter(np.array([1.0, 2.0]), name="w")
    ((least, strict, sentence),) = Norm1(w).define_conditions()
    assert not strict and "nonnegative" in sentence
    assert number(substitute(least, {w: Constant(np.array([1.0, -4.0]))})) == -4.0
    assert Norm1(w).hint() == "declare the parameter 'w' with nonneg=True"
    both = Norm1(w * Parameter(1.0))
    assert both.hint() == "declare the parameters 'w', without a name with nonneg=True"
    for known in (Norm1(), Norm1(2.0), Norm2(), Norm21(), Norm1(Parameter(1.0, nonneg=True))):
        assert known.hint() == ""
    assert Norm1(3.0).define_conditions() == [] and Norm2().define_conditions() == []


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e20, 1e30])
@pytest.mark.parametrize("f", [Norm2(), Norm21(), Norm21(axis=-1), Norm21(0, [1.0, 0.5, 0.0])])
def test_steps_of_the_size_of_the_norm_in_single_precision(f: Norm2, scale: float) -> None:
    v = np.random.default_rng(1).standard_normal((2, 3))
    for kind in (np.float32, np.complex64):
        for t in (0.5, 1.0, 3.0):
            found = f.prox((scale * v).astype(kind), t * scale)
            assert found.dtype == kind and np.allclose(found / scale, f.prox(v, t), rtol=1e-5, atol=1e-6)
        assert f.value((scale * v).astype(kind)) == pytest.approx(scale * f.value(v), rel=1e-6)


def test_groups_of_very_different_size_in_single_precision() -> None:
    v = np.array([[3e5, 3e-5, 0.0], [4e5, 4e-5, 0.0]], np.float32)
    assert np.allclose(Norm21().prox(v, 1e-5), [[3e5, 2.4e-5, 0.0], [4e5, 3.2e-5, 0.0]], rtol=1e-5, atol=0)


@pytest.mark.parametrize("f", [Norm1(), Norm2(), Norm21()])
def test_a_missing_gradient_says_why_and_what_to_do(f: Functional) -> None:
    with pytest.raises(UnsupportedError, match=r"not differentiable .*prox"):
        f.gradient(np.ones((2, 2)))


def test_a_negative_weight_is_shown() -> None:
    for f in (Norm1(-1.5), Norm1([2.0, -1.5]), Norm21(0, [2.0, -1.5])):
        with pytest.raises(UnsupportedError, match=r"smallest weight is -1\.5"):
            f.prox(np.ones((2, 2)), 1.0)
