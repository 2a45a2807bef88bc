"""The Walsh-Hadamard transform against the matrices of SciPy."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import scipy.linalg

from opalg.arrays import backend
from opalg.emit import Function
from opalg.errors import ParameterError, ShapeError
from opalg.facts import YES
from opalg.operators import Identity
from opalg.operators.hadamard import Hadamard, butterflies
from opalg.program.expression import Input
from tests.operators.dense import real_matrix


def reference(n, order):
    """The rows of Sylvester's matrix, sorted by their sign changes or by their reversed digits."""
    rows = scipy.linalg.hadamard(n)
    if order == "sequency":
        rows = rows[np.argsort(np.count_nonzero(np.diff(rows, axis=1), axis=1))]
    elif order == "dyadic":
        digits = n.bit_length() - 1
        rows = rows[[int(f"{k:b}".zfill(digits)[::-1], 2) for k in range(n)]]
    return rows / np.sqrt(n)


@pytest.mark.parametrize("order", ["natural", "sequency", "dyadic"])
@pytest.mark.parametrize("n", [1, 2, 4, 8, 32])
def test_known_matrices(n, order):
    made = Hadamard(n, order=order)
    assert np.allclose(real_matrix(made, "real"), reference(n, order), atol=1e-15)
    assert made.facts.self_adjoint is YES and made.H is made and made.inverse() is made


@pytest.mark.parametrize("order", ["natural", "sequency", "dyadic"])
@pytest.mark.parametrize(("shape", "axes"), [((4, 8), None), ((2, 1, 4), None), ((3, 8), (1,)), ((4, 5, 2), (0, -1))])
def test_each_axis_by_its_own_matrix(shape, axes, order):
    own = [axis % len(shape) for axis in axes] if axes else range(len(shape))
    factors = [reference(n, order) if axis in own else np.eye(n) for axis, n in enumerate(shape)]
    made = Hadamard(shape, axes, order)
    assert np.allclose(real_matrix(made, "real"), reduce(np.kron, factors), atol=1e-14)


def test_it_is_its_own_inverse(rng):
    for order in ("natural", "sequency", "dyadic"):
        made = Hadamard((8, 4), order=order)
        assert (made @ made).simplify() is Identity((8, 4))
        x = rng.standard_normal((2, 8, 4))
        assert np.allclose(made @ (made @ x), x, atol=1e-14)
    assert Hadamard((1, 1)).facts.diagonal is YES


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("shape", [(1,), (2,), (4,), (2, 8), (4, 4)])
def test_scratch_may_hold_anything_and_out_is_filled(library, shape, rng):
    lib, kernel = backend(library), Hadamard(shape).butterfly_kernel()
    assert kernel.function is butterflies
    x = rng.standard_normal((3, *shape))
    given, out, scratch = lib.asarray(x), lib.asarray(np.full(x.shape, np.nan)), lib.asarray(np.full(x.shape, np.nan))
    found = kernel.function(lib, given, *kernel.arguments, scratch=(scratch,), out=out)
    assert found is out
    wanted = x.reshape(3, -1) @ reduce(np.kron, [reference(n, "natural") for n in shape])
    assert np.allclose(lib.to_numpy(out), wanted.reshape(x.shape), atol=1e-14)
    assert np.array_equal(lib.to_numpy(given), x)


def test_its_source_stands_alone(rng):
    lib, made = backend(), Hadamard((4, 8), order="sequency")
    x = Input("x", (2, 4, 8))
    bound = Function([made.trace(x)], [x], lib).bind()
    names = {}
    exec(compile(bound.source, "source", "exec"), names)
    a = rng.standard_normal(x.shape)
    (found,) = names["step"]((a,), bound.data, names["new_buffers"]())
    assert np.array_equal(found, made @ a)


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match=r"pad the image with zeros to \(8, 16\)"):
        Hadamard((6, 12))
    with pytest.raises(ShapeError, match=r"to \(6, 16\)"):
        Hadamard((6, 12), axes=1)
    with pytest.raises(ShapeError, match="no axes"):
        Hadamard((8,), axes=1)
    with pytest.raises(ShapeError, match="without zeros"):
        Hadamard((0,))
    with pytest.raises(ParameterError, match="sequency"):
        Hadamard(8, order="walsh")
