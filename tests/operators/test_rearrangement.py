"""Flips, rolls, transposes and reshapes against NumPy's, and how they merge."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from opalg.errors import ShapeError
from opalg.facts import NO, YES
from opalg.operators import Diagonal, Identity
from opalg.operators.rearrangement import Flip, Reshape, Roll, Transpose
from tests.operators.rewritten import rewritten

SHAPE = (3, 4, 2)


def rule_members(rng):
    """Operators on which the rules of this family fire."""
    flip, roll, turn = Flip(SHAPE, (0, 1)), Roll(SHAPE, (1, 1), (1, 2)), Transpose(SHAPE, (2, 0, 1))
    empty = [Flip((1, 3), 0), Roll((3,), 3), Transpose((3, 1), (1, 0)), Reshape((3,), (3,))]
    return [
        *empty,
        flip @ roll,
        turn @ roll,
        turn @ flip,
        flip @ Flip(SHAPE),
        roll @ Roll(SHAPE, 1, 1),
        Transpose(turn.out_shape) @ turn,
    ]


@pytest.mark.parametrize("axes", [None, 0, -1, (0, 2), (1,), ()])
def test_flip_is_numpys(rng, axes):
    x = rng.standard_normal((5, *SHAPE))
    own = (1, 2, 3) if axes is None else tuple(a % 3 + 1 for a in ((axes,) if isinstance(axes, int) else axes))
    assert np.array_equal(Flip(SHAPE, axes) @ x, np.flip(x, own))
    assert Flip(SHAPE, axes).H is Flip(SHAPE, axes)


@pytest.mark.parametrize(
    ("shift", "axes"), [((1, 2, 1), None), (-1, 0), ((5, 1), (1, -1)), ((-7, 3), (0, 1)), (4, 1), ((2, 0), (-1, 0))]
)
def test_roll_is_numpys(rng, shift, axes):
    x = rng.standard_normal((5, *SHAPE))
    own = (1, 2, 3) if axes is None else tuple(a % 3 + 1 for a in ((axes,) if isinstance(axes, int) else axes))
    rolled = np.roll(x, shift, own)
    assert np.array_equal(Roll(SHAPE, shift, axes) @ x, rolled)
    assert np.array_equal(Roll(SHAPE, shift, axes).H @ rolled, x)
    assert Roll(SHAPE, shift, axes).H.H is Roll(SHAPE, shift, axes)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_transpose_is_numpys(rng, axes):
    x = rng.standard_normal((5, *SHAPE))
    wanted = np.transpose(x, (0, *(a + 1 for a in axes)))
    turned = Transpose(SHAPE, axes)
    assert np.array_equal(turned @ x, wanted)
    assert np.array_equal(turned.H @ wanted, x)
    assert turned.H.H is turned


def test_transpose_reverses_the_axes_by_default():
    assert Transpose(SHAPE) is Transpose(SHAPE, (2, 1, 0))
    assert Transpose(SHAPE).out_shape == (2, 4, 3)


def test_reshape_is_numpys(rng):
    x = rng.standard_normal((5, *SHAPE))
    assert np.array_equal(Reshape(SHAPE, (4, 6)) @ x, x.reshape(5, 4, 6))
    assert Reshape(SHAPE, (4, -1)) is Reshape(SHAPE, (4, 6))
    assert Reshape(SHAPE, 24).out_shape == (24,)
    assert Reshape(SHAPE, 24).H is Reshape((24,), SHAPE)


def test_self_adjoint_where_they_undo_themselves():
    assert Roll((4, 6), (2, 3)).facts.self_adjoint is YES and Roll((4, 6), (2, 3)).H is Roll((4, 6), (2, 3))
    assert Roll((4, 6), (2, 1)).facts.self_adjoint is not YES
    assert Transpose((3, 3)).facts.self_adjoint is YES and Transpose((3, 2)).facts.self_adjoint is NO
    assert Transpose((2, 2, 2), (1, 2, 0)).facts.self_adjoint is not YES
    assert Flip((3,)).facts.lowest.value == -1.0


def test_inverses_are_the_adjoints():
    for made in (Flip(SHAPE), Roll(SHAPE, 1, 0), Transpose(SHAPE), Reshape(SHAPE, (24,))):
        assert made.inverse() is made.H


def test_equal_ones_merge_and_opposite_ones_cancel():
    flip, roll = Flip(SHAPE, (0, 1)), Roll(SHAPE, (1, 3), (0, 1))
    turn, shape = Transpose(SHAPE, (1, 2, 0)), Reshape(SHAPE, (6, 4))
    assert rewritten(flip @ Flip(SHAPE, (1, 2)), "merge_rearrangements") is Flip(SHAPE, (0, 2))
    assert rewritten(roll @ Roll(SHAPE, (1, 1), (1, 2)), "merge_rearrangements") is Roll(SHAPE, (1, 1), (0, 2))
    assert rewritten(Roll((6,), 4) @ Roll((6,), 3), "merge_rearrangements") is Roll((6,), 1)
    assert rewritten(Transpose(turn.out_shape) @ turn, "merge_rearrangements") is Transpose(SHAPE, (0, 2, 1))
    assert rewritten(Reshape((6, 4), (8, 3)) @ shape, "merge_rearrangements") is Reshape(SHAPE, (8, 3))
    for made in (flip, roll, turn, shape):
        assert rewritten(made.H @ made) is Identity(SHAPE)
        assert rewritten(made @ made.H) is Identity(made.out_shape)


def test_merging_inside_a_chain_keeps_the_rest(rng):
    d = Diagonal(rng.standard_normal(SHAPE))
    assert rewritten(Roll(SHAPE, 1, 1) @ Roll(SHAPE, 2, 1) @ d) is Roll(SHAPE, 3, 1) @ d
    assert rewritten(Reshape((24,), SHAPE) @ Reshape(SHAPE, (24,)) @ d) is d


def test_mixed_ones_take_one_order_so_that_they_meet():
    flip, roll, turn = Flip(SHAPE, (0, 1)), Roll(SHAPE, (1, 1), (1, 2)), Transpose(SHAPE, (2, 0, 1))
    turned = turn.out_shape
    assert rewritten(flip @ roll, "order_rearrangements") is Roll(SHAPE, (-1, 1), (1, 2)) @ flip
    assert rewritten(turn @ roll, "order_rearrangements") is Roll(turned, (1, 1), (2, 0)) @ turn
    assert rewritten(turn @ flip, "order_rearrangements") is Flip(turned, (1, 2)) @ turn
    assert rewritten(turn.H @ Roll(turned, 1, 0) @ turn) is Roll(SHAPE, 1, 2)
    assert rewritten(flip @ roll @ flip) is Roll(SHAPE, (-1, 1), (1, 2))


def test_long_mixed_products_settle(rng):
    makers = (
        lambda: Flip((3, 3), int(rng.integers(2))),
        lambda: Roll((3, 3), int(rng.integers(3)), int(rng.integers(2))),
        lambda: Transpose((3, 3)),
    )
    for _ in range(20):
        product = Identity((3, 3))
        for _ in range(6):
            product = makers[rng.integers(3)]() @ product
        text = repr(rewritten(product))
        assert text.count("Roll") <= 1 and text.count("Flip") <= 1 and text.count("Transpose") <= 1


def test_what_does_nothing_is_dropped():
    assert rewritten(Flip((1, 3), 0), "drop_flip_of_nothing") is Identity((1, 3))
    assert rewritten(Roll((4, 3), (4, 0)), "drop_roll_by_nothing") is Identity((4, 3))
    assert rewritten(Transpose((3, 2), (0, 1)), "drop_transpose_of_nothing") is Identity((3, 2))
    assert rewritten(Transpose((3, 1, 2), (1, 0, 2)), "drop_transpose_of_nothing") is Reshape((3, 1, 2), (1, 3, 2))
    assert rewritten(Reshape((3, 2), (3, 2)), "drop_reshape_to_same") is Identity((3, 2))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Flip((3, 2), 2), "no axes"),
        (lambda: Flip((3, 2), (0, 0)), "different axes"),
        (lambda: Flip((3, 2), "x"), "no axes"),
        (lambda: Roll((3, 2), 1), "one for each axis"),
        (lambda: Roll((3, 2), (1, 2), 0), "1 integers"),
        (lambda: Roll((3, 2), 0.5, 0), "1 integers"),
        (lambda: Transpose((3, 2), (0,)), "order of its 2 axes"),
        (lambda: Transpose((3, 2), (0, 2)), "no axes"),
        (lambda: Reshape((3, 2), (4,)), "holds 4 entries, the other 6"),
        (lambda: Reshape((3, 2), (-1, -1)), "nonnegative"),
        (lambda: Reshape((3, 2), (-1, 4)), "write one of the lengths as -1"),
    ],
)
def test_misuse_is_explained(build, words):
    with pytest.raises(ShapeError, match=words):
        build()
