"""Warps against reading a padded image at displaced places, and what flows through them."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.leaves import Parameter
from opalg.operators.warp import Warp
from opalg.program import expression as ex
from opalg.program.differentiate import gradient, hessian_vector
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from opalg.program.sampling import BOUNDARIES
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient, real_matrix
from tests.operators.test_interpolation import reference


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(7,), (4, 5), (1, 6), (3, 1, 4)])
@pytest.mark.parametrize("moving", [False, True])
def test_definition(rng, shape, boundary, moving):
    x, u = rng.standard_normal(shape), rng.uniform(-5.0, 5.0, (len(shape), *shape))
    u[0] = np.round(u[0])
    made = Warp(shape, Parameter(u) if moving else u, boundary)
    points = np.moveaxis(np.indices(shape) + u, 0, -1)
    assert np.allclose(made @ x, reference(x, points, boundary), atol=1e-12)
    z = x + 1j * x[::-1]
    assert np.allclose(made @ z, (made @ x) + 1j * (made @ x[::-1]), atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_moving_displacement_gives_the_same_matrix(rng, boundary):
    u = rng.uniform(-4.0, 4.0, (2, 3, 4))
    matrix = real_matrix(Warp((3, 4), u, boundary), "real")
    moving = Warp((3, 4), Parameter(u), boundary)
    assert np.allclose(real_matrix(moving, "real"), matrix, atol=1e-14)
    assert np.allclose(real_matrix(moving.H, "real"), matrix.T, atol=1e-14)
    assert np.linalg.norm(matrix, 2) <= moving.norm_bound().value <= np.sqrt(matrix.sum(axis=0).max()) * (1 + 1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [(2, 3, 4), (2, 1, 1)])
def test_gradient_in_the_displacement(rng, boundary, size):
    u = Parameter(rng.uniform(-2.0, 2.0, size), name="u")
    made = Warp((3, 4), u, boundary)
    check_parameter_gradient(made, u, rng)
    check_parameter_gradient(made.H, u, rng)
    check_parameter_gradient(made.gram, u, rng)


def test_second_derivatives_of_a_registration_energy(rng):
    """The Hessian of |W(u) x - y|^2 in u and x against differences of the gradient."""
    shape, lib = (3, 4), backend()
    u, y = Parameter(rng.uniform(-1.5, 1.5, (2, *shape))), rng.standard_normal(shape)
    x = Input("x", shape)
    residual = Warp(shape, u, "periodic").trace(x) - oa.Constant(y)
    value = ex.norm_squared(residual)
    nodes = [u, x]
    at = {u: np.array(u.value), x: rng.standard_normal(shape)}
    move = {n: rng.standard_normal(n.shape) for n in nodes}
    directions = [Input(f"d{i}", n.shape) for i, n in enumerate(nodes)]
    found = evaluate(
        hessian_vector(value, nodes, directions),
        {**at, **{d: move[n] for d, n in zip(directions, nodes, strict=True)}},
        lib,
    )
    slopes, h = gradient(value, nodes), 1e-6
    ahead, behind = (evaluate(slopes, {n: at[n] + s * h * move[n] for n in nodes}, lib) for s in (1, -1))
    for exact, a, b in zip(found, ahead, behind, strict=True):
        wanted = (a - b) / (2 * h)
        assert np.allclose(exact, wanted, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_solution_of_an_energy_follows_the_displacement(rng, library):
    """d x* / d u of argmin |W(u) x - y|^2 + mu |x|^2 against differences of the normal equations."""
    lib = backend(library)
    shape, y = (3, 4), rng.standard_normal((3, 4))
    u = Parameter(lib.asarray(rng.uniform(-1.5, 1.5, (2, *shape))), name="u")
    x = oa.Variable(shape)
    energy = oa.sum_squares(Warp(shape, u, "edge") @ x - lib.asarray(y)) + 0.3 * oa.sum_squares(x)
    weight = rng.standard_normal(shape)
    solution = oa.minimize(energy, tol=1e-12)
    pulled = lib.to_numpy(solution.vjp(lib.asarray(weight), [u])[u])

    def loss(displacement):
        dense = real_matrix(Warp(shape, displacement, "edge"), "real")
        return weight.ravel() @ np.linalg.solve(dense.T @ dense + 0.3 * np.eye(12), dense.T @ y.ravel())

    base = lib.to_numpy(u.value)
    for index in [(0, 0, 0), (1, 2, 3), (0, 1, 2), (1, 0, 1)]:
        step = np.zeros_like(base)
        step[index] = 1e-6
        assert pulled[index] == pytest.approx((loss(base + step) - loss(base - step)) / 2e-6, abs=1e-6)


def test_everything_that_operators_promise(rng):
    for made in Warp.examples(rng):
        report = check_operator(made)
        assert report.ok, report


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("example", [1, 4])
def test_other_libraries(rng, library, example):
    report = check_operator(Warp.examples(rng)[example], library=library, dtype="float32")
    assert report.ok, report


def test_whole_periodic_shifts_are_rolls(rng):
    x = rng.standard_normal((3, 4))
    made = Warp((3, 4), np.array([1.0, -2.0]).reshape(2, 1, 1), "periodic")
    assert np.array_equal(made @ x, np.roll(x, (-1, 2), (0, 1)))
    assert np.array_equal(made.inverse() @ (made @ x), x)
    assert np.array_equal(Warp((3, 4), np.zeros((2, 1, 1))) @ x, x)


def test_single_precision_keeps_its_digits_on_long_axes():
    """Positions are kept apart from displacements, which a sum of both in single precision would spoil."""
    n = 100_000
    x, u = np.linspace(0, 1, n, dtype="float32"), np.full((1, n), 0.3, dtype="float32")
    found = Warp((n,), Parameter(u), "edge") @ (x * 0 + np.arange(n) % 2).astype("float32")
    assert np.allclose(found[:-1], np.where(np.arange(n - 1) % 2, 0.7, 0.3), atol=1e-6)


def test_misuse_is_explained(rng):
    with pytest.raises(ShapeError, match="displacement of Warp"):
        Warp((4, 4), rng.random((4, 4, 2)))
    with pytest.raises(DtypeError, match="real"):
        Warp((4,), np.array([[1j]]))
    with pytest.raises(UnsupportedError, match="'periodic'"):
        Warp((4,), np.array([[1.0]]), "wrap")
