"""Convolutions against SciPy's, which sum directly."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.leaves import Parameter
from opalg.operators import Convolve, DiagonalIn, gaussian_kernel
from opalg.operators.convolution import WrapAround
from opalg.program.interpreter import number
from tests.operators.dense import check_parameter_gradient, real_matrix

SIZES = [((3, 3), (5, 6)), ((2, 4), (5, 6)), ((1, 1), (4, 4)), ((5, 2), (3, 4)), ((7, 9), (3, 4)), ((4, 4), (1, 5))]


def brute_force(kernel, x, boundary, origin):
    """``y_n = sum_i k_i x_(n - i + o)`` by definition."""
    y = np.zeros(x.shape, np.result_type(kernel, x))
    for n in np.ndindex(x.shape):
        for i in np.ndindex(kernel.shape):
            at = tuple(a - b + o for a, b, o in zip(n, i, origin, strict=True))
            if boundary == "periodic":
                y[n] += kernel[i] * x[tuple(a % m for a, m in zip(at, x.shape, strict=True))]
            elif all(0 <= a < m for a, m in zip(at, x.shape, strict=True)):
                y[n] += kernel[i] * x[at]
    return y


@pytest.mark.parametrize("boundary", ["periodic", "zero"])
@pytest.mark.parametrize(("size", "shape"), SIZES)
@pytest.mark.parametrize("complex_data", [False, True])
def test_definition(rng, boundary, size, shape, complex_data):
    kernel = rng.standard_normal(size) * (1 + 0.5j if complex_data else 1)
    x = rng.standard_normal(shape)
    for origin in ("center", (0, 0), tuple(k - 1 for k in size)):
        place = tuple(k // 2 for k in size) if origin == "center" else origin
        found = Convolve(kernel, shape, boundary, origin) @ x
        assert np.allclose(found, brute_force(kernel, x, boundary, place))


@pytest.mark.parametrize(("boundary", "mode"), [("periodic", "wrap"), ("zero", "constant")])
@pytest.mark.parametrize("size", [(3, 3), (3, 5), (2, 4)])
def test_ndimage_agrees(rng, boundary, mode, size):
    kernel, x = rng.standard_normal(size), rng.standard_normal((7, 8))
    wanted = scipy.ndimage.convolve(x, kernel, mode=mode)
    place = tuple(k // 2 for k in size)
    assert np.allclose(brute_force(kernel, x, boundary, place), wanted)
    assert np.allclose(Convolve(kernel, (7, 8), boundary) @ x, wanted)


def test_signal_agrees_on_odd_kernels(rng):
    kernel, x = rng.standard_normal((3, 5)), rng.standard_normal((7, 8))
    assert np.allclose(Convolve(kernel, (7, 8), "zero") @ x, scipy.signal.convolve2d(x, kernel, mode="same"))
    wrapped = scipy.signal.convolve2d(x, kernel, mode="same", boundary="wrap")
    assert np.allclose(Convolve(kernel, (7, 8)) @ x, wrapped)


def test_one_and_three_axes(rng):
    for shape, size in (((9,), (4,)), ((3, 4, 5), (2, 3, 3))):
        kernel, x = rng.standard_normal(size), rng.standard_normal(shape)
        place = tuple(k // 2 for k in size)
        for boundary in ("periodic", "zero"):
            assert np.allclose(Convolve(kernel, shape, boundary) @ x, brute_force(kernel, x, boundary, place))


@pytest.mark.parametrize("boundary", ["periodic", "zero"])
@pytest.mark.parametrize("size", [(3, 3), (2, 4), (7, 6)])
@pytest.mark.parametrize("complex_data", [False, True])
def test_gradient_in_the_kernel(rng, boundary, size, complex_data):
    kernel = Parameter(rng.standard_normal(size) * (1 + 1j if complex_data else 1), name="k")
    if boundary == "zero" and size == (7, 6):
        return _kernel_beyond_the_image(rng)
    check_parameter_gradient(Convolve(kernel, (4, 3), boundary), kernel, rng)
    check_parameter_gradient(Convolve(kernel, (4, 3), boundary).H, kernel, rng)
    return None


def _kernel_beyond_the_image(rng):
    """Entries that never meet the image have gradient zero."""
    from tests.operators.dense import parameter_gradients

    kernel = Parameter(rng.standard_normal((9, 9)), name="k")
    found, wanted = parameter_gradients(Convolve(kernel, (4, 3), "zero"), kernel, rng)
    assert np.max(np.abs(found - wanted)) <= 1e-6 * np.max(np.abs(wanted))
    assert np.all(found[0] == 0) and np.all(found[:, :2] == 0) and np.all(found[1:8, 2:7] != 0)


def test_gradient_in_the_width_of_a_gaussian(rng):
    sigma = Parameter(0.9, name="sigma", positive=True)
    for boundary in ("periodic", "zero"):
        check_parameter_gradient(Convolve(gaussian_kernel(sigma, 2), (6, 5), boundary), sigma, rng)


def test_gaussian_is_scipys_and_sums_to_one():
    x = np.zeros((9, 9))
    x[4, 4] = 1.0
    found = Convolve(gaussian_kernel(1.3, 3), (9, 9)) @ x
    wanted = scipy.ndimage.gaussian_filter(x, 1.3, radius=3, mode="wrap")
    assert np.allclose(found, wanted)
    assert np.sum(found) == pytest.approx(1.0)
    assert gaussian_kernel(1.0, 2, ndim=3).shape == (5, 5, 5)


def test_periodic_bound_is_exact_and_zero_bound_is_the_smaller_one(rng):
    kernel = rng.standard_normal((3, 3))
    periodic, zero = Convolve(kernel, (6, 7)), Convolve(kernel, (6, 7), "zero")
    assert periodic.norm_bound().certainty == "exact"
    assert periodic.norm_bound().value == pytest.approx(np.linalg.norm(real_matrix(periodic, "real"), 2))
    norm = np.linalg.norm(real_matrix(zero, "real"), 2)
    assert zero.norm_bound().certainty == "upper"
    assert norm <= zero.norm_bound().value <= np.abs(kernel).sum() + 1e-12


def test_inverse_filter(rng):
    kernel = np.array([[0.0, 0.1, 0.0], [0.1, 1.0, 0.1], [0.0, 0.1, 0.0]])
    x, blur = rng.standard_normal((4, 5)), Convolve(kernel, (4, 5))
    assert np.allclose(blur.inverse() @ (blur @ x), x)
    with pytest.raises(UnsupportedError, match="conjugate gradients"):
        Convolve(kernel, (4, 5), "zero").inverse()


def test_equal_convolutions_merge(rng):
    kernel = Parameter(rng.standard_normal((3, 3)), name="k")
    a, b = Convolve(kernel, (4, 5)), Convolve(kernel, (4, 5), origin=(1, 1))
    assert a is b
    assert isinstance((a @ a.H).simplify(), DiagonalIn)
    assert (a.H @ a).simplify() is (a @ a.H).simplify()


def test_wrapping_lays_every_entry_once():
    runs = WrapAround((7,), (3,), (2,))._runs[0]
    assert [(s, b, c) for s, b, c in runs] == [(0, 1, 2), (2, 0, 3), (5, 0, 2)]


def test_parameters_change_the_bound():
    kernel = Parameter(np.array([1.0, 2.0]), name="k")
    bound = Convolve(kernel, (4,)).norm_bound()
    assert bound.value == pytest.approx(3.0)
    assert number(bound.expression, None, {kernel: np.array([2.0, 4.0])}) == pytest.approx(6.0)


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match="2 axes"):
        Convolve(np.ones(3), (4, 4))
    with pytest.raises(UnsupportedError, match="periodic"):
        Convolve(np.ones(3), (4,), "reflect")
    with pytest.raises(ShapeError, match="no index"):
        Convolve(np.ones(3), (4,), origin=(3,))
    with pytest.raises(ParameterError, match="center"):
        Convolve(np.ones(3), (4,), origin="corner")
    with pytest.raises(ParameterError, match="positive"):
        gaussian_kernel(-1.0, 2)
    with pytest.raises(ParameterError, match="radius"):
        gaussian_kernel(1.0, -1)
