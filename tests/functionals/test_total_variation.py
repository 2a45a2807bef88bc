"""Every form of total variation against its definition in NumPy, and solutions against cvxpy."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.facts import YES
from opalg.functionals import Huber, Norm1, Norm21
from opalg.functionals.group_huber import HuberNorm21
from opalg.functionals.total_variation import total_variation

rng = np.random.default_rng(0)
PICTURE = rng.standard_normal((3, 5, 6))  # three colours


def gradient(v: np.ndarray, axes: tuple[int, ...], boundary: str) -> np.ndarray:
    parts = []
    for axis in axes:
        step = np.roll(v, -1, axis) - v
        last = [slice(None)] * v.ndim
        last[axis] = slice(-1, None)
        if boundary == "neumann":
            step[tuple(last)] = 0.0
        elif boundary == "dirichlet":
            step[tuple(last)] = -v[tuple(last)]
        parts.append(step)
    return np.stack(parts)


def h(s: np.ndarray, delta: float | None) -> float:
    return float(np.sum(s if delta is None else np.where(s <= delta, s**2 / 2, delta * (s - delta / 2))))


@pytest.mark.parametrize("delta", [None, 0.7])
@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
@pytest.mark.parametrize(("axes", "channels"), [(None, None), ((1, 2), None), (None, 0), ((1, 2), -3), (-1, 0)])
def test_value_by_definition(axes, channels, boundary: str, isotropic: bool, delta: float | None) -> None:
    x = oa.Variable((3, 5, 6), name="x")
    term = total_variation(x, isotropic, boundary, axes, channels, delta)
    along = (axes,) if isinstance(axes, int) else axes or ((0, 1, 2) if channels is None else (1, 2))
    d = gradient(PICTURE, along, boundary)
    inside = tuple(([0] if isotropic else []) + ([] if channels is None else [1]))
    norms = np.sqrt(np.sum(d**2, axis=inside)) if inside else np.abs(d)
    assert term.value(PICTURE) == pytest.approx(h(norms, delta), rel=1e-12)
    assert (term.functional.facts.smooth is YES) == (delta is not None)


def test_each_form_is_one_functional_of_the_gradient() -> None:
    x = oa.Variable((3, 5, 6), name="x")
    assert total_variation(x).functional is Norm21()
    assert total_variation(x, isotropic=False).functional is Norm1()
    assert total_variation(x, channels=0).functional is Norm21((0, -3))
    assert total_variation(x, delta=0.1).functional is HuberNorm21(0.1)
    assert total_variation(x, isotropic=False, delta=0.1).functional is Huber(0.1)
    assert repr(total_variation(x)) == "norm21(Gradient((3, 5, 6), boundary='neumann') @ x)"


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_colours_share_their_edges_as_cvxpy_says(library: str) -> None:
    lib = backend(library)
    y = rng.standard_normal((2, 4, 3)) + np.array([0.0, 2.0, 2.0])
    x = oa.Variable((2, 4, 3), name="x")
    plan = oa.compile(0.5 * oa.sum_squares(x - y) + 0.4 * total_variation(x, channels=0), backend=library)
    found = lib.to_numpy(plan.solve(tol=1e-6).x)
    D = oa.Gradient((2, 4, 3), axes=(1, 2)).to_dense()
    u = cvxpy.Variable(24)
    pixels = cvxpy.reshape(D @ u, (4, 12), order="C")  # differences and colours, by pixels
    cost = 0.5 * cvxpy.sum_squares(u - y.ravel()) + 0.4 * cvxpy.sum(cvxpy.norm(pixels, axis=0))
    cvxpy.Problem(cvxpy.Minimize(cost)).solve(solver=cvxpy.CLARABEL)
    assert np.allclose(found.ravel(), u.value, atol=2e-4)


def test_the_smoothed_form_has_the_solution_of_cvxpy_and_a_gradient_in_delta() -> None:
    y = rng.standard_normal((4, 5))
    x, delta = oa.Variable((4, 5), name="x"), oa.Parameter(0.3, name="delta", positive=True)
    plan = oa.compile(0.5 * oa.sum_squares(x - y) + 2.0 * total_variation(x, delta=delta))
    sol = plan.solve(tol=1e-10)
    D = oa.Gradient((4, 5)).to_dense()
    u = cvxpy.Variable(20)
    norms = cvxpy.norm(cvxpy.reshape(D @ u, (2, 20), order="C"), axis=0)
    cost = 0.5 * cvxpy.sum_squares(u - y.ravel()) + cvxpy.sum(cvxpy.huber(norms, 0.3))
    cvxpy.Problem(cvxpy.Minimize(cost)).solve(solver=cvxpy.CLARABEL)
    assert np.allclose(sol.x.ravel(), u.value, atol=1e-4)
    c = np.cos(y)
    ends = [float(np.sum(c * plan.solve(params={delta: 0.3 + e}, tol=1e-12).x)) for e in (1e-5, -1e-5)]
    assert float(sol.vjp(c, [delta])[delta]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    x = oa.Variable((3, 5, 6), name="x")
    with pytest.raises(oa.ShapeError, match="axis of the colours, between -3 and 2"):
        total_variation(x, channels=3)
    with pytest.raises(oa.ShapeError, match="among the axes"):
        total_variation(x, axes=(0, 1), channels=-3)
    with pytest.raises(oa.ShapeError, match="axis of the colours"):
        total_variation(x, channels=True)
    with pytest.raises(oa.NotAffineError, match=r"total_variation\(...\) takes .*total_variation\(oa.Variable"):
        total_variation(PICTURE)
    with pytest.raises(oa.ParameterError, match="positive"):
        total_variation(x, delta=-1.0)
