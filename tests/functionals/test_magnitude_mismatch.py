"""Squares of what magnitudes differ: values, gradients and Hessians against differences, the prox against a search."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.functionals.magnitude_mismatch import MagnitudeMismatch, magnitude_mismatch


def complex_array(rng, *shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_derivatives_are_those_of_the_value(rng, kind):
    y = rng.uniform(0.2, 2.0, (3, 4))
    f = MagnitudeMismatch(y)
    v, d = (complex_array(rng, 3, 4) if kind == "complex" else rng.normal(size=(3, 4)) for _ in range(2))
    assert f.value(v) == pytest.approx(0.5 * np.sum((np.abs(v) - y) ** 2), rel=1e-14)
    h = 1e-6
    slope = (f.value(v + h * d) - f.value(v - h * d)) / (2 * h)
    assert np.vdot(f.gradient(v), d).real == pytest.approx(slope, rel=1e-7)
    change = (f.gradient(v + h * d) - f.gradient(v - h * d)) / (2 * h)
    np.testing.assert_allclose(f.hessian_vector(v, d), change, rtol=1e-6, atol=1e-7)


def test_at_zero_the_gradient_is_zero_and_the_prox_has_the_right_size(rng):
    f = MagnitudeMismatch(np.array([1.0, 0.0]))
    np.testing.assert_array_equal(f.gradient(np.zeros(2)), 0.0)
    np.testing.assert_array_equal(f.gradient(np.zeros(2, complex)), 0.0)
    np.testing.assert_allclose(f.prox(np.zeros(2, complex), 1.0), [0.5, 0.0])


def test_the_prox_is_a_global_minimiser():
    y, t = 1.3, 0.7
    f = MagnitudeMismatch(y)
    u = np.linspace(-4, 4, 80_001)
    for v in (-2.0, -0.4, 0.3, 5.0):
        best = np.min(0.5 * (np.abs(u) - y) ** 2 + (u - v) ** 2 / (2 * t))
        found = float(f.prox(np.array([v]), t)[0])
        assert 0.5 * (abs(found) - y) ** 2 + (found - v) ** 2 / (2 * t) <= best + 1e-12


def test_a_map_may_take_its_gradient(rng):
    x = oa.Variable(4, name="x", dtype=complex)
    y = rng.uniform(0.5, 1.0, 4)
    energy = magnitude_mismatch(x, y)
    start = complex_array(rng, 4)
    found = oa.fixed_point(x, x - 0.5 * oa.grad(energy), acceleration="none").solve(start, tol=1e-12, max_iter=200).x
    np.testing.assert_allclose(found, y * start / np.abs(start), rtol=1e-9)
    np.testing.assert_allclose(energy.gradient(start), start - y * start / np.abs(start))


def test_phase_retrieval_by_its_prox(rng):
    x = oa.Variable((3, 3), name="x", dtype=complex)
    truth = complex_array(rng, 3, 3)
    F = oa.FFT((3, 3))
    energy = magnitude_mismatch(F @ x, np.abs(F @ truth)) + 0.5 * oa.sum_squares(x - truth)
    found = oa.compile(energy, nonconvex=True).solve(truth + 0.1, tol=1e-9).x
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_text_and_refusals():
    f = MagnitudeMismatch(oa.Parameter(np.ones(3), name="y", nonneg=True))
    assert f.text("v") == "magnitude_mismatch(v, y)"
    assert "y" in f.latex("v")
    with pytest.raises(ParameterError, match="square root"):
        MagnitudeMismatch(-1.0)
    with pytest.raises(ShapeError, match="data"):
        f.value(np.zeros(4))
    with pytest.raises(UnsupportedError, match="not convex"):
        f.conjugate.value(np.zeros(3))
