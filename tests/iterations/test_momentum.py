"""Nesterov's momentum on maps that it helps, and on maps that it would spoil."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import ParameterError
from opalg.iterations import Momentum, Picard
from tests.iterations.systems import drive, symmetric

NUMPY = backend("numpy")


def test_it_accelerates_a_gradient_step(rng, lib):
    matrix, shift = symmetric(rng, np.linspace(0.0, 0.999, 30)), rng.normal(size=30)
    m, c = lib.asarray(matrix), lib.asarray(shift)

    def step(z):
        return lib.matmul(m, z) + c

    plain, fast = Picard(step, lib), Momentum(step, lib)
    many, few = (drive(i, 1e-6, 20000, lib.zeros((30,))) for i in (plain, fast))
    assert few < many / 3
    expected = np.linalg.solve(np.eye(30) - matrix, shift)
    np.testing.assert_allclose(lib.to_numpy(fast.state), expected, rtol=1e-3)


def test_it_changes_the_iterates(rng):
    matrix, shift = symmetric(rng, np.linspace(0.0, 0.9, 10)), rng.normal(size=10)
    plain, fast = (kind(lambda z: matrix @ z + shift, NUMPY) for kind in (Picard, Momentum))
    for iteration in (plain, fast):
        drive(iteration, 0.0, 5, np.zeros(10))
    assert np.linalg.norm(plain.state - fast.state) > 1e-3 * np.linalg.norm(plain.state)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_safeguard_saves_a_rotation_that_momentum_makes_grow(guarded):
    angle = 1.2
    rotation = 0.97 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    iteration = Momentum(lambda z: rotation @ z + 1.0, NUMPY, growth=2.0 if guarded else np.inf)
    drive(iteration, 1e-8, 2000 if guarded else 400, np.zeros(2))
    expected = np.linalg.solve(np.eye(2) - rotation, np.ones(2))
    error = np.linalg.norm(iteration.state - expected)
    assert error < 1e-5 if guarded else error > 1.0
    assert (iteration.restarts > 0) == guarded


def test_it_stops_at_the_last_finite_iterate():
    iteration = Momentum(lambda z: np.where(z > 8, np.nan, 2 * z), NUMPY)
    drive(iteration, 0.0, 50, np.ones(2))
    assert iteration.outcome == "nonfinite"
    assert np.all(np.isfinite(iteration.state))


def test_a_safeguard_that_allows_shrinking_only_is_refused():
    with pytest.raises(ParameterError, match="growth"):
        Momentum(lambda z: z, NUMPY, growth=0.5)
