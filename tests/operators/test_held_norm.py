"""Operators of held norm: the true norm, by dense singular values; gradients that take the factor for a constant."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch

import opalg as oa
from opalg.leaves import Constant
from opalg.testing import check_operator

SEED = 3


def draw(*shape: int, seed: int = SEED) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


OPERATORS = {
    "matrix": lambda: oa.Matrix(draw(6, 4)),
    "complex matrix": lambda: oa.Matrix(draw(5, 4) + 1j * draw(5, 4, seed=1)),
    "periodic bank": lambda: oa.MultiConvolve(draw(3, 3, 3), (5, 6)),
    "bank with borders of zeros": lambda: oa.MultiConvolve(draw(2, 5, 5), (6, 7), boundary="zero"),
    "bank with channels": lambda: oa.MultiConvolve(draw(4, 2, 3, 3), (5, 4), boundary="zero"),
    "convolution": lambda: oa.Convolve(oa.Parameter(draw(3, 3), name="kernel"), (6, 5)),
    "real to complex": lambda: oa.FFT((6,)) @ oa.Matrix(draw(6, 4)),
    "adjoint": lambda: oa.Matrix(draw(6, 4)).H,
}


def dense(operator, lib=np) -> np.ndarray:
    """The matrix, column by column, of an operator on real or complex arrays."""
    size = int(np.prod(operator.in_shape))
    columns = [np.ravel(np.asarray(operator @ e.reshape(operator.in_shape))) for e in np.eye(size)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("kind", OPERATORS)
def test_the_norm_at_the_true_size_is_held(kind):
    held = oa.HeldNorm(OPERATORS[kind](), 0.75)
    found = np.linalg.norm(dense(held), 2)
    assert 0.75 * (1 - 1e-12) <= found <= 0.75 * (1 + 1e-3)
    sharp = held.refreshed(steps=400)
    matrix = dense(held.operator)
    size = np.linalg.norm(matrix @ np.ravel(sharp[held.direction])) / np.linalg.norm(sharp[held.direction])
    assert size == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-6)


def test_the_norm_of_the_weights_as_a_matrix_would_be_wrong():
    filters = draw(4, 5, 5)
    held = oa.HeldNorm(oa.MultiConvolve(filters, (12, 12), boundary="zero"), 1.0)
    reshaped = np.linalg.norm(filters.reshape(4, -1), 2)
    assert np.linalg.norm(dense(held), 2) == pytest.approx(1.0, rel=1e-3)
    assert not np.isclose(np.linalg.norm(dense(held.operator), 2), reshaped, rtol=0.1)


def test_matrices_of_a_stack_have_factors_of_their_own():
    stack = draw(3, 5, 4) * np.array([0.1, 1.0, 30.0])[:, None, None]
    held = oa.HeldNorm(oa.MatrixStack(oa.Parameter(stack, name="A")), 2.0)
    matrices = np.stack([held @ np.broadcast_to(e, (3, 4)) for e in np.eye(4)], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(matrices, 2, axis=(-2, -1)), 2.0, rtol=1e-3)
    turned = held.H
    back = np.stack([turned @ np.broadcast_to(e, (3, 5)) for e in np.eye(5)], axis=-2)
    np.testing.assert_allclose(back, np.swapaxes(np.swapaxes(matrices, -1, -2), -1, -2), rtol=1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_laws_of_operators_hold(library, dtype):
    for example in oa.HeldNorm.examples(np.random.default_rng(0)):
        check_operator(example, library=library, dtype=dtype).raise_if_failed()


def test_what_is_known_of_it():
    held = oa.HeldNorm(oa.Matrix(draw(4, 4)), 3.0)
    assert held.facts.norm.certainty == "estimate" and float(held.facts.norm) == 3.0
    assert repr(held).startswith("HeldNorm(Matrix(") and repr(held).endswith(", 3)")
    assert held.simplify().facts.norm.certainty == "upper"  # by the bound on the norm of the matrix
    x = draw(4, seed=9)
    np.testing.assert_allclose(held.simplify() @ x, held @ x, rtol=1e-14)


def test_it_inverts_as_what_it_holds_does():
    held = oa.HeldNorm(oa.Diagonal(np.array([1.0, 2.0, 4.0])), 2.0)
    np.testing.assert_allclose(held @ np.ones(3), [0.5, 1.0, 2.0], rtol=1e-4)
    np.testing.assert_allclose(held.inverse() @ (held @ np.ones(3)), np.ones(3), rtol=1e-12)
    with pytest.raises(oa.UnsupportedError, match="no cheap inverse"):
        oa.HeldNorm(oa.MatrixStack(draw(2, 3, 3)), 1.0).inverse()


def test_the_norm_may_be_a_positive_parameter_with_a_gradient():
    c = oa.Parameter(2.0, name="c", positive=True)
    matrix, y = draw(5, 3), draw(5, seed=4)
    x = oa.Variable(3, name="x")
    held = oa.HeldNorm(oa.Matrix(matrix), c)
    energy = 0.5 * oa.sum_squares(held @ x - y) + 0.5 * oa.sum_squares(x)
    plan = oa.compile(energy)
    g = plan.solve(tol=1e-12).vjp(np.ones(3), wrt=c)[c]
    up, down = (plan.solve(params={c: np.asarray(v)}, tol=1e-12).x.sum() for v in (2.0 + 1e-5, 2.0 - 1e-5))
    assert float(g) == pytest.approx((up - down) / 2e-5, rel=1e-5)


# Gradients.


def solved(make, A: np.ndarray, y: np.ndarray):
    """The solution of a problem with an operator made of a matrix, as a plan and its parameter."""
    leaf = oa.Parameter(A, name="A")
    x = oa.Variable(make(leaf).in_shape, name="x")
    term = oa.pointwise(oa.activation("tanh", 2.0), make(leaf) @ x)
    return oa.compile(0.5 * oa.sum_squares(x - y) + term), leaf


@pytest.mark.parametrize("stacked", [False, True])
def test_gradients_take_the_factor_for_a_constant(stacked):
    A = draw(2, 5, 4) if stacked else draw(5, 4)
    y = draw(2, 4, seed=1) if stacked else draw(4, seed=1)
    kind = oa.MatrixStack if stacked else oa.Matrix
    plan, leaf = solved(lambda p: oa.HeldNorm(kind(p), 1.5), A, y)
    c, d = draw(*y.shape, seed=2), draw(*A.shape, seed=5)
    gradient = plan.solve(tol=1e-12).vjp(c, wrt=leaf)[leaf]

    factor = 1.5 / np.linalg.norm(A, 2, axis=(-2, -1))
    scaled = Constant(factor[:, None, None] if stacked else np.asarray(factor))
    fixed, own = solved(lambda p: kind(scaled * p), A, y)
    values = [(fixed.solve(params={own: A + t * d}, tol=1e-12).x * c).sum() for t in (1e-5, -1e-5)]
    assert (gradient * d).sum() == pytest.approx((values[0] - values[1]) / 2e-5, rel=2e-3)

    moving = [(plan.solve(params={leaf: A + t * d}, tol=1e-12).x * c).sum() for t in (1e-5, -1e-5)]
    assert (gradient * d).sum() != pytest.approx((moving[0] - moving[1]) / 2e-5, rel=0.05)


def test_the_gradient_in_the_direction_is_zero():
    plan, leaf = solved(lambda p: oa.HeldNorm(oa.Matrix(p), 1.0), draw(5, 4), draw(4, seed=1))
    (direction,) = [p for p in plan.parameters if p is not leaf]
    assert direction.name == "A_direction"
    found = plan.solve(tol=1e-10).vjp(np.ones(4), wrt=direction)[direction]
    np.testing.assert_array_equal(found, np.zeros(4))


def test_the_norm_stays_where_the_weights_grow_without_a_refresh():
    A = draw(5, 4)
    plan, leaf = solved(lambda p: oa.HeldNorm(oa.Matrix(p), 1.0), A, draw(4, seed=1))
    before = plan.solve(tol=1e-12).x
    np.testing.assert_allclose(plan.solve(params={leaf: 40.0 * A}, tol=1e-12).x, before, rtol=1e-9)


def test_refreshed_directions_are_values_to_solve_with():
    leaf, new = oa.Parameter(draw(5, 4), name="A"), draw(5, 4, seed=7)
    x = oa.Variable(4, name="x")
    held = oa.HeldNorm(oa.Matrix(leaf), 1.0)
    plan = oa.compile(0.5 * oa.sum_squares(x - draw(4, seed=1)) + 0.5 * oa.sum_squares(held @ x))
    found = plan.solve(params={leaf: new, **held.refreshed({leaf: new}, steps=300)}, tol=1e-13).x
    scaled = new / np.linalg.norm(new, 2)
    np.testing.assert_allclose(found, np.linalg.solve(np.eye(4) + scaled.T @ scaled, draw(4, seed=1)), rtol=1e-6)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_power_iteration_goes_on_at_given_values(library):
    make = {"numpy": np.asarray, "torch": torch.tensor, "array_api_strict": array_api_strict.asarray}[library]
    A = oa.Parameter(make(draw(6, 5)), name="A")
    held = oa.HeldNorm(oa.Matrix(A), 1.0)
    new = draw(6, 5, seed=8)
    params = {A: make(new)}
    for _ in range(60):
        params |= held.refreshed(params)
    v = np.asarray(params[held.direction])
    assert np.linalg.norm(new @ v) == pytest.approx(np.linalg.norm(new, 2), rel=1e-6)
    assert type(params[held.direction]) is type(make(new))


# Starts, and what is refused.


def test_starts_are_random_and_come_from_their_seed():
    first, again, other = (oa.HeldNorm(oa.Matrix(np.diag([1.0, 1.0, 1.0])), 1.0, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.direction.value, again.direction.value)
    assert not np.allclose(first.direction.value, other.direction.value)
    assert first is not again  # each has a direction of its own
    differences = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])  # a constant start would be in its kernel
    assert np.linalg.norm(oa.HeldNorm(oa.Matrix(differences), 2.0) @ np.eye(3), 2) == pytest.approx(2.0, rel=1e-4)


def test_a_direction_that_has_become_a_kernel_vector_is_drawn_anew():
    A = oa.Parameter(np.diag([1.0, 0.0]), name="A")
    held = oa.HeldNorm(oa.Matrix(A), 1.0, start=np.array([1.0, 0.0]))
    new = np.diag([0.0, 3.0])
    params = {A: new}
    for _ in range(3):
        params |= held.refreshed(params)
    np.testing.assert_allclose(np.abs(params[held.direction]), [0.0, 1.0], atol=1e-12)
    stack = oa.Parameter(np.stack([np.diag([1.0, 0.0]), np.diag([2.0, 1.0])]), name="S")
    held = oa.HeldNorm(oa.MatrixStack(stack), 1.0, start=np.array([[1.0, 0.0], [1.0, 0.0]]))
    found = held.refreshed({stack: np.stack([new, np.diag([2.0, 1.0])])}, steps=2)[held.direction]
    np.testing.assert_allclose(np.abs(found), [[0.0, 1.0], [1.0, 0.0]], atol=1e-12)


def test_operators_that_are_or_become_zero_are_refused():
    with pytest.raises(oa.ParameterError, match=r"Matrix\(.*\) is zero, and no factor makes its norm 1"):
        oa.HeldNorm(oa.Matrix(np.zeros((3, 3))), 1.0)
    with pytest.raises(oa.ParameterError, match="matrix 1 of MatrixStack"):
        oa.HeldNorm(oa.MatrixStack(np.stack([np.eye(2), np.zeros((2, 2))])), 1.0)
    A = oa.Parameter(np.eye(2), name="A")
    held = oa.HeldNorm(oa.Matrix(A), 1.0)
    with pytest.raises(oa.ParameterError, match="is zero"):
        held.refreshed({A: np.zeros((2, 2))})


@pytest.mark.parametrize("norm", [0.0, -1.0, np.inf, np.nan, 1j, np.ones(2), "one", oa.Parameter(1.0, name="c")])
def test_norms_that_are_not_positive_are_refused(norm):
    with pytest.raises(oa.ParameterError, match="positive"):
        oa.HeldNorm(oa.Matrix(np.eye(2)), norm)


def test_arguments_that_make_no_sense_are_refused():
    eye = oa.Matrix(np.eye(2))
    with pytest.raises(oa.ParameterError, match=r"write oa\.Matrix"):
        oa.HeldNorm(np.eye(2), 1.0)
    with pytest.raises(oa.ShapeError, match=r"array of shape \(2,\), not an array of shape \(3,\)"):
        oa.HeldNorm(eye, 1.0, start=np.ones(3))
    with pytest.raises(oa.ShapeError, match="'random'"):
        oa.HeldNorm(eye, 1.0, start="random")
    with pytest.raises(oa.ParameterError, match="seed"):
        oa.HeldNorm(eye, 1.0, start=-1)
    with pytest.raises(oa.DtypeError, match="takes real arrays"):
        oa.HeldNorm(oa.RFFT((2,)), 1.0, start=np.array([1.0, 1j]))
    for steps in (0, 1.5, True):
        with pytest.raises(oa.ParameterError, match="power iterations"):
            oa.HeldNorm(eye, 1.0, steps=steps)
