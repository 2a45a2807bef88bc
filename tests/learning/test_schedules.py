"""How accurate evaluations are, and what that saves."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from opalg.learning.schedules import Adaptive, Fixed, Hoag, Maid
from opalg.learning.search import Found


def found(value=0.0, slope=1.0, value_error=0.0, slope_error=0.0, certificate=1.0, residual=1.0, flags=()):
    """An evaluation of a function of one coordinate."""
    return Found(value, np.array([slope]), value_error, slope_error, certificate, residual, flags)


def deblurring(start=5.0):
    """Smooth deblurring of a picture, and its truth."""
    truth = np.kron(np.array([[0.0, 1.0, 1.0], [0.5, 1.0, 0.0], [0.5, 0.0, 0.2]]), np.ones((6, 6)))
    A = oa.Convolve(np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]), truth.shape, boundary="periodic")
    y = oa.Parameter(A.apply(truth) + 0.1 * np.random.default_rng(0).standard_normal(truth.shape), name="y")
    x, lam = oa.Variable(truth.shape, name="x"), oa.Parameter(start, name="lambda", positive=True)
    return 0.5 * oa.sum_squares(A @ x - y) + lam * oa.charbonnier(oa.Gradient(x.shape) @ x, 0.05), truth, lam


def total_variation(start=1.5):
    """Denoising of a step function."""
    truth = np.repeat([0.0, 1.0, 0.3, 0.8], 32)
    y = oa.Parameter(truth + 0.1 * np.random.default_rng(0).standard_normal(truth.shape), name="y")
    x, lam = oa.Variable(truth.shape, name="x"), oa.Parameter(start, name="lambda", nonneg=True)
    return 0.5 * oa.sum_squares(x - y) + lam * oa.norm1(oa.Gradient(x.shape) @ x), truth, lam


SCHEDULES = {
    "adaptive": Adaptive(),
    "adaptive, line search": Adaptive(line_search=True),
    "maid": Maid(),
    "hoag, exponential": Hoag(),
    "hoag, quadratic": Hoag("quadratic"),
    "hoag, cubic": Hoag("cubic"),
}


@pytest.mark.parametrize("problem", [deblurring, total_variation])
def test_every_schedule_reaches_the_minimum_of_a_tight_one_with_less_work(problem):
    energy, truth, lam = problem()
    tight = oa.tune(energy, [({}, truth)], lam, schedule=Fixed(1e-8, 1e-8), steps=60, max_iter=20_000)
    exact = oa.compile(energy)

    def loss(tuning):
        x = exact.solve(params=tuning.values, tol=1e-9, max_iter=50_000).x
        return float(np.mean((x - truth) ** 2))

    best = loss(tight)
    for name, schedule in SCHEDULES.items():
        other = oa.tune(energy, [({}, truth)], lam, schedule=schedule, steps=60)
        assert loss(other) <= 1.01 * best, name
        assert other.iterations < tight.iterations, name
        assert other.iterations + other.products < tight.iterations + tight.products, name


def test_two_parameters_by_the_default_schedule():
    energy, truth, lam = deblurring()
    beta = oa.Parameter(0.5, name="beta", positive=True)
    (variable,) = energy.variables
    energy = energy + beta * oa.sum_squares(variable)
    loose = oa.tune(energy, [({}, truth)], [lam, beta], steps=40)
    tight = oa.tune(energy, [({}, truth)], [lam, beta], schedule=Fixed(1e-9, 1e-9), steps=40)
    assert loose.loss <= 1.02 * tight.loss
    assert loose.iterations < 0.5 * tight.iterations


def test_evaluations_that_are_not_accurate_enough_are_repeated_at_the_same_point():
    energy, truth, lam = deblurring()
    path = oa.tune(energy, [({}, truth)], lam, schedule=Adaptive(first=1e-1, share=0.05), steps=4).path
    repeated = [i for i, row in enumerate(path) if not row.accepted]
    assert repeated
    for i in repeated:
        assert path[i + 1].values == path[i].values
        assert path[i + 1].accuracy != path[i].accuracy
    for row in path:
        assert row.slope_error >= 0
        assert row.loss_error >= 0
        assert not row.accepted or row.slope_error <= 0.05 * max(row.slope_norm, 0.04)


def test_the_errors_that_steps_rest_on_are_those_of_the_loss_and_of_its_gradient():
    energy, truth, lam = deblurring(0.3)
    rough = oa.tune(energy, [({}, truth)], lam, schedule=Fixed(1e-2, 1e-2, estimate=True), steps=1).path[0]
    exact = oa.tune(energy, [({}, truth)], lam, schedule=Fixed(1e-11, 1e-10), steps=1, max_iter=50_000).path[0]
    assert abs(rough.loss - exact.loss) <= 2.0 * rough.loss_error + 1e-12


def test_a_fixed_schedule_never_changes():
    controller = Fixed(1e-5, 1e-3).begin(1e-3)
    assert controller.enough(found(slope_error=9.0))
    controller.moved()
    assert (controller.accuracy.tol, controller.accuracy.gradient_tol, controller.tighten()) == (1e-5, 1e-3, False)


@pytest.mark.parametrize(("sequence", "third"), [("exponential", 0.81), ("quadratic", 1 / 9), ("cubic", 1 / 27)])
def test_hoag_follows_its_sequence(sequence, third):
    controller = Hoag(sequence, first=1e-2).begin(1e-3)
    assert controller.accuracy.tol == 1e-2
    controller.moved()
    controller.moved()
    assert controller.accuracy.tol == pytest.approx(1e-2 * third)
    assert controller.accuracy.gradient_tol == controller.accuracy.tol
    controller.tighten()
    assert controller.accuracy.tol == pytest.approx(0.5e-2 * third)
    assert Hoag(first=1e-3, floor=1e-2).begin(1e-3).accuracy.tol == 1e-2


def test_maid_accepts_directions_whose_error_is_below_their_length():
    controller = Maid(first=1e-2, eta=0.1, shrink=0.5, grow=2.0).begin(1e-3)
    assert controller.enough(found(slope=1.0, slope_error=0.9 / 1.25))
    assert not controller.enough(found(slope=1.0, slope_error=0.91 / 1.25))
    assert controller.accuracy.tol == pytest.approx(0.5e-2)
    assert controller.accuracy.gradient_tol == pytest.approx(0.5e-2)
    controller.moved()
    assert controller.accuracy.tol == pytest.approx(1e-2)
    controller.moved()
    assert controller.accuracy.tol == pytest.approx(1e-2)


def test_tolerances_fall_below_what_was_reached():
    controller = Maid(first=1e-2, shrink=0.5).begin(1e-3)
    assert not controller.enough(found(slope_error=2.0, certificate=1e-5, residual=1e-4))
    assert controller.accuracy.tol == pytest.approx(0.5e-5)
    assert controller.accuracy.gradient_tol == pytest.approx(0.5e-4)


def test_the_adaptive_schedule_watches_gradient_loss_and_active_set():
    def begun():
        controller = Adaptive(share=0.2).begin(1e-3)
        assert controller.enough(found(value=1.0))
        return controller

    assert begun().enough(found(value=0.5, value_error=0.09, slope_error=0.15))
    assert not begun().enough(found(value=0.5, slope_error=0.17))
    assert not begun().enough(found(value=0.5, value_error=0.11))
    assert not begun().enough(found(value=0.5, flags=("active_set_uncertain",)))
    assert begun().enough(found(value=0.5, slope_error=9.0, flags=("forward_not_converged",)))
    assert begun().enough(found(value=1.0, slope=1e-9, slope_error=1e-3, value_error=4e-4))


def test_what_makes_no_sense_is_refused():
    for wrong in (
        lambda: Hoag("linear"),
        lambda: Hoag(first=0.0),
        lambda: Maid(eta=1.0),
        lambda: Maid(grow=0.5),
        lambda: Adaptive(share=1.0),
    ):
        with pytest.raises(ParameterError):
            wrong()
