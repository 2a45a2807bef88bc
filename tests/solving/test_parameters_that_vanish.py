"""What a parameter's value makes of an energy is found when it is bound: no rule and no method trusts the old value."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa


@pytest.mark.parametrize("method", ["proximal_gradient", "admm"])
@pytest.mark.parametrize("value", [0.0, -1.5])
@pytest.mark.parametrize("constrained", [False, True])
def test_a_factor_inside_a_term_may_vanish_or_change_its_sign(rng, method, value, constrained):
    weights, y = rng.random(6) + 0.5, rng.standard_normal(6)
    x, p = oa.Variable((6,), name="x"), oa.Parameter(1.0, name="p")

    def energy(factor):
        term = oa.indicator(factor * x <= 0.2) if constrained else 0.1 * oa.norm1(factor * x)
        return 0.5 * oa.sum_squares(oa.Diagonal(weights) @ x - y) + term

    solution = oa.compile(energy(p), method=method).solve(tol=1e-10, max_iter=5000, params={p: value})
    if constrained:
        free = y / weights
        expected = free if value == 0 else np.maximum(free, 0.2 / value)
    else:
        moved = weights * y
        expected = np.sign(moved) * np.maximum(np.abs(moved) - 0.1 * abs(value), 0) / weights**2
    assert solution and np.allclose(solution.x, expected, atol=1e-6)


@pytest.mark.parametrize(
    "operator", [oa.Patches((6,), (2,), stride=(1,), boundary="periodic"), oa.RFFT((6,))], ids=repr
)
def test_a_weighted_analysis_operator_is_solved_right_by_whatever_is_chosen(rng, operator):
    weighted = oa.Diagonal(rng.random(operator.out_shape) + 0.5) @ operator
    y = weighted @ rng.standard_normal(6) + rng.standard_normal(operator.out_shape)
    x = oa.Variable((6,), name="x")
    solution = oa.minimize(0.5 * oa.sum_squares(weighted @ x - y), tol=1e-10)
    dense, data = weighted.to_dense(), y.ravel()
    if np.iscomplexobj(dense):
        dense, data = np.concatenate([dense.real, dense.imag]), np.concatenate([data.real, data.imag])
    assert solution and np.allclose(solution.x, np.linalg.lstsq(dense, data)[0], atol=1e-7)
