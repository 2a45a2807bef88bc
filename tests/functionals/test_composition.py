from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Exactness
from opalg.functionals.composition import Composition, behind_operator
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.sum_squares import SumSquares
from opalg.operators import LinearOperator
from opalg.program.interpreter import number

RNG = np.random.default_rng(0)
OPERATORS = [
    oa.DCT((6,)),
    -1.5 * oa.Permutation(np.array([3, 1, 5, 0, 2, 4])),
    oa.Restrict(np.array([True, False, True, True, False, True])),
    2.0 * oa.StructuredRandom((6,), 3),
    oa.Diagonal(np.array([2.0, -1.0, 0.5, 3.0, -0.1, 1.0])),
    oa.Mask(np.array([True, False, True, True, False, True])),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=repr)
@pytest.mark.parametrize("inner", [Norm1(), Huber(0.5), Indicator(Box(-0.3, 0.4))], ids=repr)
def test_prox_meets_its_optimality_condition(inner: Norm1, operator: LinearOperator) -> None:
    """``(v - p) / t = A.T s`` where ``f(A p + b) + f*(s) = <A p + b, s>``."""
    rng, dense = np.random.default_rng(1), operator.to_dense()
    b = dense @ (0.2 * rng.standard_normal(6))
    f = Composition(inner, operator, b)
    v, t = 2 * rng.standard_normal(6), 0.7
    p = f.prox(v, t)
    s, *_ = np.linalg.lstsq(dense.T, (v - p) / t, rcond=None)
    at = dense @ p + b
    assert np.allclose(dense.T @ s, (v - p) / t, atol=1e-12)
    gap = inner.value(at) + inner.conjugate.value(inner.conjugate.prox(s, 0.0)) - at @ s
    assert gap == pytest.approx(0.0, abs=1e-10)
    assert np.allclose(inner.conjugate.prox(s, 0.0), s, atol=1e-10)


def test_a_zero_on_the_diagonal_leaves_the_entry_alone() -> None:
    d = oa.Parameter(np.array([2.0, 0.0]), name="d")
    for diagonal in (d, np.array([2.0, 0.0])):
        found = Composition(Norm1(), oa.Diagonal(diagonal), 1.0).prox(np.array([3.0, 3.0]), 0.5)
        assert found.tolist() == [2.0, 3.0]


def test_quadratics_behind_operators_solve_the_normal_equations() -> None:
    rng = np.random.default_rng(2)
    blur = oa.Convolve(rng.uniform(size=(3, 3)), (4, 5), boundary="periodic")
    b, v, t = rng.standard_normal((4, 5)), rng.standard_normal((4, 5)), 0.8
    w = rng.uniform(0.5, 1.0)
    A = blur.to_dense()
    f = Composition(SumSquares(w), blur, b)
    expected = np.linalg.solve(np.eye(20) + 2 * t * w * A.T @ A, v.ravel() - 2 * t * w * A.T @ b.ravel())
    assert np.allclose(f.prox(v, t).ravel(), expected, atol=1e-12)
    assert f.exactness is Exactness.CHANGE_OF_BASIS
    steps = np.array([0.2, 3.0])
    both = f.prox(np.stack([v, v]), steps)
    assert all(np.allclose(both[i], f.prox(v, float(s)), atol=1e-12) for i, s in enumerate(steps))
    assert f.facts.smoothness is not None
    assert f.facts.smoothness.value == pytest.approx(2 * w * np.linalg.norm(A, 2) ** 2)
    hessian = f.define_hessian_operator((4, 5), "real")
    assert hessian is not None and np.allclose(hessian.to_dense(), 2 * w * A.T @ A)


def test_the_norm_behind_orthogonal_columns() -> None:
    tall = 2.0 * oa.StructuredRandom((6,), 3).H
    v = RNG.standard_normal(3)
    assert np.allclose(Composition(Norm2(), tall).prox(v, 0.3), Norm2().prox(v, 0.6), atol=1e-14)
    assert np.allclose(Composition(3.0 * Norm2(), tall).prox(v, 0.1), Norm2().prox(v, 0.6), atol=1e-14)
    assert not Composition(Norm2(), tall, np.ones(6)).offers("prox") and not Composition(Norm1(), tall).offers("prox")


def test_complex_arrays_behind_a_unitary_transform() -> None:
    rng = np.random.default_rng(3)
    f = Composition(Norm1(), oa.FFT((8,)), 0.5)
    v = rng.standard_normal(8) + 1j * rng.standard_normal(8)
    found = np.fft.fft(f.prox(v, 0.4), norm="ortho") + 0.5
    start = np.fft.fft(v, norm="ortho") + 0.5
    assert np.allclose(found, start * np.maximum(1 - 0.4 / abs(start), 0), atol=1e-12)
    with pytest.raises(DtypeError, match="complex arrays"):
        f.prox(v.real, 0.4)


def test_steps_for_each_sample_reach_arrays_of_other_axes() -> None:
    rows = oa.Restrict(np.array([[True, False, True], [True, True, False]]))
    v = RNG.standard_normal((4, 2, 3))
    steps = np.array([0.1, 0.5, 0.0, 2.0])
    for inner in (Norm1(), Norm2()):
        f = Composition(inner, rows)
        both = f.prox(v, steps)
        assert all(np.allclose(both[i], f.prox(v[i], float(s)), atol=1e-14) for i, s in enumerate(steps))


def test_conjugate_lives_on_the_range_of_the_adjoint() -> None:
    rows = 2.0 * oa.StructuredRandom((6,), 3)
    f = Composition(SumSquares(), rows, np.array([1.0, 2.0, 3.0]))
    s = RNG.standard_normal(3)
    assert f.conjugate.value(rows.H @ s) == pytest.approx(s @ s / 4 - s @ np.array([1.0, 2.0, 3.0]))
    assert f.conjugate.value(np.ones(6)) == np.inf
    assert not f.offers("dual_gauge") and Composition(Norm1(), oa.DCT((6,))).offers("dual_gauge")
    blurred = Composition(Norm1(), oa.Convolve(np.ones(3) / 3, (6,), boundary="periodic"))
    with pytest.raises(UnsupportedError, match="cheap right inverse"):
        blurred.conjugate.value(np.ones(6))
    assert not blurred.offers("conjugate_value") and "right inverse" in blurred.why_not("conjugate_value")


def test_no_prox_where_none_is_known() -> None:
    f = Composition(Norm1(), oa.FiniteDifference((6,), 0))
    assert not f.offers("prox") and f.exactness is None
    with pytest.raises(UnsupportedError, match=r"A @ A\.H = c I"):
        f.prox(np.ones(6), 1.0)
    assert f.value(np.arange(6.0)) == 5.0


def test_facts() -> None:
    c = Composition(Norm1(), oa.DCT((6,))).facts
    assert c.convex is YES and c.smooth is NO and c.separable is UNKNOWN and c.homogeneity == 1.0
    d = Composition(Huber(1.0), oa.Diagonal(np.array([2.0, 3.0])), 1.0).facts
    assert d.separable is YES and d.homogeneity is None and d.phase_invariant is UNKNOWN
    s = Composition(SumSquares(), oa.Diagonal(np.array([2.0, 3.0]))).facts
    assert s.smoothness is not None and s.smoothness.value == 18.0
    assert s.strong_convexity is not None and number(s.strong_convexity) == pytest.approx(8.0)


def test_simplest_forms_and_refusals() -> None:
    assert behind_operator(Norm1(), oa.Identity((3,))) is Norm1()
    twice = (Norm1() @ oa.DCT((4,))) @ oa.Diagonal(np.arange(1.0, 5.0))
    assert isinstance(twice, Composition) and isinstance(twice.functional, Norm1)
    v = RNG.standard_normal(4)
    assert twice.value(v) == pytest.approx(np.sum(abs(oa.DCT((4,)).to_dense() @ (np.arange(1.0, 5.0) * v))))
    with pytest.raises(ShapeError, match=r"oa\.Matrix"):
        Norm1() @ np.ones((3, 3))
    with pytest.raises(DtypeError, match="linear operator"):
        Composition(Norm1(), np.ones((3, 3)))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="trailing axes"):
        twice.value(np.ones(5))
    assert Composition(Norm1(), oa.DCT((4,)), oa.Parameter(1.0, name="b")).text("x - y") == (
        "norm1(DCT((4,)) @ (x - y) + b)"
    )


def test_signs_before_a_transform_keep_its_rows_orthogonal() -> None:
    signs, v = np.array([1.0, -1.0, -1.0, 1.0]), np.array([1.0, -2.0, 0.5, 3.0])
    f = Norm1() @ (oa.DCT((4,)) @ oa.Diagonal(signs))
    basis = (oa.DCT((4,)) @ oa.Diagonal(signs)).to_dense()
    c = basis @ v
    assert np.allclose(f.prox(v, 0.4), basis.T @ (np.sign(c) * np.maximum(abs(c) - 0.4, 0)), atol=1e-14)
    assert not (Norm1() @ (oa.DCT((4,)) @ oa.Diagonal(signs * [1, 1, 1, 2]))).offers("prox")
