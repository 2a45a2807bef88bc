"""The memory of Anderson acceleration for many samples, beside least squares one by one."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.iterations.sample_history import SampleHistory

NUMPY = backend("numpy")
ALL = np.ones(3, dtype=bool)


def filled(rng, memory=2, steps=3):
    """A history after some steps, with the rows of residuals and images that it saw."""
    history = SampleHistory(NUMPY, memory, 0.0, (3, 6))
    f, g = rng.normal(size=(2, steps + 1, 3, 6))
    for k in range(steps):
        history.remember(ALL, ALL, (g[k + 1], g[k]), (f[k + 1], f[k]))
    return history, f, g


def test_weights_are_those_of_least_squares(rng):
    history, f, g = filled(rng)
    last = rng.normal(size=(3, 6))
    weights = history.weights(last)
    combined = history.combined(weights)
    for s in range(3):
        differences = np.stack([f[2, s] - f[1, s], f[3, s] - f[2, s]], axis=1)
        found = np.linalg.lstsq(differences, last[s], rcond=None)[0]
        images = np.stack([g[2, s] - g[1, s], g[3, s] - g[2, s]], axis=1)
        np.testing.assert_allclose(combined[s], images @ found, rtol=1e-10)


def test_what_is_forgotten_has_no_weights(rng):
    history, _, _ = filled(rng)
    history.forget(np.array([False, True, False]))
    weights = history.weights(rng.normal(size=(3, 6)))
    assert np.all(weights[:, 1] == 0)
    assert np.all(weights[:, [0, 2]] != 0)


def test_samples_that_are_kept_keep_their_weights(rng):
    history, _, _ = filled(rng)
    last = rng.normal(size=(3, 6))
    before = history.weights(last)
    history.keep(np.array([0, 2]))
    np.testing.assert_array_equal(history.weights(last[[0, 2]]), before[:, [0, 2]])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_difference_that_is_not_finite_is_left_out(rng, broken):
    history, f, g = filled(rng)
    bad = g[0].copy()
    bad[1] = broken
    which = np.array([True, False, True])
    history.remember(which, ALL, (bad, g[3]), (bad, f[3]))
    weights = history.weights(rng.normal(size=(3, 6)))
    assert np.all(np.isfinite(weights))
    assert np.count_nonzero(weights[:, 1]) == 1
    assert np.all(np.isfinite(history.combined(weights)))


def test_without_memory_there_are_no_weights(rng):
    history = SampleHistory(NUMPY, 0, 0.0, (3, 6))
    f = rng.normal(size=(3, 6))
    history.remember(ALL, ALL, (f, 2 * f), (f, 2 * f))
    assert history.weights(f) is None
