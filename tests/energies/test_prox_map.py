"""Proximal steps inside maps: those of whole terms."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, ShapeError, UnsupportedError


def test_the_prox_of_a_term_is_that_of_a_small_linear_system(rng: np.random.Generator) -> None:
    x, A = oa.Variable((2, 6), name="x"), rng.standard_normal((4, 6))
    y, z = oa.Parameter(rng.standard_normal((2, 4)), name="y"), rng.standard_normal((2, 6))
    step = oa.prox(1.5 * oa.sum_squares(oa.Matrix(A) @ x - y), x, 0.7)
    moved = oa.fixed_point(x, step).step((z,))[0]
    wanted = np.linalg.solve(np.eye(6) + 2.1 * A.T @ A, (z + 2.1 * y.value @ A).T).T
    assert np.allclose(moved, wanted, atol=1e-10)
    assert "prox of 1.5 * sum_squares" in repr(step)


def test_an_indicator_is_projected_on_whatever_the_step(rng: np.random.Generator) -> None:
    x, A = oa.Variable((4, 4), name="x"), oa.StructuredRandom((4, 4), rows=8)
    y, z = rng.standard_normal(8), rng.standard_normal((4, 4))
    for step in (0.1, 10.0):
        moved = oa.fixed_point(x, oa.prox(oa.indicator(A @ x == y), x, step)).step((z,))[0]
        assert np.allclose(moved, z + A.H @ (y - A @ z), atol=1e-12)


def test_gradients_flow_into_the_data_and_the_step(rng: np.random.Generator) -> None:
    x, A = oa.Variable((4, 4), name="x"), oa.StructuredRandom((4, 4), rows=8)
    y, w = oa.Parameter(rng.standard_normal(8), name="y"), oa.Parameter(0.8, name="w", positive=True)
    data = 0.5 * w * oa.sum_squares(A @ x - y)
    update = oa.prox(data, x - 0.5 * oa.grad(oa.log_cosh(x, 0.3) + 0.1 * oa.sum_squares(x)), 0.5)
    c = rng.standard_normal((4, 4))
    found = oa.fixed_point(x, update).solve(tol=1e-13).vjp(c, [y, w])
    energy = data + oa.log_cosh(x, 0.3) + 0.1 * oa.sum_squares(x)
    wanted = oa.compile(energy).solve(tol=1e-12).vjp(c, [y, w])
    assert np.allclose(found[y], wanted[y], atol=1e-7) and np.isclose(found[w], wanted[w], rtol=1e-6)


def test_terms_without_a_prox_and_of_other_shapes_are_refused(rng: np.random.Generator) -> None:
    x, z = oa.Variable((6, 6), name="x"), oa.Variable((6, 6), name="z")
    other = oa.Variable((5,), name="other")
    with pytest.raises(UnsupportedError, match=r"no prox of .* in x is known.*x - step \* oa.grad"):
        oa.prox(oa.sum_squares(oa.Radon((6, 6), np.linspace(0, 3, 4)) @ x), x)
    with pytest.raises(ParameterError, match="a term of one variable"):
        oa.prox(oa.sum_squares(x + z), x)
    with pytest.raises(ShapeError, match=r"such as x, of shape \(6, 6\) and real, but the map gives \(5,\)"):
        oa.prox(oa.sum_squares(x), other)
    with pytest.raises(ShapeError, match="is one number"):
        oa.prox(oa.sum_squares(x), x, np.ones(3))
