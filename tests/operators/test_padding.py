"""Padding against `numpy.pad`."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import ShapeError, UnsupportedError
from opalg.operators import Diagonal, Identity, padding
from opalg.operators.padding import EXTENSIONS, Pad
from opalg.operators.windows import Crop
from tests.operators.dense import real_matrix

MODES = {"zero": "constant", "periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric", "edge": "edge"}
WIDTHS = [0, 1, 2, (1, 0), (0, 3), 9, (7, 4)]
every_boundary = pytest.mark.parametrize("boundary", EXTENSIONS)


@every_boundary
@pytest.mark.parametrize("shape", [(3,), (1,), (4, 5), (1, 3), (2, 3, 2)])
def test_numpy_pad_agrees(rng, boundary, shape):
    for width in WIDTHS:
        x = rng.standard_normal((2, *shape))
        wanted = [np.pad(image, width, mode=MODES[boundary]) for image in x]
        assert np.array_equal(Pad(shape, width, boundary) @ x, wanted)


@every_boundary
def test_a_width_for_each_axis(rng, boundary):
    x, width = rng.standard_normal((3, 4)), ((0, 2), (5, 1))
    assert np.array_equal(Pad((3, 4), width, boundary) @ x, np.pad(x, width, mode=MODES[boundary]))
    assert Pad((3, 4), [[1], [2]]) is Pad((3, 4), ((1, 1), (2, 2)))


@every_boundary
@pytest.mark.parametrize("shape", [(3,), (1, 4), (2, 3)])
def test_adjoint_and_norm_at_every_width(boundary, shape):
    for width in WIDTHS:
        pad = Pad(shape, width, boundary)
        dense = real_matrix(pad, "real")
        assert np.array_equal(real_matrix(pad.H, "real"), dense.T)
        assert pad.norm_bound().certainty == "exact"
        assert pad.norm_bound().value == pytest.approx(np.linalg.norm(dense, 2))
        counts = dense.T @ dense
        assert np.array_equal(counts, np.diag(np.diag(counts)))
        assert (pad.facts.gram_scale is not None) == (np.ptp(np.diag(counts)) == 0)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@every_boundary
def test_kernels_write_into_what_they_are_given(rng, library, boundary):
    lib = backend(library, "float64")
    pad = Pad((3, 2), ((2, 1), (4, 0)), boundary)
    for kernel, given, shape in ((pad.kernel(), (3, 2), pad.out_shape), (pad.adjoint_kernel(), pad.out_shape, (3, 2))):
        x, out = lib.asarray(rng.standard_normal(given)), lib.asarray(np.full(shape, 7.0))
        if not kernel.in_place:
            continue
        assert kernel.function(lib, x, *kernel.arguments, out=out) is out
        fresh = kernel.function(lib, x, *kernel.arguments)
        assert np.array_equal(lib.to_numpy(out), lib.to_numpy(fresh))


def test_gram_becomes_diagonal(rng):
    pad = Pad((3, 4), (1, 2), "reflect")
    simple = pad.gram.simplify()
    assert isinstance(simple, Diagonal)
    assert simple is pad.gram.simplify()
    assert np.array_equal(real_matrix(simple, "real"), real_matrix(pad.gram, "real"))
    assert Pad((3, 4), 2).gram.simplify() is Identity((3, 4))
    assert Pad((3,), 3, "periodic").gram.simplify() == 3.0 * Identity((3,))


@every_boundary
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 3)])
def test_large_images_take_another_way_to_the_same(rng, monkeypatch, boundary, library, shape):
    lib = backend(library, "float64")
    for width in (1, (0, 3), 9):
        pad = Pad(shape, width, boundary)
        dense = real_matrix(pad, "real")
        with monkeypatch.context() as large:
            large.setattr(padding, "_FEW", 0)
            for kernel, matrix, source in (
                (pad.kernel(), dense, shape),
                (pad.adjoint_kernel(), dense.T, pad.out_shape),
            ):
                x = rng.standard_normal((2, *source))
                found = lib.to_numpy(kernel.function(lib, lib.asarray(x), *kernel.arguments))
                assert np.allclose(found.reshape(2, -1), x.reshape(2, -1) @ matrix.T, rtol=0, atol=1e-12)


@every_boundary
def test_crops_of_paddings_cancel(boundary):
    pad = Pad((4, 5), ((2, 1), (3, 3)), boundary)
    whole = Crop(pad.out_shape, (2, 3), (6, 8)) @ pad
    assert whole.simplify() is Identity((4, 5))
    within = (Crop(pad.out_shape, (3, 3), (5, 7)) @ pad).simplify()
    assert within is Crop((4, 5), (1, 0), (3, 4))
    around = Crop(pad.out_shape, (1, 3), (6, 9)) @ pad
    assert around.simplify() is Pad((4, 5), ((1, 0), (0, 1)), boundary)
    across = Crop(pad.out_shape, (3, 1), (6, 9)) @ pad
    for made in (whole, around, across):
        assert np.array_equal(real_matrix(made.simplify(), "real"), real_matrix(made, "real"))


@every_boundary
def test_paddings_of_paddings(boundary):
    made = Pad((5, 4), (0, 1), boundary) @ Pad((2, 3), ((1, 2), (0, 1)), boundary)
    assert isinstance(made.simplify(), Pad) == (boundary in ("zero", "edge"))
    assert np.array_equal(real_matrix(made.simplify(), "real"), real_matrix(made, "real"))
    assert Pad((2, 3), 0, boundary).simplify() is Identity((2, 3))


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match="pairs"):
        Pad((3, 4), ((1, 1), (1, 1), (1, 1)))
    with pytest.raises(ShapeError, match="Crop"):
        Pad((3,), -1)
    with pytest.raises(ShapeError, match="integers"):
        Pad((3,), 1.5)
    with pytest.raises(ShapeError, match="zeros"):
        Pad((3, 0), 1)
    with pytest.raises(UnsupportedError, match="symmetric"):
        Pad((3,), 1, "wrap")
