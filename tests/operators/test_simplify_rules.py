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
    AsComplex,
    Composed,
    Conjugated,
    Convolve,
    Diagonal,
    DiagonalIn,
    FiniteDifference,
    FunctionOperator,
    Gradient,
    Hessian,
    Identity,
    Laplacian,
    LinearOperator,
    Matrix,
    Real,
    Scaled,
    Wavelet,
    Zero,
    hstack,
    vstack,
)
from opalg.operators import simplify_rules as rules
from opalg.operators.linearity import complex_linear, is_real
from opalg.program.expression import Input, Literal, Pointwise, Product
from opalg.program.interpreter import number
from opalg.testing.rules import check_rule
from tests.operators import rule_members
from tests.operators.dense import real_matrix
from tests.operators.rewritten import rewritten


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
    assert rules.adjoint_of_multiple(Adjoint(Scaled(Literal(2j), a))) is Scaled(Literal((2j).conjugate()), a.H)
    assert rules.adjoint_of_multiple(Adjoint(Scaled(Literal(2j), RFFT((4,))))) is None  # linear over the reals only


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
    assert Added((Added((a, b.H)), 2.0 * b.H)).simplify() is a + 3.0 * b.H
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
    for weight in (Parameter(-2.0, name="w"), Parameter(2.0, name="w", nonneg=True)):
        made = weight * a.gram
        assert number(made.facts.lowest) <= np.linalg.eigvalsh(real_matrix(made, "real"))[0] + 1e-12
        assert made.facts.positive is (YES if weight.nonneg else UNKNOWN)
    assert (Parameter(-2.0) * Matrix(np.eye(2))).facts.lowest is None  # not known to be self-adjoint


def test_complex_multiples_of_real_maps_keep_their_adjoint(rng):
    made = (1 + 2j) * RFFT((4,))
    assert made.in_kind == "real"
    assert np.allclose(real_matrix(made.H, "complex"), real_matrix(made, "real").T)
    assert np.allclose(real_matrix(made.inverse(), "complex") @ real_matrix(made, "real"), np.eye(4))


@pytest.mark.parametrize("step", rule_members.steps(), ids=lambda step: step.rule.name)
def test_every_rule_keeps_the_operator(step):
    check_rule(step.rule, step.before).raise_if_failed()


def test_every_module_gives_its_members():
    rule_members.steps()
    assert not rule_members.BROKEN


def test_every_rule_fires_on_a_member():
    fired = {step.rule.name for step in rule_members.steps()}
    silent = [r.name for r in rule_members.operator_rules() if r.name not in fired]
    assert not silent, f"no member lets {silent} fire; give its test module a function rule_members(rng)"


def test_like_terms_are_counted(a):
    weight = Parameter(0.5, name="w")
    assert (a + a).simplify() is 2.0 * a
    assert (a + weight * a - a).simplify().operator is a
    assert (a - a).simplify() is Zero((4,), (3,))
    made = (a.gram + weight * a.gram).simplify()
    assert made.operator is a.gram
    assert np.allclose(real_matrix(made, "real"), 1.5 * real_matrix(a.gram, "real"))


def applications(operator: LinearOperator, of: LinearOperator) -> int:
    """How often an operator is applied in one application of another."""
    if operator is of:
        return 1
    return sum(applications(part, of) for part in operator.children if isinstance(part, LinearOperator))


def test_a_common_factor_is_applied_once(a, b, rng):
    c, d = Matrix(rng.standard_normal((4, 3))), Diagonal(rng.random(3))
    for made, factor in ((a @ b + 2.0 * (a @ c), a), (b @ a + c @ a, a), (a.H @ d @ a + a.gram, a)):
        simple = made.simplify()
        assert applications(made, factor) > applications(simple, factor)
        assert np.allclose(real_matrix(made, "real"), real_matrix(simple, "real"))
    square = a @ b
    assert applications((square @ square + square).simplify(), a) < 3


def test_factors_are_left_where_facts_would_be_lost(rng):
    m = Matrix(rng.standard_normal((3, 3)))
    s = m.gram
    assert (s @ s + s).facts.self_adjoint is YES
    assert (s @ s + s).simplify().facts.self_adjoint is YES
    d = Diagonal(rng.random(3))
    framed = 2.0 * (d @ m @ m.H @ d)
    assert framed.simplify().facts.positive is YES


def test_sums_of_weighted_grams_stay_positive(a, rng):
    d, e = Diagonal(rng.random(3)), Diagonal(rng.random(3))
    made = (a.H @ d @ a + 2.0 * (a.H @ e @ a)).simplify()
    assert made.facts.positive is YES and number(made.facts.lowest) == 0.0
    assert applications(made, a) == 2


def test_grams_that_a_transform_diagonalises_are_not_factored(rng):
    k, w = Convolve(rng.standard_normal(3), (8,)), Convolve(rng.standard_normal(2), (8,))
    assert isinstance((k.gram + 0.3 * (k.H @ w)).simplify(), DiagonalIn)


def test_scalars_go_into_data(a, b, rng):
    d, lam = Diagonal(rng.random(4)), Parameter(0.5, name="w", nonneg=True)
    made = (lam * (a @ d @ b)).simplify()
    assert isinstance(made, Composed) and isinstance(made.inner.outer, Diagonal)
    assert np.allclose(real_matrix(made, "real"), 0.5 * real_matrix(a @ d @ b, "real"))
    assert isinstance((2.0 * (a @ b)).simplify(), Scaled)  # dense data would be copied


def test_scalars_are_multiplied_on_the_smaller_side(rng):
    tall = Matrix(rng.standard_normal((5, 2)))
    x, y = Input("x", (2,)), Input("y", (5,))
    assert isinstance((3.0 * tall).trace(x), Product) and isinstance((3.0 * tall.H).trace(y), Pointwise)
    assert isinstance((3.0 * tall).trace_adjoint(y), Pointwise)
    assert np.allclose((3.0 * tall) @ np.ones(2), 3.0 * (tall @ np.ones(2)))


def test_conjugates_are_pushed_to_the_factors(a, rng):
    z = Matrix(rng.standard_normal((4, 4)) * (1 + 2j))
    assert Conjugated(a).simplify() is a
    made = ((1 - 2j) * (a @ z)).conj().simplify()
    assert np.allclose(real_matrix(made, "complex"), real_matrix(((1 - 2j) * (a @ z)).conj(), "complex"))
    assert not any(isinstance(o, Conjugated) for o in (made.operator, made.operator.outer))
    assert z.conj().conj() is z
    assert Conjugated(z.H).simplify() is z.conj().H.simplify()
    user = FunctionOperator(lambda x: x * (1 + 1j), lambda y: y * (1 - 1j), in_shape=(2,))
    assert Conjugated(user).simplify() is Conjugated(user)  # nobody knows whether it is real


def test_powers_of_what_is_its_own_inverse(rng):
    w = Wavelet((8,), "db2", 1)
    projection = w.H @ Diagonal(np.array([1.0, 0] * 4)) @ w
    assert np.allclose(real_matrix((projection**3).simplify(), "real"), real_matrix(projection, "real"))
    assert applications((projection**3).simplify(), w) <= 2
    assert ((w**2).H @ (w**2)).simplify() is Identity((8,))


def test_what_is_linear_over_the_complex_numbers(a, rng):
    z = Matrix(rng.standard_normal((3, 3)) * 1j)
    yes = [a, z, FFT((4,)), Convolve(rng.standard_normal(2), (4,)), Gradient((3,)), vstack([z, z]), z @ z.conj()]
    assert all(map(complex_linear, yes))
    user = FunctionOperator(np.conj, np.conj, in_shape=(3,))
    assert not any(map(complex_linear, [RFFT((4,)), RFFT((4,)).H, user, AsComplex((3,))]))
    assert is_real(a) and not any(map(is_real, [z, user, RFFT((4,))]))


def test_facts_of_products_with_isometries_are_exact(rng):
    w, d = Wavelet((8,), "haar", 1), Diagonal(rng.random(8) + 1.0)
    made = w.H @ d @ w
    assert number(made.facts.lowest) == pytest.approx(np.linalg.eigvalsh(real_matrix(made, "real"))[0])
    assert number((3.0 * w).gram.facts.lowest) == 9.0


def test_the_norm_of_a_shifted_positive_operator_is_exact(rng):
    d = Diagonal(rng.random(3))
    m = Matrix(rng.standard_normal((2, 3)))
    made = m.H @ d.__class__(np.ones(2)) @ m + 0.5 * Identity((3,))
    assert made.norm_bound().certainty == "upper"
    rank_one = Matrix(np.ones((1, 3)))
    shifted = Identity((3,)) + d
    assert shifted.norm_bound().certainty == "exact"
    assert float(shifted.norm_bound()) == pytest.approx(np.linalg.norm(real_matrix(shifted, "real"), 2))
    assert (Identity((3,)) + rank_one.gram).norm_bound().certainty == "upper"
    assert ((-1.0) * Identity((3,)) + d).norm_bound().certainty == "upper"


def test_real_and_complex_summands_share_a_real_argument(rng):
    total = Added((AsComplex((3,)), Diagonal(rng.standard_normal(3) * (1 + 1j))))
    assert total.in_kind == "real"
    assert np.allclose(real_matrix(total.H, "complex"), real_matrix(total, "real").T)


def test_grams_of_sums_stay_positive(rng):
    difference = FiniteDifference((4, 3), 0, "backward", "periodic") - FiniteDifference((4, 3), 0, boundary="dirichlet")
    scaled = (2 - 1j) * Diagonal(rng.standard_normal((4, 3))) + Diagonal(rng.standard_normal((4, 3))) @ FFT((4, 3))
    for gram in (difference.gram, scaled.gram):
        simple = rewritten(gram)
        assert gram.facts.positive is YES and simple.facts.positive is YES and simple.facts.self_adjoint is YES


def test_real_parts_are_taken_where_they_were(rng):
    matrix, lifted = Matrix(rng.standard_normal((4, 4))), (Diagonal(rng.standard_normal(4)) @ Real((4,))).H
    for operator in (
        (Matrix(rng.standard_normal((3, 5))) - RFFT((5,))).H,
        vstack([matrix, lifted]).H @ vstack([matrix, Convolve(rng.standard_normal(2), (4,))]),
    ):
        rewritten(operator)
        assert operator.simplify().out_kind("complex") == operator.out_kind("complex") == "real"


def test_real_operators_work_on_real_arrays(rng):
    real = Diagonal(rng.standard_normal((4, 3))) @ Convolve(rng.standard_normal((2, 2)), (4, 3))
    simple = rewritten(AsComplex((4, 3)).H @ (real @ AsComplex((4, 3))), "real_operators_before_complex_ones")
    assert simple is real.simplify()
    z = Diagonal(rng.standard_normal(3) + 1j * rng.standard_normal(3))
    assert rewritten((z @ AsComplex((3,))).gram).facts.diagonal is YES


def test_complex_numbers_and_their_conjugates_make_real_ones():
    z = Parameter(np.array(1 - 2j), name="z")
    for operator in ((0.6 - 0.1j) * Laplacian((4,), boundary="dirichlet"), z * Hessian((2, 1, 2))):
        assert rewritten(operator.gram).facts.positive is YES
