"""Wavelet transforms against PyWavelets."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import pywt

from opalg.arrays import backend
from opalg.emit import Function
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.operators import Identity, Wavelet
from opalg.operators.wavelet import analyse, high_pass, low_pass, scratch_shapes, synthesise
from opalg.program.expression import Apply, Input
from tests.operators.dense import real_matrix


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


@pytest.mark.parametrize("name", ["haar", "db4", "sym8", "sym20", "db38", "coif17"])
def test_filters_are_orthogonal_to_the_last_digit(name):
    h, g = np.array(low_pass(name)), np.array(high_pass(low_pass(name)))
    for shift in range(0, len(h), 2):
        tail = len(h) - shift
        assert h[shift:] @ h[:tail] == pytest.approx(float(shift == 0), abs=1e-14)
        assert h[shift:] @ g[:tail] == pytest.approx(0.0, abs=1e-14)
    assert np.allclose(h, pywt.Wavelet(name).dec_lo, atol=1e-8)
    assert np.allclose(g, pywt.Wavelet(name).dec_hi, atol=1e-8)


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


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_batches_and_libraries(library, rng):
    lib = backend(library)
    x = rng.standard_normal((3, 8, 8)) + 1j * rng.standard_normal((3, 8, 8))
    found = lib.to_numpy(Wavelet((8, 8), "db3", 1) @ lib.asarray(x))
    wanted = reference(x.real, "db3", 1, (1, 2)) + 1j * reference(x.imag, "db3", 1, (1, 2))
    assert np.allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("function", [analyse, synthesise])
def test_scratch_may_hold_anything(function, rng):
    lib, low = backend(), low_pass("db3")
    x = rng.standard_normal((3, 8, 4))
    scratch = tuple(np.full((3, *shape), np.nan) for shape in scratch_shapes((8, 4), len(low)))
    found = function(lib, x, (8, 4), low, 2, scratch=scratch, out=np.empty_like(x))
    assert np.array_equal(found, function(lib, x, (8, 4), low, 2))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_its_source_stands_alone(library, rng):
    lib, w = backend(library), Wavelet((8, 4), "db2", 1)
    x = Input("x", (2, 8, 4))
    bound = Function([Apply(w, x), Apply(w, x, True)], [x], lib).bind()
    names = {}
    exec(compile(bound.source, "source", "exec"), names)
    a = lib.asarray(rng.standard_normal((2, 8, 4)))
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
    with pytest.raises(UnsupportedError, match="orthogonal"):
        Wavelet((8,), "bior2.2")
    with pytest.raises(UnsupportedError, match="orthogonal"):
        Wavelet((64,), "dmey")
    with pytest.raises(UnsupportedError, match="wavelist"):
        Wavelet((8,), "nonesuch")
    with pytest.raises(ParameterError, match="nonnegative"):
        Wavelet((8,), "haar", -1)


def test_missing_pywavelets_is_named(monkeypatch):
    import sys

    from opalg.errors import DeviceError

    monkeypatch.setitem(sys.modules, "pywt", None)
    low_pass.cache_clear()
    with pytest.raises(DeviceError, match=r"opalg\[wavelets\]"):
        Wavelet((8,), "haar", 1)
