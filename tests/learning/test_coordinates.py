"""Parameters as a vector."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, UnsupportedError
from opalg.learning.coordinates import Coordinates

LIB = oa.backend("numpy")


def made(wrt, **options):
    """Coordinates of parameters that are all that an energy has."""
    return Coordinates(wrt, wrt, LIB, **options)


def test_positive_parameters_move_in_log_scale_and_others_in_units_of_their_size():
    a, b = oa.Parameter(2.0, name="a", positive=True), oa.Parameter(np.array([1.0, -4.0]), name="b")
    found = made([a, b]).values(np.array([1.0, 0.5, 0.5]))
    assert found[a] == pytest.approx(2 * np.e)
    np.testing.assert_allclose(found[b], [3.0, -2.0])


def test_slopes_are_those_of_the_vector():
    a, b = oa.Parameter(2.0, name="a", nonneg=True), oa.Parameter(np.array([1.0, -4.0]), name="b")
    coordinates, at, h = made([a, b]), np.array([0.3, -0.1, 0.2]), 1e-6

    def value(u):
        v = coordinates.values(u)
        return v[a] ** 3 + float(np.sum(np.sin(v[b])))

    values = coordinates.values(at)
    slope = coordinates.slope(values, {a: 3 * values[a] ** 2, b: np.cos(values[b])})
    expected = [(value(at + h * e) - value(at - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(slope, expected, rtol=1e-7)


def test_errors_of_slopes_bound_what_errors_of_gradients_do():
    a, b = oa.Parameter(2.0, name="a", positive=True), oa.Parameter(np.array([1.0, -4.0]), name="b")
    coordinates, rng = made([a, b]), np.random.default_rng(0)
    values = coordinates.values(np.zeros(3))
    for _ in range(20):
        errors = {a: rng.standard_normal(()), b: rng.standard_normal(2)}
        sizes = {p: float(np.linalg.norm(e)) for p, e in errors.items()}
        assert np.linalg.norm(coordinates.slope(values, errors)) <= coordinates.slope_error(values, sizes) * (1 + 1e-12)


def test_bounds_hold_in_both_scales():
    a = oa.Parameter(2.0, name="a", positive=True)
    for scale in ("log", "linear"):
        coordinates = made([a], scale=scale, bounds={a: (1.0, 5.0)})
        assert coordinates.bounded
        assert coordinates.values(coordinates.project(np.array([9.0])))[a] == pytest.approx(5.0)
        assert coordinates.values(coordinates.project(np.array([-9.0])))[a] == pytest.approx(1.0)


def test_positive_parameters_in_linear_scale_stay_positive():
    a, b = oa.Parameter(2.0, name="a", positive=True), oa.Parameter(1.0, name="b", nonneg=True)
    coordinates = made([a, b], scale="linear")
    found = coordinates.values(coordinates.project(np.array([-7.0, -7.0])))
    assert found[a] > 0
    assert found[b] == 0
    assert not made([a, b]).bounded


def test_what_does_not_fit_is_refused():
    a, c = oa.Parameter(2.0, name="a", positive=True), oa.Parameter(1j, name="c")
    with pytest.raises(ParameterError, match="must start within its bounds"):
        made([a], bounds={a: (3.0, None)})
    with pytest.raises(ParameterError, match="which wrt does not hold"):
        made([a], bounds={"b": (0.0, 1.0)})
    with pytest.raises(ParameterError, match="a pair"):
        made([a], bounds={a: 1.0})
    with pytest.raises(ParameterError, match="scale must be"):
        made([a], scale="cubic")
    with pytest.raises(UnsupportedError, match="real parameters"):
        made([c])
