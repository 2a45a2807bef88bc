"""The maximum norm: known values, its prox against bisection and quadratic programming, its conjugate."""

from __future__ import annotations

from typing import Any

import cvxpy
import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import ShapeError
from opalg.functionals.norm_inf import NormInf
from opalg.program.differentiate import jvp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate


def clipped(m: np.ndarray, t: float) -> np.ndarray:
    """The prox on magnitudes: clip at the theta that bisection finds."""
    low, high = 0.0, float(m.max())
    if m.sum() <= t:
        return np.zeros_like(m)
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.maximum(m - middle, 0).sum() > t else (low, middle)
    return np.minimum(m, low)


def expected(v: np.ndarray, t: float) -> np.ndarray:
    m = np.abs(v)
    return clipped(m, t) * np.where(m > 0, v / np.where(m > 0, m, 1), 0)


def test_values() -> None:
    v = np.array([[3.0, -4.0], [3 + 4j, 1.0]])
    assert NormInf().value(v) == 5.0
    assert NormInf(axis=0).value(v) == 9.0
    assert NormInf(axis=-1).value(v) == 9.0
    assert NormInf(axis=(0, 1)).value(v) == 5.0
    for f in (NormInf(), NormInf(axis=0), NormInf(axis=1)):
        assert f.value(np.zeros((0, 3))) == 0.0 and f.prox(np.zeros((0, 3)), 1.0).shape == (0, 3)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("t", [1e-3, 0.4, 3.0, 100.0])
def test_prox_against_bisection(t: float, kind: str) -> None:
    rng = np.random.default_rng(0)
    v = rng.standard_normal((4, 300)) + (1j * rng.standard_normal((4, 300)) if kind == "complex" else 0.0)
    assert np.allclose(NormInf().prox(v, t), expected(v, t), atol=1e-12)
    rows = np.stack([expected(row, t) for row in v])
    assert np.allclose(NormInf(axis=-1).prox(v, t), rows, atol=1e-12)
    steps = t * np.array([0.0, 0.5, 1.0, 2.0])
    each = np.stack([expected(row, s) if s else row for row, s in zip(v, steps, strict=True)])
    assert np.allclose(NormInf().prox(v, steps), each, atol=1e-12)
    assert np.allclose(NormInf(axis=0).prox(v, steps), each, atol=1e-12)


def test_prox_against_quadratic_programming() -> None:
    v = np.random.default_rng(1).standard_normal((3, 4))
    u = cvxpy.Variable((3, 4))
    value = cvxpy.sum(cvxpy.max(cvxpy.abs(u), axis=0))
    problem = cvxpy.Problem(cvxpy.Minimize(value + cvxpy.sum_squares(u - v) / 1.2))
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert np.allclose(NormInf(axis=0).prox(v, 0.6), u.value, atol=1e-6)


def test_conjugate_is_the_indicator_of_a_ball() -> None:
    f = NormInf(axis=0)
    assert f.conjugate.value(np.array([[0.5, 0.0], [-0.5, 1.0]])) == 0.0
    assert np.isinf(f.conjugate.value(np.array([[0.5, 0.0], [-0.6, 1.0]])))
    assert np.isinf(NormInf().conjugate.value(np.array([0.5, 0.6])))
    assert np.allclose(NormInf().conjugate.prox(np.array([2.0, -1.5, 0.3]), 0.7), [0.75, -0.25, 0.0])


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("scale", [1e-30, 1e20])
def test_single_precision_at_any_size(scale: float, dtype: Any) -> None:
    rng = np.random.default_rng(2)
    v = (scale * rng.standard_normal(50)).astype(dtype)
    if dtype is np.complex64:
        v *= np.exp(1j * rng.standard_normal(50)).astype(dtype)
    u = NormInf().prox(v, float(np.float32(scale)))
    assert np.max(np.abs(u / scale - expected(v.astype(complex) / scale, 1.0))) < 1e-5
    assert not NormInf().prox(v, 1e3 * scale).any()


def test_derivative_at_step_zero_is_the_identity() -> None:
    x, t, d = Input("x", (3,)), Input("t", ()), Input("d", (3,))
    (moved,) = jvp([NormInf().define_prox(x, t)], {x: d})
    assert moved is not None
    direction = np.array([1.0, -2.0, 0.5])
    (change,) = evaluate([moved], {x: np.array([3.0, 1.0, -2.0]), t: np.asarray(0.0), d: direction}, backend())
    assert np.allclose(change, direction)


def test_axes_and_text() -> None:
    with pytest.raises(ShapeError, match="integer"):
        NormInf(axis=1.5)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="axes"):
        NormInf(axis=1).value(np.ones(3))
    assert NormInf().text("x") == "norm_inf(x)" and NormInf(axis=0).text("x") == "norm_inf(x, axis=0)"
    assert r"\infty" in NormInf().latex("x") and repr(NormInf(axis=0)) == "NormInf(axis=0)"
    assert NormInf(axis=0).behind(1) is NormInf(axis=1) and NormInf().behind(2) is NormInf()
