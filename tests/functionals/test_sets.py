"""Sets: projections against their definition, membership, support functions, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.functionals import Box, Indicator, Set, affine, box, nonneg, point
from opalg.leaves import Constant, Parameter
from opalg.nodes import node, substitute
from opalg.operators.algebra import Identity, LinearOperator
from opalg.operators.knowledge import Facts
from opalg.operators.matrix import Matrix
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.interpreter import number
from opalg.program.linear import Window
from tests.functionals.members import SHAPE, inner, some


@node
class FirstRows(LinearOperator):
    """Twice the first rows of a (3, 4) array: ``A A.H = 4 I``."""

    rows: int
    in_shape = SHAPE

    @property
    def out_shape(self) -> tuple[int, int]:  # type: ignore[override]
        return (self.rows, 4)

    def trace(self, x: Expression) -> Expression:
        return 2.0 * ex.Apply(Window(SHAPE, (0, 0), self.out_shape), x)

    @property
    def facts(self) -> Facts:
        return Facts(cogram_scale=Literal(4.0))

    def __repr__(self) -> str:
        return f"FirstRows({self.rows})"


@node
class Opaque(LinearOperator):
    """An operator of which nothing is known."""

    in_shape = SHAPE
    out_shape = SHAPE

    def trace(self, x: Expression) -> Expression:
        return 2.0 * x

    def __repr__(self) -> str:
        return "Opaque()"


SETS = [
    nonneg,
    box(-0.5, 0.5),
    Box(None, 0.25),
    affine(FirstRows(2), np.ones((2, 4))),
    point(0.0),
    point(np.ones(SHAPE)),
]


@pytest.mark.parametrize("s", SETS, ids=repr)
def test_projection_is_the_nearest_point(s: Set) -> None:
    rng = np.random.default_rng(0)
    v = some(rng)
    p = s.project(v)
    assert s.contains(p) and np.allclose(s.project(p), p)
    for _ in range(20):
        other = s.project(some(rng))
        assert inner(v - p, other - p) <= 1e-12


@pytest.mark.parametrize("s", SETS, ids=repr)
def test_membership_is_the_violation(s: Set) -> None:
    v = some(np.random.default_rng(1), scale=5.0)
    assert not s.contains(v)
    assert np.isinf(Indicator(s).value(v)) and Indicator(s).value(s.project(v)) == 0.0


def test_box_by_hand() -> None:
    v = np.array([-2.0, 0.25, 3.0])
    assert np.array_equal(box(0.0, 1.0).project(v), [0.0, 0.25, 1.0])
    assert np.array_equal(nonneg.project(v), [0.0, 0.25, 3.0])
    assert np.array_equal(box([-3.0, 0.0, 0.0], [0.0, 0.1, 9.0]).project(v), [-2.0, 0.1, 3.0])
    assert repr(nonneg) == "nonneg" and Box(0, None) is nonneg


def test_support_of_a_box_is_attained_at_a_corner() -> None:
    q = some(np.random.default_rng(2))
    corners = np.where(q > 0, 2.0, -1.0)
    assert Indicator(box(-1.0, 2.0)).conjugate.value(q) == pytest.approx(inner(q, corners))


def test_support_of_a_cone() -> None:
    f = Indicator(nonneg).conjugate
    assert f.value(np.array([-1.0, 0.0])) == 0.0 and np.isinf(f.value(np.array([-1.0, 1.0])))
    assert not Indicator(nonneg).offers("dual_gauge") and Indicator(box(0, 1)).offers("dual_gauge")


def test_bounds_may_be_parameters() -> None:
    high = Parameter(np.array([1.0, 2.0]), name="high")
    assert np.array_equal(box(None, high).project(np.array([5.0, 1.0])), [1.0, 1.0])


def test_boxes_that_make_no_sense() -> None:
    with pytest.raises(ParameterError, match="empty"):
        box(1.0, [2.0, 0.0])
    with pytest.raises(ParameterError, match="lower or an upper"):
        box()
    with pytest.raises(DtypeError, match="real"):
        box(1j, None)
    with pytest.raises(DtypeError, match="complex"):
        nonneg.project(np.array([1j]))
    with pytest.raises(ShapeError, match="broadcast"):
        box(np.zeros(3), None).project(np.zeros(2))


def test_affine_projection_against_least_squares() -> None:
    rng = np.random.default_rng(3)
    A, b, v = FirstRows(2), rng.standard_normal((2, 4)), some(rng)
    M = A.to_dense()
    expected = v.ravel() - np.linalg.pinv(M) @ (M @ v.ravel() - b.ravel())
    assert np.allclose(affine(A, b).project(v).ravel(), expected)


def test_affine_support_is_finite_on_the_range_of_the_adjoint() -> None:
    rng = np.random.default_rng(4)
    A, b, y = FirstRows(2), rng.standard_normal((2, 4)), rng.standard_normal((2, 4))
    f = Indicator(affine(A, b))
    assert f.conjugate.value(A.H @ y) == pytest.approx(inner(y, b))
    assert np.isinf(f.conjugate.value(some(rng)))


def test_affine_batches_and_complex_arguments() -> None:
    rng = np.random.default_rng(5)
    s = affine(FirstRows(1), 1.0)
    v = np.stack([some(rng, "complex") for _ in range(3)])
    assert np.allclose(s.project(v), np.stack([s.project(a) for a in v]))
    assert s.contains(s.project(v))


def test_affine_sets_without_a_projection_say_what_to_write() -> None:
    with pytest.raises(UnsupportedError, match="A @ x == b"):
        affine(Opaque(), 0.0)
    with pytest.raises(UnsupportedError, match="A @ x == b"):
        affine(0.0 * Identity((3,)), 0.0)
    with pytest.raises(DtypeError, match="linear operator"):
        affine(np.eye(3), 0.0)  # type: ignore[arg-type]


def test_points() -> None:
    assert np.array_equal(point(2.0).project(np.zeros(2)), [2.0, 2.0])
    assert point(1.0).project(np.zeros(2, np.complex64)).dtype == np.complex64
    with pytest.raises(DtypeError, match="complex"):
        point(1j).project(np.zeros(2))


def test_indicator_facts_and_refusals() -> None:
    facts = Indicator(nonneg).facts
    assert facts.indicator and facts.convex is YES and facts.separable is YES
    with pytest.raises(DtypeError, match="set"):
        Indicator(3.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not an ability of sets"):
        nonneg.offers("magic")


def test_bounds_that_change_have_a_condition() -> None:
    low = Parameter(np.zeros(3), name="low")
    made = Box(low, 1.0)
    ((gap, strict, sentence),) = Indicator(made).define_conditions()
    assert not strict and "lower bound" in sentence
    assert number(gap) == 1.0
    assert number(substitute(gap, {low: Constant(np.array([0.0, 3.0, 1.0]))})) == -2.0
    assert made.define_conditions() == Indicator(made).conjugate.define_conditions()
    assert nonneg.define_conditions() == [] and Box(0.0, 1.0).define_conditions() == []
    assert Box(low, None).define_conditions() == [] and point(low).define_conditions() == []


def test_affine_sets_of_matrices_against_the_pseudo_inverse() -> None:
    rng = np.random.default_rng(20)
    plain, scales = rng.standard_normal((3, 6)), np.array([[1e-3], [1.0], [1e3]])
    rows = np.linalg.qr(rng.standard_normal((6, 3)))[0].T
    for A in (plain, rows, plain[:1], plain + 1j * plain[::-1], scales * plain):
        b, v = A @ np.ones(6), rng.standard_normal((2, 6)).astype(A.dtype)
        S, back = affine(Matrix(A), b), np.linalg.pinv(A)
        expected = v - (v @ A.T - b) @ back.T
        assert np.allclose(S.project(v), expected, atol=1e-10) and S.contains(S.project(v)) and not S.contains(v)
        f = Indicator(S).conjugate
        assert f.value(A.conj().T @ np.ones(len(A))) == pytest.approx(np.sum(b).real, rel=1e-10)
        assert f.value(v) == np.inf


def test_affine_sets_of_matrices_whose_rows_depend_on_each_other() -> None:
    rng = np.random.default_rng(21)
    two = rng.standard_normal((2, 5))
    A = np.vstack([two, two.sum(axis=0), np.zeros(5)])
    S, v = affine(Matrix(A), A @ np.ones(5)), rng.standard_normal(5)
    assert np.allclose(S.project(v), v - np.linalg.pinv(A) @ (A @ (v - 1)), atol=1e-13) and S.contains(np.ones(5))
    with pytest.raises(ParameterError, match="empty"):
        affine(Matrix(A), np.array([1.0, 0.0, 0.0, 0.0]))
    b = Parameter(A @ np.ones(5), name="b")
    (margin, _, _), *_ = affine(Matrix(A), b).define_conditions()
    assert number(margin) >= 0
    assert np.array_equal(affine(Matrix(np.zeros((2, 5))), 0.0).project(v), v)


def test_affine_sets_with_a_parameter_on_the_right() -> None:
    A = np.random.default_rng(22).standard_normal((2, 5))
    S = affine(Matrix(A), Parameter(np.array([1.0, -2.0]), name="b"))
    assert np.allclose(A @ S.project(np.ones(5)), [1.0, -2.0], atol=1e-13)


def test_affine_sets_of_large_or_learned_matrices_are_refused() -> None:
    for A in (Parameter(np.eye(2), name="A"), np.ones((1001, 1001))):
        with pytest.raises(UnsupportedError, match="A @ x == b instead"):
            affine(Matrix(A), 0.0)


def test_affine_sets_of_complex_operators_take_complex_arrays() -> None:
    with pytest.raises(DtypeError, match="convert it"):
        affine(Matrix(np.array([[1.0, 1.0j]])), 0.0).project(np.ones(2))
