"""Patches against indexing pixel by pixel."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.emit import Function
from opalg.errors import ShapeError, UnsupportedError
from opalg.operators import Diagonal, Identity
from opalg.operators.patches import Patches
from opalg.program.expression import Apply, Input
from tests.operators.dense import real_matrix

CASES = [
    ((7,), (3,), (1,), "valid"),
    ((7,), (3,), (2,), "valid"),
    ((8,), (3,), (4,), "valid"),
    ((5, 6), (2, 3), (1, 1), "valid"),
    ((5, 6), (2, 3), (2, 3), "valid"),
    ((4, 3, 5), (2, 1, 3), (1, 2, 2), "valid"),
    ((5,), (5,), (1,), "valid"),
    ((7,), (3,), (1,), "periodic"),
    ((7,), (3,), (2,), "periodic"),
    ((5, 6), (2, 3), (2, 4), "periodic"),
    ((3, 2), (4, 5), (1, 1), "periodic"),
    ((3, 4), (2, 2), (7, 5), "periodic"),
]
every_case = pytest.mark.parametrize(("shape", "size", "stride", "boundary"), CASES)


def reference(x, size, stride, boundary):
    """Every patch by the indices of its pixels."""
    starts = [
        range(0, n, step) if boundary == "periodic" else range(0, n - s + 1, step)
        for n, s, step in zip(x.shape, size, stride, strict=True)
    ]
    out = np.empty((*map(len, starts), *size))
    for place in product(*(range(len(s)) for s in starts)):
        for offset in np.ndindex(*size):
            pixel = tuple((starts[a][place[a]] + offset[a]) % x.shape[a] for a in range(x.ndim))
            out[place + offset] = x[pixel]
    return out


@every_case
def test_definition_adjoint_and_facts(rng, shape, size, stride, boundary):
    made, x = Patches(shape, size, stride, boundary), rng.standard_normal(shape)
    wanted = reference(x, size, stride, boundary)
    assert made.out_shape == wanted.shape
    assert np.array_equal(made @ x, wanted)
    dense = real_matrix(made, "real")
    assert np.array_equal(real_matrix(made.H, "real"), dense.T)
    assert made.norm_bound().certainty == "exact"
    assert made.norm_bound().value == pytest.approx(np.linalg.norm(dense, 2), rel=1e-12)
    count = dense.T @ dense
    assert np.array_equal(made.multiplicity.value.ravel(), np.diag(count))
    simple = made.gram.simplify()
    assert np.allclose(real_matrix(simple, "real"), count, atol=1e-14)
    level = len(set(np.diag(count))) == 1
    assert (made.facts.gram_scale is not None) is level
    assert level or isinstance(simple, Diagonal)
    assert (made.facts.cogram_scale is not None) is np.array_equal(dense @ dense.T, np.eye(len(dense)))


@every_case
def test_inverse_averages_or_is_refused(rng, shape, size, stride, boundary):
    made = Patches(shape, size, stride, boundary)
    dense = real_matrix(made, "real")
    if (np.abs(dense).sum(axis=0) == 0).any():
        with pytest.raises(UnsupportedError, match="no patch"):
            made.inverse()
    else:
        assert np.allclose(real_matrix(made.inverse(), "real"), np.linalg.pinv(dense), atol=1e-12)


def test_one_number_serves_all_axes():
    assert Patches((6, 6), 3, 2) is Patches((6, 6), (3, 3), (2, 2))
    assert Patches((6, 8), (3, 4), stride=(3, 2)).out_shape == (2, 3, 3, 4)


def test_gram_within_a_product(rng):
    p, d = Patches((4, 5), 2), Diagonal(rng.standard_normal((4, 5)))
    made = p.gram @ d
    simple = made.simplify()
    assert isinstance(simple, Diagonal)
    assert np.allclose(real_matrix(simple, "real"), real_matrix(made, "real"), atol=1e-14)
    assert Patches((4, 6), 2, 2).gram.simplify() is Identity((4, 6))
    different = Patches((4,), 2, 2).H @ Patches((4,), 2, 2, "periodic")
    assert different.simplify() is different


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_scratch_may_hold_anything_and_out_is_filled(library, rng):
    lib = backend(library)
    for shape, size, stride, boundary in CASES:
        made = Patches(shape, size, stride, boundary)
        for kernel, source, target in (
            (made.kernel(), shape, made.out_shape),
            (made.adjoint_kernel(), made.out_shape, shape),
        ):
            x = lib.asarray(rng.standard_normal((2, *source)))
            scratch = tuple(lib.asarray(np.full((2, *s), np.nan)) for s in kernel.scratch)
            out = lib.asarray(np.full((2, *target), np.nan))
            found = kernel.function(lib, x, *kernel.arguments, scratch=scratch, out=out)
            assert found is out
            wanted = kernel.function(lib, x, *kernel.arguments)
            assert np.array_equal(lib.to_numpy(out), lib.to_numpy(wanted))


def test_its_source_stands_alone(rng):
    lib, made = backend(), Patches((5, 6), (2, 3), (1, 2), "periodic")
    x, y = Input("x", (2, 5, 6)), Input("y", (2, *made.out_shape))
    bound = Function([Apply(made, x), Apply(made, y, True)], [x, y], lib).bind()
    names = {}
    exec(compile(bound.source, "source", "exec"), names)
    a, b = rng.standard_normal(x.shape), rng.standard_normal(y.shape)
    found = names["step"]((a, b), bound.data, names["new_buffers"]())
    assert np.array_equal(found[0], made @ a) and np.array_equal(found[1], made.H @ b)


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match="no patch of size"):
        Patches((4, 4), 5)
    with pytest.raises(ShapeError, match="one for each of the 2 axes"):
        Patches((4, 4), (2, 2, 2))
    with pytest.raises(ShapeError, match="the stride"):
        Patches((4, 4), 2, stride=0)
    with pytest.raises(ShapeError, match="without zeros"):
        Patches((4, 0), 1)
    with pytest.raises(UnsupportedError, match="periodic"):
        Patches((4, 4), 2, boundary="reflect")
