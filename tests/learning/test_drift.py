"""Runs that go on moving are told from runs that have settled."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.learning.drift import FEWEST, Drift

LIB = backend()


def moves(points, steady=True):
    drift = Drift(LIB, len(points))
    for point in points:
        drift.add(np.asarray(point, float))
    return drift.moves(steady)


def test_settled_iterates_are_left_alone(rng):
    for length in (40, 103, 400):
        assert moves(1.0 + 0.1 * rng.normal(size=(length, 50))) is None
    assert moves(1.0 + 0.5 ** np.arange(80)[:, None] * np.ones((80, 5))) is None


def test_a_steady_drift_is_seen(rng):
    steady = 1.0 + 0.01 * np.arange(100)[:, None] * np.ones((100, 20)) + 0.01 * rng.normal(size=(100, 20))
    assert moves(steady) == pytest.approx(0.25 / 1.87, rel=0.1)


def test_a_drift_that_fades_counts_with_momentum_only():
    fading = 1.0 + 0.985 ** np.arange(100)[:, None] * np.ones((100, 4))
    assert moves(fading) is None
    assert moves(fading, steady=False) > 0.05


def test_short_runs_say_nothing():
    assert moves(np.arange(FEWEST - 1)[:, None] * np.ones((1, 3))) is None


def test_an_online_run_that_leaves_its_fixed_point_warns():
    x = oa.Variable(6, name="x")
    rng = np.random.default_rng(0)
    blocks = oa.vstack([oa.Matrix(rng.normal(size=(6, 6)) / 3) for _ in range(6)])
    data = 0.5 / 6 * oa.sum_squares(blocks @ x - rng.normal(size=36))
    for acceleration in ("none", "nesterov"):
        plan = oa.fixed_point(x, x - 0.1 * oa.grad(data) + 0.2 * x, acceleration=acceleration)
        with pytest.warns(UserWarning, match="have not settled"):
            sol = oa.online(plan, 2).solve(max_iter=60)
        assert "moved on" in sol.message
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            oa.online(plan, 2).solve(max_iter=60, on_failure="return")
