"""Products with the derivative of a map at a point: what follows from the point alone is computed once."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.general import General
from opalg.implicit.programs import Programs
from opalg.implicit.system import map_equation


def jacobian(rng, point):
    """The derivative of ``u - 0.1 A^T relu(A u)`` at a point."""
    A, u = rng.normal(size=(5, 4)), oa.Variable(4, name="u")
    plan = oa.fixed_point(u, u - 0.1 * oa.grad(oa.pointwise(oa.activation("relu"), oa.Matrix(A) @ u)))
    equation, _ = map_equation(plan.lowering)
    programs = Programs(plan.backend, plan.bind().bound, {}, {})
    slope = 0.1 * A.T @ ((A @ point > 0)[:, None] * A)
    return General(equation, programs, [point]), slope, programs


def test_products_are_those_of_the_dense_matrix(rng):
    found, slope, _ = jacobian(rng, rng.normal(size=4))
    for v in rng.normal(size=(3, 4)):
        np.testing.assert_allclose(found.transposed(v), slope.T @ v, atol=1e-12)


def test_points_are_not_mixed_up(rng):
    first, second = rng.normal(size=(2, 4))
    at_first, slope, programs = jacobian(rng, first)
    v = rng.normal(size=4)
    before = at_first.transposed(v)
    at_second = General(at_first.equation, programs, [second])
    moved = at_second.transposed(v)
    np.testing.assert_array_equal(at_first.transposed(v), before)
    np.testing.assert_allclose(before, slope.T @ v, atol=1e-12)
    np.testing.assert_array_equal(at_second.transposed(v), moved)
    assert not np.allclose(moved, before)


def test_the_point_is_no_argument_of_the_product(rng):
    found, _, programs = jacobian(rng, rng.normal(size=4))
    found.transposed(np.ones(4))
    ((function, leaves),) = programs._functions.values()
    assert len(function.states) == len(leaves) == 1
    assert function.source.count("maximum") == 0


@pytest.mark.parametrize("samples", [0, 1])
def test_both_solves_agree_with_dense_ones(rng, samples):
    A, u = 0.3 * rng.normal(size=(4, 4)), oa.Variable((2, 4), name="u")
    b = oa.Parameter(rng.normal(size=(2, 4)), name="b")
    plan = oa.fixed_point(u, oa.apply(oa.activation("tanh"), oa.Matrix(A) @ u + b), sample_axes=samples)
    sol = plan.solve(tol=1e-13)
    slope = 1 - np.tanh(sol.x @ A.T + b.value) ** 2
    for s in range(2):
        J = np.eye(4) - slope[s][:, None] * A
        c = np.zeros((2, 4))
        c[s] = rng.normal(size=4)
        np.testing.assert_allclose(sol.vjp(c, b)[b][s], slope[s] * np.linalg.solve(J.T, c[s]), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(sol.jvp({b: c})[s], np.linalg.solve(J, slope[s] * c[s]), rtol=1e-6, atol=1e-8)
