"""Restrictions, gathers and permutations against NumPy's indexing, and how they merge."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import DtypeError, ShapeError
from opalg.facts import UNKNOWN, YES
from opalg.leaves import Constant, Parameter
from opalg.operators import Diagonal, Identity, Mask, Zero
from opalg.operators.rearrangement import Flip, Reshape, Roll, Transpose
from opalg.operators.selection import Gather, Permutation, Restrict
from opalg.operators.windows import Crop
from tests.operators.dense import check_parameter_gradient, real_matrix
from tests.operators.rewritten import rewritten

MASK = np.array([[True, False, True], [False, False, True]])


def rule_members(rng):
    """Operators on which the rules of this family fire."""
    kept, gather = Restrict(MASK), Gather((4, 2), [0, 3, 0])
    weights = Diagonal(rng.standard_normal(3))
    return [
        Restrict([2, 0, 1], 3),
        Restrict([1, 0], 3) @ kept,
        Permutation([2, 0, 1]) @ kept,
        gather.gram,
        Gather((3, 2), [1, 1]) @ gather,
        kept.gram,
        kept @ Mask(MASK),
        kept.H @ weights @ kept,
        kept.H @ Mask(np.array([True, False, True])) @ kept,
    ]


def test_restrict_is_boolean_indexing(rng):
    x = rng.standard_normal((4, 2, 3))
    kept = Restrict(MASK)
    assert np.array_equal(kept @ x, x[:, MASK])
    back = np.zeros_like(x)
    back[:, MASK] = x[:, MASK]
    assert np.array_equal(kept.H @ (kept @ x), back)
    assert Restrict(Constant(MASK)) is kept and Restrict(MASK.tolist()) is kept
    assert Restrict(np.flatnonzero(MASK), (2, 3)) is kept


@pytest.mark.parametrize("positions", [[5, 0, 2], [1, 3, 5], [-1, -3], [4], [0, 1, 2, 3, 4, 5], [2, 1, 0]])
def test_restrict_keeps_the_order_of_positions(rng, positions):
    x = rng.standard_normal((4, 2, 3))
    kept = Restrict(positions, (2, 3))
    assert np.array_equal(kept @ x, x.reshape(4, 6)[:, positions])
    assert np.array_equal(kept @ (kept.H @ (kept @ x)), kept @ x)
    assert np.array_equal(real_matrix(kept, "real"), np.eye(6)[positions])


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("positions", [[0, 1, 0, -1], [[1, 0], [0, 0]], 1, [0], [0, 1]])
def test_gather_is_take(rng, axis, positions):
    x = rng.standard_normal((2, 3, 4))
    gather = Gather(x.shape, positions, axis)
    wanted = np.take(x, positions, axis)
    assert gather.out_shape == wanted.shape and np.array_equal(gather @ x, wanted)
    matrix = real_matrix(gather, "real")
    assert np.array_equal(real_matrix(gather.H, "real"), matrix.T)
    assert gather.facts.norm.value == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)


def test_gather_knows_its_repeats():
    assert Gather((3,), [0, 1, 1, 2, 1]).facts.norm.value == np.sqrt(3)
    assert Gather((3,), [0, 1, 2, 2, 1, 0]).facts.gram_scale.value == 2.0
    assert Gather((3,), [0, 1, 1]).facts.gram_scale is None
    assert Gather((3,), [2, 0]).facts.cogram_scale.value == 1.0


def test_permutation_reorders(rng):
    order, x = rng.permutation(7), rng.standard_normal((3, 7))
    made = Permutation(order)
    assert np.array_equal(made @ x, x[:, order])
    assert np.array_equal(made.H @ x[:, order], x)
    assert made.H.H is made and made.inverse() is made.H
    assert Permutation([1, 0, 3, 2]).facts.self_adjoint is YES
    assert Permutation([1, 2, 0]).facts.self_adjoint is UNKNOWN


def test_restrictions_of_restrictions_merge():
    inner, outer = Restrict([5, 1, 3, 0], (2, 3)), Restrict([2, 0], 4)
    assert rewritten(outer @ inner, "merge_listings") is Restrict([3, 5], (2, 3))
    assert rewritten((outer @ inner).H, "merge_listings") is Restrict([3, 5], (2, 3)).H
    assert rewritten(outer @ Reshape((2, 2), (4,)), "merge_listings") is Restrict([2, 0], (2, 2))
    assert rewritten(Gather((4,), [1, 1, 0]) @ Restrict([2, 0, 1, 5], 6)) is Gather((6,), [0, 0, 2])
    repeated = Gather((4,), [1, 1]) @ inner
    assert rewritten(repeated) is repeated


def test_permutations_multiply():
    p, q = Permutation([2, 0, 1, 3]), Permutation([3, 1, 0, 2])
    assert rewritten(p @ q, "merge_listings") is Permutation([0, 3, 1, 2])
    assert rewritten(p.H @ p) is Identity((4,)) and rewritten(p @ p.H) is Identity((4,))
    assert rewritten(p @ p @ p) is Identity((4,))
    assert rewritten(Restrict([0, 2], 4) @ p) is Restrict([2, 1], 4)
    assert rewritten(p @ Restrict([5, 4, 3, 0], 6)) is Restrict([3, 5, 4, 0], 6)
    assert rewritten(p @ Restrict([5, 4, 3, 0], 6).H.H @ Mask(np.ones(6, bool))) is Restrict([3, 5, 4, 0], 6)


def test_gathers_along_an_axis_merge():
    inner, outer = Gather((4, 3), [3, 1, 3]), Gather((3, 3), [[0, 2], [1, 1]])
    assert rewritten(outer @ inner, "merge_gathers") is Gather((4, 3), [[3, 3], [1, 1]])
    assert rewritten((outer @ inner).H, "merge_gathers") is Gather((4, 3), [[3, 3], [1, 1]]).H
    other = Gather((3, 3), [0], axis=1) @ inner
    assert rewritten(other) is other


def test_what_lists_everything_is_simpler():
    assert rewritten(Restrict(np.ones((2, 3), bool)), "simplify_listing") is Reshape((2, 3), (6,))
    assert rewritten(Permutation([0, 1, 2]), "simplify_listing") is Identity((3,))
    assert rewritten(Restrict([2, 0, 1], 3), "simplify_listing") is Permutation([2, 0, 1])
    assert rewritten(Gather((3,), [2, 0]), "simplify_listing") is Restrict([2, 0], 3)


def test_grams_are_diagonal():
    made = rewritten(Restrict(MASK).gram, "merge_gram_of_selection")
    assert isinstance(made, Mask) and np.array_equal(made.mask.value, MASK)
    assert rewritten(Restrict(MASK).gram) is made
    assert rewritten(Restrict(MASK).cogram) is Identity((3,))
    gather = Gather((4, 2), [0, 3, 0, 0])
    made = rewritten(gather.gram, "merge_gram_of_gather")
    assert isinstance(made, Diagonal) and made.diagonal.value.tolist() == [[3.0], [0.0], [0.0], [1.0]]
    assert made.facts.positive is YES


def test_gram_inside_a_chain_keeps_the_rest(rng):
    d = Diagonal(rng.standard_normal((2, 3)))
    assert isinstance(rewritten(d @ Restrict(MASK).H @ Restrict(MASK) @ d), Diagonal)
    assert rewritten(Gather((2, 3), [0, 0]).gram @ Flip((2, 3))).inner is Flip((2, 3))


def test_masks_that_keep_all_or_nothing_of_a_restriction():
    kept = Restrict(MASK)
    larger = MASK.copy()
    larger[1, 0] = True
    assert rewritten(kept @ Mask(larger), "merge_selection_of_mask") is kept
    assert rewritten(Mask(larger) @ kept.H, "merge_selection_of_mask") is kept.H
    assert rewritten(kept @ Mask(~MASK), "merge_selection_of_mask") is Zero((2, 3), (3,))
    partly = kept @ Mask(np.array([[True, True, False], [False, False, True]]))
    assert rewritten(partly) is partly


SELECTIONS = [
    Restrict(MASK),
    Gather((2, 3), [2, 0, 2], axis=1),
    Permutation([2, 0, 1, 3]),
    Crop((3, 3), 1, 3),
    Flip((2, 3)),
    Roll((2, 3), 1, 1),
    Transpose((2, 3)),
    Reshape((2, 3), (6,)),
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=repr)
def test_diagonals_between_a_selection_and_its_adjoint(rng, selection):
    weights = Parameter(rng.random(selection.out_shape), name="w", nonneg=True)
    signs = Diagonal(rng.standard_normal(selection.out_shape[-1:]), selection.out_shape)
    made = rewritten(selection.H @ signs @ selection, "merge_diagonal_between_selections")
    assert isinstance(made, Diagonal)
    made = rewritten(selection.H @ Diagonal(weights) @ selection, "merge_diagonal_between_selections")
    assert made.facts.positive is YES
    check_parameter_gradient(made, weights, rng)
    check_parameter_gradient(selection.H @ Diagonal(weights) @ selection, weights, rng)


@pytest.mark.parametrize("selection", [s for s in SELECTIONS if not isinstance(s, Gather)], ids=repr)
def test_masks_between_a_selection_and_its_adjoint(rng, selection):
    kept = np.zeros(selection.out_shape, bool)
    kept.flat[:2] = True
    made = rewritten(selection.H @ Mask(kept) @ selection, "merge_diagonal_between_selections")
    assert isinstance(made, Mask)


def test_positions_may_come_from_torch(rng):
    torch = pytest.importorskip("torch")
    assert Restrict(torch.tensor([4, 1]), 5) is Restrict([4, 1], 5)
    assert Restrict(torch.from_numpy(MASK)) is Restrict(MASK)
    assert Gather((5,), torch.tensor([4, 4])) is Gather((5,), [4, 4])


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: Restrict([0, 1]), ShapeError, r"Restrict\(p, shape\)"),
        (lambda: Restrict([0, 0], 3), ShapeError, "Gather"),
        (lambda: Restrict([[0, 1]], 3), ShapeError, "Gather"),
        (lambda: Restrict([3], 3), ShapeError, "3, which lies outside 3"),
        (lambda: Restrict([], 3), ShapeError, "no positions"),
        (lambda: Restrict([0.5], 3), DtypeError, "integers"),
        (lambda: Restrict(np.zeros((2, 2), bool)), ShapeError, "keeps nothing"),
        (lambda: Restrict(MASK, (3, 2)), ShapeError, r"mask of shape \(2, 3\) for arrays of shape \(3, 2\)"),
        (lambda: Gather((3,), [-4]), ShapeError, "-4, which lies outside"),
        (lambda: Gather((3,), [0], 1), ShapeError, "one axis"),
        (lambda: Gather((3,), [True, False, True]), DtypeError, "Restrict"),
        (lambda: Gather((3,), Parameter(1.0)), DtypeError, "plain array"),
        (lambda: Permutation([0, 2]), ShapeError, "lies outside"),
        (lambda: Permutation([0, 0]), ShapeError, "each of 0 ... 1 once"),
        (lambda: Permutation([[0, 1]]), ShapeError, "on one axis"),
    ],
)
def test_misuse_is_explained(build, error, words):
    with pytest.raises(error, match=words):
        build()
