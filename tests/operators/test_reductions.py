"""Sums, means and running sums against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import ShapeError
from opalg.operators import Composed, Diagonal, FiniteDifference, Identity
from opalg.operators.rearrangement import Reshape
from opalg.operators.reductions import CumulativeSum, Mean, Sum
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from tests.operators.dense import real_matrix
from tests.operators.rewritten import rewritten

SHAPE = (3, 4, 2)
AXES = [None, 0, -1, (0, 2), (1, 0), (0, 1, 2), ()]


def rule_members(rng):
    """Operators on which the rules of this family fire."""
    running = CumulativeSum((4, 3), 0)
    sums = [Sum((1, 3), 0), Mean((4, 3), 0), Sum((3, 2), 0) @ Sum((3, 4, 2), 1), (Sum((3,)) @ Sum((3, 4), 1)).H]
    return [*sums, CumulativeSum((1, 3), 0), running.inverse() @ running, (running @ running.inverse()).H]


def own(axes):
    """The axes behind one batch axis."""
    return (1, 2, 3) if axes is None else tuple(a % 3 + 1 for a in ((axes,) if isinstance(axes, int) else axes))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", AXES)
def test_sums_and_means_are_numpys(rng, axes, keepdims):
    x = rng.standard_normal((5, *SHAPE))
    for made, wanted in ((Sum, np.sum), (Mean, np.mean)):
        operator = made(SHAPE, axes, keepdims)
        reduced = wanted(x, axis=own(axes), keepdims=keepdims)
        assert operator.out_shape == reduced.shape[1:]
        assert np.allclose(operator @ x, reduced, rtol=1e-14, atol=1e-14)
        assert np.allclose(operator @ x[0], reduced[0], rtol=1e-14, atol=1e-14)
        matrix = real_matrix(operator, "real")
        assert np.array_equal(real_matrix(operator.H, "real"), matrix.T)
        assert operator.facts.norm.value == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-14)


def test_gradients_flow_back_through_a_sum_over_some_axes(rng):
    x, u = Input("x", (5, *SHAPE)), Input("u", (5, 4))
    (back,) = vjp([Sum(SHAPE, (0, 2)).trace(x)], [u], [x])
    given = rng.standard_normal((5, 4))
    (found,) = evaluate([back], {u: given}, backend("numpy", "float64"))
    assert np.array_equal(found, np.broadcast_to(given[:, None, :, None], (5, *SHAPE)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_running_sums_are_numpys(rng, axis):
    x = rng.standard_normal((5, *SHAPE)) + 1j * rng.standard_normal((5, *SHAPE))
    made = CumulativeSum(SHAPE, axis)
    place = axis % 3 + 1
    assert np.allclose(made @ x, np.cumsum(x, place), rtol=1e-14)
    assert np.allclose(made.H @ x, np.flip(np.cumsum(np.flip(x, place), place), place), rtol=1e-14)
    assert np.allclose(made.inverse() @ (made @ x), x)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 33])
def test_norm_of_a_running_sum(n):
    dense = np.tril(np.ones((n, n)))
    assert np.array_equal(real_matrix(CumulativeSum((n,)), "real"), dense)
    assert CumulativeSum((n,)).facts.norm.value == pytest.approx(np.linalg.norm(dense, 2), rel=1e-12)


def test_sums_of_sums_merge():
    dropped = Sum((3, 2), 0) @ Sum((3, 4, 2), 1)
    assert rewritten(dropped, "merge_sums") is Sum((3, 4, 2), (0, 1))
    assert rewritten(dropped.H, "merge_sums") is Sum((3, 4, 2), (0, 1)).H
    kept = Sum((3, 1, 2), (1, 2), keepdims=True) @ Sum((3, 4, 2), 1, keepdims=True)
    assert rewritten(kept, "merge_sums") is Sum((3, 4, 2), (1, 2), keepdims=True)
    mixed = Sum((3, 1, 2), 0) @ Sum((3, 4, 2), 1, keepdims=True)
    assert rewritten(mixed) is mixed
    assert rewritten(Sum((3, 4)) @ Sum((3, 4)).H) is 12.0 * Identity(())


def test_means_are_scaled_sums():
    assert rewritten(Mean((4, 3), 0), "mean_is_scaled_sum") is 0.25 * Sum((4, 3), 0)
    assert rewritten(Mean((3,), 0) @ Mean((4, 3), 0), "merge_sums").operator is Sum((4, 3))


def test_sums_of_one_entry_are_dropped():
    assert rewritten(Sum((1, 3), 0), "drop_sum_of_one") is Reshape((1, 3), (3,))
    assert rewritten(Sum((1, 3), 0, keepdims=True), "drop_sum_of_one") is Identity((1, 3))
    assert rewritten(Mean((1, 3), 0)) is Reshape((1, 3), (3,))
    assert rewritten(CumulativeSum((1, 3), 0), "drop_cumulative_sum_of_one") is Identity((1, 3))


def test_running_sums_cancel_with_differences(rng):
    running, difference = CumulativeSum((4, 3), 0), FiniteDifference((4, 3), 0, "backward", "dirichlet")
    rest = Diagonal(rng.standard_normal((4, 3)))
    assert rewritten(difference @ running, "cancel_cumulative_sum") is Identity((4, 3))
    assert rewritten(running @ difference @ rest, "cancel_cumulative_sum") is rest
    assert rewritten((running @ difference).H, "cancel_cumulative_sum") is Identity((4, 3))
    assert running.inverse() is difference
    for other in (FiniteDifference((4, 3), 1, "backward", "dirichlet"), FiniteDifference((4, 3), 0)):
        assert isinstance(rewritten(other @ running), Composed)
    assert isinstance(rewritten(running @ running), Composed)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Sum((3, 2), 2), "Sum of shape .* has no axes"),
        (lambda: Mean((3, 2), (0, 0)), "different axes"),
        (lambda: Sum((3, 0)), "zero"),
        (lambda: CumulativeSum((3, 2), 2), "no axes"),
        (lambda: CumulativeSum((3, 2), None), "one axis"),
    ],
)
def test_misuse_is_explained(build, words):
    with pytest.raises(ShapeError, match=words):
        build()
