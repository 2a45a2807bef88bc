"""The structure of rows, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ShapeError
from opalg.implicit.row_structure import RowStructure, row_structure

BOUNDARIES = ("periodic", "neumann", "dirichlet")


def flat(operator, shape):
    """An operator as a map of flat arrays."""
    return lambda x: np.asarray(operator @ x.reshape(shape)).reshape(-1)


def dense(apply, in_size):
    """The matrix of a map, column by column."""
    return np.stack([apply(e) for e in np.eye(in_size)], axis=1)


def check(operator, shape):
    """The structure that was found, after comparison with the dense matrix."""
    apply, in_size = flat(operator, shape), int(np.prod(shape))
    found, matrix = row_structure(apply, in_size), dense(apply, in_size)
    assert found is not None
    np.testing.assert_allclose(found.matrix().toarray(), matrix, rtol=1e-13, atol=0)
    np.testing.assert_array_equal(found.head >= 0, np.any(matrix != 0, axis=1))
    np.testing.assert_array_equal(found.tail >= 0, np.count_nonzero(matrix, axis=1) == 2)
    assert np.all(found.coefficient[found.tail >= 0] > 0)
    return found


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (7,), (2, 2), (4, 5), (3, 4, 5), (1, 6)])
def test_gradients_and_differences(shape, boundary, rng):
    gradient = oa.Gradient(shape, boundary=boundary)
    check(gradient, shape)
    check(oa.vstack([gradient, 0.3 * gradient]), shape)
    for scheme in ("forward", "backward", "central"):
        check(-1.7 * oa.FiniteDifference(shape, -1, scheme, boundary), shape)


def test_border_rows_are_zero_single_or_wrapped():
    found = [check(oa.FiniteDifference((5,), 0, boundary=b), (5,)) for b in ("neumann", "dirichlet", "periodic")]
    assert [(f.head[-1], f.tail[-1], f.coefficient[-1]) for f in found] == [(-1, -1, 0.0), (4, -1, -1.0), (0, 4, 1.0)]


def test_weights_of_every_size_and_sign(rng):
    shape = (5, 6)
    weights = 10.0 ** rng.uniform(-250, 250, (2, *shape)) * rng.choice([-1.0, 0.0, 1.0], (2, *shape))
    check(oa.Diagonal(weights) @ oa.Gradient(shape, boundary="dirichlet"), shape)


def test_selections_and_diagonals(rng):
    keep = rng.random((4, 6)) > 0.4
    for operator in (oa.Identity((4, 6)), oa.Restrict(keep), oa.Mask(keep), oa.Diagonal(rng.normal(size=(4, 6)))):
        assert check(operator, (4, 6)).single


@pytest.mark.parametrize("in_size", [2, 3, 4, 5, 63, 64, 65, 1000, 300_000])
def test_random_pairs_of_any_distance(in_size, rng):
    count = min(4 * in_size, 300_000)
    head, tail = rng.integers(0, in_size, (2, count))
    c = rng.normal(size=count)
    found = row_structure(lambda x: c * x[head] - c * x[tail], in_size)
    same = head == tail
    np.testing.assert_array_equal(found.head, np.where(same, -1, np.where(c > 0, head, tail)))
    np.testing.assert_array_equal(found.tail, np.where(same, -1, np.where(c > 0, tail, head)))
    np.testing.assert_allclose(found.coefficient, np.where(same, 0, np.abs(c)), rtol=1e-12)


def test_a_million_neighbours_have_exact_coefficients():
    shape = (1000, 1000)
    found = row_structure(flat(0.1 * oa.Gradient(shape), shape), 10**6)
    index = np.arange(10**6)
    inside = np.concatenate((index < 10**6 - 1000, index % 1000 < 999))
    steps = np.repeat([1000, 1], 10**6)
    np.testing.assert_array_equal(found.tail, np.where(inside, np.tile(index, 2), -1))
    np.testing.assert_array_equal(found.head, np.where(inside, np.tile(index, 2) + steps, -1))
    np.testing.assert_array_equal(found.coefficient, np.where(inside, 0.1, 0.0))


OTHERS = {
    "sums": lambda x: x[1:] + x[:-1],
    "uneven": lambda x: 2 * x[1:] - x[:-1],
    "second differences": lambda x: x[2:] - 2 * x[1:-1] + x[:-2],
    "skipping": lambda x: x[3:] - x[2:-1] + x[1:-2] - x[:-3],
    "small third entry": lambda x: x[2:] - x[1:-1] + 1e-9 * x[:-2],
    "running sums": np.cumsum,
    "by transforms": lambda x: np.fft.ifft(np.fft.fft(x)).real,
    "not finite": lambda x: x * np.nan,
    "one odd row": lambda x: np.append(np.diff(x), x.sum()),
    "offset": lambda x: np.diff(x) + 1.0,
    "magnitudes": np.abs,
    "mean": lambda x: x - x.mean(),
}


@pytest.mark.parametrize("name", sorted(OTHERS))
@pytest.mark.parametrize("in_size", [6, 40, 3000])
def test_other_maps_have_none(name, in_size):
    assert row_structure(OTHERS[name], in_size) is None


def test_dense_and_central_maps(rng):
    assert row_structure(lambda x: rng.normal(size=(7, 9)) @ x, 9) is None
    matrix = rng.normal(size=(7, 9))
    assert row_structure(lambda x: matrix @ x, 9) is None
    assert row_structure(flat(oa.Gradient((4, 4)).H, (2, 4, 4)), 32) is None


def test_maps_that_write_into_one_buffer_and_maps_without_rows():
    buffer = np.empty(5)
    found = row_structure(lambda x: np.subtract(x[1:], x[:-1], out=buffer), 6)
    np.testing.assert_array_equal(found.matrix().toarray(), np.diff(np.eye(6), axis=0))
    empty = row_structure(lambda x: x[:0], 6)
    assert len(empty) == 0
    assert empty.matrix().shape == (0, 6)


def test_selection_stacking_and_products(rng):
    shape = (3, 4)
    operators = oa.Gradient(shape, boundary="dirichlet"), 2 * oa.Identity(shape)
    first, second = (check(operator, shape) for operator in operators)
    both = RowStructure.stack([first, second])
    matrix = np.concatenate([dense(flat(operator, shape), 12) for operator in operators])
    np.testing.assert_array_equal(both.matrix().toarray(), matrix)
    keep = rng.random(len(both)) > 0.5
    np.testing.assert_array_equal(both.select(keep).matrix().toarray(), matrix[keep])
    np.testing.assert_array_equal(both.select(np.flatnonzero(keep)).matrix().toarray(), matrix[keep])
    x = rng.normal(size=(12, 2))
    np.testing.assert_allclose(both.apply(x), matrix @ x, atol=1e-14)
    np.testing.assert_allclose(both.apply(x[:, 0]), matrix @ x[:, 0], atol=1e-14)
    with pytest.raises(ShapeError, match=r"\[5, 12\] entries"):
        RowStructure.stack([first, row_structure(np.negative, 5)])
    with pytest.raises(ShapeError, match="none were given"):
        RowStructure.stack([])
