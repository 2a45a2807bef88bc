"""Points and the variables that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa


@pytest.mark.parametrize("constraint", ["ball", "box", "simplex"])
def test_a_polished_point_stays_inside_a_constraint(constraint):
    """The energy of a point that rounding puts outside would be infinite."""
    sets = {"ball": oa.ball2(0.7), "box": oa.box(-0.1, 0.2), "simplex": oa.simplex(1.0)}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = oa.Variable(8, name="x")
        data = 0.5 * oa.sum_squares(oa.Matrix(rng.normal(size=(6, 8))) @ x - rng.normal(size=6))
        energy = data + 0.1 * oa.norm1(oa.Gradient((8,)) @ x) + oa.indicator(sets[constraint], x)
        sol = oa.compile(energy).solve(tol=1e-9, max_iter=20_000)
        polished = sol.polish()
        assert energy.value(polished) <= sol.value + 1e-9 * abs(sol.value)
        np.testing.assert_allclose(polished, sol.x, atol=1e-3)
