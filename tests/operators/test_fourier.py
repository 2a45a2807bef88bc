"""Fourier transforms against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.operators import FFT, RFFT, Identity, InverseRFFT
from tests.operators.dense import real_matrix

NORMS = ["ortho", "backward", "forward"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("axes", [None, (0,), (1, 2), -1])
def test_fft_is_numpys(rng, norm, axes):
    x = rng.standard_normal((2, 3, 4, 5)) + 1j * rng.standard_normal((2, 3, 4, 5))
    own = (0, 1, 2) if axes is None else (axes,) if isinstance(axes, int) else axes
    shifted = [a % 3 + 1 for a in own]
    transform = FFT((3, 4, 5), axes, norm)
    assert np.allclose(transform @ x, np.fft.fftn(x, axes=shifted, norm=norm))
    assert np.allclose(transform.inverse() @ x, np.fft.ifftn(x, axes=shifted, norm=norm))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (3, 1), (1, 2)])
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (0,)])
def test_rfft_is_numpys(rng, norm, shape, axes):
    x = rng.standard_normal((2, *shape))
    shifted = [a + 1 for a in axes]
    transform = RFFT(shape, axes, norm)
    spectrum = np.fft.rfftn(x, axes=shifted, norm=norm)
    assert transform.out_shape == spectrum.shape[1:]
    assert np.allclose(transform @ x, spectrum)
    assert np.allclose(transform.inverse() @ spectrum, x)


def test_unitary_only_when_ortho():
    assert FFT((4,)).facts.unitary is YES
    assert FFT((4,), norm="backward").facts.unitary is not YES
    assert (FFT((4,)).H @ FFT((4,))).simplify() is Identity((4,))
    scaled = (FFT((4,), norm="backward") @ FFT((4,), norm="backward").H).simplify()
    assert np.array_equal(scaled @ np.ones(4), 4 * np.ones(4))


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (4, 1)])
def test_what_no_real_array_has_is_ignored(library, shape, rng):
    lib = backend(library)
    half = RFFT(shape).out_shape
    z = rng.standard_normal(half) + 1j * rng.standard_normal(half)
    columns = [0, shape[1] // 2] if shape[1] % 2 == 0 else [0]
    same = z.copy()
    for column in columns:
        mirrored = np.roll(z[::-1, column], 1)
        same[:, column] = (z[:, column] + mirrored.conj()) / 2
    found = [lib.to_numpy(RFFT(shape).inverse() @ lib.asarray(w)) for w in (z, same)]
    assert np.allclose(found[0], found[1], atol=1e-14)


def test_inverse_after_transform_cancels(rng):
    made = (RFFT((4, 5), norm="backward").inverse() @ RFFT((4, 5), norm="backward")).simplify()
    assert made is Identity((4, 5))
    mixed = (InverseRFFT((4, 5)) @ RFFT((4, 5), norm="backward")).simplify()
    assert np.allclose(mixed @ np.ones((4, 5)), np.sqrt(20))
    other = (InverseRFFT((4, 5), axes=(1, 0)) @ RFFT((4, 5), axes=(1, 0))).simplify()
    assert other is Identity((4, 5))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_norms_of_real_transforms(length):
    for norm in NORMS:
        for made in (RFFT((2, length), norm=norm), InverseRFFT((2, length), norm=norm)):
            kind = made.in_kind
            assert made.norm_bound().value == pytest.approx(np.linalg.norm(real_matrix(made, kind), 2), rel=1e-13)


def test_misuse_is_explained():
    with pytest.raises(ParameterError, match="ortho"):
        FFT((4,), norm="unitary")
    with pytest.raises(ShapeError, match="axes"):
        FFT((4,), axes=(1,))
    with pytest.raises(ShapeError, match="different"):
        RFFT((4, 4), axes=(0, 0))
    with pytest.raises(DtypeError, match="real"):
        RFFT((4,)) @ np.ones(4, complex)
    with pytest.raises(UnsupportedError, match="right inverse"):
        InverseRFFT((4,)).inverse()
