"""Convolutions against SciPy's, which sum directly."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.leaves import Parameter
from opalg.operators import Convolve, DiagonalIn, gaussian_kernel
from opalg.operators.algebra import Adjoint, Composed
from opalg.operators.circular import BOUNDARIES, WrapAround
from opalg.program.interpreter import number
from tests.operators.dense import check_parameter_gradient, real_matrix

MODES = {"zero": "constant", "periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric", "edge": "edge"}
every_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
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


def direct(kernel, x, boundary, origin, stride):
    """The image extended by `numpy.pad`, then the sum by SciPy without transforms."""
    if boundary in ("full", "valid"):
        y = scipy.signal.convolve(x, kernel, mode="full", method="direct")
        cut = [
            (k - 1, n) if boundary == "valid" else (0, n + k - 1) for k, n in zip(kernel.shape, x.shape, strict=True)
        ]
    else:
        width = [(k - 1 - o, o) for k, o in zip(kernel.shape, origin, strict=True)]
        y = scipy.signal.convolve(np.pad(x, width, mode=MODES[boundary]), kernel, mode="full", method="direct")
        cut = [(k - 1, k - 1 + n) for k, n in zip(kernel.shape, x.shape, strict=True)]
    return y[tuple(slice(a, b, s) for (a, b), s in zip(cut, stride, strict=True))]


@every_boundary
@pytest.mark.parametrize("shape", [(5,), (1,), (4, 5), (1, 3), (2, 3, 4)])
def test_every_boundary_origin_and_stride(rng, boundary, shape):
    d = len(shape)
    sizes = {(1,) * d, tuple(min(3, n) for n in shape), tuple(min(2, n) for n in shape), shape}
    if boundary in ("periodic", "zero", "full"):
        sizes.add(tuple(n + 2 for n in shape))
    for size in sizes:
        kernel, x = rng.standard_normal(size) * (1 + 0.5j), rng.standard_normal(shape)
        for origin in (tuple(k // 2 for k in size), (0,) * d, tuple(k - 1 for k in size)):
            for taps, stride in ((kernel, 1), (kernel.real.copy(), 1), (kernel.real.copy(), 2), (kernel, 3)):
                made = Convolve(taps, shape, boundary, origin, stride)
                wanted = direct(taps, x, boundary, origin, (stride,) * d)
                assert made.out_shape == wanted.shape
                assert np.allclose(made @ x, wanted)


@every_boundary
@pytest.mark.parametrize("complex_data", [False, True])
def test_adjoint_at_the_borders(rng, boundary, complex_data):
    for shape, size, origin, stride in (
        ((4, 3), (2, 3), (1, 0), 1),
        ((5,), (4,), (3,), 2),
        ((1, 4), (1, 3), (0, 2), 3),
    ):
        kernel = rng.standard_normal(size) * (1 - 2j if complex_data else 1)
        made = Convolve(kernel, shape, boundary, origin, stride)
        kind = "complex" if complex_data else "real"
        assert np.allclose(real_matrix(made.H, kind), real_matrix(made, kind).T, atol=1e-14)


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


@every_boundary
@pytest.mark.parametrize("size", [(3, 3), (2, 1), (7, 6)])
@pytest.mark.parametrize("complex_data", [False, True])
def test_gradient_in_the_kernel(rng, boundary, size, complex_data):
    if size == (7, 6) and boundary not in ("periodic", "full"):
        return  # larger than the image: refused, or (zero) looked at below
    kernel = Parameter(rng.standard_normal(size) * (1 + 1j if complex_data else 1), name="k")
    for stride in (1, (2, 1)):
        made = Convolve(kernel, (4, 3), boundary, stride=stride)
        check_parameter_gradient(made, kernel, rng)
        check_parameter_gradient(made.H, kernel, rng)


def test_gradient_in_a_kernel_beyond_the_image(rng):
    """Entries that never meet the image have gradient zero."""
    from tests.operators.dense import parameter_gradients

    kernel = Parameter(rng.standard_normal((9, 9)), name="k")
    found, wanted = parameter_gradients(Convolve(kernel, (4, 3), "zero"), kernel, rng)
    assert np.max(np.abs(found - wanted)) <= 1e-6 * np.max(np.abs(wanted))
    assert np.all(found[0] == 0) and np.all(found[:, :2] == 0) and np.all(found[1:8, 2:7] != 0)


def test_gradient_in_the_width_of_a_gaussian(rng):
    sigma = Parameter(0.9, name="sigma", positive=True)
    for boundary in BOUNDARIES:
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


@every_boundary
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_norm_bounds(rng, boundary, stride):
    for shape, size in (((6,), (3,)), ((4, 6), (3, 2)), ((5, 4), (1, 4))):
        for kernel in (rng.standard_normal(size), np.ones(size), rng.standard_normal(size) * 1j):
            made = Convolve(kernel, shape, boundary, stride=stride)
            norm = np.linalg.norm(real_matrix(made, "complex" if np.iscomplexobj(kernel) else "real"), 2)
            bound = made.norm_bound()
            assert norm <= bound.value * (1 + 1e-13)
            assert bound.value <= 2.6 * norm
            divides = all(n % stride == 0 for n in shape)
            assert bound.certainty == ("exact" if boundary == "periodic" and divides else "upper")
            if bound.certainty == "exact":
                assert bound.value == pytest.approx(norm)


def test_bound_of_a_blur_with_reflected_borders_is_sharp():
    blur = Convolve(np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 16, (6, 7), "symmetric")
    assert blur.norm_bound().value == pytest.approx(1.0, abs=1e-12)
    assert np.linalg.norm(real_matrix(blur, "real"), 2) == pytest.approx(1.0, abs=1e-12)


def test_inverse_filter(rng):
    kernel = np.array([[0.0, 0.1, 0.0], [0.1, 1.0, 0.1], [0.0, 0.1, 0.0]])
    x, blur = rng.standard_normal((4, 5)), Convolve(kernel, (4, 5))
    assert np.allclose(blur.inverse() @ (blur @ x), x)
    for other in (Convolve(kernel, (4, 5), "zero"), Convolve(kernel, (4, 5), stride=2)):
        with pytest.raises(UnsupportedError, match="conjugate gradients"):
            other.inverse()


def test_equal_convolutions_merge(rng):
    kernel = Parameter(rng.standard_normal((3, 3)), name="k")
    a, b = Convolve(kernel, (4, 5)), Convolve(kernel, (4, 5), origin=(1, 1))
    assert a is b
    assert isinstance((a @ a.H).simplify(), DiagonalIn)
    assert (a.H @ a).simplify() is (a @ a.H).simplify()


@pytest.mark.parametrize("boundary", ["full", "valid"])
@pytest.mark.parametrize("complex_data", [False, True])
def test_full_and_valid_convolutions_merge(rng, boundary, complex_data):
    a = Parameter(rng.standard_normal((2, 3)), name="a")
    b = rng.standard_normal((3, 2)) * (1 + 1j if complex_data else 1)
    inner = Convolve(b, (6, 5), boundary)
    for stride in (1, (2, 1)):
        made = Convolve(a, inner.out_shape, boundary, stride=stride) @ inner
        simple = made.simplify()
        assert isinstance(simple, Convolve)
        assert simple.kernel.shape == (4, 4)
        assert simple.boundary == boundary
        for kind in ("complex",) if complex_data else ("real", "complex"):
            assert np.allclose(real_matrix(simple, kind), real_matrix(made, kind), atol=1e-13)
    check_parameter_gradient(simple, a, rng)


def test_convolutions_that_do_not_merge_exactly_stay(rng):
    kernel = rng.standard_normal((3, 2))
    for boundary in ("zero", "reflect", "symmetric", "edge"):
        one = Convolve(kernel, (5, 4), boundary)
        assert isinstance((one @ one).simplify(), Composed)
    strided = Convolve(kernel, (5, 4), "full", stride=2)
    made = Convolve(kernel, strided.out_shape, "full") @ strided
    assert isinstance(made.simplify(), Composed)


@pytest.mark.parametrize("complex_data", [False, True])
def test_gram_of_full_is_a_convolution(rng, complex_data):
    a, b = (Parameter(rng.standard_normal((2, 3)) * (1 + 1j if complex_data else 1), name=n) for n in "ab")
    left, right = Convolve(a, (4, 5), "full"), Convolve(b, (4, 5), "full")
    for made in (left.gram, left.H @ right):
        simple = made.simplify()
        assert isinstance(simple, Convolve)
        assert simple.boundary == "zero"
        kind = "complex" if complex_data else "real"
        assert np.allclose(real_matrix(simple, kind), real_matrix(made, kind), atol=1e-13)
        check_parameter_gradient(simple, a, rng)
    other = Convolve(rng.standard_normal((3, 2)), (3, 6), "full")
    assert isinstance((left.H @ other).simplify().outer, Adjoint)


def test_full_and_valid_have_no_origin(rng):
    kernel = Parameter(rng.standard_normal(3), name="k")
    for boundary in ("full", "valid"):
        assert Convolve(kernel, (5,), boundary, origin=0) is Convolve(kernel, (5,), boundary)


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
        Convolve(np.ones(3), (4,), "wrap")
    for boundary in ("reflect", "symmetric", "edge", "valid"):
        with pytest.raises(ShapeError, match="no larger"):
            Convolve(np.ones((2, 5)), (4, 4), boundary)
    for stride in (0, (1, 2), 1.5, (1.0,)):
        with pytest.raises(ShapeError, match="stride"):
            Convolve(np.ones(3), (4,), stride=stride)
    with pytest.raises(ShapeError, match="no index"):
        Convolve(np.ones(3), (4,), origin=(3,))
    with pytest.raises(ParameterError, match="center"):
        Convolve(np.ones(3), (4,), origin="corner")
    with pytest.raises(ParameterError, match="positive"):
        gaussian_kernel(-1.0, 2)
    with pytest.raises(ParameterError, match="radius"):
        gaussian_kernel(1.0, -1)
