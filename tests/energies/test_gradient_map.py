"""Gradients of energies as maps, against gradients of energies at points."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.operators.algebra import Zero
from opalg.rules import rewrite


def at(expression, variable, point):
    """The value of a map at a point, by one step of a plan."""
    return oa.fixed_point(variable, expression).step((point,))[0]


def energies(rng):
    x = oa.Variable((3, 4), name="x")
    z = oa.Variable((3, 4), name="z", dtype=complex)
    f = rng.normal(size=(3, 4))
    yield x, 0.5 * oa.sum_squares(oa.Convolve(rng.normal(size=(2, 2)), shape=(3, 4)) @ x - f)
    yield x, oa.huber(oa.Gradient((3, 4)) @ x, 0.3) + 0.2 * oa.sum_squares(x - f)
    yield x, 0.7 * oa.log_cosh(oa.Matrix(rng.normal(size=(5, 4))) @ x + oa.Parameter(rng.normal(size=(3, 5))), 2.0)
    yield x, 0.5 * oa.sum_squares(oa.FFT((3, 4)) @ x - oa.FFT((3, 4)) @ f)
    yield z, oa.sum_squares(oa.Diagonal(rng.normal(size=(3, 4)) + 1j) @ z - 1j * f)
    yield x, oa.red(lambda v: 0.5 * v, x) + oa.sum_squares(x)


@pytest.mark.parametrize("number", range(6))
def test_it_is_the_gradient_of_the_energy(rng, number):
    variable, energy = list(energies(rng))[number]
    point = rng.normal(size=variable.shape) + (
        1j * rng.normal(size=variable.shape) if variable.kind == "complex" else 0
    )
    np.testing.assert_allclose(at(oa.grad(energy), variable, point), energy.gradient(point), rtol=1e-12, atol=1e-12)


def test_of_several_variables_one_is_chosen(rng):
    x, z = oa.Variable(3, name="x"), oa.Variable(2, name="z")
    A = rng.normal(size=(2, 3))
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - z)
    plan = oa.fixed_point({x: x - oa.grad(energy, x), z: z - oa.grad(energy, z)})
    a, b = rng.normal(size=3), rng.normal(size=2)
    new_a, new_b = plan.step((a, b))
    np.testing.assert_allclose(new_a, a - A.T @ (A @ a - b))
    np.testing.assert_allclose(new_b, b + (A @ a - b))
    with pytest.raises(oa.ParameterError, match="say in which"):
        oa.grad(energy)
    with pytest.raises(oa.ParameterError, match="not in the energy"):
        oa.grad(energy, oa.Variable(3, name="w"))


def test_gradient_descent_ends_where_the_energy_does(rng):
    x, f = oa.Variable(5, name="x"), oa.Parameter(rng.normal(size=5), name="f")
    energy = 0.5 * oa.sum_squares(x - f) + 0.3 * oa.huber(oa.FiniteDifference((5,), 0) @ x, 0.2)
    plan = oa.fixed_point(x, x - 0.4 * oa.grad(energy))
    mine, reference = plan.solve(tol=1e-13), oa.compile(energy).solve(tol=1e-13, on_failure="return")
    np.testing.assert_allclose(mine.x, reference.x, atol=1e-7)
    c = rng.normal(size=5)
    np.testing.assert_allclose(mine.vjp(c, f)[f], reference.vjp(c, f)[f], atol=1e-6)


def test_the_linear_part_is_the_hessian_of_the_quadratic_terms(rng):
    x = oa.Variable(6, name="x")
    K = oa.Convolve(rng.normal(size=3), shape=(6,))
    energy = 0.5 * oa.sum_squares(K @ x - 1.0) + oa.log_cosh(x, 1.0) + 0.25 * oa.red(np.tanh, x, vjp=lambda v, u: u)
    found = rewrite(oa.grad(energy).linear_part(x))
    expected = K.gram.to_dense() + 0.25 * np.eye(6)
    np.testing.assert_allclose(found.to_dense(), expected, atol=1e-12)
    assert isinstance(oa.grad(oa.log_cosh(x, 1.0)).linear_part(x), Zero)


def test_what_has_no_gradient_is_refused():
    x = oa.Variable(3, name="x")
    with pytest.raises(oa.UnsupportedError, match="not differentiable"):
        oa.grad(oa.norm1(x))
    with pytest.raises(oa.NotAffineError, match="takes an energy"):
        oa.grad(x)


@pytest.mark.parametrize("start", ["copy", "free"])
def test_untying_splits_the_gradient(rng, start):
    u = oa.Variable(6, name="u")
    A = oa.Parameter(0.4 * rng.normal(size=(4, 6)), name="A")
    f, b = rng.normal(size=6), rng.normal(size=4)
    energy = 0.5 * oa.sum_squares(u - f) + oa.log_cosh(oa.Matrix(A) @ u + b, 1.0)
    tied = oa.fixed_point(u, u - 0.4 * oa.grad(energy))
    value = None if start == "copy" else 0.4 * rng.normal(size=(4, 6))
    free = oa.untie(tied, A, name="C", value=value)
    assert [p.name for p in free.parameters] == ["C", "A"]
    one, two = tied.solve(tol=1e-13), free.solve(tol=1e-13)
    c = rng.normal(size=6)
    if start == "copy":
        np.testing.assert_array_equal(one.x, two.x)
        whole, parts = one.vjp(c, A)[A], two.vjp(c, ["A", "C"])
        np.testing.assert_allclose(parts["A"] + parts["C"], whole, rtol=1e-9, atol=1e-12)
    else:
        slope = two.x - f + value.T @ np.tanh(A.value @ two.x + b)
        np.testing.assert_allclose(slope, 0.0, atol=1e-9)


def test_filters_are_untied_too(rng):
    u = oa.Variable((5, 5), name="u")
    bank = oa.Parameter(0.3 * rng.normal(size=(2, 3, 3)), name="filters")
    energy = 0.5 * oa.sum_squares(u - 1.0) + oa.fields_of_experts(bank, oa.activation("tanh", 1.0), u)
    free = oa.untie(energy, "filters", step=0.3)
    plan = oa.fixed_point(u, free)
    np.testing.assert_allclose(
        plan.solve(tol=1e-12).x, oa.compile(energy).solve(tol=1e-12, on_failure="return").x, atol=1e-7
    )
    assert {p.name for p in plan.parameters} == {"filters", "filters_adjoint"}


def test_what_cannot_be_untied_says_why(rng):
    u, f = oa.Variable(3, name="u"), oa.Parameter(np.ones(3), name="f")
    A = oa.Parameter(np.eye(3), name="A")
    energy = oa.sum_squares(oa.Matrix(A) @ u - f)
    plan = oa.fixed_point(u, u - 0.1 * oa.grad(energy))
    with pytest.raises(oa.ParameterError, match="nothing to untie"):
        oa.untie(plan, f)
    with pytest.raises(oa.ParameterError, match="no parameter of the map"):
        oa.untie(plan, "B")
    with pytest.raises(oa.ShapeError, match="transpose"):
        oa.untie(plan, A, value=np.ones((2, 3)))
    with pytest.raises(oa.ParameterError, match="needs step"):
        oa.untie(energy, A)
    with pytest.raises(oa.ParameterError, match="has its step already"):
        oa.untie(plan, A, step=0.1)
    with pytest.raises(oa.ParameterError, match="takes a map"):
        oa.untie(oa.compile(energy), A)


def test_a_copy_needs_a_name_of_its_own():
    u, A = oa.Variable(2, name="u"), oa.Parameter(np.eye(2), name="A")
    f = oa.Parameter(np.ones(2), name="f")
    tied = oa.fixed_point(u, u - 0.3 * oa.grad(0.5 * oa.sum_squares(oa.Matrix(A) @ u - f)))
    for name in ("f", "A"):
        with pytest.raises(oa.ParameterError, match=f"parameter '{name}' already"):
            oa.untie(tied, A, name=name)
    assert [p.name for p in oa.untie(tied, A, name="C").parameters] == ["C", "A", "f"]
