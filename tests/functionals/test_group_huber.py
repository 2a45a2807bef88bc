"""The Huber function of group lengths: by hand, as a Moreau envelope, against cvxpy, at extreme sizes."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.functionals import Huber, Norm21
from opalg.functionals.group_huber import HuberNorm21

rng = np.random.default_rng(0)
V = rng.standard_normal((2, 3, 4))
Z = V + 1j * rng.standard_normal((2, 3, 4))


def h(s: np.ndarray, delta: float | np.ndarray) -> float:
    return float(np.sum(np.where(s <= delta, s**2 / 2, delta * (s - delta / 2))))


@pytest.mark.parametrize("v", [V, Z], ids=["real", "complex"])
@pytest.mark.parametrize("axis", [0, -1, (0, 2), (0, 1, 2)], ids=str)
def test_value_and_gradient_by_definition(axis: int | tuple[int, ...], v: np.ndarray) -> None:
    s = np.sqrt(np.sum(np.abs(v) ** 2, axis=axis, keepdims=True))
    f = HuberNorm21(0.9, axis)
    assert f.value(v) == pytest.approx(h(s, 0.9), rel=1e-13)
    assert np.allclose(f.gradient(v), v * np.minimum(1.0, 0.9 / s), atol=1e-14)
    # the envelope of the norm: the gradient is what its prox takes away
    assert np.allclose(f.gradient(v), v - Norm21(axis).prox(v, 0.9), atol=1e-13)


@pytest.mark.parametrize("v", [V, Z], ids=["real", "complex"])
def test_prox_by_bisection_in_the_length(v: np.ndarray) -> None:
    for t in (0.0, 0.3, 2.5):
        found = HuberNorm21(0.9).prox(v, t)
        single = HuberNorm21(0.9).prox(v.astype(np.complex64 if np.iscomplexobj(v) else np.float32), t)
        s = np.sqrt(np.sum(np.abs(v) ** 2, axis=0))
        low, high = np.zeros_like(s), s.copy()
        for _ in range(200):
            middle = (low + high) / 2
            rising = middle + t * np.minimum(middle, 0.9) > s
            low, high = np.where(rising, low, middle), np.where(rising, middle, high)
        assert np.allclose(found, v * (low / s), atol=1e-13)
        assert np.allclose(single, v * (low / s), atol=1e-5)


def test_prox_against_cvxpy() -> None:
    v, t, delta = V[:, 0], 0.7, 0.5
    u = cvxpy.Variable(v.shape)
    parts = cvxpy.norm(u, axis=0)
    cost = 0.5 * cvxpy.sum(cvxpy.huber(parts, delta)) + cvxpy.sum_squares(u - v) / (2 * t)
    cvxpy.Problem(cvxpy.Minimize(cost)).solve(solver=cvxpy.CLARABEL)
    assert np.allclose(HuberNorm21(delta).prox(v, t), u.value, atol=1e-5)


def test_groups_of_one_are_the_huber_function() -> None:
    v = V[:1]
    assert HuberNorm21(0.6).value(v) == pytest.approx(Huber(0.6).value(v), rel=1e-13)
    assert np.allclose(HuberNorm21(0.6).prox(v, 0.4), Huber(0.6).prox(v, 0.4), atol=1e-14)


def test_a_delta_for_each_group() -> None:
    delta = rng.uniform(0.3, 2.0, (3, 4))
    s = np.sqrt(np.sum(V**2, axis=0))
    assert HuberNorm21(delta).value(V) == pytest.approx(h(s, delta), rel=1e-13)
    assert HuberNorm21(delta[None]).value(V) == pytest.approx(h(s, delta), rel=1e-13)
    with pytest.raises(ShapeError, match="delta of shape"):
        HuberNorm21(np.ones(5)).value(V)


@pytest.mark.parametrize("scale", [1e20, 1e-30])
def test_extreme_sizes_in_single_precision(scale: float) -> None:
    v = (scale * V).astype(np.float32)
    s = scale * np.sqrt(np.sum(V**2, axis=0))
    f = HuberNorm21(1.0)
    if scale > 1:
        assert f.value(v) == pytest.approx(float(np.sum(s)), rel=1e-5)
        assert np.allclose(f.gradient(v), scale * V / s, rtol=1e-5)
        assert np.allclose(f.prox(v, scale) / scale, V * (1 - 1 / np.maximum(s / scale, 1.0)), atol=1e-5)
    else:
        assert np.allclose(f.gradient(v), v, rtol=1e-6, atol=0)
        assert np.allclose(f.prox(v, 1.0), v / 2, rtol=1e-6, atol=0)


def test_batched_steps_and_libraries() -> None:
    steps = np.array([0.1, 2.0])
    f = HuberNorm21(0.4, axis=0)
    expected = np.stack([f.prox(a, s) for a, s in zip(V, steps, strict=True)])
    assert np.allclose(f.prox(V, steps), expected, atol=1e-14)
    lib = backend("torch")
    assert np.allclose(lib.to_numpy(f.prox(lib.asarray(V), 0.3)), f.prox(V, 0.3), atol=1e-14)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ParameterError, match="positive"):
        HuberNorm21(0.0)
    with pytest.raises(DtypeError, match="real"):
        HuberNorm21(1j)
    with pytest.raises(ShapeError, match="integer"):
        HuberNorm21(1.0, axis=0.5)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="between -1 and 0"):
        HuberNorm21(1.0, axis=1).value(np.ones(3))
