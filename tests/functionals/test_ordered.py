"""The ordered l1 norm against cvxpy, subsets by brute force, differences, and the norms that it contains."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations

import cvxpy
import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError
from opalg.functionals import Norm1
from opalg.functionals.ordered import OrderedNorm1, ordered_norm1
from opalg.leaves import Parameter
from opalg.nodes import substitute
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate, number
from tests.functionals.members import inner

W = np.array([2.0, 1.5, 0.7, 0.7, 0.2, 0.0])
ENDED = np.array([3.0, 1.0, 0.0, 0.0, 0.0, 0.0])


def some(shape: tuple[int, ...], kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(shape)
    return v + 1j * rng.standard_normal(shape) if kind == "complex" else v


def by_definition(v: np.ndarray, w: np.ndarray) -> float:
    """The largest of all orders, which is the sorted one."""
    return max(float(np.dot(w, np.abs(v)[list(p)])) for p in permutations(range(v.size)))


def prox_by_partitions(v: np.ndarray, w: np.ndarray, t: float) -> np.ndarray:
    """The best of all ways to cut the sorted magnitudes into blocks of equal results: brute force, no regression."""
    a = np.abs(v)
    order = np.argsort(-a)
    z, n, best, found = a[order], v.size, np.inf, None
    for size in range(n):
        for cuts in combinations(range(1, n), size):
            ends = [0, *cuts, n]
            x = np.concatenate([np.full(j - i, max(0.0, np.mean(z[i:j] - t * w[i:j]))) for i, j in pairwise(ends)])
            cost = t * np.dot(w, np.sort(x)[::-1]) + 0.5 * np.sum((x - z) ** 2)
            if cost < best:
                best, found = cost, x
    assert found is not None
    out = np.empty(n)
    out[order] = found
    return out * np.where(a > 0, v / np.where(a > 0, a, 1), 0)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("weights", [W, ENDED, np.full(6, 0.4), np.zeros(6)], ids=str)
def test_value_and_prox_by_brute_force(weights: np.ndarray, kind: str) -> None:
    f = OrderedNorm1(weights)
    for seed in range(3):
        v = some((6,), kind, seed)
        assert f.value(v) == pytest.approx(by_definition(v, weights), rel=1e-13)
        for t in (0.0, 0.1, 0.8, 5.0):
            expected = prox_by_partitions(v, weights, t)
            assert np.allclose(f.prox(v, t), expected, atol=1e-10)
            single = f.prox(v.astype(np.complex64 if kind == "complex" else np.float32), t)
            assert np.allclose(single, expected, atol=1e-5)


def test_prox_against_cvxpy() -> None:
    rng, n, t = np.random.default_rng(1), 40, 0.6
    v, w = rng.standard_normal(n), np.sort(rng.uniform(0, 2, n))[::-1].copy()
    u = cvxpy.Variable(n)
    falls = np.append(w[:-1] - w[1:], w[-1])
    norm = sum(falls[k] * cvxpy.sum_largest(cvxpy.abs(u), k + 1) for k in range(n))
    cvxpy.Problem(cvxpy.Minimize(norm + cvxpy.sum_squares(u - v) / (2 * t))).solve(
        solver=cvxpy.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-13
    )
    assert np.allclose(OrderedNorm1(w).prox(v, t), u.value, atol=1e-6)


def test_the_norms_that_it_contains() -> None:
    v = some((6,), "complex", 2)
    assert np.allclose(OrderedNorm1(np.full(6, 0.4)).prox(v, 0.5), Norm1(0.4).prox(v, 0.5), atol=1e-14)
    assert OrderedNorm1(np.eye(6)[0]).value(v) == pytest.approx(np.abs(v).max())
    assert OrderedNorm1(2.0).value(np.array([-3.0])) == 6.0


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_dual_ball(kind: str) -> None:
    f, q = OrderedNorm1(W), 3 * some((6,), kind, 3)
    x = Input("q", (6,), kind)
    gauge = float(evaluate([f.define_dual_gauge(x)], {x: q}, backend())[0])
    size = np.abs(q)
    expected = max(sum(size[list(chosen)]) / W[:k].sum() for k in range(1, 7) for chosen in combinations(range(6), k))
    assert gauge == pytest.approx(expected, rel=1e-13)
    p = f.conjugate.prox(q, 1.0)
    assert f.conjugate.value(p) == 0.0 and np.isinf(f.conjugate.value(q)) and np.allclose(p, q - f.prox(q, 1.0))
    assert f.conjugate.value(q / gauge * (1 - 1e-12)) == 0.0


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_derivatives_in_everything(kind: str, library: str) -> None:
    lib, w = backend(library), Parameter(W, name="w")
    v, d, u = (some((2, 6), kind, 10 + i) for i in range(3))
    x, t, moved, weight = Input("x", (2, 6), kind), Input("t", ()), Input("d", (2, 6), kind), Input("u", (2, 6), kind)
    out = OrderedNorm1(w).define_prox(x, t)
    rate, slope = Input("e", ()), Input("s", (6,))
    dw = np.linspace(1.0, -1.0, 6)
    forward = [jvp([out], {x: moved})[0], jvp([out], {t: rate})[0], jvp([out], {w: slope})[0]]
    backward = vjp([out], [weight], [x, t, w])
    values = {x: v, t: np.asarray(0.7), moved: d, weight: u, rate: np.asarray(1.0), slope: dw, w: W}
    bound = {key: lib.asarray(value) for key, value in values.items()}
    found = [lib.to_numpy(a) for a in evaluate([*forward, *backward], bound, lib)]

    def at(v: np.ndarray, t: float, w: np.ndarray) -> np.ndarray:
        return np.stack([OrderedNorm1(w).prox(row, t) for row in v])

    h = 1e-6
    spread = np.array([2.0, 1.5, 0.7 + 1e-3, 0.7 - 1e-3, 0.2, 2e-6])
    assert np.all(np.diff(spread) < 0)
    changes = [
        at(v + h * d, 0.7, W) - at(v - h * d, 0.7, W),
        at(v, 0.7 + h, W) - at(v, 0.7 - h, W),
        at(v, 0.7, spread + h * dw) - at(v, 0.7, spread - h * dw),
    ]
    for moved_by, change in zip(found[:2], changes[:2], strict=True):
        assert np.allclose(moved_by, change / (2 * h), atol=1e-7)
    for derivative, back, direction in zip(found[:3], found[3:], (d, np.asarray(1.0), dw), strict=True):
        assert inner(back, direction) == pytest.approx(inner(u, derivative), rel=1e-10, abs=1e-12)
    (in_weights,) = evaluate([forward[2]], {**values, w: spread}, backend())
    assert np.allclose(in_weights, changes[2] / (2 * h), atol=1e-7)


def test_equal_entries_under_equal_weights_move_by_themselves() -> None:
    x, d = Input("x", (3,)), Input("d", (3,))
    moved = jvp([OrderedNorm1(np.full(3, 0.5)).define_prox(x, Input("t", ()))], {x: d})[0]
    values = {x: np.array([2.0, 2.0, -2.0]), d: np.array([1.0, 2.0, 3.0]), Input("t", ()): np.asarray(1.0)}
    assert np.array_equal(evaluate([moved], values, backend())[0], [1.0, 2.0, 3.0])


def test_second_derivatives_vanish_almost_everywhere() -> None:
    x, d, t = Input("x", (6,)), Input("d", (6,)), Input("t", ())
    first = jvp([OrderedNorm1(W).define_prox(x, t)], {x: d})[0]
    second = jvp([first], {x: d})[0]
    values = {x: some((6,), "real", 5), d: some((6,), "real", 6), t: np.asarray(0.4)}
    assert second is None or not evaluate([second], values, backend())[0].any()


def test_samples_and_steps() -> None:
    v, t = some((3, 2, 3), "real", 7), np.array([0.0, 0.5, 1.0])
    f = OrderedNorm1(W)
    assert f.value(v) == pytest.approx(sum(f.value(row) for row in v))
    assert np.array_equal(f.prox(v, t), np.stack([f.prox(a, s) for a, s in zip(v, t, strict=True)]))
    with pytest.raises(ShapeError, match="one step for each sample"):
        f.prox(v[0], np.ones(2))
    assert f.prox(np.zeros((0, 6)), 0.5).shape == (0, 6)


@pytest.mark.parametrize("scale", [1e20, 1e-30])
def test_extreme_units_in_single_precision(scale: float) -> None:
    v = some((6,), "complex", 8)
    found = OrderedNorm1(W).prox((scale * v).astype(np.complex64), 0.5 * scale) / scale
    assert np.allclose(found, OrderedNorm1(W).prox(v, 0.5), atol=1e-5)


def test_nan_is_handed_on() -> None:
    assert np.isnan(OrderedNorm1(W).prox(np.full(6, np.nan), 1.0)).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ParameterError, match="must not rise"):
        OrderedNorm1([1.0, 2.0])
    with pytest.raises(ParameterError, match="nonnegative"):
        OrderedNorm1([1.0, -0.1])
    with pytest.raises(ShapeError, match="one axis"):
        OrderedNorm1(np.ones((2, 2)))
    with pytest.raises(ShapeError, match="give it 6 weights"):
        OrderedNorm1(np.ones(4)).value(np.ones((2, 3)))
    with pytest.raises(oa.DtypeError, match="real"):
        OrderedNorm1(np.ones(3, complex))


def test_weights_that_change_have_conditions() -> None:
    w = Parameter(W, name="w")
    (low, _, _), (falls, strict, sentence) = OrderedNorm1(w).define_conditions()
    assert not strict and "rise" in sentence and number(low) == 0.0 and number(falls) == 0.0
    assert number(substitute(falls, {w: Parameter(W[::-1].copy())})) < 0
    assert OrderedNorm1(W).define_conditions() == []
    x = oa.Variable(6, name="x")
    assert repr(ordered_norm1(x, w)) == "ordered_norm1(x, w)"
    plan = oa.compile(oa.sum_squares(x - np.ones(6)) + ordered_norm1(x, w))
    with pytest.raises((ParameterError), match="rise"):
        plan.solve(params={w: W[::-1].copy()})


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_regression_with_slope_and_its_gradient_in_the_weights(library: str) -> None:
    rng, lib = np.random.default_rng(9), backend(library)
    A, y = rng.standard_normal((12, 6)), rng.standard_normal(12)
    w = Parameter(np.array([3.0, 2.5, 2.0, 1.5, 1.0, 0.5]), name="w")
    x = oa.Variable(6, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + ordered_norm1(x, w), backend=library)
    sol = plan.solve(tol=1e-12)
    u = cvxpy.Variable(6)
    norm = sum(0.5 * cvxpy.sum_largest(cvxpy.abs(u), k + 1) for k in range(6))
    # weights 3, 2.5, ..., 0.5 fall by a half, so their norm is half the sum of the sums of the k largest
    cvxpy.Problem(cvxpy.Minimize(0.5 * cvxpy.sum_squares(A @ u - y) + norm)).solve(solver=cvxpy.CLARABEL)
    assert np.allclose(lib.to_numpy(sol.x), u.value, atol=1e-4)
    c = rng.standard_normal(6)
    gradient = lib.to_numpy(sol.vjp(lib.asarray(c), [w])[w])
    for k in range(6):
        ends = []
        for h in (1e-4, -1e-4):
            moved = w.value.copy()
            moved[k] += h
            ends.append(float(c @ lib.to_numpy(plan.solve(params={w: moved}, tol=1e-13).x)))
        assert gradient[k] == pytest.approx((ends[0] - ends[1]) / 2e-4, abs=1e-4)
