"""Infimal convolutions: against convex programming, closed forms and envelopes."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

from opalg import Variable, minimize, sum_squares
from opalg.arrays import backend
from opalg.errors import DtypeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.calculus import Functional
from opalg.functionals.distance import Distance, SquaredDistance
from opalg.functionals.envelope import MoreauEnvelope
from opalg.functionals.exactness import Exactness
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.infimal import InfimalConvolution, infimal_convolution
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.points import Point
from opalg.functionals.sum_squares import SumSquares
from opalg.leaves import Parameter
from opalg.program.differentiate import gradient
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate


def some(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, 4))


def by_cvxpy(parts: tuple[str, str], v: np.ndarray, t: float | None) -> tuple[float, np.ndarray]:
    """The least value over w (and over u, where t is a step), and the minimiser u."""
    forms = {
        "norm1": lambda e: 0.35 * cvxpy.sum(cvxpy.abs(e)),
        "norm2": lambda e: cvxpy.norm(cvxpy.vec(e, order="C")),
        "rows": lambda e: cvxpy.sum(cvxpy.norm(e, axis=1)),
        "huber": lambda e: 0.5 * cvxpy.sum(cvxpy.huber(e, 0.4)),
    }
    w, u = cvxpy.Variable(v.shape), cvxpy.Variable(v.shape)
    fixed = [u == v] if t is None else []
    square = 0.0 if t is None else cvxpy.sum_squares(u - v) / (2 * t)
    problem = cvxpy.Problem(cvxpy.Minimize(forms[parts[0]](w) + forms[parts[1]](u - w) + square), fixed)
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    return problem.value, u.value


OURS: dict[str, Functional] = {"norm1": Norm1(0.35), "norm2": Norm2(), "rows": Norm21(axis=1), "huber": Huber(0.4)}
PAIRS = pytest.mark.parametrize("parts", [("norm1", "norm2"), ("norm2", "rows"), ("rows", "huber"), ("norm1", "huber")])


@PAIRS
def test_value_and_prox_against_convex_programming(parts: tuple[str, str]) -> None:
    f, v = InfimalConvolution(OURS[parts[0]], OURS[parts[1]]), some()
    assert f.value(v) == pytest.approx(by_cvxpy(parts, v, None)[0], rel=1e-8)
    for t in (0.2, 1.5):
        assert np.allclose(f.prox(v, t), by_cvxpy(parts, v, t)[1], atol=1e-5)
        u = f.prox(v, t)
        value = f.value(u) + float(np.sum((u - v) ** 2)) / (2 * t)
        assert value == pytest.approx(by_cvxpy(parts, v, t)[0], rel=1e-8)


@PAIRS
def test_order_does_not_matter(parts: tuple[str, str]) -> None:
    v, (f, g) = some(1), (OURS[p] for p in parts)
    assert InfimalConvolution(f, g).value(v) == pytest.approx(InfimalConvolution(g, f).value(v), rel=1e-12)
    assert np.allclose(InfimalConvolution(f, g).prox(v, 0.5), InfimalConvolution(g, f).prox(v, 0.5), atol=1e-11)


def test_iterating_finds_the_envelope() -> None:
    v = some(2)
    for g in (Norm1(), Norm2(), Norm21()):
        f, closed = InfimalConvolution(g, SumSquares()), MoreauEnvelope(g, 0.5)
        assert f.value(v) == pytest.approx(closed.value(v), rel=1e-12)
        assert np.allclose(f.gradient(v), closed.gradient(v), atol=1e-12)
        assert np.allclose(f.hessian_vector(v, some(3)), closed.hessian_vector(v, some(3)), atol=1e-10)
        assert np.allclose(f.prox(v, 0.7), closed.prox(v, 0.7), atol=1e-12)


def test_one_dimension_by_hand() -> None:
    """``|.| [] indicator of [-0.2, 0.3]`` is the distance to the interval."""
    f = InfimalConvolution(Norm1(0.7), Indicator(Box(-0.2, 0.3)))
    v = np.array([-1.2, 0.1, 0.3 - 1e-9, 0.3 + 1e-9, 5.0])
    assert f.value(v) == pytest.approx(0.7 * (1.0 + 4.7 + 1e-9), rel=1e-13)
    assert np.allclose(f.prox(v, 1.0), [-0.5, 0.1, 0.3, 0.3, 4.3], atol=2e-9)
    assert np.array_equal(f.prox(v, 0.0), v)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_single_precision_at_strange_sizes(kind: str) -> None:
    v = some(4) + (1j * some(5) if kind == "complex" else 0.0)
    f, lib = InfimalConvolution(Norm1(0.35), Norm2()), backend("numpy", "float32")
    for size in (1e20, 1.0, 1e-30):
        x = lib.asarray(size * v)
        assert f.value(x) / size == pytest.approx(f.value(v), rel=1e-5)
        assert np.allclose(f.prox(x, 0.5 * size) / size, f.prox(v, 0.5), atol=1e-4)


def test_a_step_for_each_sample() -> None:
    f, v, steps = InfimalConvolution(Norm1(0.35), Norm2()), some(6), np.array([0.0, 0.5, 3.0])
    expected = np.stack([f.prox(a, t) for a, t in zip(v, steps, strict=True)])
    assert np.allclose(f.prox(v, steps), expected, atol=1e-11)


def test_conjugate_is_the_sum() -> None:
    f, q = InfimalConvolution(Huber(0.8), Norm2()), 0.2 * some(7)
    assert f.conjugate.value(q) == pytest.approx(0.5 * np.sum(q**2))
    assert np.isinf(f.conjugate.value(q + 1.0))
    both = InfimalConvolution(Norm1(0.35), Norm2())
    p = both.conjugate.prox(3.0 * some(8), 0.0)
    problem_variable = cvxpy.Variable((3, 4))
    vector = cvxpy.vec(problem_variable, order="C")
    constraints = [cvxpy.norm(vector) <= 1, cvxpy.abs(problem_variable) <= 0.35]
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(problem_variable - 3.0 * some(8))), constraints).solve()
    assert np.allclose(p, problem_variable.value, atol=1e-5)


def test_gradients_in_parameters() -> None:
    w, x, v = Parameter(0.35, name="w", nonneg=True), Input("x", (3, 4)), some(9)
    (slope,) = gradient(InfimalConvolution(Norm1(w), Norm2()).define_value(x), [w])
    (found,) = evaluate([slope], {x: v}, backend())
    h = 1e-6
    ends = [InfimalConvolution(Norm1(0.35 + s * h), Norm2()).value(v) for s in (1, -1)]
    assert found == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)
    assert abs(found) > 1e-2


def test_closed_forms_are_chosen() -> None:
    norm, inside = Norm1(), Indicator(nonneg)
    assert isinstance(infimal_convolution(norm, SumSquares(2.0)), MoreauEnvelope)
    assert isinstance(infimal_convolution(SumSquares(), Norm2()), MoreauEnvelope)
    assert isinstance(infimal_convolution(inside, Norm2()), Distance)
    assert isinstance(infimal_convolution(SumSquares(), inside), SquaredDistance)
    assert infimal_convolution(norm, Indicator(Point(0.0))) is norm
    moved = infimal_convolution(Indicator(Point(2.0)), norm)
    assert moved.value(np.array([1.0, 5.0])) == 4.0
    assert isinstance(infimal_convolution(norm, SumSquares(np.ones(4))), InfimalConvolution)
    v = some()
    assert infimal_convolution(norm, SumSquares(2.0)).value(v) == pytest.approx(
        InfimalConvolution(norm, SumSquares(2.0)).value(v), rel=1e-12
    )


def test_facts() -> None:
    facts = InfimalConvolution(Norm1(), Huber(0.4)).facts
    assert facts.convex is YES and facts.smooth is YES and facts.separable is YES
    assert facts.smoothness is not None and facts.smoothness.value == 1.0
    f = InfimalConvolution(Norm1(), Norm2())
    assert f.facts.smooth is UNKNOWN and f.facts.homogeneity == 1.0 and f.exactness is Exactness.ITERATIVE


def test_refusals() -> None:
    with pytest.raises(DtypeError, match="Indicator"):
        InfimalConvolution(Norm1(), nonneg)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="nonneg=True"):
        InfimalConvolution(Norm1(Parameter(1.0, name="w")), Norm2())
    with pytest.raises(UnsupportedError, match="finite everywhere"):
        InfimalConvolution(Indicator(nonneg), Indicator(Box(0.0, 1.0)))
    with pytest.raises(UnsupportedError, match="smooth"):
        InfimalConvolution(Norm1(), Norm2()).gradient(some())
    x = Variable((3, 4), name="x")
    term = InfimalConvolution(Norm1(), Norm2())(x)
    assert repr(term) == "infimal_convolution(Norm1(), Norm2())(x)" and "square" in term.latex()


def test_in_a_solve() -> None:
    x, y = Variable((3, 4), name="x"), some(10)
    f = infimal_convolution(Norm21(), Huber(0.4))
    found = minimize(sum_squares(x - y) + f(x), tol=1e-9).x
    assert np.allclose(found, f.prox(y, 0.5), atol=1e-5)


@pytest.mark.parametrize(
    ("f", "least"),
    [
        (InfimalConvolution(Norm1(0.7), Norm2()), np.zeros(4)),
        (InfimalConvolution(Norm1(), Indicator(Box(-0.2, 0.3))), np.array([0.3, -0.2, 0.1, 0.3])),
        (InfimalConvolution(Indicator(Box(-0.3, 0.1)), Huber(0.8)), np.array([0.1, -0.3, 0.1, 0.1])),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_huge_step_leads_to_the_nearest_minimiser(f: Functional, least: np.ndarray, dtype: type) -> None:
    v = np.array([2.0, -1.0, 0.1, 0.7], dtype=dtype)
    for t in (1e18, 1e30):
        assert np.allclose(f.prox(v, t), least, rtol=0, atol=20 * np.finfo(dtype).eps)


def test_nan_comes_out_of_what_holds_nan() -> None:
    f = InfimalConvolution(Norm1(0.7), Norm2())
    v = np.array([1.0, np.nan, 2.0])
    assert np.isnan(f.value(v)) and np.isnan(f.prox(v, 0.5)).all()
    pairs = np.stack([np.ones(3), v])
    assert np.allclose(f.prox(pairs, np.array([0.5, 0.5]))[0], f.prox(np.ones(3), 0.5))
