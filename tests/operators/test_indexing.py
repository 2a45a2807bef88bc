"""Indexing against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import DtypeError, ShapeError
from opalg.leaves import Constant, Parameter
from opalg.operators import Identity
from opalg.operators.indexing import indexed
from opalg.operators.rearrangement import Flip
from opalg.operators.selection import Gather, Restrict
from opalg.operators.windows import Crop, Slice
from tests.operators.dense import real_matrix

SHAPE = (4, 3, 5)
CHOICE = np.random.default_rng(3)
FULL, FRONT, BACK = CHOICE.random(SHAPE) < 0.5, CHOICE.random((4, 3)) < 0.5, CHOICE.random((3, 5)) < 0.5
INDICES = [
    0,
    (1, -2),
    (slice(None, None, -1), 0),
    (..., 2, None),
    [2, 0, 2],
    [2, 0],
    np.array([[0, 1], [2, -1]]),
    np.array(2),
    FULL,
    FRONT,
    np.array([True, False, True, True]),
    (slice(None), [0, 2]),
    (..., [0, 4, 4]),
    (..., BACK),
    (slice(1, None), BACK),
    (FRONT, slice(1, None, 2)),
    (slice(0, 4, 2), slice(None), [1, 1]),
    (slice(None), [0, 2], slice(None, None, -1)),
    (..., [2, 0], slice(1, 4)),
    ([1, 1], ...),
    FULL.tolist(),
]


@pytest.mark.parametrize("index", INDICES, ids=lambda i: repr(i)[:40])
def test_indexing_is_numpys(rng, index):
    x = rng.standard_normal(SHAPE)
    wanted = x[index]
    made = indexed(SHAPE, index)
    assert made.out_shape == wanted.shape
    assert np.array_equal(made @ x, wanted) and np.array_equal(made.simplify() @ x, wanted)
    assert np.array_equal(real_matrix(made.H, "real"), real_matrix(made, "real").T)


def test_the_simplest_operator_is_taken():
    assert indexed(SHAPE, ...) is Identity(SHAPE)
    assert indexed(SHAPE, slice(1, None)) is Crop(SHAPE, (1, 0, 0), SHAPE)
    assert indexed(SHAPE, slice(None, None, -1)) is Flip(SHAPE, 0)
    assert indexed(SHAPE, 0) is Slice(SHAPE, 0)
    assert indexed(SHAPE, FULL) is Restrict(FULL) and indexed(SHAPE, Constant(FULL)) is Restrict(FULL)
    assert indexed(SHAPE, (..., [1, 1])) is Gather(SHAPE, [1, 1], axis=2)


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        (4, ShapeError, "outside an axis of 4"),
        ((0, 0, 0, 0), ShapeError, "more parts"),
        ([7], ShapeError, "outside 4 entries"),
        ("a", DtypeError, "not 'a'"),
        (1.5, DtypeError, "not 1.5"),
        ([], DtypeError, r"not \[\]"),
        (True, ShapeError, "not True"),
        ((0, [1]), ShapeError, r"x\[0\]\[:, positions\]"),
        ((None, [1]), ShapeError, "several steps"),
        (([0], [1]), ShapeError, "several steps"),
        (np.ones((3, 3), bool), ShapeError, r"mask of shape \(3, 3\) cannot index the axes \(4, 3\)"),
        (np.ones((4, 3, 5, 2), bool), ShapeError, "more parts"),
        (np.zeros((4, 3), bool), ShapeError, "keeps nothing"),
        (np.zeros(SHAPE, bool), ShapeError, "keeps nothing"),
        (Parameter(1.0), DtypeError, "fixed"),
    ],
)
def test_misuse_is_explained(index, error, words):
    with pytest.raises(error, match=words):
        indexed(SHAPE, index)
