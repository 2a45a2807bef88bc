"""Interpolation against sums over the corners of a padded image, and against SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.leaves import Constant, Parameter
from opalg.operators.interpolation import Interpolate
from opalg.program.sampling import BOUNDARIES
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient, real_matrix

PAD = {"zero": "constant", "edge": "edge", "periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric"}


def reference(x, points, boundary, width=30):
    """Pad by far, then weigh the corners of each point's cell, in plain loops."""
    padded = np.pad(x, width, mode=PAD[boundary])
    out = np.zeros(points.shape[:-1])
    for j in np.ndindex(out.shape):
        low = np.floor(points[j]).astype(int)
        for corner in itertools.product((0, 1), repeat=x.ndim):
            place = low + corner
            weight = np.prod(1 - np.abs(points[j] - place))
            out[j] += weight * padded[tuple(place + width)]
    return out


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(7,), (4, 5), (1, 6), (3, 1, 4), (2, 3, 2, 3)])
@pytest.mark.parametrize("moving", [False, True])
def test_definition(rng, shape, boundary, moving):
    x = rng.standard_normal(shape)
    points = rng.uniform(-12.0, 14.0, (4, 3, len(shape)))
    points[0] = np.round(points[0])
    made = Interpolate(shape, Parameter(points) if moving else points, boundary)
    assert made.out_shape == (4, 3)
    assert np.allclose(made @ x, reference(x, points, boundary), atol=1e-12)
    stack = np.stack([x, 2 - x])
    assert np.allclose(made @ stack, [made @ x, made @ (2 - x)], atol=1e-12)


def test_agrees_with_scipy(rng):
    x, points = rng.standard_normal((9, 8)), rng.uniform(-3.0, 11.0, (50, 2))
    for boundary, mode in {"zero": "grid-constant", "edge": "nearest", "periodic": "grid-wrap"}.items():
        wanted = map_coordinates(x, points.T, order=1, mode=mode)
        assert np.allclose(Interpolate((9, 8), points, boundary) @ x, wanted, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_moving_points_give_the_same_matrix(rng, boundary):
    points = rng.uniform(-6.0, 9.0, (7, 2))
    fixed, moving = Interpolate((3, 4), points, boundary), Interpolate((3, 4), Parameter(points), boundary)
    matrix = real_matrix(fixed, "real")
    assert np.allclose(real_matrix(moving, "real"), matrix, atol=1e-14)
    assert np.allclose(real_matrix(moving.H, "real"), matrix.T, atol=1e-14)
    assert fixed.norm_bound().value == pytest.approx(moving.norm_bound().value, rel=1e-12)
    rows, columns = np.abs(matrix).sum(axis=1).max(), np.abs(matrix).sum(axis=0).max()
    assert np.linalg.norm(matrix, 2) <= fixed.norm_bound().value <= np.sqrt(max(rows, 1) * columns) * (1 + 1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradient_in_the_points(rng, boundary):
    points = Parameter(rng.uniform(-0.9, 3.9, (3, 2, 2)), name="points")
    made = Interpolate((4, 3), points, boundary)
    check_parameter_gradient(made, points, rng)
    check_parameter_gradient(made.H, points, rng)
    check_parameter_gradient(made.gram, points, rng)


def test_everything_that_operators_promise(rng):
    for made in Interpolate.examples(rng):
        report = check_operator(made)
        assert report.ok, report


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("example", [1, 5])
def test_other_libraries(rng, library, example):
    report = check_operator(Interpolate.examples(rng)[example], library=library, dtype="float32")
    assert report.ok, report


def test_one_visit_to_each_entry_is_orthogonal(rng):
    order = np.stack(np.unravel_index(rng.permutation(12), (3, 4)), axis=-1)
    made = Interpolate((3, 4), order)
    assert (made.norm_bound().value, made.norm_bound().certainty) == (1.0, "exact")
    x = rng.standard_normal((3, 4))
    assert np.array_equal(made.inverse() @ (made @ x), x)
    some = Interpolate((3, 4), order[:5])
    assert some.facts.gram_scale is None and some.facts.cogram_scale is not None
    assert np.array_equal(real_matrix(some.cogram, "real"), np.eye(5))


def test_positions_far_away_and_on_a_large_grid(rng):
    far = np.array([[1e30], [-1e30], [2.0]])
    assert np.array_equal(Interpolate((4,), far) @ np.arange(4.0), [0.0, 0.0, 2.0])
    assert np.array_equal(Interpolate((4,), far, "edge") @ np.arange(4.0), [3.0, 0.0, 2.0])
    assert np.array_equal(Interpolate((4,), Parameter(far), "edge") @ np.arange(4.0), [3.0, 0.0, 2.0])


def test_derivative_at_whole_positions_is_from_the_right():
    from opalg.program.differentiate import jvp
    from opalg.program.expression import Literal
    from opalg.program.interpreter import evaluate

    points = Parameter(np.array([[1.0], [2.0]]))
    out = Interpolate((4,), points).trace(Constant(np.array([0.0, 1.0, 5.0, 7.0])))
    from opalg.arrays import backend

    (moved,) = jvp([out], {points: Literal(1.0)})
    assert moved is not None
    assert np.array_equal(evaluate([moved], {}, backend())[0], [4.0, 2.0])


def test_misuse_is_explained(rng):
    with pytest.raises(ShapeError, match=r"\(\.\.\., 2\)"):
        Interpolate((4, 4), rng.random((3, 3)))
    with pytest.raises(ShapeError, match="one row for each point"):
        Interpolate((4,), rng.random(1))
    with pytest.raises(ShapeError, match="without zeros"):
        Interpolate((4, 0), rng.random((3, 2)))
    with pytest.raises(DtypeError, match="real"):
        Interpolate((4,), np.array([[1j]]))
    with pytest.raises(UnsupportedError, match="'edge'"):
        Interpolate((4,), rng.random((3, 1)), "wrap")
