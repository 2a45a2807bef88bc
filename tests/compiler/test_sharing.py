"""What several terms of an energy have in common is computed once in a step, and transforms are not made twice."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa

SHAPE = (16, 12)
RNG = np.random.default_rng(0)
Y, W = RNG.standard_normal(SHAPE), RNG.standard_normal((6, 5))


def transforms(energy: oa.Energy, method: str) -> int:
    """The transforms that one iteration makes."""
    return oa.compile(energy, method=method).cost.transforms


def test_terms_behind_one_operator_apply_it_once():
    x = oa.Variable(SHAPE, name="x")
    blur = oa.Convolve(oa.gaussian_kernel(1.0, 2), SHAPE)
    one = transforms(oa.norm1(blur @ x - Y), "primal_dual")
    two = transforms(oa.norm1(blur @ x - Y) + 0.1 * oa.norm1(blur @ x - 2 * Y), "primal_dual")
    assert one == two == 4  # there and back, for the operator and for its adjoint


def test_a_product_is_computed_once_for_the_operators_in_front_of_it():
    x = oa.Variable(SHAPE, name="x")
    blur = oa.Convolve(oa.gaussian_kernel(1.0, 2), SHAPE)
    gradient = oa.Gradient(SHAPE, boundary="periodic")
    energy = oa.norm1(blur @ x - Y) + 0.1 * oa.norm21(gradient @ (blur @ x))
    assert transforms(energy, "admm") == 3  # one for each term on the way in, one on the way out


def test_gradients_of_smooth_terms_share_the_residual():
    x = oa.Variable(5, name="x")
    matrix = oa.Matrix(W)
    y = RNG.standard_normal(6)
    energy = 0.5 * oa.sum_squares(matrix @ x - y) + oa.huber(matrix @ x - y, 0.3) + 0.1 * oa.norm1(x)
    source = oa.compile(energy, method="proximal_gradient").source()
    step = source[source.index("def step") if "def step" in source else 0 :]
    assert step.count("matmul(") <= 3


@pytest.mark.parametrize("method", ["admm", "primal_dual"])
def test_sharing_does_not_change_the_solution(method):
    x = oa.Variable(SHAPE, name="x")
    blur = oa.Convolve(oa.gaussian_kernel(0.6, 2), SHAPE)
    gradient = oa.Gradient(SHAPE, boundary="periodic")
    energy = oa.norm1(blur @ x - Y) + 0.1 * oa.norm21(gradient @ (blur @ x)) + 0.05 * oa.sum_squares(x)
    solution = oa.compile(energy, method=method).solve(tol=1e-6, max_iter=30_000)
    other = oa.compile(energy, method="primal_dual").solve(tol=1e-6, max_iter=30_000)
    assert energy.value(solution.x) == pytest.approx(energy.value(other.x), rel=1e-4)
