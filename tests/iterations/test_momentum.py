"""Nesterov's momentum on maps that it helps, and on maps that it would spoil."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import ParameterError
from opalg.iterations import BatchedMomentum, Momentum, Picard
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


def test_samples_have_momentum_of_their_own(rng, lib):
    """Iterates, restarts and ends are those of each sample alone, while rows of others are dropped on the way."""
    matrices = np.stack([symmetric(rng, np.linspace(-0.9, top, 8)) for top in (0.3, 0.9, 0.97, 0.99, 0.995)])
    shifts = rng.normal(size=(5, 8))
    m, c = lib.asarray(matrices), lib.asarray(shifts)
    together = BatchedMomentum(lambda z: lib.xp.matmul(m, z[:, :, None])[:, :, 0] + c, lib, 1e-6)
    together.start(lib.zeros((5, 8)))
    while together.outcome is None and together.products < 20000:
        together.advance()
    assert together.outcome == "converged"
    restarts = 0
    for i in range(5):
        alone = Momentum(lambda z, i=i: lib.xp.matmul(m[i, ...], z) + c[i, ...], lib)
        alone.start(lib.zeros((8,)))
        scale = 0.0
        while not alone.residual <= 1e-6 * scale:
            alone.advance()
            scale = np.linalg.norm(lib.to_numpy(alone.state))
        restarts += alone.restarts
        assert alone.products == together.counts[i]
        np.testing.assert_allclose(lib.to_numpy(together.state)[i], lib.to_numpy(alone.state), rtol=1e-7, atol=1e-10)
    assert restarts == together.fallbacks > 0
    assert len(set(together.counts)) > 1


def test_momentum_of_samples_is_given_up_one_by_one():
    """A rotation on which momentum never helps, beside a sample on which it does."""
    turn = 0.97 * np.array([[np.cos(1.2), -np.sin(1.2)], [np.sin(1.2), np.cos(1.2)]])

    def apply(z):
        return np.stack([turn @ z[0] + 1.0, 0.999 * z[1] + 1.0])

    found = {}
    for patience in (0, 3):
        found[patience] = BatchedMomentum(apply, backend("numpy"), 1e-9, patience=patience)
        found[patience].start(np.zeros((2, 2)))
        while found[patience].outcome is None and found[patience].products < 50000:
            found[patience].advance()
        np.testing.assert_allclose(found[patience].state[0], np.linalg.solve(np.eye(2) - turn, np.ones(2)), rtol=1e-6)
    assert found[3].counts[1] < 0.2 * found[0].counts[1]
    assert found[0].fallbacks == 0 and found[0].counts[0] <= found[3].counts[0] < 1.2 * found[0].counts[0]
