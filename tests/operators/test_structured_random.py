"""Structurally random matrices against products of their dense factors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.linalg

from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError
from opalg.facts import YES
from opalg.operators import DiagonalIn, Identity
from opalg.operators.structured_random import RandomBasis, StructuredRandom, raw_draws
from tests.operators.dense import real_matrix

CASES = [
    ((12,), 5, "dct", "signs"),
    ((3, 5), 7, "dct", "permutation"),
    ((4, 8), 9, "hadamard", "signs"),
    ((16,), 16, "hadamard", "permutation"),
    ((3, 4), 5, "fft", "signs"),
    ((2, 1, 3), 6, "fft", "permutation"),
]
every_case = pytest.mark.parametrize(("shape", "rows", "transform", "flip"), CASES)


def one_axis(transform, n):
    """The orthonormal matrix of a transform of n entries."""
    if transform == "dct":
        return scipy.fft.dct(np.eye(n), axis=0, norm="ortho")
    return scipy.linalg.hadamard(n) / np.sqrt(n) if transform == "hadamard" else scipy.linalg.dft(n, "sqrtn")


def reference(x, rows, transform, flip, seed):
    """The definition, step by step, from the raw bits of the generator."""
    bits = np.random.PCG64(seed)
    first, second = bits.random_raw(x.size), bits.random_raw(x.size)
    flat = x.ravel()
    flat = np.where(first % 2 == 1, -flat, flat) if flip == "signs" else flat[np.argsort(first)]
    mixed = flat.reshape(x.shape)
    for axis, n in enumerate(x.shape):
        mixed = np.moveaxis(np.tensordot(one_axis(transform, n), mixed, (1, axis)), 0, axis)
    return mixed.ravel()[np.sort(np.argsort(second)[:rows])]


@every_case
@pytest.mark.parametrize("seed", [0, 11])
def test_definition(rng, shape, rows, transform, flip, seed):
    made = StructuredRandom(shape, rows, transform, flip, seed)
    x = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    wanted = reference(x, rows, transform, flip, seed)
    assert made.out_shape == wanted.shape == (rows,)
    assert np.allclose(made @ x, wanted, atol=1e-13)
    energetic = StructuredRandom(shape, rows, transform, flip, seed, scaling="energy")
    assert np.allclose(energetic @ x, np.sqrt(x.size / rows) * wanted, atol=1e-13)
    if transform != "fft":
        assert np.allclose(made @ x.real, wanted.real, atol=1e-13)


@every_case
@pytest.mark.parametrize("scaling", ["orthonormal", "energy"])
def test_rows_are_orthogonal(shape, rows, transform, flip, scaling):
    made = StructuredRandom(shape, rows, transform, flip, 5, scaling)
    kind = "complex" if transform == "fft" else "real"
    dense, size = real_matrix(made, kind), int(np.prod(shape))
    square = size / rows if scaling == "energy" else 1.0
    assert np.allclose(dense @ dense.T, square * np.eye(len(dense)), atol=1e-13)
    assert np.allclose(real_matrix(made.H, kind), dense.T, atol=1e-14)
    assert made.norm_bound().value == pytest.approx(np.linalg.norm(dense, 2), rel=1e-13)
    assert made.cogram.simplify() is (square * Identity((rows,)) if square != 1.0 else Identity((rows,)))


@every_case
def test_gram_solves_in_closed_form(shape, rows, transform, flip):
    made = StructuredRandom(shape, rows, transform, flip, 1, "energy")
    kind = "complex" if transform == "fft" else "real"
    dense = real_matrix(made, kind)
    simple = made.gram.simplify()
    if rows == np.prod(shape):
        assert simple is Identity(shape)
        assert np.allclose(real_matrix(made.inverse(), kind) @ dense, np.eye(len(dense)), atol=1e-13)
        return
    assert isinstance(simple, DiagonalIn) and simple.facts.positive is YES
    assert np.allclose(real_matrix(simple, kind), dense.T @ dense, atol=1e-13)
    shifted = (made.gram + 0.5 * Identity(shape)).simplify()
    wanted = np.linalg.inv(dense.T @ dense + 0.5 * np.eye(dense.shape[1]))
    assert np.allclose(real_matrix(shifted.inverse(), kind), wanted, atol=1e-12)


def test_known_draws_never_change():
    assert raw_draws(0, 3, 0).tolist() == [11749869230777074271, 4976686463289251617, 755828109848996024]
    assert raw_draws(0, 2, 1).tolist() == np.random.PCG64(0).random_raw(4)[2:].tolist()
    y = StructuredRandom((4,), 2, "hadamard", "permutation", 7) @ np.array([1.0, 10.0, 100.0, 1000.0])
    assert np.allclose(y, reference(np.array([1.0, 10.0, 100.0, 1000.0]), 2, "hadamard", "permutation", 7))


@pytest.mark.parametrize("flip", ["signs", "permutation"])
def test_libraries_agree_and_seeds_differ(rng, flip):
    x = rng.standard_normal((4, 6))
    wanted = StructuredRandom((4, 6), 10, flip=flip, seed=3) @ x
    for library in ("torch", "array_api_strict"):
        lib = backend(library)
        found = StructuredRandom((4, 6), 10, flip=flip, seed=3) @ lib.asarray(x)
        assert np.allclose(lib.to_numpy(found), wanted, atol=1e-14)
    assert not np.allclose(StructuredRandom((4, 6), 10, flip=flip, seed=4) @ x, wanted)


def test_energy_is_kept_on_average(rng):
    x = np.zeros((16, 16))
    x[3, 5], x[3, 6] = 2.0, -1.0
    for flip in ("signs", "permutation"):
        energies = [
            float(np.sum((StructuredRandom((16, 16), 64, flip=flip, seed=s, scaling="energy") @ x) ** 2))
            for s in range(100)
        ]
        assert np.mean(energies) == pytest.approx(5.0, rel=0.06)


def test_random_basis_is_unitary():
    basis = RandomBasis((3, 4), "dct", "permutation", 2)
    dense = real_matrix(basis, "real")
    assert np.allclose(dense @ dense.T, np.eye(12), atol=1e-14)
    assert (basis.H @ basis).simplify() is Identity((3, 4))
    assert np.allclose(real_matrix(basis.inverse(), "real"), dense.T, atol=1e-14)


def test_misuse_is_explained():
    for rows in (0, 13, 2.5):
        with pytest.raises(ShapeError, match="from 1 to 12 rows"):
            StructuredRandom((3, 4), rows)
    with pytest.raises(ShapeError, match="pad the image"):
        StructuredRandom((3, 4), 2, "hadamard")
    with pytest.raises(ShapeError, match="without zeros"):
        StructuredRandom((0,), 1)
    with pytest.raises(ParameterError, match="'dct', 'fft', 'hadamard'"):
        StructuredRandom((3, 4), 2, "wavelet")
    with pytest.raises(ParameterError, match="'signs' or 'permutation'"):
        StructuredRandom((3, 4), 2, flip="both")
    with pytest.raises(ParameterError, match="'orthonormal' or 'energy'"):
        StructuredRandom((3, 4), 2, scaling="none")
    with pytest.raises(ParameterError, match="nonnegative integer"):
        StructuredRandom((3, 4), 2, seed=-1)
