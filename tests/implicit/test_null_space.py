"""Null spaces against dense linear algebra."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.linalg

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError
from opalg.implicit.null_space import (
    ComponentNullSpace,
    CoordinateNullSpace,
    DenseNullSpace,
    TightFrameNullSpace,
)
from opalg.implicit.row_structure import RowStructure, row_structure

NUMPY = backend("numpy")


def structure(operator, shape):
    """The rows of an operator."""
    return row_structure(lambda x: np.asarray(operator @ x.reshape(shape)).reshape(-1), int(np.prod(shape)))


def widened(rows, width):
    """The packed matrix of rows that stand for several."""
    return np.kron(rows.matrix().toarray(), np.eye(width))


def check(space, matrix, rng):
    """Every member of the protocol, against the dense matrix of the rows."""
    lib = space.lib
    rows, size = matrix.shape
    assert (space.rows, space.size) == (rows, size)
    basis = scipy.linalg.null_space(matrix) if rows else np.eye(size)
    inverse = np.linalg.pinv(matrix, rcond=1e-12)
    assert space.dimension == basis.shape[1]
    used = matrix[np.any(matrix != 0, axis=1)]
    assert space.unique == (size - basis.shape[1] == len(used))
    w, p, free = rng.normal(size=size), rng.normal(size=rows), rng.normal(size=rows)
    given = lib.asarray(w)
    projected = space.project(given)
    assert lib.owns(projected)
    np.testing.assert_array_equal(lib.to_numpy(given), w)
    np.testing.assert_allclose(lib.to_numpy(projected), basis @ (basis.T @ w), atol=1e-12)
    for d in (matrix @ w, free):
        d = np.where(np.any(matrix != 0, axis=1), d, 0.0)
        np.testing.assert_allclose(lib.to_numpy(space.particular(lib.asarray(d))), inverse @ d, atol=1e-10)
    rho = matrix.T @ p
    found = lib.to_numpy(space.multipliers(lib.asarray(rho)))
    np.testing.assert_allclose(found, inverse.T @ rho, atol=1e-10)
    np.testing.assert_allclose(matrix.T @ found, rho, atol=1e-11)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("boundary", ["neumann", "dirichlet", "periodic"])
def test_components_of_gradients(rng, lib, boundary, kept, width):
    shape = (5, 6)
    weights = rng.uniform(0.5, 2, (2, *shape)) * rng.choice([-1, 1], (2, *shape))
    rows = structure(oa.Diagonal(weights) @ oa.Gradient(shape, boundary=boundary), shape)
    rows = rows.select(rng.random(len(rows)) < kept)
    check(ComponentNullSpace(rows, lib, width), widened(rows, width), rng)


@pytest.mark.parametrize("width", [1, 2])
def test_components_of_chains_and_stacks(rng, lib, width):
    shape = (15,)
    chain = structure(3 * oa.FiniteDifference(shape, 0), shape)
    chain = chain.select(rng.random(15) < 0.7)
    space = ComponentNullSpace(chain, lib, width)
    assert space.unique
    check(space, widened(chain, width), rng)
    twice = RowStructure.stack([chain, chain, structure(oa.Restrict(np.array([2, 2 + 5]), shape), shape)])
    space = ComponentNullSpace(twice, lib, width)
    assert not space.unique
    check(space, widened(twice, width), rng)


@pytest.mark.parametrize("width", [1, 2])
def test_coordinates(rng, lib, width):
    shape = (9,)
    once = structure(oa.Diagonal(np.array([2.0, 0, -3, 0, 0, 1, 0, 0.5, 0])), shape)
    check(CoordinateNullSpace(once, lib, width), widened(once, width), rng)
    again = RowStructure.stack([once, once.select(np.array([0, 2])), structure(0.1 * oa.Identity(shape), shape)])
    check(CoordinateNullSpace(again, lib, width), widened(again, width), rng)
    check(CoordinateNullSpace(once.select(np.zeros(9, bool)), lib, width), np.zeros((0, 9 * width)), rng)
    check(ComponentNullSpace(again, lib, width), widened(again, width), rng)


def test_coordinates_of_very_small_coefficients():
    rows = RowStructure(np.array([1, 1]), np.array([-1, -1]), np.array([1e-200, 2e-200]), 3)
    space = CoordinateNullSpace(rows, NUMPY)
    np.testing.assert_allclose(space.particular(np.array([3e-200, 6e-200])), [0, 3, 0])
    np.testing.assert_allclose(space.multipliers(np.array([0, 5e-200, 0])), [1, 2])


def test_coordinates_refuse_differences():
    with pytest.raises(ParameterError, match="row 1 is a difference; use ComponentNullSpace"):
        CoordinateNullSpace(RowStructure(np.array([0, 2]), np.array([-1, 1]), np.ones(2), 3), NUMPY)


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_tight_frames(rng, lib, count):
    out_size, size, scale = 7, 12, 2.5
    frame = np.sqrt(scale) * np.linalg.qr(rng.normal(size=(size, out_size)))[0].T
    forward, back = lib.asarray(frame), lib.asarray(frame.T.copy())
    inactive = rng.permutation(out_size)[:count]

    def build(chosen):
        return TightFrameNullSpace(
            lambda x: lib.matmul(forward, x), lambda y: lib.matmul(back, y), scale, chosen, out_size, size, lib
        )

    check(build(inactive), frame[inactive], rng)
    mask = np.zeros(out_size, bool)
    mask[inactive] = True
    check(build(mask), frame[mask], rng)


def test_tight_frames_refuse_what_cannot_be():
    with pytest.raises(ParameterError, match="positive number s, not 0"):
        TightFrameNullSpace(np.copy, np.copy, 0.0, np.arange(2), 3, 3, NUMPY)
    with pytest.raises(ShapeError, match="4 rows for 3 columns"):
        TightFrameNullSpace(np.copy, np.copy, 1.0, np.arange(2), 4, 3, NUMPY)
    with pytest.raises(ShapeError, match="among the 3 rows"):
        TightFrameNullSpace(np.copy, np.copy, 1.0, np.array([3]), 3, 3, NUMPY)


@pytest.mark.parametrize(("rows", "size", "rank"), [(4, 9, 4), (9, 9, 5), (30, 9, 6), (30, 9, 9), (6, 9, 0), (0, 5, 0)])
def test_dense(rng, lib, rows, size, rank):
    matrix = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, size))
    if rank:
        matrix[rows // 2] = 0
    space = DenseNullSpace(matrix, lib)
    assert space.exact
    check(space, matrix, rng)


def test_rank_does_not_depend_on_the_weights_of_rows(rng):
    matrix = rng.normal(size=(12, 4)) @ rng.normal(size=(4, 9))
    weighted = matrix * (10.0 ** rng.uniform(-40, 40, 12))[:, None]
    plain, space = DenseNullSpace(matrix, NUMPY), DenseNullSpace(weighted, NUMPY)
    assert space.exact
    assert space.dimension == plain.dimension == 5
    w = rng.normal(size=9)
    np.testing.assert_allclose(space.project(w), plain.project(w), atol=1e-12)
    d = weighted @ w
    np.testing.assert_allclose(weighted @ space.particular(d), d, rtol=1e-9)
    independent = weighted[:4]
    space = DenseNullSpace(independent, NUMPY)
    rho = independent.T @ (rng.normal(size=4) / np.linalg.norm(independent, axis=1))
    assert space.unique
    np.testing.assert_allclose(independent.T @ space.multipliers(rho), rho, atol=1e-12)


def test_rank_that_is_not_clear_is_said(rng):
    matrix = rng.normal(size=(5, 9))
    matrix[4] = matrix[0] + matrix[1] + 1e-12 * rng.normal(size=9)
    assert not DenseNullSpace(matrix, NUMPY).exact
    matrix[4] = matrix[0] + matrix[1] + 1e-5 * rng.normal(size=9)
    assert DenseNullSpace(matrix, NUMPY).exact
    with pytest.raises(ShapeError, match=r"matrix, not an array of shape \(3,\)"):
        DenseNullSpace(np.ones(3), NUMPY)


def test_components_and_dense_agree(rng):
    rows = structure(oa.Gradient((6, 7)), (6, 7))
    rows = rows.select(rng.random(len(rows)) < 0.6)
    quick, slow = ComponentNullSpace(rows, NUMPY), DenseNullSpace(rows.matrix().toarray(), NUMPY)
    assert (quick.dimension, quick.unique) == (slow.dimension, slow.unique)
    w, p = rng.normal(size=42), rng.normal(size=len(rows))
    np.testing.assert_allclose(quick.project(w), slow.project(w), atol=1e-13)
    np.testing.assert_allclose(quick.particular(p), slow.particular(p), atol=1e-11)
    rho = w - quick.project(w)
    np.testing.assert_allclose(quick.multipliers(rho), slow.multipliers(rho), atol=1e-11)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_means_of_large_components_in_float32(rng, name):
    lib, n = backend(name, "float32"), 200_000
    rows = structure(oa.FiniteDifference((n,), 0), (n,))
    w = 100 + rng.normal(size=n)
    found = lib.to_numpy(ComponentNullSpace(rows, lib).project(lib.asarray(w)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, w.mean(), rtol=2e-6)


def test_large_images_are_quick(rng):
    shape = (512, 512)
    rows = structure(oa.Gradient(shape), shape)
    rows = rows.select(rng.random(len(rows)) < 0.43)
    space, w = ComponentNullSpace(rows, NUMPY), rng.normal(size=512 * 512)
    assert 30_000 < space.dimension < 70_000

    def quickest(work):
        times = []
        for _ in range(7):
            begin = time.perf_counter()
            work()
            times.append(time.perf_counter() - begin)
        return min(times)

    assert quickest(lambda: space.project(w)) < 4 * quickest(lambda: np.bincount(space.labels, w))
    z = space.project(w)
    assert np.abs(rows.apply(z)).max() == 0.0
    d = rows.apply(w)
    np.testing.assert_allclose(rows.apply(space.particular(d)), d, atol=1e-12)
    p = space.multipliers(w - z)
    np.testing.assert_allclose(rows.matrix().T @ p, w - z, atol=1e-11)
