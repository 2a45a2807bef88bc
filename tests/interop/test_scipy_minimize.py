"""Smooth energies in SciPy's optimisers: values, gradients, minimisers, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize

import opalg as oa
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.interop import as_scipy


def test_value_and_gradient_are_the_energys(rng):
    A = oa.Matrix(rng.standard_normal((6, 4)))
    x, z = oa.Variable(4, name="x"), oa.Variable((2, 3), name="z")
    E = oa.sum_squares(A @ x - rng.standard_normal(6)) + 0.3 * oa.huber(oa.FiniteDifference((2, 3), 0) @ z, 0.5) + 1.5
    fun, x0, unpack = as_scipy(E, {x: rng.standard_normal(4), z: rng.standard_normal((2, 3))})
    assert x0.shape == (10,) and x0.dtype == np.float64
    at = unpack(x0)
    value, slope = fun(x0)
    assert value == pytest.approx(E.value(at), rel=1e-14)
    wanted = E.gradient(at)
    assert np.allclose(slope, np.concatenate([wanted[x], wanted[z].ravel()]), atol=1e-14)
    assert check_grad(lambda v: fun(v)[0], lambda v: fun(v)[1], x0, rng=1) < 1e-5


def test_minimiser_is_that_of_the_house(rng):
    x = oa.Variable((5, 4), name="x")
    E = oa.sum_squares(x - rng.standard_normal((5, 4))) + 0.7 * oa.huber(oa.Gradient((5, 4)) @ x, 0.1)
    fun, x0, unpack = as_scipy(E)
    assert np.array_equal(x0, np.zeros(20))
    found = minimize(fun, x0, jac=True, method="L-BFGS-B", options={"ftol": 1e-16, "gtol": 1e-11, "maxiter": 5000})
    assert np.allclose(unpack(found.x), oa.minimize(E, tol=1e-12).x, atol=1e-6)


def test_complex_variables_are_pairs_of_reals(rng):
    target = rng.standard_normal(3) + 1j * rng.standard_normal(3)
    z = oa.Variable(3, name="z", dtype=complex)
    fun, x0, unpack = as_scipy(oa.sum_squares(z - target))
    assert x0.shape == (6,)
    assert check_grad(lambda v: fun(v)[0], lambda v: fun(v)[1], rng.standard_normal(6), rng=1) < 1e-5
    assert np.allclose(unpack(minimize(fun, x0, jac=True).x), target, atol=1e-6)
    assert np.allclose(fun(target.view(float))[1], 0)


def test_arrays_are_fresh():
    x = oa.Variable(3, name="x")
    start = np.ones(3)
    _, x0, unpack = as_scipy(oa.sum_squares(x), start)
    unpack(x0)[...] = 7
    assert np.array_equal(x0, np.ones(3))
    x0[...] = 5
    assert np.array_equal(start, np.ones(3))


def test_misuse_is_refused():
    x = oa.Variable(3, name="x")
    with pytest.raises(UnsupportedError, match="norm1"):
        as_scipy(oa.norm1(x))
    with pytest.raises(ParameterError, match="takes an energy"):
        as_scipy(oa.Identity((3,)))
    with pytest.raises(ShapeError):
        as_scipy(oa.sum_squares(x), np.ones(4))
    with pytest.raises(ShapeError, match="flat vector of 3"):
        as_scipy(oa.sum_squares(x)).fun_and_grad(np.ones(4))
