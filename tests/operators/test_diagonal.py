"""Diagonals and masks."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.leaves import Constant, Parameter
from opalg.nodes import substitute
from opalg.operators import Composed, Diagonal, FiniteDifference, Gradient, Identity, Mask, Scaled, Zero
from opalg.program.expression import Literal
from opalg.program.interpreter import number
from tests.operators.dense import check_parameter_gradient
from tests.operators.rewritten import rewritten


def rule_members(rng):
    """Operators on which the rules of this family fire."""
    some, other = rng.random((3, 4)) < 0.5, rng.random((3, 4)) < 0.5
    return [
        Mask(some) @ Mask(other),
        Mask(some) @ Mask(~some),
        Mask(np.ones((2, 2), bool)),
        Mask(np.zeros((2, 2), bool)),
    ]


def test_multiplies_and_broadcasts(rng):
    d, x = rng.standard_normal((3, 1)), rng.standard_normal((2, 3, 4))
    assert np.array_equal(Diagonal(d, (3, 4)) @ x, d * x)


@pytest.mark.parametrize("complex_data", [False, True])
def test_gradient_in_the_diagonal(rng, complex_data):
    d = Parameter(rng.standard_normal((3, 1)) * (1 + 2j if complex_data else 1), name="d")
    check_parameter_gradient(Diagonal(d, (3, 4)), d, rng)
    check_parameter_gradient(Diagonal(d, (3, 4)).H, d, rng)
    check_parameter_gradient(Diagonal(d * d, (3, 4)), d, rng)


def test_products_sums_and_multiples_become_one_diagonal(rng):
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    made = (Diagonal(a) @ Diagonal(b) + 2.0 * Diagonal(a) + 0.5 * Identity((2, 3))).simplify()
    assert isinstance(made, Diagonal)
    assert np.allclose(made @ np.ones((2, 3)), a * b + 2 * a + 0.5)


def test_merging_inside_a_chain_keeps_the_rest(rng):
    a, b = Diagonal(rng.standard_normal((2, 3, 4))), Diagonal(rng.standard_normal((2, 3, 4)))
    made = (a @ b @ Gradient((3, 4))).simplify()
    assert isinstance(made, Composed) and isinstance(made.outer, Diagonal) and isinstance(made.inner, Gradient)


def test_gram_of_a_complex_diagonal_is_real(rng):
    z = Diagonal(rng.standard_normal(4) + 1j * rng.standard_normal(4))
    gram = ((2.0 * z).H @ (2.0 * z)).simplify()
    assert isinstance(gram, Diagonal) and gram.diagonal.kind == "real"
    assert gram.facts.self_adjoint is YES and gram.facts.positive is YES
    assert number(gram.facts.lowest) == pytest.approx(4 * np.min(np.abs(z.diagonal.value)) ** 2)


def test_sign_is_known_only_where_it_is_sure(rng):
    weight = Parameter(rng.random(3) + 1, name="w", nonneg=True)
    free = Parameter(rng.random(3) + 1, name="v")
    assert Diagonal(weight).facts.positive is YES
    assert Diagonal(weight * weight + 1.0).facts.positive is YES
    assert Diagonal(free).facts.positive is UNKNOWN
    assert Diagonal(-weight).facts.positive is UNKNOWN
    assert Diagonal(np.array([1.0, -1.0])).facts.positive is UNKNOWN


def test_masks_project(rng):
    mask = rng.random((3, 4)) < 0.5
    m = Mask(mask)
    assert np.array_equal(m @ np.ones((3, 4)), mask.astype(float))
    assert (m @ m).simplify() is m
    assert m.gram.simplify() is m
    assert ((m @ m) @ Diagonal(rng.standard_normal((3, 4)))).simplify().facts.diagonal is YES


def test_products_of_masks_keep_what_both_keep(rng):
    few = np.array([[True, False, False], [False, False, True]])
    more = few | np.array([[False, True, False], [False, True, False]])
    other = np.array([[True, True, False], [False, True, False]])
    both = rewritten(Mask(more) @ Mask(other), "merge_masks")
    assert isinstance(both, Mask) and np.array_equal(both.mask.value, more & other)
    small, large = Mask(few), Mask(more)
    assert rewritten(small @ large, "merge_masks") is small and rewritten(large @ small) is small
    assert rewritten(small @ Mask(few), "merge_masks") is small
    assert rewritten(small @ Mask(~few), "merge_masks") is Zero((2, 3))
    rest = FiniteDifference((2, 3), 0)
    assert rewritten(rest @ small @ large @ rest, "merge_masks") is rest @ small @ rest
    assert isinstance(rewritten(small @ Diagonal(rng.standard_normal((2, 3)))), Diagonal)


def test_masks_of_all_and_of_nothing_are_dropped():
    assert rewritten(Mask(np.ones((2, 3), bool)), "drop_trivial_mask") is Identity((2, 3))
    assert rewritten(Mask(np.zeros((2, 3), bool)), "drop_trivial_mask") is Zero((2, 3))


def test_masks_of_different_libraries_merge():
    torch = pytest.importorskip("torch")
    small = Mask(np.array([True, False, False]))
    assert rewritten(Mask(torch.tensor([True, True, False])) @ small) is small


def test_mask_plus_identity_is_a_diagonal_with_a_known_bottom():
    made = (Mask(np.array([True, False, True])) + 0.25 * Identity((3,))).simplify()
    assert isinstance(made, Diagonal)
    assert number(made.facts.lowest) == 0.25


def test_sum_of_identities_is_a_multiple_of_the_identity():
    weight = Parameter(0.5, name="w")
    made = (Identity((3,)) + weight * Identity((3,))).simplify()
    assert isinstance(made, Scaled) and isinstance(made.operator, Identity)


def test_scaled_by_an_array_of_one_entry_keeps_scalar_shapes():
    factor = Parameter(np.array([2.0]), name="f")
    assert (factor * Identity(())).facts.norm.value == 2.0
    assert ((factor * Identity(())) @ np.array(3.0)).shape == ()


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match="does not broadcast"):
        Diagonal(np.ones(3), (4,))
    with pytest.raises(DtypeError, match="Mask"):
        Diagonal(np.ones(3, bool))
    with pytest.raises(DtypeError, match="Diagonal"):
        Mask(np.ones(3))
    with pytest.raises(UnsupportedError, match="zero"):
        Diagonal(np.array([1.0, 0.0])).inverse()
    with pytest.raises(UnsupportedError, match="zero"):
        Mask(np.array([True, False])).inverse()


def test_singular_operators_have_no_inverse_whatever_they_are_made_of(rng):
    mask = Mask(np.array([True, False]))
    singular = [
        Diagonal(np.array([1.0, 0.0])),
        Diagonal(0.0, (2,)),
        mask,
        mask.H,
        2.0 * mask,
        Mask(np.array([False, False])),
        Scaled(Constant(0.0), Identity((2,))),
        0.0 * Identity((2,)),
        Composed(Identity((2,)), mask),
    ]
    for operator in singular:
        with pytest.raises(UnsupportedError):
            operator.inverse()


def test_the_value_of_a_parameter_does_not_decide_about_an_inverse():
    d = Parameter(np.array([1.0, 0.0]), name="d")
    other = substitute(Diagonal(d).inverse(), {d: Constant(np.array([2.0, 4.0]))})
    assert np.array_equal(other @ np.ones(2), [0.5, 0.25])
    factor = Parameter(0.0, name="f")
    assert np.array_equal(
        substitute((factor * Identity((2,))).inverse(), {factor: Constant(2.0)}) @ np.ones(2), [0.5] * 2
    )


def test_equal_terms_are_one_object(rng):
    d = Constant(rng.standard_normal(3))
    assert Diagonal(d) is Diagonal(d, (3,))


def test_a_diagonal_without_entries_has_facts():
    facts = Diagonal(np.ones(0)).facts
    assert facts.positive is YES and facts.norm.value == 0.0


def test_constants_of_one_magnitude_are_a_multiple_of_a_unitary() -> None:
    for d, scale in (([1.0, -1.0], 1.0), ([2.0, -2.0], 4.0), ([1j, -1.0], 1.0), ([[1.0], [-1.0]], 1.0)):
        facts = Diagonal(np.array(d), np.broadcast_shapes(np.shape(d), (2, 2))).facts
        assert facts.gram_scale == facts.cogram_scale == Literal(scale)
    assert Diagonal(-3.0, (2,)).facts.gram_scale == Literal(9.0)
    for other in (np.array([1.0, 1.0 + 1e-15]), np.zeros(2), Parameter(np.ones(2), name="d")):
        assert Diagonal(other).facts.gram_scale is None and Diagonal(other).facts.cogram_scale is None
