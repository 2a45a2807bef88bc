"""Group norms of any groups against cvxpy, brute force and each other."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import DtypeError, NotAffineError, ParameterError, ShapeError
from opalg.functionals import Norm1, Norm2, Norm21
from opalg.functionals.overlapping_groups import GroupNorm, group_norm
from tests.functionals.members import inner

rng = np.random.default_rng(0)
OVERLAPPING = [[0, 1, 2, 3], [3, 4], [4, 5, 0], [6]]
DISJOINT = [[5, 0], [3, 4, 1]]
WEIGHTS = np.array([1.0, 0.5, 2.0, 0.3])


def by_definition(v: np.ndarray, groups: list[list[int]], weights: np.ndarray) -> float:
    return float(sum(w * np.linalg.norm(v.ravel()[g]) for g, w in zip(groups, weights, strict=True)))


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_value_by_definition(kind: str) -> None:
    v = rng.standard_normal((2, 4)) + (1j * rng.standard_normal((2, 4)) if kind == "complex" else 0)
    x = oa.Variable((2, 4), name="x", dtype=v.dtype)
    assert group_norm(x, OVERLAPPING).value(v) == pytest.approx(by_definition(v, OVERLAPPING, np.ones(4)), rel=1e-13)
    found = group_norm(x - 1, OVERLAPPING, weights=WEIGHTS).value(v)
    assert found == pytest.approx(by_definition(v - 1, OVERLAPPING, WEIGHTS), rel=1e-13)
    assert group_norm(x, [[-1, 0]]).value(v) == pytest.approx(np.hypot(abs(v[0, 0]), abs(v[1, 3])), rel=1e-13)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("sizes", [[1, 3, 2], [2, 2, 2], [6], [1] * 6], ids=str)
def test_prox_group_by_group(sizes: list[int], kind: str) -> None:
    v = rng.standard_normal((2, 6)) + (1j * rng.standard_normal((2, 6)) if kind == "complex" else 0)
    weights = rng.uniform(0.2, 2.0, len(sizes))
    weights[0] = 0.0
    f, ends = GroupNorm(sizes, weights), np.cumsum([0, *sizes])
    for t in (0.0, 0.4, 3.0):
        expected = np.empty_like(v)
        for w, a, b in zip(weights, ends, ends[1:], strict=False):
            for row in range(2):
                expected[row, a:b] = Norm2().prox(v[row, a:b].copy(), t * w)
        assert np.allclose(f.prox(v, t), expected, atol=1e-13)
        single = f.prox(v.astype(np.complex64 if kind == "complex" else np.float32), t)
        assert np.allclose(single, expected, atol=1e-5)
        lib = backend("torch")
        assert np.allclose(lib.to_numpy(f.prox(lib.asarray(v), t)), expected, atol=1e-13)
    steps = np.array([0.1, 0.9])
    assert np.allclose(f.prox(v, steps), np.stack([f.prox(r, s) for r, s in zip(v, steps, strict=True)]))


@pytest.mark.parametrize("scale", [1e20, 1e-30])
def test_extreme_units_in_single_precision(scale: float) -> None:
    v = rng.standard_normal(5)
    f = GroupNorm([2, 3])
    assert np.allclose(f.prox((scale * v).astype(np.float32), 0.5 * scale) / scale, f.prox(v, 0.5), atol=1e-5)
    assert f.value((scale * v).astype(np.float32)) / scale == pytest.approx(f.value(v), rel=1e-5)


def test_groups_of_one_and_rows_are_norms_known_by_other_names() -> None:
    v = rng.standard_normal((3, 4))
    x = oa.Variable((3, 4))
    rows = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert group_norm(x, rows).value(v) == pytest.approx(Norm21(axis=1).value(v), rel=1e-13)
    assert group_norm(x, [[i] for i in range(12)]).value(v) == pytest.approx(Norm1().value(v), rel=1e-13)
    assert np.allclose(GroupNorm([4, 4, 4]).prox(v.ravel(), 0.7), Norm21(axis=1).prox(v, 0.7).ravel(), atol=1e-14)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_regression_with_overlapping_groups(library: str) -> None:
    lib = backend(library)
    A, y = rng.standard_normal((10, 8)), rng.standard_normal(10)
    weights = oa.Parameter(WEIGHTS, name="weights", nonneg=True)
    x = oa.Variable(8, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + group_norm(x, OVERLAPPING, weights), backend=library)
    sol = plan.solve(tol=1e-10, max_iter=100_000)
    u = cvxpy.Variable(8)
    norms = sum(w * cvxpy.norm(u[g]) for g, w in zip(OVERLAPPING, WEIGHTS, strict=True))
    cvxpy.Problem(cvxpy.Minimize(0.5 * cvxpy.sum_squares(A @ u - y) + norms)).solve(solver=cvxpy.CLARABEL)
    assert np.allclose(lib.to_numpy(sol.x), u.value, atol=1e-4)
    c, d = rng.standard_normal(8), rng.uniform(0.5, 1.0, 4)
    found = lib.to_numpy(sol.vjp(lib.asarray(c), [weights])[weights])
    moved = [plan.solve(params={weights: WEIGHTS + h * d}, tol=1e-11, max_iter=100_000).x for h in (1e-3, -1e-3)]
    ends = [float(c @ lib.to_numpy(m)) for m in moved]
    assert inner(found, d) == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=1e-3, abs=1e-5)


def test_disjoint_groups_have_a_prox_of_their_own() -> None:
    A, y = rng.standard_normal((10, 6)), rng.standard_normal(10)
    x = oa.Variable(6, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + 0.7 * group_norm(x, DISJOINT))
    assert plan.method.name == "proximal_gradient"
    u = cvxpy.Variable(6)
    norms = sum(cvxpy.norm(u[g]) for g in DISJOINT)
    cvxpy.Problem(cvxpy.Minimize(0.5 * cvxpy.sum_squares(A @ u - y) + 0.7 * norms)).solve(solver=cvxpy.CLARABEL)
    assert np.allclose(plan.solve(tol=1e-10).x, u.value, atol=1e-5)


def test_a_batch_adds_up() -> None:
    x, v = oa.Variable((3, 8), name="x"), rng.standard_normal((3, 8))
    A = oa.Matrix(rng.standard_normal((7, 8)))
    wanted = sum(by_definition(row, OVERLAPPING, WEIGHTS) for row in A @ v)
    assert group_norm(A @ x, OVERLAPPING, WEIGHTS).value(v) == pytest.approx(wanted, rel=1e-13)


def test_what_does_not_fit_is_refused() -> None:
    x = oa.Variable(4, name="x")
    with pytest.raises(ShapeError, match="group 1 of group_norm was given the position 4"):
        group_norm(x, [[0], [4]])
    with pytest.raises(ParameterError, match="group 0 of group_norm must name each of its entries once"):
        group_norm(x, [[0, 0]])
    with pytest.raises(ParameterError, match="no groups"):
        group_norm(x, [])
    with pytest.raises(ShapeError, match="no positions"):
        group_norm(x, [[]])
    with pytest.raises(DtypeError, match="integers"):
        group_norm(x, [[0.5]])
    with pytest.raises(ShapeError, match="one weight for each group"):
        group_norm(x, [[0], [1]], weights=np.ones(3))
    with pytest.raises(NotAffineError, match=r"group_norm\(...\) takes"):
        group_norm(np.ones(4), [[0]])
    with pytest.raises(ParameterError, match="positive integers"):
        GroupNorm([1, 0])
    with pytest.raises(ShapeError, match="cuts 3 entries"):
        GroupNorm([1, 2]).value(np.ones(4))
    with pytest.raises(ShapeError, match="one step for each sample"):
        GroupNorm([1, 2]).prox(np.ones(3), np.ones(3))
