"""Wavelet transforms against PyWavelets."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import pywt

from opalg.arrays import backend
from opalg.emit import Function
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.operators import Diagonal, Identity, Wavelet
from opalg.operators.wavelet import analyse, synthesise
from opalg.program.expression import Apply, Input
from opalg.program.interpreter import bind_arguments
from tests.operators.dense import real_matrix

BIORTHOGONAL = ["bior1.3", "bior2.2", "rbio2.2", "bior3.1", "rbio3.5", "bior4.4", "bior5.5", "rbio6.8"]


def reference(x, wavelet, levels, axes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyWavelets warns about levels where the filter wraps around
        parts = pywt.wavedecn(x, wavelet, "periodization", levels, axes=axes)
    return pywt.coeffs_to_array(parts, axes=axes)[0]


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym5", "coif2", "db12"])
@pytest.mark.parametrize(("shape", "levels"), [((16,), 2), ((8, 16), 2), ((4, 8, 8), 1), ((8, 8), 3), ((6, 10), 1)])
def test_pywavelets_agrees(rng, wavelet, shape, levels):
    x = rng.standard_normal(shape)
    w = Wavelet(shape, wavelet, levels)
    assert np.allclose(w @ x, reference(x, wavelet, levels, tuple(range(len(shape)))), atol=1e-9)
    assert np.allclose(w.H @ (w @ x), x, atol=1e-13)


def test_wavedec2_layout(rng):
    x = rng.standard_normal((16, 16))
    coefficients = pywt.wavedec2(x, "db4", "periodization", 1)
    found = Wavelet((16, 16), "db4", 1) @ x
    assert np.allclose(found[:8, :8], coefficients[0])
    horizontal, vertical, diagonal = coefficients[1]
    assert np.allclose(found[8:, :8], horizontal)
    assert np.allclose(found[:8, 8:], vertical)
    assert np.allclose(found[8:, 8:], diagonal)


def test_orthogonal_both_ways():
    w = Wavelet((8, 4), "db2", 2)
    dense = real_matrix(w, "real")
    assert np.allclose(dense @ dense.T, np.eye(32), atol=1e-14)
    assert (w.H @ w).simplify() is Identity((8, 4))
    assert (w @ w.H).simplify() is Identity((8, 4))


def test_levels_by_themselves():
    assert Wavelet((64, 32), "haar").levels == 5
    assert Wavelet((64, 48), "db4").levels == 3
    assert Wavelet((12,), "db2").levels == 2


@pytest.mark.parametrize("wavelet", BIORTHOGONAL)
@pytest.mark.parametrize(
    ("shape", "levels", "axes"),
    [((16,), 2, None), ((8, 12), 2, None), ((6, 10), 1, None), ((8, 3), 3, (0,)), ((3, 4, 8), 2, (2, -2))],
)
def test_biorthogonal_analysis_and_synthesis(rng, wavelet, shape, levels, axes):
    x, c = rng.standard_normal(shape), rng.standard_normal(shape)
    w = Wavelet(shape, wavelet, levels, axes)
    own = tuple(sorted(axis % len(shape) for axis in axes or range(len(shape))))
    assert np.allclose(w @ x, reference(x, wavelet, levels, own), atol=1e-10)
    assert np.allclose(w.inverse() @ (w @ x), x, atol=1e-12)
    assert np.allclose(w @ (w.inverse() @ c), c, atol=1e-12)
    dense = real_matrix(w, "real")
    assert np.allclose(real_matrix(w.H, "real"), dense.T, atol=1e-14)
    assert not np.allclose(dense.T @ dense, np.eye(x.size), atol=1e-2)


def test_synthesis_is_that_of_pywavelets(rng):
    w, c = Wavelet((8, 12), "bior4.4", 1), rng.standard_normal((8, 12))
    parts = [c[:4, :6], {"ad": c[:4, 6:], "da": c[4:, :6], "dd": c[4:, 6:]}]
    assert np.allclose(w.inverse() @ c, pywt.waverecn(parts, "bior4.4", "periodization"), atol=1e-10)


@pytest.mark.parametrize("wavelet", [*BIORTHOGONAL, "db2"])
@pytest.mark.parametrize(
    ("shape", "axes"), [((2,), None), ((8,), None), ((6, 4), None), ((10, 3), 0), ((2, 4, 6), None)]
)
def test_norm_of_one_level_is_exact(wavelet, shape, axes):
    w = Wavelet(shape, wavelet, 1, axes)
    assert w.norm_bound().certainty == "exact"
    assert w.norm_bound().value == pytest.approx(np.linalg.norm(real_matrix(w, "real"), 2), rel=1e-12)


@pytest.mark.parametrize("wavelet", BIORTHOGONAL)
@pytest.mark.parametrize(("shape", "levels"), [((32,), 3), ((32,), 5), ((8, 8), 2), ((4, 12), 2)])
def test_norm_of_several_levels_is_bounded_from_above(wavelet, shape, levels):
    w = Wavelet(shape, wavelet, levels)
    norm = np.linalg.norm(real_matrix(w, "real"), 2)
    one = Wavelet(shape, wavelet, 1).norm_bound().value
    assert w.norm_bound().certainty == "upper"
    assert norm * (1 - 1e-12) <= w.norm_bound().value <= one**levels * (1 + 1e-12)


def test_a_wavelet_and_its_dual_cancel():
    w = Wavelet((8, 4), "bior2.2", 2)
    assert w.dual is Wavelet((8, 4), "rbio2.2", 2) and w.dual.dual is w
    assert (w.inverse() @ w).simplify() is Identity((8, 4))
    assert (w @ w.inverse()).simplify() is Identity((8, 4))
    d = Diagonal(2.0, (8, 4))
    assert (w.inverse() @ w @ d).simplify() is d
    assert w.gram.simplify() is w.gram
    other = Wavelet((8, 4), "rbio2.2", 1)
    assert (other.H @ w).simplify() is other.H @ w


@pytest.mark.parametrize(("shape", "axis"), [((4, 6), 0), ((3, 8), 1), ((2, 4, 5), -2)])
def test_axes_transform_line_by_line(rng, shape, axis):
    x, w = rng.standard_normal(shape), Wavelet(shape, "db2", 1, axes=axis)
    line = Wavelet((shape[axis],), "db2", 1)
    assert np.allclose(w @ x, np.apply_along_axis(lambda v: line @ v, axis, x), atol=1e-14)
    assert w.facts.gram_scale is not None
    assert (w.H @ w).simplify() is Identity(shape)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_batches_and_libraries(library, rng):
    lib = backend(library)
    x = rng.standard_normal((3, 8, 8)) + 1j * rng.standard_normal((3, 8, 8))
    found = lib.to_numpy(Wavelet((8, 8), "db3", 1) @ lib.asarray(x))
    wanted = reference(x.real, "db3", 1, (1, 2)) + 1j * reference(x.imag, "db3", 1, (1, 2))
    assert np.allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1,), (0, 2)])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_large_images_in_blocks(library, axes, adjoint, rng):
    lib, shape = backend(library), (8, 148, 84)
    made = Wavelet(shape, "rbio2.4", 2, axes)
    kernel = made.adjoint_kernel() if adjoint else made.kernel()
    assert kernel.function is (synthesise if adjoint else analyse)
    x = rng.standard_normal((2, *shape))
    scratch = tuple(lib.asarray(np.full((2, *room), np.nan)) for room in kernel.scratch)
    arguments = bind_arguments(kernel.arguments, lib)
    out, given = lib.asarray(np.full(x.shape, np.nan)), lib.asarray(x)
    found = kernel.function(lib, given, *arguments, scratch=scratch, out=out)
    assert found is out
    assert np.array_equal(lib.to_numpy(found), lib.to_numpy(kernel.function(lib, given, *arguments)))
    y = rng.standard_normal(shape)
    analysed = [reference(part, "rbio2.4", 2, axes) for part in ((y,) if adjoint else x)]
    if adjoint:
        assert np.isclose(np.sum(lib.to_numpy(found)[1] * y), np.sum(x[1] * analysed[0]))
    else:
        assert np.allclose(lib.to_numpy(found), analysed, atol=1e-9)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_its_source_stands_alone(library, rng):
    lib, w = backend(library), Wavelet((8, 132), "db2", 1)
    x = Input("x", (2, 8, 132))
    bound = Function([Apply(w, x), Apply(w, x, True)], [x], lib).bind()
    names = {}
    exec(compile(bound.source, "source", "exec"), names)
    a = lib.asarray(rng.standard_normal((2, 8, 132)))
    for found, wanted in zip(names["step"]((a,), bound.data, names["new_buffers"]()), bound(a), strict=True):
        assert np.array_equal(lib.to_numpy(found), lib.to_numpy(wanted))
    assert len(names["new_buffers"]()) == 2  # the scratch, shared by both calls


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match=r"pad the image to \(8, 8\)"):
        Wavelet((6, 8), "haar", 2)
    with pytest.raises(ShapeError, match="at least 8"):
        Wavelet((4, 4), "db4")
    with pytest.raises(ShapeError, match="even"):
        Wavelet((5,), "haar")
    with pytest.raises(ShapeError, match=r"pad the image to \(6, 12\)"):
        Wavelet((6, 10), "haar", 2, axes=1)
    with pytest.raises(ShapeError, match="no axes"):
        Wavelet((8, 8), "haar", 1, axes=2)
    with pytest.raises(ShapeError, match="different axes"):
        Wavelet((8, 8), "haar", 1, axes=(1, -1))
    with pytest.raises(ShapeError, match="without zeros"):
        Wavelet((0,), "haar", 1)
    with pytest.raises(UnsupportedError, match="only roughly"):
        Wavelet((64,), "dmey")
    with pytest.raises(UnsupportedError, match="wavelist"):
        Wavelet((8,), "nonesuch")
    with pytest.raises(ParameterError, match="nonnegative"):
        Wavelet((8,), "haar", -1)
