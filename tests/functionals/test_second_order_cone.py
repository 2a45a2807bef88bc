"""The second-order cone: the conditions of its projection, its polar, batches, sizes, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import Backend, backend
from opalg.errors import DtypeError, ShapeError
from opalg.functionals import Indicator
from opalg.functionals.second_order_cone import SecondOrderCone, second_order_cone
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate


def test_known_projections() -> None:
    assert np.allclose(second_order_cone.project(np.array([1.0, 0.0, 3.0])), [2.0, 0.0, 2.0])
    inside = np.array([5.0, 3.0, 4.0])
    assert np.array_equal(second_order_cone.project(inside), inside)
    assert not second_order_cone.project(np.array([-5.0, 3.0, 4.0])).any()
    assert np.array_equal(second_order_cone.project(np.array([[-2.0, 3.0]])), [[0.0, 3.0]])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_projection_and_rest_are_orthogonal_and_in_the_cones(axis: int, lib: Backend) -> None:
    v = np.random.default_rng(0).standard_normal((4, 5, 3))
    p = lib.to_numpy(SecondOrderCone(axis).project(lib.asarray(v)))
    assert np.allclose(np.sum(p * (v - p), axis=axis), 0.0, atol=1e-13)
    for point in (p, p - v):  # the cone is its own dual
        bound, rest = np.split(point, [1], axis=axis)
        assert np.all(np.linalg.norm(rest, axis=axis, keepdims=True) <= bound + 1e-13)
    assert 0 < np.sum(np.any(p != v, axis=axis)) <= np.prod(v.shape) // v.shape[axis]


def test_batches() -> None:
    v, t = np.random.default_rng(1).standard_normal((5, 3, 4)), np.arange(5.0)
    for s in (second_order_cone, SecondOrderCone(-1)):
        each = np.stack([s.project(sample) for sample in v])
        assert np.allclose(Indicator(s).prox(v, t), each)


def test_support_is_the_indicator_of_the_polar_cone() -> None:
    f = Indicator(second_order_cone).conjugate
    assert f.value(np.array([-5.0, 3.0, 4.0])) == 0.0 and np.isinf(f.value(np.array([-4.9, 3.0, 4.0])))
    v = np.array([1.0, 0.0, 3.0])
    assert np.allclose(f.prox(v, 0.7) + second_order_cone.project(v), v)
    assert not Indicator(second_order_cone).offers("dual_gauge")


@pytest.mark.parametrize("place", [(0.3, 1.0), (2.0, 1.0), (-2.0, 1.0), (-0.3, 1.0)])
def test_derivatives(place: tuple[float, float]) -> None:
    rng, step = np.random.default_rng(2), 1e-6
    w = rng.standard_normal(4)
    v = np.concatenate([[place[0]], place[1] * w / np.linalg.norm(w)])
    x, d, u = Input("x", (5,)), Input("d", (5,)), Input("u", (5,))
    out = second_order_cone.define_project(x)
    moved, back = jvp([out], {x: d})[0], vjp([out], [u], [x])[0]
    assert moved is not None and back is not None
    direction, weight = rng.standard_normal(5), rng.standard_normal(5)
    forward, backward = evaluate([moved, back], {x: v, d: direction, u: weight}, backend())
    ahead, behind = (second_order_cone.project(v + h * direction) for h in (step, -step))
    assert np.allclose(forward, (ahead - behind) / (2 * step), atol=1e-8)
    assert backward @ direction == pytest.approx(weight @ forward, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e20])
def test_single_precision_at_any_size(scale: float) -> None:
    v = np.array([[1.0, 5.0, -5.0], [3.0, 3.0, 3.0], [4.0, 4.0, 4.0]])
    found = second_order_cone.project((scale * v).astype(np.float32))
    assert found.dtype == np.float32
    assert np.allclose(found / scale, second_order_cone.project(v), rtol=1e-5, atol=1e-6)


def test_refusals_and_text() -> None:
    with pytest.raises(DtypeError, match="real arrays"):
        second_order_cone.project(np.array([1j, 1.0]))
    with pytest.raises(ShapeError, match="one axis"):
        SecondOrderCone((0, 1))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="axes"):
        SecondOrderCone(1).project(np.ones(3))
    with pytest.raises(ShapeError, match="at least the bound"):
        second_order_cone.project(np.ones((0, 3)))
    assert repr(second_order_cone) == "second_order_cone" and repr(SecondOrderCone(-1)) == "SecondOrderCone(axis=-1)"
    assert SecondOrderCone(0) is second_order_cone and r"\mathcal{Q}" in second_order_cone.latex("x")
