"""Warm starts of the lower level."""

import numpy as np

import opalg as oa
from opalg.learning.criteria import SquaredError
from opalg.learning.lower_level import Accuracy, LowerLevel, Tally


def problem():
    """Deblurring with a rounded total variation, its parameter and its truth."""
    truth = np.kron(np.array([[0.0, 1.0, 1.0], [0.5, 1.0, 0.0], [0.5, 0.0, 0.2]]), np.ones((8, 8)))
    A = oa.Convolve(np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]), truth.shape, boundary="periodic")
    y = A.apply(truth) + 0.1 * np.random.default_rng(0).standard_normal(truth.shape)
    x, lam = oa.Variable(truth.shape, name="x"), oa.Parameter(0.1, name="lambda", positive=True)
    return 0.5 * oa.sum_squares(A @ x - y) + lam * oa.charbonnier(oa.Gradient(x.shape) @ x, 0.1), lam, truth


def level(tol=1e-9, gradient_tol=1e-3):
    energy, lam, truth = problem()
    plan = oa.compile(energy)
    lower = LowerLevel(plan, [lam], 20_000, 2000)
    lower.accuracy = Accuracy(tol, gradient_tol, refine=False)
    loss = SquaredError({plan.variables[0]: truth}, plan.backend)

    def evaluate(value, place):
        lower.tally = Tally()
        solution = lower.solve({lam: np.asarray(value)}, place)
        _, slopes = lower.pull_back(solution, loss, place)
        return slopes[lam], lower.tally

    return evaluate


def test_a_start_from_the_last_adjoint_saves_a_third_of_the_products_when_a_parameter_moves_by_one_per_cent():
    evaluate = level()
    evaluate(0.1, "warm")
    slope, warm = evaluate(0.101, "warm")
    expected, cold = evaluate(0.101, "cold")
    assert warm.products <= 0.7 * cold.products
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(slope, expected, rtol=1e-2)


def test_places_do_not_mix():
    evaluate = level()
    evaluate(0.1, "a")
    again = evaluate(0.1, "a")[1]
    other = evaluate(0.1, "b")[1]
    assert again.iterations < other.iterations
    assert again.products < other.products


def test_errors_are_estimated_where_asked_for():
    energy, lam, truth = problem()
    plan = oa.compile(energy)
    lower = LowerLevel(plan, [lam], 20_000, 2000)
    loss = SquaredError({plan.variables[0]: truth}, plan.backend)
    found = []
    for accuracy in (Accuracy(1e-3, 1e-3, False, True), Accuracy(1e-11, 1e-10, False, True)):
        lower.accuracy, lower.tally = accuracy, Tally()
        value, slopes = lower.pull_back(lower.solve({}, accuracy), loss, accuracy)
        found.append((value, slopes[lam], lower.tally))
    (value, slope, rough), (exact, true, fine) = found
    assert 0.5 * abs(slope - true) <= rough.errors[lam] <= 4.0 * abs(slope - true)
    assert abs(value - exact) <= 2.0 * rough.loss_error
    assert fine.errors[lam] < 1e-3 * rough.errors[lam]
