"""Block diagonals and matrices of operators."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.leaves import Parameter
from opalg.operators import RFFT, AsComplex, Diagonal, Identity, Imag, Matrix, Stacked, Zero, hstack, vstack
from opalg.operators.block import BlockDiagonal, BlockMatrix, block, block_diag
from opalg.program.interpreter import number
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient, real_matrix
from tests.operators.rewritten import rewritten


@pytest.fixture
def many(rng):
    return [Matrix(rng.standard_normal(shape)) for shape in ((3, 2), (1, 2), (3, 4), (1, 4))]


@pytest.mark.parametrize("cls", [BlockDiagonal, BlockMatrix, Stacked])
def test_members_keep_what_they_promise(cls, rng):
    for member in cls.examples(rng):
        for made in (member, member.H):
            check_operator(made).raise_if_failed()


def test_block_diagonal_is_that_of_the_matrices(many):
    made = block_diag(many)
    assert np.allclose(made.to_dense(), scipy.linalg.block_diag(*(m.to_dense() for m in many)))
    assert made.H is block_diag([m.H for m in many])


def test_block_matrix_is_that_of_the_matrices(many):
    a, b, c, d = many
    dense = np.block([[a.to_dense(), c.to_dense()], [b.to_dense(), d.to_dense()]])
    assert np.allclose(block([[a, c], [b, d]]).to_dense(), dense)
    dense[3:, 2:] = 0
    for empty in (None, 0, 0.0):
        made = block([[a, c], [b, empty]])
        assert np.allclose(made.to_dense(), dense)
        assert np.allclose(made.H.to_dense(), dense.T)


def test_images_are_cut_along_their_first_axis(rng):
    d, x = Diagonal(rng.standard_normal((2, 3))), rng.standard_normal((5, 3, 3))
    found = block_diag([d, 2.0 * Identity((1, 3))]) @ x
    assert np.allclose(found, np.concatenate([d @ x[:, :2], 2.0 * x[:, 2:]], axis=1))


def test_simpler_forms_are_used(many):
    a, b, c, _ = many
    assert block([[a], [b]]) is vstack([a, b])
    assert block([[a, c]]) is hstack([a, c])
    assert block([[a, None], [None, c]]) is block_diag([a, c])
    assert block_diag([a]) is a
    assert block_diag([Identity((2,)), Identity((3,))]) is Identity((5,))
    assert block_diag([Zero((2,)), Zero((1,), (2,))]) is Zero((3,), (4,))


def test_facts_of_block_diagonals(rng):
    weights = Parameter(rng.random(2), name="weights", nonneg=True)
    made = block_diag([Diagonal(weights), 3.0 * Identity((2,))])
    assert made.facts.diagonal is YES and made.facts.positive is YES
    assert made.norm_bound().certainty == "exact" and float(made.norm_bound()) == 3.0
    assert number(made.facts.lowest) == pytest.approx(weights.value.min())
    skew = block_diag([Matrix(np.ones((2, 2))), Identity((1,))])
    assert skew.facts.self_adjoint is UNKNOWN and skew.facts.lowest is None
    flips = block_diag([-1.0 * Identity((2,)), Identity((2,))])
    assert number(flips.facts.gram_scale) == 1.0 and flips.facts.positive is UNKNOWN
    assert block_diag([2.0 * Identity((2,)), Identity((2,))]).facts.gram_scale is None


def test_inverse_goes_block_by_block(rng):
    d = Diagonal(rng.random(3) + 1)
    made = block_diag([d, -2.0 * Identity((1,))])
    assert np.allclose(made.inverse().to_dense() @ made.to_dense(), np.eye(4))
    crossed = block([[None, d], [2.0 * Identity((2,)), None]])
    assert np.allclose(crossed.inverse().to_dense() @ crossed.to_dense(), np.eye(5))
    with pytest.raises(UnsupportedError, match="no cheap inverse"):
        block_diag([d, Matrix(np.eye(2))]).inverse()
    with pytest.raises(UnsupportedError, match="no cheap inverse"):
        block([[d, d], [None, d]]).inverse()


def test_bounds_of_block_matrices(rng):
    big, small = Diagonal(np.full(2, 3.0)), Diagonal(np.full(2, 0.1))
    made = block([[big, small], [small, big]])
    assert made.facts.self_adjoint is YES
    assert float(made.norm_bound()) == pytest.approx(3.1)  # Schur, where Frobenius gives 4.2
    assert np.linalg.norm(made.to_dense(), 2) == pytest.approx(3.1)
    crossed = block([[None, big], [small, None]])
    assert crossed.norm_bound().certainty == "exact" and float(crossed.norm_bound()) == 3.0


def test_gradient_in_a_block(rng):
    d = Parameter(rng.standard_normal(2) * (1 - 1j), name="d")
    m = Matrix(rng.standard_normal((3, 2)))
    check_parameter_gradient(block_diag([Diagonal(d), m]), d, rng)
    check_parameter_gradient(block([[Diagonal(d), m.H], [m, None]]).H, d, rng)


def test_real_and_complex_blocks(rng):
    z = Diagonal(rng.standard_normal(4) * 1j)
    made = block_diag([RFFT((4,)), Diagonal(rng.standard_normal(4))])
    assert made.in_kind == "real"
    assert np.allclose(real_matrix(made.H, "complex"), real_matrix(made, "real").T)
    mixed = block([[RFFT((4,)), None], [None, RFFT((4,))]])
    assert np.allclose(real_matrix(mixed.H, "complex"), real_matrix(mixed, "real").T)
    assert block_diag([z, Diagonal(rng.standard_normal(4))]).in_kind == "complex"


def test_products_are_taken_block_by_block(rng):
    a, b, c, d = (Matrix(rng.standard_normal((2, 2))) for _ in range(4))
    assert (block_diag([a, b]) @ block_diag([c, d])).simplify() is block_diag([a @ c, b @ d])
    assert (block_diag([a, b]) @ vstack([c, d])).simplify() is vstack([a @ c, b @ d])
    assert (hstack([a, b]) @ block_diag([c, d])).simplify() is hstack([a @ c, b @ d]).simplify()
    assert block_diag([a, b]).gram.simplify() is block_diag([a.gram, b.gram])
    swap = block([[None, a], [b, None]])
    assert (swap @ swap).simplify() is block_diag([a @ b, b @ a])
    full = block([[a, b], [c, d]])
    assert (full @ full).simplify() is full @ full  # sixteen applications in place of eight
    uneven = block_diag([a, b]) @ block_diag([Matrix(np.ones((1, 2))), Matrix(np.ones((3, 2)))])
    assert uneven.simplify() is uneven


def test_scalars_come_out_of_blocks(rng):
    a, b, weight = Matrix(rng.standard_normal((2, 2))), Identity((2,)), Parameter(2.0, name="w")
    assert vstack([weight * a, weight * b]).simplify() is weight * vstack([a, b])
    assert block_diag([weight * a, weight * b]).simplify() is weight * block_diag([a, b])
    assert block([[weight * a, weight * b], [0, weight * a]]).simplify() is weight * block([[a, b], [None, a]])
    assert vstack([weight * a, b]).simplify() is vstack([weight * a, b])


def test_stacks_in_stacks_are_one(rng):
    a, b, c = (Matrix(rng.standard_normal((2, 2))) for _ in range(3))
    assert vstack([vstack([a, b]), c]).simplify() is vstack([a, b, c])
    assert block_diag([block_diag([a, b]), c]).simplify() is block_diag([a, b, c])


def test_misuse_is_explained(many):
    a, b, c, _ = many
    with pytest.raises(ShapeError, match="at least one"):
        block_diag([])
    with pytest.raises(ShapeError, match="first axis"):
        block_diag([a, Identity((2, 2))])
    with pytest.raises(ShapeError, match="same length"):
        block([[a, c], [b]])
    with pytest.raises(ShapeError, match="row 1 of block holds no operator"):
        block([[a, c], [None, None]])
    with pytest.raises(ShapeError, match="column 0 of block holds operators of different shapes"):
        block([[a, None], [c, many[2]]])
    with pytest.raises(ShapeError, match="row 1 of block holds operators of different shapes"):
        block([[a, None], [c, b]])
    with pytest.raises(ShapeError, match="must be an operator, None or 0, not str"):
        block([[a, "c"]])


def test_sums_of_block_diagonals_are_summed_block_by_block(rng):
    a, b, c = (Matrix(rng.standard_normal((3, 3))) for _ in range(3))
    d = Diagonal(rng.random(2))
    simple = rewritten(
        0.5 * block_diag([a, d]) + (2.0 * Identity((5,)) + block_diag([b, d])) + block_diag([d, c]),
        "sum_of_block_diagonals",
    )
    assert len(simple.operators) == 2  # blocks of other shapes stay apart
    shifted = rewritten(block_diag([Identity((4,)), 4.0 * Identity((3,))]) + 0.1 * Identity((7,)))
    assert np.allclose(shifted.inverse().to_dense(), np.diag(1 / np.array([1.1] * 4 + [4.1] * 3)))


def test_facts_hold_where_real_and_complex_blocks_meet(rng):
    z = Matrix(rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4)))
    narrow = Diagonal(np.array([3j, 1.0, 1.0, 1.0])) @ AsComplex((4,)).H.H
    for operator in (
        block_diag([Identity((3,)), Imag((3,))]),
        vstack([z @ Diagonal(rng.random(4)), AsComplex((4,))]),
        block_diag([Diagonal(np.array([1j, 2.0])), AsComplex((2,))]),
        block_diag([narrow, AsComplex((4,))]),
    ):
        report = check_operator(operator)
        report.raise_if_failed()
    assert block_diag([Identity((3,)), Imag((3,))]).facts.cogram_scale is None
    with pytest.raises(UnsupportedError, match="real arrays only"):
        block_diag([Diagonal(rng.random(2) + 1), Imag((2,))]).pinv()
