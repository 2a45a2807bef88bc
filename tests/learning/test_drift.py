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


def test_a_short_run_whose_steps_grow_is_seen_to_flee():
    def grown(points):
        drift = Drift(LIB, len(points))
        for before, point in zip([np.zeros(3), *points], points, strict=False):
            drift.add(point, float(np.linalg.norm(point - before)))
        return drift.grown()

    swinging = (-2.0) ** np.arange(12)[:, None] * np.ones((12, 3))
    assert grown(list(swinging)) == pytest.approx(2.0**9)
    assert grown([1.0 - 0.8 ** np.arange(12)[i] * np.ones(3) for i in range(12)]) is None
    tiny = [1.0 + 1e-9 * 4.0**i * np.ones(3) for i in range(12)]  # steps that grow, and are of no size yet
    assert grown(tiny) is None


def test_an_online_run_that_flees_says_so_after_few_iterations():
    x = oa.Variable(4, name="x")
    rng = np.random.default_rng(0)
    rows = oa.vstack([oa.Matrix(rng.standard_normal((3, 4))) for _ in range(5)])
    plan = oa.fixed_point(x, x - 0.5 * oa.grad(0.5 * oa.sum_squares(rows @ x - np.ones(15))))
    with pytest.warns(oa.ConvergenceWarning, match="run away.*shorten its step"):
        oa.online(plan, 2).solve(max_iter=10)
    assert "run away" in oa.online(plan, 2).solve(max_iter=10, on_failure="return").message
