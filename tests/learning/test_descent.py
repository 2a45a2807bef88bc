"""Descent with few evaluations."""

import numpy as np
import pytest

from opalg.learning.descent import FIRST, LONGEST, WIDEST, block_scale, descend


class Counted:
    """A function that remembers where it was evaluated."""

    def __init__(self, function):
        self.function, self.points = function, []

    def __call__(self, point):
        self.points.append(point.copy())
        return self.function(point)


def bowl(weights, at):
    """``sum w (u - at)^2 / 2`` and its gradient."""
    weights, at = np.asarray(weights, float), np.asarray(at, float)
    return lambda u: (float(0.5 * weights @ (u - at) ** 2), weights * (u - at))


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 1e3], [1e-4, 1e4], [5.0, 1e-3]])
def test_blocks_of_different_weight_are_found_in_few_evaluations(weights):
    function = Counted(bowl(weights, [1.2, -0.7]))
    found = descend(function, [1, 1], 40, 1e-14)
    np.testing.assert_allclose(found.point, [1.2, -0.7], atol=1e-3)
    assert len(function.points) <= 30


def test_a_coupled_problem(rng):
    half = rng.standard_normal((5, 5))
    matrix, at = half @ half.T + 0.1 * np.eye(5), rng.standard_normal(5)
    found = descend(lambda u: (float(0.5 * (u - at) @ matrix @ (u - at)), matrix @ (u - at)), [2, 3], 80, 1e-16)
    assert found.value < 1e-6 * float(0.5 * at @ matrix @ at)


def test_no_step_is_longer_than_allowed_and_the_first_is_as_stated():
    function = Counted(bowl([1.0, 3.0], [50.0, -50.0]))
    descend(function, [1, 1], 12, 0.0)
    moves = [np.abs(b - a).max() for a, b in zip(function.points, function.points[1:], strict=False)]
    assert np.abs(function.points[1]).tolist() == pytest.approx([FIRST, FIRST])
    assert max(moves) <= LONGEST * (1 + 1e-12)


def test_the_best_point_is_returned_and_the_evaluations_are_counted():
    function = Counted(bowl([1.0], [3.0]))
    found = descend(function, [1], 4, 0.0)
    assert len(function.points) == 4
    assert found.reason == "steps"
    assert found.value == min(function.function(p)[0] for p in function.points)


def test_wrong_gradients_end_the_search_without_harm():
    function = Counted(lambda u: (float(u @ u), -2 * u - 1.0))
    found = descend(function, [2], 50, 0.0)
    assert found.reason == "short"
    assert found.point.tolist() == [0.0, 0.0]
    assert len(function.points) < 15


def test_noise_in_the_gradient_does_not_spoil_the_descent(rng):
    exact = bowl([1.0, 50.0], [1.0, 0.5])

    def noisy(u):
        value, slope = exact(u)
        return value, slope * (1 + 0.05 * rng.standard_normal(2))

    assert descend(noisy, [1, 1], 30, 1e-8).value < 1e-3


def test_a_flat_start_ends_at_once():
    found = descend(lambda u: (1.0, np.zeros(2)), [2], 10, 1e-9)
    assert (found.reason, found.value) == ("flat", 1.0)


def test_scales_are_the_same_within_a_block_and_bounded():
    scale = block_scale(np.array([2.0, -4.0, 1e-9]), [2, 1])
    assert scale.tolist() == pytest.approx([FIRST / 4.0, FIRST / 4.0, WIDEST * FIRST / 4.0])


def test_a_projection_keeps_the_search_within_bounds():
    function = Counted(bowl([1.0, 2.0], [3.0, 0.5]))
    found = descend(function, [1, 1], 60, 1e-12, lambda u: np.minimum(u, 1.0))
    np.testing.assert_allclose(found.point, [1.0, 0.5], atol=1e-3)
    assert max(p.max() for p in function.points) <= 1.0
