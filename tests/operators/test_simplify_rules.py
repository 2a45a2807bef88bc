"""Rules that hold for every operator."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.facts import UNKNOWN, YES
from opalg.leaves import Parameter
from opalg.operators import (
    FFT,
    RFFT,
    Added,
    Adjoint,
    Composed,
    Diagonal,
    Gradient,
    Identity,
    Matrix,
    Scaled,
    Wavelet,
    Zero,
    hstack,
    vstack,
)
from opalg.operators import simplify_rules as rules
from opalg.program.interpreter import number
from tests.operators.dense import real_matrix


@pytest.fixture
def a(rng):
    return Matrix(rng.standard_normal((3, 4)))


@pytest.fixture
def b(rng):
    return Matrix(rng.standard_normal((4, 3)))


def test_adjoint_of_product(a, b):
    assert rules.adjoint_of_product(Adjoint(Composed(a, b))) is b.H @ a.H
    assert (a @ b).H.simplify() is b.H @ a.H
    assert rules.adjoint_of_product(Adjoint(a)) is None


def test_adjoint_of_sum_and_multiple(a, b):
    assert (a + b.H).H.simplify() is a.H + b
    weight = Parameter(2.0, name="w")
    assert (weight * a).H.simplify() is weight * a.H
    assert rules.adjoint_of_multiple(Adjoint(Scaled(1j * weight, a))) is None


def test_adjoint_of_known(rng):
    d = Diagonal(rng.standard_normal(3) * 1j)
    assert Adjoint(d).simplify() is d.H
    s = Diagonal(rng.standard_normal(3))
    assert Adjoint(s).simplify() is s


def test_isometries_cancel_everywhere(rng):
    w, d = Wavelet((8,), "haar", 1), Gradient((8,))
    assert (w.H @ w).simplify() is Identity((8,))
    assert (d @ w.H @ w).simplify() is d
    assert (w @ w.H @ w @ d.H).simplify() is w @ d.H
    assert (FFT((8,), norm="backward").H @ FFT((8,), norm="backward")).simplify() is 8.0 * Identity((8,))
    assert rules.cancel_isometry(Composed(d.H, d)) is None
    assert rules.cancel_isometry(Composed(w.H, Wavelet((8,), "haar", 2))) is None


def test_real_transform_is_no_isometry():
    made = RFFT((5,)).gram
    assert made.simplify() is made


def test_gram_of_a_stack_is_a_sum_of_grams(a, rng):
    c = Matrix(rng.standard_normal((2, 4)))
    assert vstack([a, c]).gram.simplify() is a.gram + c.gram
    tail = Matrix(rng.standard_normal((4, 2)))
    chained = (vstack([a, c]).H @ vstack([a, c]) @ tail).simplify()
    assert chained is (a.gram + c.gram) @ tail
    crossed = hstack([a.H, c.H]) @ vstack([c, a])
    assert crossed.simplify() is crossed  # heights differ


def test_products_sums_and_multiples_are_normalised(a, b):
    assert Composed(Scaled(Parameter(2.0, name="w"), a), b).simplify().operator is a @ b
    assert Composed(Composed(a, b), a).simplify() is a @ b @ a
    assert Added((a, Zero((4,), (3,)))).simplify() is a
    assert Added((Added((a, b.H)), a)).simplify() is a + b.H + a
    assert isinstance(rules.normalise_multiple(Scaled(Parameter(2.0), Scaled(Parameter(3.0), a))).operator, type(a))


def test_facts_survive_pushing_adjoints_down(a, b):
    gram = (a @ b).gram
    for made in (gram, gram.simplify()):
        assert made.facts.positive is YES and made.facts.self_adjoint is YES
        assert number(made.facts.lowest) == 0.0
        bound = float(made.norm_bound())
        assert bound >= np.linalg.norm(real_matrix(made, "real"), 2)
    middle = Matrix(np.diag([1.0, -1.0, 2.0]))
    assert (a.H @ middle @ a).facts.positive is UNKNOWN


def test_weighted_gram_is_positive_with_its_middle(a, rng):
    weights = Diagonal(rng.random(3))
    made = a.H @ weights @ a
    assert made.facts.positive is YES
    signed = a.H @ Diagonal(np.array([1.0, -1.0, 0.5])) @ a
    assert signed.facts.self_adjoint is YES and signed.facts.positive is UNKNOWN
    assert signed.facts.lowest is None


def test_lowest_of_sums_and_multiples(a):
    made = a.gram + 0.5 * Identity((4,))
    assert number(made.facts.lowest) == 0.5
    shifted = 3.0 * Identity((4,)) + (-0.1) * a.gram
    lowest = np.linalg.eigvalsh(real_matrix(shifted, "real"))[0]
    assert number(shifted.facts.lowest) <= lowest
    weight = Parameter(-2.0, name="w")
    assert (weight * a.gram).facts.lowest is None


def test_complex_multiples_of_real_maps_keep_their_adjoint(rng):
    made = (1 + 2j) * RFFT((4,))
    assert made.in_kind == "real"
    assert np.allclose(real_matrix(made.H, "complex"), real_matrix(made, "real").T)
    assert np.allclose(real_matrix(made.inverse(), "complex") @ real_matrix(made, "real"), np.eye(4))
