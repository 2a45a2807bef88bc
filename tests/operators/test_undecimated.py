"""The undecimated wavelet transform against PyWavelets and shifted sums."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
import pywt

from opalg.arrays import backend
from opalg.emit import Function
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.operators import Diagonal, DiagonalIn, Identity
from opalg.operators.undecimated import UndecimatedWavelet
from opalg.program.expression import Apply, Input
from tests.operators.dense import real_matrix


def stationary(x, wavelet, levels, axes=None):
    """The bands of `pywt.swtn`, coarsest first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyWavelets warns where the wavelet is not orthogonal
        coarse, *details = pywt.swtn(x, wavelet, levels, axes=axes, trim_approx=True, norm=True)
    return np.stack([coarse, *(part[key] for part in details for key in sorted(part))])


def shifted_sums(x, wavelet, levels, axes):
    """The definition, by rolling the image once for every tap; any size."""
    taps = [np.array(f) / np.sqrt(2) for f in (pywt.Wavelet(wavelet).dec_lo, pywt.Wavelet(wavelet).dec_hi)]
    coarse, bands = x, []
    for level in range(levels):
        made = {}
        for code in product((0, 1), repeat=len(axes)):
            part = coarse
            for axis, which in zip(axes, code, strict=True):
                length = len(taps[which])
                shifts = [2**level * (j - length // 2) for j in range(length)]
                part = sum(h * np.roll(part, s, axis) for h, s in zip(taps[which], shifts, strict=True))
            made[code] = part
        coarse = made.pop((0,) * len(axes))
        bands = [made[code] for code in sorted(made)] + bands
    return np.stack([coarse, *bands])


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym5", "bior2.2", "rbio3.1", "bior4.4"])
@pytest.mark.parametrize(("shape", "levels"), [((16,), 3), ((8, 12), 2), ((8, 4), 1), ((4, 8, 4), 2)])
def test_pywavelets_agrees(rng, wavelet, shape, levels):
    x = rng.standard_normal(shape)
    assert np.allclose(UndecimatedWavelet(shape, wavelet, levels) @ x, stationary(x, wavelet, levels), atol=1e-10)


@pytest.mark.parametrize("wavelet", ["haar", "db3", "bior2.4"])
@pytest.mark.parametrize(
    ("shape", "axes"), [((5,), (0,)), ((3, 7), (0, 1)), ((4, 3), (0,)), ((5, 1, 6), (0, 2)), ((1,), (0,))]
)
def test_any_size_and_axes(rng, wavelet, shape, axes):
    x, made = rng.standard_normal(shape), UndecimatedWavelet(shape, wavelet, 3, axes)
    wanted = shifted_sums(x, wavelet, 3, axes)
    assert made.out_shape == wanted.shape == (1 + 3 * (2 ** len(axes) - 1), *shape)
    assert np.allclose(made @ x, wanted, atol=1e-12)
    assert np.allclose(real_matrix(made.H, "real"), real_matrix(made, "real").T, atol=1e-14)
    assert np.allclose(made.inverse() @ (made @ x), x, atol=1e-12)


@pytest.mark.parametrize("shape", [(8,), (5, 6), (3, 1, 4)])
@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
def test_tight_frame(wavelet, shape):
    made = UndecimatedWavelet(shape, wavelet, 2)
    dense = real_matrix(made, "real")
    assert np.allclose(dense.T @ dense, np.eye(dense.shape[1]), atol=1e-13)
    assert made.gram.simplify() is Identity(shape)
    assert made.inverse() is made.H
    assert made.norm_bound().value == 1.0


@pytest.mark.parametrize(("shape", "axes"), [((6,), None), ((4, 5), None), ((3, 4), (0,)), ((5, 4), (1,))])
@pytest.mark.parametrize("wavelet", ["bior2.2", "rbio3.1", "bior4.4"])
def test_biorthogonal_gram_is_diagonal_in_fourier(wavelet, shape, axes, rng):
    made = UndecimatedWavelet(shape, wavelet, 2, axes)
    dense = real_matrix(made, "real")
    simple = made.gram.simplify()
    assert isinstance(simple, DiagonalIn) and simple.facts.positive is YES
    assert np.allclose(real_matrix(simple, "real"), dense.T @ dense, atol=1e-12)
    assert made.norm_bound().certainty == "exact"
    assert made.norm_bound().value == pytest.approx(np.linalg.norm(dense, 2), rel=1e-12)
    assert np.allclose(real_matrix(made.inverse(), "real"), np.linalg.pinv(dense), atol=1e-11)
    assert made.gram.simplify() is simple
    d = Diagonal(rng.standard_normal(shape))
    longer = (made.gram @ d).simplify()
    assert np.allclose(real_matrix(longer, "real"), dense.T @ dense @ real_matrix(d, "real"), atol=1e-12)


def test_different_transforms_do_not_cancel():
    made = UndecimatedWavelet((4,), "bior2.2", 1).H @ UndecimatedWavelet((4,), "rbio2.2", 1)
    assert made.simplify() is made


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_its_source_stands_alone(library, rng):
    lib, made = backend(library), UndecimatedWavelet((4, 3), "db2", 2)
    x, y = Input("x", (2, 4, 3)), Input("y", (2, 7, 4, 3), "complex")
    bound = Function([Apply(made, x), Apply(made, y, True)], [x, y], lib).bind()
    names = {}
    exec(compile(bound.source, "source", "exec"), names)
    a = lib.asarray(rng.standard_normal(x.shape))
    b = lib.asarray(rng.standard_normal(y.shape) + 1j * rng.standard_normal(y.shape))
    found = names["step"]((a, b), bound.data, names["new_buffers"]())
    for one, wanted in zip(found, (made @ a, made.H @ b), strict=True):
        assert np.allclose(lib.to_numpy(one), lib.to_numpy(wanted), atol=1e-14)


def test_misuse_is_explained():
    with pytest.raises(ParameterError, match="nonnegative"):
        UndecimatedWavelet((8,), "haar", -1)
    with pytest.raises(ParameterError, match="integer"):
        UndecimatedWavelet((8,), "haar", 1.5)
    with pytest.raises(ShapeError, match="no axes"):
        UndecimatedWavelet((8,), "haar", 1, axes=1)
    with pytest.raises(UnsupportedError, match="wavelist"):
        UndecimatedWavelet((8,), "nonesuch")
    with pytest.raises(UnsupportedError, match="roughly"):
        UndecimatedWavelet((8,), "dmey")
