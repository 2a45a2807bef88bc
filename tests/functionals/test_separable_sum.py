"""Separable sums: block by block, against the functionals of the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from opalg import Variable, huber, minimize, norm1, norm2, sum_squares
from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.boxes import nonneg
from opalg.functionals.calculus import Functional
from opalg.functionals.exactness import Exactness
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.separable_sum import SeparableSum, separable_sum
from opalg.functionals.sum_squares import SumSquares
from opalg.leaves import Parameter
from opalg.operators import Matrix
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate

PARTS: list[Functional] = [Norm1(0.8), Norm2(), Huber(0.5)]


def some(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_one_functional_for_each_index(axis: int) -> None:
    v = some((3, 3, 3))
    f = SeparableSum(PARTS, axis=axis)
    parts = [np.take(v, k, axis) for k in range(3)]
    assert f.value(v) == pytest.approx(sum(g.value(p) for g, p in zip(PARTS, parts, strict=True)))
    expected = np.stack([g.prox(p, 0.4) for g, p in zip(PARTS, parts, strict=True)], axis=axis)
    assert np.allclose(f.prox(v, 0.4), expected, rtol=1e-14)
    projected = np.stack([g.conjugate.prox(3 * p, 0.0) for g, p in zip(PARTS, parts, strict=True)], axis=axis)
    assert np.allclose(f.conjugate.prox(3 * v, 0.0), projected, rtol=1e-14)


@pytest.mark.parametrize("axis", [0, -1])
def test_blocks_of_several_entries(axis: int) -> None:
    v, sizes = some((6, 6)), [1, 3, 2]
    f = SeparableSum(PARTS, axis=axis, sizes=sizes)
    parts = np.split(v, [1, 4], axis=axis)
    assert f.value(v) == pytest.approx(sum(g.value(p) for g, p in zip(PARTS, parts, strict=True)))
    for t in (0.0, 0.4, 3.0):
        expected = np.concatenate([g.prox(p, t) for g, p in zip(PARTS, parts, strict=True)], axis=axis)
        assert np.allclose(f.prox(v, t), expected, rtol=1e-14)


def test_against_brute_force() -> None:
    f, v, t = SeparableSum([Norm2(), SumSquares(), Norm1()], sizes=[2, 1, 1]), some((4,)), 0.6

    def objective(u: np.ndarray) -> float:
        return f.value(u) + float(np.sum((u - v) ** 2)) / (2 * t)

    found = scipy_minimize(objective, 0.5 * v, method="Powell", options={"xtol": 1e-10, "ftol": 1e-15})
    assert objective(f.prox(v, t)) <= found.fun + 1e-13
    assert np.allclose(f.prox(v, t), found.x, atol=1e-5)


@pytest.mark.parametrize("sizes", [None, [1, 2]])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_step_for_each_sample(sizes: list[int] | None, axis: int) -> None:
    """The axis counts the unknown's own axes: with steps for a batch it lies behind them."""
    n = 2 if sizes is None else 3
    v, steps = some((4, n, n)), np.array([0.0, 0.1, 0.6, 5.0])
    f = SeparableSum([Norm2(), Norm21(axis=0)] if sizes else [Norm2(), Norm1()], axis=axis, sizes=sizes)
    expected = np.stack([f.prox(a, t) for a, t in zip(v, steps, strict=True)])
    x, t = Input("v", v.shape), Input("t", (4, 1, 1))
    (found,) = evaluate([f.behind(1).define_prox(x, t)], {x: v, t: steps[:, None, None]}, backend())
    assert np.allclose(found, expected, rtol=1e-14)
    if axis < 0:
        assert np.allclose(f.prox(v, steps), expected, rtol=1e-14)


def test_gradient_hessian_and_constant_hessian() -> None:
    f = SeparableSum([SumSquares(2.0), Huber(0.5)], sizes=[2, 1])
    v, d = some((3, 4)), some((3, 4), 1)
    expected = np.concatenate([4.0 * v[:2], np.clip(v[2:], -0.5, 0.5)])
    assert np.allclose(f.gradient(v), expected)
    assert np.allclose(f.hessian_vector(v, d)[:2], 4.0 * d[:2])
    assert f.define_hessian_operator((3, 4), "real") is None
    squares = SeparableSum([SumSquares(2.0), SumSquares(np.array([[1.0, 3.0]]))], axis=1, sizes=[2, 2])
    operator = squares.define_hessian_operator((3, 4), "real")
    assert operator is not None and np.allclose(operator @ v, squares.gradient(v))


def test_conjugate_domain_and_gauge() -> None:
    f, q = SeparableSum([Norm1(0.5), Norm2(), SumSquares()]), some((3, 4))
    x = Input("q", (3, 4))
    (gauge,) = evaluate([f.define_dual_gauge(x)], {x: q}, backend())
    assert gauge == pytest.approx(max(np.max(np.abs(q[0])) / 0.5, np.linalg.norm(q[1])))
    assert np.isinf(f.conjugate.value(1.01 * q / gauge))
    assert f.conjugate.value(0.99 * q / gauge) == pytest.approx(0.25 * np.sum((0.99 * q[2] / gauge) ** 2))


def test_facts_are_those_that_all_share() -> None:
    facts = SeparableSum([SumSquares(), Huber(0.5)]).facts
    assert facts.smooth is YES and facts.quadratic is NO and facts.separable is YES
    assert facts.smoothness is not None and facts.smoothness.value == 2.0 and facts.homogeneity is None
    assert SeparableSum([Norm1(), Norm2()]).facts.homogeneity == 1.0
    assert SeparableSum([Norm1(), Norm2()]).facts.separable is UNKNOWN
    both = SeparableSum([Indicator(nonneg), Indicator(nonneg)])
    assert both.facts.indicator and both.exactness is Exactness.CLOSED_FORM
    mixed = SeparableSum([Indicator(nonneg), Norm1()])
    assert not mixed.facts.indicator and np.isinf(mixed.value(np.array([[-1.0], [1.0]])))
    assert np.array_equal(mixed.prox(np.array([[-1.0], [3.0]]), 1.0), [[0.0], [2.0]])


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_libraries_complex_arrays_and_single_precision(library: str) -> None:
    lib, v = backend(library, "float32"), some((3, 4)) + 1j * some((3, 4), 1)
    f = SeparableSum([Norm1(), Norm2(), SumSquares()])
    for size in (1e20, 1.0, 1e-30):
        found = lib.to_numpy(f.prox(lib.asarray(size * v), 0.5))[1] / size
        expected = Norm2().prox(size * v[1], 0.5) / size
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert f.value(lib.asarray(v)) == pytest.approx(f.value(v), rel=1e-5)


def test_gradients_flow_into_the_parameters() -> None:
    w = Parameter(0.3, name="w", nonneg=True)
    x, u, t = Input("x", (2, 3)), Input("u", (2, 3)), Input("t", ())
    v, weight = some((2, 3)), some((2, 3), 1)
    (back,) = vjp([SeparableSum([Norm1(w), SumSquares(w)]).define_prox(x, t)], [u], [w])
    assert back is not None
    (found,) = evaluate([back], {x: v, u: weight, t: np.asarray(0.7)}, backend())

    def prox(w: float) -> np.ndarray:
        return SeparableSum([Norm1(w), SumSquares(w)]).prox(v, 0.7)

    slope = np.sum(weight * (prox(0.3 + 1e-6) - prox(0.3 - 1e-6))) / 2e-6
    assert found == pytest.approx(slope, rel=1e-7)


def test_refusals() -> None:
    with pytest.raises(DtypeError, match="list of functionals"):
        SeparableSum(Norm1())
    with pytest.raises(DtypeError, match="Indicator"):
        SeparableSum([nonneg])
    with pytest.raises(ParameterError, match="at least one"):
        SeparableSum([])
    with pytest.raises(ParameterError, match="2 positive sizes"):
        SeparableSum([Norm1(), Norm2()], sizes=[3])
    with pytest.raises(ShapeError, match="2 entries along axis 0"):
        SeparableSum([Norm1(), Norm2()]).value(np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="integer"):
        SeparableSum([Norm1()], axis=0.5)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="Norm2"):
        SeparableSum([SumSquares(), Norm2()]).gradient(np.zeros((2, 2)))


def test_as_a_term() -> None:
    x, y = Variable((2, 3), name="x"), some((2, 3))
    term = separable_sum([Norm1(0.5), Norm2()], x)
    assert "separable_sum" in repr(term) and "+" in term.latex()
    found = minimize(sum_squares(x - y) + term, tol=1e-10).x
    assert np.allclose(found[0], Norm1(0.5).prox(y[0], 0.5), atol=1e-6)
    assert np.allclose(found[1], Norm2().prox(y[1], 0.5), atol=1e-6)


def test_two_variables_with_different_proxes() -> None:
    """A separable sum over variables is an energy with one rough term for each."""
    rng = np.random.default_rng(2)
    A, B, y = rng.standard_normal((8, 3)), rng.standard_normal((8, 2)), rng.standard_normal(8)
    u, w = Variable((3,), name="u"), Variable((2,), name="w")
    energy = sum_squares(Matrix(A) @ u + Matrix(B) @ w - y) + 0.7 * norm1(u) + 0.9 * norm2(w) + huber(w, 0.3)
    found = minimize(energy, tol=1e-9, method="proximal_gradient").x
    slope = 2 * (A @ found[u] + B @ found[w] - y)
    assert np.allclose(Norm1(0.7).prox(found[u] - A.T @ slope, 1.0), found[u], atol=1e-4)
    inner = found[w] - B.T @ slope - np.clip(found[w], -0.3, 0.3)
    assert np.allclose(Norm2().prox(inner, 0.9), found[w], atol=1e-4)
