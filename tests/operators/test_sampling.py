"""Changes of the sampling rate against loops, SciPy and dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.leaves import Parameter
from opalg.operators import FFT, RFFT, Convolve, DiagonalIn, Identity, Mask, gaussian_kernel
from opalg.operators.aliasing import SampledDiagonalIn
from opalg.operators.kernels import FILTERS, anti_alias_kernel
from opalg.operators.sampling import BOUNDARIES, Downsample, Upsample
from tests.operators.dense import check_parameter_gradient, real_matrix

MODES = {"zero": "constant", "periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric", "edge": "edge"}
every_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


def same(a, b, kind="real"):
    return np.allclose(real_matrix(a, kind), real_matrix(b, kind), atol=1e-13)


@pytest.mark.parametrize("shape", [(6,), (5,), (1,), (4, 5), (2, 3, 4)])
def test_plain_ones_take_and_spread(rng, shape):
    for factor in (1, 2, 3, 7):
        x = rng.standard_normal((2, *shape))
        every = (..., *(slice(None, None, factor) for _ in shape))
        assert np.array_equal(Downsample(shape, factor) @ x, x[every])
        large = np.zeros((2, *(factor * n for n in shape)))
        large[every] = x
        assert np.array_equal(Upsample(shape, factor) @ x, large)
        assert same(Upsample(shape, factor), Downsample(large.shape[1:], factor).H)


def test_block_means_and_repetition(rng):
    x, y = rng.standard_normal((4, 6)), rng.standard_normal((2, 2))
    for boundary in BOUNDARIES:
        assert np.allclose(Downsample((4, 6), (2, 3), "box", boundary) @ x, x.reshape(2, 2, 2, 3).mean((1, 3)))
        assert np.allclose(Upsample((2, 2), (2, 3), "box", boundary) @ y, np.kron(y, np.ones((2, 3))))


@every_boundary
@pytest.mark.parametrize("factor", [2, 3])
def test_filtered_downsampling_is_filtering_then_taking(rng, boundary, factor):
    x, taps = rng.standard_normal((7, 9)), rng.standard_normal((3, 4))
    width = [(k - 1 - k // 2, k // 2) for k in taps.shape]
    whole = scipy.signal.convolve(np.pad(x, width, mode=MODES[boundary]), taps, mode="valid", method="direct")
    assert np.allclose(Downsample((7, 9), factor, taps, boundary) @ x, whole[::factor, ::factor])


@every_boundary
@pytest.mark.parametrize(("size", "origin"), [(5, 2), (4, 0), (3, 2), (9, 4), (1, 0)])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_upsampling_by_definition(rng, boundary, size, origin, factor):
    """``y_m = sum_j h_(m - f j + o) x_j``, the small image going on for ever by `numpy.pad`."""
    x, taps, reach = rng.standard_normal(3), rng.standard_normal(size), 12
    around = np.pad(x, reach, mode=MODES[boundary])
    wanted = np.zeros(3 * factor)
    for m in range(3 * factor):
        for j in range(-reach, 3 + reach):
            if 0 <= m - factor * j + origin < size:
                wanted[m] += taps[m - factor * j + origin] * around[j + reach]
    made = Upsample((3,), factor, taps, boundary, origin)
    assert np.allclose(made @ x, wanted)
    assert np.allclose(real_matrix(made.H, "real"), real_matrix(made, "real").T, atol=1e-14)


@pytest.mark.parametrize("name", FILTERS)
def test_named_filters(name):
    for factor in (1, 2, 3, 4):
        taps = anti_alias_kernel(name, (factor,))
        assert taps.sum() == pytest.approx(1.0)
        assert np.allclose(taps, taps[::-1])
        for phase in range(factor):
            assert taps[phase::factor].sum() == pytest.approx(1 / factor)
    both = anti_alias_kernel(name, (2, 3))
    assert np.allclose(both, np.outer(anti_alias_kernel(name, (2,)), anti_alias_kernel(name, (3,))))


@pytest.mark.parametrize("name", FILTERS)
@every_boundary
def test_constants_stay(name, boundary):
    if boundary == "zero":
        return  # the border darkens
    assert np.allclose(Downsample((18, 17), (3, 2), name, boundary) @ np.ones((18, 17)), 1.0)
    assert np.allclose(Upsample((5, 4), (3, 2), name, boundary) @ np.ones((5, 4)), 1.0)


def test_triangle_interpolates_linearly():
    found = Upsample((4,), 4, "triangle", "edge") @ np.array([0.0, 1.0, 3.0, 2.0])
    assert np.allclose(found, np.interp(np.arange(16) / 4, np.arange(4), [0.0, 1.0, 3.0, 2.0]))


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("boundary", ["periodic", "zero"])
def test_upsampling_is_a_multiple_of_the_adjoint(name, boundary):
    down, up = Downsample((6, 6), (2, 3), name, boundary), Upsample((3, 2), (2, 3), name, boundary)
    assert same(up, 6.0 * down.H)


@every_boundary
def test_gradient_in_the_filter(rng, boundary):
    taps = Parameter(rng.standard_normal((3, 2)), name="h")
    for made in (Downsample((4, 5), 2, taps, boundary), Upsample((2, 3), (2, 1), taps, boundary, (2, 0))):
        check_parameter_gradient(made, taps, rng)
        check_parameter_gradient(made.H, taps, rng)


@every_boundary
def test_norm_bounds(rng, boundary):
    members = [(Downsample((6, 4), 2, rng.standard_normal((3, 2)), boundary), boundary == "periodic")]
    members += [(Downsample((5,), 2, "triangle", boundary), False)]
    members += [(Upsample((3, 2), (2, 3), rng.standard_normal((3, 2)), boundary), boundary == "periodic")]
    members += [(Upsample((4,), 3, name, boundary), boundary == "periodic") for name in FILTERS]
    members += [(Downsample((5, 4), 3), True), (Upsample((2, 3), 2), True)]
    for made, is_exact in members:
        norm, bound = np.linalg.norm(real_matrix(made, "real"), 2), made.norm_bound()
        assert norm <= bound.value * (1 + 1e-13)
        assert bound.value <= 2.0 * norm
        assert bound.certainty == ("exact" if is_exact else "upper")
        if is_exact:
            assert bound.value == pytest.approx(norm)


def test_decimation_cancels():
    down = Downsample((5, 4), 2)
    assert down.cogram.simplify() is Identity((3, 2))
    gram = down.gram.simplify()
    assert isinstance(gram, Mask)
    assert same(gram, down.gram)
    assert (Downsample((6, 4), 2) @ Upsample((3, 2), 2)).simplify() is Identity((3, 2))
    assert Downsample((5, 4), 1).simplify() is Identity((5, 4))
    assert Downsample((1, 1), 3).simplify() is Identity((1, 1))


@pytest.mark.parametrize("complex_data", [False, True])
def test_super_resolution_is_diagonal_on_the_small_image(rng, complex_data):
    kernel = Parameter(rng.standard_normal((3, 3)) * (1 + 1j if complex_data else 1), name="k")
    blur, kind = Convolve(kernel, (6, 4)), "complex" if complex_data else "real"
    for made in (Downsample((6, 4), (3, 2)) @ blur, Downsample((6, 4), (3, 2), kernel)):
        small = made.cogram.simplify()
        assert isinstance(small, DiagonalIn)
        assert small.in_shape == (2, 2)
        assert same(small, made.cogram, kind)
        check_parameter_gradient(small, kernel, rng)
        simple = made.simplify()
        assert isinstance(simple, SampledDiagonalIn)
        assert simple.norm_bound().certainty == "exact"
        assert same(made.H.simplify(), made.H, kind)
        assert made.gram.simplify().norm_bound().value == pytest.approx(simple.norm_bound().value ** 2)


def test_every_order_of_sampling_and_convolving_merges(rng):
    a, b = (Convolve(rng.standard_normal((3, 2)), (4, 6)) for _ in range(2))
    down, other = Downsample((4, 6), 2), Downsample((4, 6), 2, "gaussian")
    for left in (down, down @ a, other, other @ b):
        assert not isinstance(left.simplify(), type(down @ a))
        for right in (down, down @ b, other @ a):
            made = left @ right.H
            simple = made.simplify()
            assert isinstance(simple, DiagonalIn | Identity)
            assert same(simple, made)
    up = Upsample((2, 3), 2, "lanczos")
    for made in (down @ up, other @ up, up.H @ up):
        assert isinstance(made.simplify(), DiagonalIn)
        assert same(made.simplify(), made)


def test_what_does_not_divide_stays(rng):
    blur = Convolve(gaussian_kernel(0.8, 1), (5, 4))
    made = Downsample((5, 4), 2) @ blur
    assert same(made.simplify(), made)
    assert same(made.cogram.simplify(), made.cogram)
    part = Downsample((4, 4), 2) @ DiagonalIn(RFFT((4, 4), axes=1), np.fft.rfft(rng.standard_normal(4)))
    assert same(part.simplify(), part)


def test_misuse_is_explained(rng):
    for cls in (Downsample, Upsample):
        with pytest.raises(ShapeError, match="factor"):
            cls((4, 4), 0)
        with pytest.raises(ShapeError, match="factor"):
            cls((4, 4), (2, 2, 2))
        with pytest.raises(ParameterError, match="lanczos"):
            cls((4, 4), 2, "bicubic")
        with pytest.raises(ParameterError, match="origin"):
            cls((4, 4), 2, "box", origin=(0, 0))
        with pytest.raises(ShapeError, match="2 axes"):
            cls((4, 4), 2, np.ones(3))
        with pytest.raises(UnsupportedError, match="periodic"):
            cls((4, 4), 2, "box", "valid")
        with pytest.raises(ShapeError, match="zeros"):
            cls((4, 0), 2)
    with pytest.raises(ShapeError, match="no larger"):
        Downsample((4,), 2, "lanczos", "reflect")
    with pytest.raises(ShapeError, match="divide"):
        SampledDiagonalIn(DiagonalIn(FFT((5,)), rng.standard_normal(5)), 2)
    with pytest.raises(ParameterError, match="all axes"):
        SampledDiagonalIn(DiagonalIn(FFT((4, 4), axes=0), np.ones((4, 4))), 2)


def test_grams_of_upsampling_stay_positive():
    for up in (Upsample((2, 2), (2, 3), "box", "periodic"), Upsample((4,), 2, "box", "periodic")):
        simple = up.gram.simplify()
        assert isinstance(simple, DiagonalIn) and simple.facts.positive is YES and simple.facts.lowest is not None
        assert same(simple, up.gram)
