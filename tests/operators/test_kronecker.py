"""Kronecker products."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.leaves import Parameter
from opalg.operators import (
    FFT,
    RFFT,
    Batched,
    Convolve,
    CumulativeSum,
    Diagonal,
    FiniteDifference,
    Flip,
    FunctionOperator,
    Gradient,
    Identity,
    Imag,
    Matrix,
    Roll,
    Zero,
)
from opalg.operators.kronecker import Kronecker, commute, kron
from opalg.program.interpreter import number
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient, real_matrix


@pytest.fixture
def a(rng):
    return Matrix(rng.standard_normal((3, 2)))


@pytest.fixture
def b(rng):
    return Matrix(rng.standard_normal((2, 4)))


def rule_members(rng):
    """Operators on which the rules of this module fire."""
    return [kron(made, Identity((3,))) for made in stencils()]


def stencils():
    """Operators along axes, with their matrices along the first."""
    difference = FiniteDifference((4,), 0, "backward", "dirichlet")
    return [difference, difference.H, CumulativeSum((4,)), Flip((4, 2), 0), Roll((4,), 1)]


def test_stencils_are_applied_along_their_axes_in_place(rng):
    for made in stencils():
        product = kron(made, Identity((3,)))
        simple = product.simplify()
        assert not isinstance(simple, Kronecker)
        assert np.array_equal(real_matrix(simple, "real"), np.kron(real_matrix(made, "real"), np.eye(3)))


def test_members_keep_what_they_promise(rng):
    for member in Kronecker.examples(rng):
        for made in (member, member.H, member.simplify()):
            check_operator(made).raise_if_failed()


def test_it_is_the_kronecker_product_of_the_matrices(a, b, rng):
    c = Matrix(rng.standard_normal((2, 2)) + 1j * rng.standard_normal((2, 2)))
    made = kron(a, c, b)
    assert (made.in_shape, made.out_shape) == ((2, 2, 4), (3, 2, 2))
    assert np.allclose(made.to_dense(), np.kron(a.to_dense(), np.kron(c.to_dense(), b.to_dense())))
    assert np.allclose(made.H.to_dense(), made.to_dense().conj().T)


def test_factors_may_change_the_number_of_axes(rng):
    gradient, x = Gradient((3,)), rng.standard_normal((5, 3, 2))
    found = kron(gradient, Identity((2,))) @ x
    wanted = np.stack([gradient @ x[..., j] for j in range(2)], axis=-1)
    assert found.shape == (5, 1, 3, 2) and np.allclose(found, wanted)


def test_constructor_folds(a, b):
    eye = Identity((2,))
    assert kron(a) is a
    assert kron(eye, b) is Batched(b, (2,))
    assert kron(eye, Identity((3,))) is Identity((2, 3))
    assert kron(kron(a, b), a) is kron(a, b, a)
    assert kron(a, Batched(b, (3,))) is kron(a, Identity((3,)), b)
    assert kron(2.0 * a, 3.0 * b) is 6.0 * kron(a, b)
    assert kron(a, Zero((2,))) is Zero((2, 2), (3, 2))


def test_facts_follow_from_the_factors(rng):
    fft, d = FFT((3,)), Diagonal(np.array([1.0, 2.0]))
    made = kron(fft, d)
    assert made.norm_bound().certainty == "exact" and float(made.norm_bound()) == pytest.approx(2.0)
    assert kron(fft, FFT((2,))).facts.unitary is YES
    square = kron(Diagonal(np.array([2.0, 3.0])), d)
    assert square.facts.diagonal is YES and square.facts.positive is YES
    assert number(square.facts.lowest) == 2.0
    signed = kron(Diagonal(np.array([-2.0, 3.0])), d)
    assert signed.facts.self_adjoint is YES and signed.facts.positive is UNKNOWN
    assert signed.facts.lowest is None or number(signed.facts.lowest) <= -4.0


def test_inverse_and_pseudo_inverse(rng):
    made = kron(FFT((3,), norm="backward"), Diagonal(rng.random(2) + 1.0))
    assert np.allclose(made.inverse().to_dense() @ made.to_dense(), np.eye(6))
    with pytest.raises(UnsupportedError, match="no cheap inverse"):
        kron(Matrix(np.eye(2)), Diagonal(rng.random(2))).inverse()
    masked = kron(Diagonal(np.array([0.0, 2.0])), Diagonal(np.array([1.0, 4.0])))
    assert np.allclose(masked.pinv().to_dense(), np.linalg.pinv(masked.to_dense()))


def test_mixed_products(a, b, rng):
    c, d = Matrix(rng.standard_normal((2, 3))), Matrix(rng.standard_normal((4, 2)))
    assert (kron(a, b) @ kron(c, d)).simplify() is kron(a @ c, b @ d)
    assert kron(a, b).gram.simplify() is kron(a.gram, b.gram)
    assert (kron(a, b) @ Batched(d, (2,))).simplify() is kron(a, b @ d)
    assert (kron(a, Identity((2, 3))) @ kron(c, Identity((2,)), Identity((3,)))).simplify() is kron(
        a @ c, Identity((2, 3))
    )
    split = kron(a, Identity((2, 4))) @ Batched(kron(a.H.H.H, d), (2,))
    assert split.in_shape == (2, 3, 2) and split.simplify() is kron(a, a.H, d)
    assert (kron(FFT((3,)), a).gram).simplify() is Batched(a.gram, (3,))


def test_sums_that_differ_in_one_factor(a, b, rng):
    c = Matrix(rng.standard_normal((2, 4)))
    assert (kron(a, b) + kron(a, c)).simplify() is kron(a, b + c)
    assert (kron(a, b) + kron(a, b)).simplify() is 2.0 * kron(a, b)


def test_gradient_in_a_factor(b, rng):
    m = Parameter(rng.standard_normal((2, 3)) * (1 + 1j), name="m")
    check_parameter_gradient(kron(Matrix(m), b), m, rng)
    check_parameter_gradient(kron(b, Matrix(m)).H, m, rng)


def test_factors_that_do_not_commute_are_kept_in_order(rng):
    conj = FunctionOperator(np.conj, np.conj, in_shape=(2,), batched=True, name="conj")
    z = Matrix(rng.standard_normal((2, 2)) * (1 + 2j))
    assert not commute([conj, z]) and commute([z, z]) and commute([Matrix(np.eye(2)), RFFT((4,))])
    for made in (Kronecker((conj, z)), Kronecker((z, conj))):
        assert np.allclose(real_matrix(made.H, "complex"), real_matrix(made, "complex").T)
        assert not isinstance(made.H, Kronecker)
        with pytest.raises(UnsupportedError, match="commute"):
            made.inverse()
        square = made @ made
        assert square.simplify() is square


def test_real_transforms(a, rng):
    made = kron(a, RFFT((4,)))
    assert made.in_kind == "real" and made.out_kind("real") == "complex"
    assert np.allclose(real_matrix(made.H, "complex"), real_matrix(made, "real").T)
    with pytest.raises(DtypeError, match="takes real arrays"):
        kron(RFFT((4,)), RFFT((4,)))


def test_it_costs_one_pass_per_factor(rng):
    from opalg.nodes import walk
    from opalg.program.expression import Apply, Input
    from opalg.program.rotation import Rotated

    made = kron(Convolve(rng.standard_normal(2), (4,)), Convolve(rng.standard_normal(3), (4,)), Diagonal(rng.random(4)))
    nodes = list(walk(made.trace(Input("x", (4, 4, 4)))))
    assert sum(isinstance(n, Apply) and isinstance(n.operator, Rotated) for n in nodes) == 3
    alone = kron(Identity((4,)), Convolve(rng.standard_normal(2), (4,))).trace(Input("x", (4, 4)))
    assert not any(isinstance(n, Rotated) for n in walk(alone))


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match="at least one"):
        kron()


def test_the_adjoint_takes_the_real_part_where_a_factor_gives_real_arrays(rng):
    product = kron(Matrix(rng.standard_normal((4, 2)) + 1j * rng.standard_normal((4, 2))), Imag((1, 4)))
    assert np.allclose(real_matrix(product.H, "complex"), real_matrix(product, "complex").T)
    assert kron(FFT((2,)), Imag((3,))).facts.cogram_scale is None
