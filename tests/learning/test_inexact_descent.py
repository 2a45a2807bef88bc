"""Descent along inexact gradients, on functions whose errors are made up."""

import numpy as np
import pytest

from opalg.learning.descent import LONGEST
from opalg.learning.inexact_descent import RISE, LineSearch, descend_along_lines, descend_by_hoag
from opalg.learning.schedules import Found, Hoag, Maid
from opalg.learning.search import OutOfSteps


class Noisy:
    """A function of a vector whose values and slopes are off by as much as the tolerance says."""

    def __init__(self, function, controller, steps=400, size=1):
        self.function, self.controller, self.blocks, self.steps = function, controller, [size], steps
        self.points, self.errors, self.rng = [], [], np.random.default_rng(0)

    def project(self, vector):
        return vector

    def __call__(self, vector):
        if not self.points or (vector != self.points[-1]).any():
            if len(self.points) == self.steps:
                raise OutOfSteps
            if self.points:
                self.controller.moved()
            self.points.append(np.array(vector))
        while True:
            tol = self.controller.accuracy.tol
            value, slope = self.function(vector)
            noise = self.rng.uniform(-1, 1, len(slope)) * tol / np.sqrt(len(slope))
            found = Found(value + tol * self.rng.uniform(-1, 1), slope + noise, tol, tol, tol, tol, ())
            if self.controller.enough(found):
                self.errors.append(tol)
                return found


def bowl(weights, at):
    weights, at = np.asarray(weights, float), np.asarray(at, float)
    return lambda u: (float(0.5 * weights @ (u - at) ** 2), weights * (u - at))


RULE = LineSearch(1e-4, 0.5, 10 / 9, 4, 0.4)
BARZILAI_BORWEIN = LineSearch(1e-4, 0.5, 4.0, 4, 1e-2, barzilai_borwein=True)


@pytest.mark.parametrize("rule", [RULE, BARZILAI_BORWEIN])
def test_line_searches_find_the_minimum_although_errors_start_larger_than_the_descent(rule):
    controller = Maid(first=10.0).begin(1e-6)
    search = Noisy(bowl([1.0, 5.0], [1.5, -2.0]), controller, size=2)
    assert descend_along_lines(search, controller, rule, 1e-6) in ("flat", "short")
    np.testing.assert_allclose(search.points[-1], [1.5, -2.0], atol=5e-3)
    assert search.errors[0] > 0.1
    assert search.errors[-1] < 1e-3


def test_steps_of_barzilai_and_borwein_take_fewer_evaluations():
    counts = []
    for rule in (RULE, BARZILAI_BORWEIN):
        controller = Maid(first=1e-8).begin(1e-10)
        search = Noisy(bowl([1.0, 30.0], [3.0, -2.0]), controller, size=2)
        descend_along_lines(search, controller, rule, 1e-10)
        np.testing.assert_allclose(search.points[-1], [3.0, -2.0], atol=1e-2)
        counts.append(len(search.points))
    assert counts[1] < counts[0]


def test_the_first_move_and_the_longest_are_as_stated():
    controller = Maid(first=1e-10).begin(1e-6)
    search = Noisy(bowl([1.0], [40.0]), controller)
    descend_along_lines(search, controller, BARZILAI_BORWEIN, 1e-6)
    moves = np.abs(np.diff(np.concatenate(search.points)))
    assert moves[0] == pytest.approx(1e-2)
    assert moves.max() <= LONGEST * (1 + 1e-9)


def test_hoag_finds_the_minimum_while_tolerances_fall():
    controller = Hoag("quadratic", first=1e-2).begin(1e-8)
    search = Noisy(bowl([2.0], [1.5]), controller)
    assert descend_by_hoag(search, controller, 1e-8) == "flat"
    assert search.points[-1][0] == pytest.approx(1.5, abs=1e-2)
    assert search.errors[-1] < search.errors[0]


def test_hoag_takes_back_what_rises_and_halves_the_tolerance():
    controller = Hoag("exponential", first=1e-6).begin(1e-9)

    def wall(u):
        return (float(u[0]), np.array([1.0])) if u[0] > -0.6 else (10.0, np.array([-1.0]))

    search = Noisy(wall, controller, steps=3)
    with pytest.raises(OutOfSteps):
        descend_by_hoag(search, controller, 1e-9)
    first, risen, again = (float(p[0]) for p in search.points)
    assert (first, risen) == (0.0, -LONGEST)
    assert again == pytest.approx(-0.5, rel=1e-5)
    assert wall(np.array([risen]))[0] > RISE
    assert controller.factor == pytest.approx(0.5)


def test_a_flat_start_ends_at_once():
    controller = Maid(first=1e-300, floor=1e-300).begin(1e-6)
    search = Noisy(lambda u: (1.0, np.zeros(1)), controller)
    search.controller.accuracy = type(controller.accuracy)(0.0, 0.0, False, True)
    assert descend_along_lines(search, controller, RULE, 1e-6) == "flat"
