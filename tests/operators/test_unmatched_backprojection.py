"""Backprojection by interpolation against NumPy's own, and fixed points of maps that pair it with the transform."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError
from opalg.operators.projector import FOOTPRINTS
from opalg.operators.unmatched_backprojection import UnmatchedBackprojection
from opalg.testing import check_operator
from tests.operators.dense import real_matrix

ANGLES = [0.0, 0.3, np.pi / 4, np.pi / 2, 2.0, 3 * np.pi / 4, np.pi, 5.0, -1.2]
GEOMETRIES = [
    {"shape": (4, 5)},
    {"shape": (5, 4), "detectors": 6, "spacing": 0.7, "offset": 0.3},
    {"shape": (1, 6), "weights": "ray"},
    {"shape": (3, 1), "detectors": 4, "spacing": 1.6, "offset": -0.4},
    {"shape": (6, 6), "detectors": 1, "spacing": 2.5, "weights": "joseph"},
]
LIBRARIES = ["numpy", "torch", "array_api_strict"]


def interpolated(made, y):
    """The sum over the angles of rows interpolated at the middles of pixels, with a zero next to both ends."""
    i, j = np.indices(made.shape)
    count = made.detectors
    places = (np.arange(-1, count + 1) - (count - 1) / 2) * made.spacing + made.offset
    total = np.zeros(made.shape)
    for angle, row in zip(made.angles, y, strict=True):
        at = (j - (made.shape[1] - 1) / 2) * np.cos(angle) + ((made.shape[0] - 1) / 2 - i) * np.sin(angle)
        total += np.interp(at, places, np.pad(row, 1))
    return total


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_rows_are_interpolated(rng, geometry, dtype, library):
    made = oa.Radon(angles=ANGLES, **geometry)
    y, lib = rng.standard_normal(made.out_shape), backend(library, dtype)
    for scale, factor in ((None, np.pi / 18), (-1.7, -1.7), (0.0, 0.0)):
        found = made.unmatched_backprojection(scale) @ lib.asarray(y)
        assert found.dtype == lib.asarray(y).dtype
        wanted = factor * interpolated(made, y)
        assert np.allclose(lib.to_numpy(found), wanted, rtol=0, atol=1e-13 if dtype == "float64" else 1e-5)


def test_complex_sinograms_and_batches(rng):
    made = oa.Radon((4, 5), ANGLES)
    y = rng.standard_normal((2, 3, *made.out_shape)) + 1j * rng.standard_normal((2, 3, *made.out_shape))
    found = made.unmatched_backprojection(2.0) @ y
    wanted = interpolated(made, y[1, 2].real) + 1j * interpolated(made, y[1, 2].imag)
    assert found.shape == (2, 3, 4, 5) and np.allclose(found[1, 2], 2 * wanted, atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_the_adjoint_is_exact_and_the_norm_is_below_its_bound(geometry):
    made = oa.Radon(angles=ANGLES, **geometry).unmatched_backprojection(-0.6)
    dense = real_matrix(made, "real")
    assert np.allclose(real_matrix(made.H, "real"), dense.T, rtol=0, atol=1e-14)
    bound, norm = made.norm_bound(), np.linalg.norm(dense, 2)
    assert bound.certified and norm <= bound.value <= 2.5 * norm


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("example", [0, 1])
def test_everything_that_operators_promise(rng, example, library):
    made = UnmatchedBackprojection.examples(rng)[example]
    for dtype in ("float64", "float32"):
        report = check_operator(made, library=library, dtype=dtype)
        assert report.ok, report


@pytest.mark.parametrize("weights", FOOTPRINTS)
def test_it_is_no_multiple_of_the_adjoint(weights):
    made = oa.Radon((5, 5), np.pi * np.arange(9) / 9, weights=weights)
    back, adjoint = real_matrix(made.unmatched_backprojection(), "real"), real_matrix(made.H, "real")
    nearest = np.vdot(adjoint, back) / np.vdot(adjoint, adjoint)
    assert np.linalg.norm(back - nearest * adjoint) > 0.02 * np.linalg.norm(back)
    both = back @ real_matrix(made, "real")
    assert np.linalg.norm(both - both.T) > 0.01 * np.linalg.norm(both)


def test_parts_of_the_angles_have_the_whole_as_their_mean(rng):
    made = oa.Radon((5, 6), np.pi * np.arange(12) / 12)
    y = rng.standard_normal(made.out_shape)
    parts = [made.subset(slice(k, None, 4)).unmatched_backprojection() @ y[k::4] for k in range(4)]
    assert np.allclose(np.mean(parts, axis=0), made.unmatched_backprojection() @ y, atol=1e-14)


def pair(weights="joseph"):
    """The transform of small images, the interpolating way back, and both as dense matrices."""
    made = oa.Radon((3, 3), np.pi * np.arange(9) / 9, weights=weights)
    back = made.unmatched_backprojection()
    return made, back, real_matrix(made, "real"), real_matrix(back, "real")


@pytest.mark.parametrize(
    ("weights", "library"), [(w, "numpy") for w in FOOTPRINTS] + [("strip", "torch"), ("strip", "array_api_strict")]
)
def test_fixed_points_and_their_derivatives_are_those_of_the_declared_pair(rng, weights, library):
    made, back, a, b = pair(weights)
    data, c = rng.standard_normal(made.out_shape), rng.standard_normal(made.in_shape)
    lib = backend(library, "float64")
    x, y = oa.Variable(made.in_shape, name="x"), oa.Parameter(lib.asarray(data), name="y")
    t = 1 / np.linalg.norm(b @ a, 2)
    found = oa.fixed_point(x, x - t * (back @ (made @ x - y)), backend=library).solve(tol=1e-11)
    wanted = np.linalg.solve(b @ a, b @ data.ravel())
    assert np.allclose(lib.to_numpy(found.x).ravel(), wanted, atol=1e-6)
    pulled = lib.to_numpy(found.vjp(lib.asarray(c), y)[y]).ravel()
    derivative = b.T @ np.linalg.solve((b @ a).T, c.ravel())
    assert np.allclose(pulled, derivative, rtol=0, atol=1e-6 * np.abs(derivative).max())
    matched = a @ np.linalg.solve(a.T @ a, c.ravel())
    assert np.linalg.norm(pulled - matched) > 0.01 * np.linalg.norm(matched)
    least = np.linalg.lstsq(a, data.ravel(), rcond=None)[0]
    assert np.linalg.norm(wanted - least) > 0.01 * np.linalg.norm(least)


@pytest.mark.parametrize("library", LIBRARIES)
def test_in_single_precision_beside_a_regulariser(rng, library):
    made, back, a, b = pair()
    data, c = rng.standard_normal(made.out_shape), rng.standard_normal(made.in_shape)
    lib = backend(library, "float32")
    x, y = oa.Variable(made.in_shape, name="x", dtype=np.float32), oa.Parameter(lib.asarray(data), name="y")
    image = x - 0.1 * (back @ (made @ x - y)) - 0.1 * x
    found = oa.fixed_point(x, image, backend=library, dtype="float32").solve(tol=1e-6)
    system = b @ a + np.eye(9)
    assert found.x.dtype == lib.asarray(data).dtype
    assert np.allclose(lib.to_numpy(found.x).ravel(), np.linalg.solve(system, b @ data.ravel()), atol=1e-5)
    pulled = lib.to_numpy(found.vjp(lib.asarray(c), y)[y]).ravel()
    assert np.allclose(pulled, b.T @ np.linalg.solve(system.T, c.ravel()), atol=1e-5)


def test_misuse_is_explained():
    made = oa.Radon((4, 4), [0.0, 1.0])
    for scale in (np.nan, np.inf, "1", True, 1j, oa.Parameter(1.0, name="theta")):
        with pytest.raises(ParameterError, match=r"finite number.*theta \* A\.unmatched_backprojection"):
            made.unmatched_backprojection(scale)
    with pytest.raises(ShapeError, match="trailing axes"):
        made.unmatched_backprojection() @ np.zeros((3, 6))
    theta = oa.Parameter(2.0, name="theta")
    assert isinstance(theta * made.unmatched_backprojection(), oa.LinearOperator)
    assert repr(made.unmatched_backprojection()) == "UnmatchedBackprojection((2, 6) -> (4, 4), scale=0.785398)"
