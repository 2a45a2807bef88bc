"""Heuristic gradients sample by sample: one whose series has no sum leaves the others alone."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa


def plan_of(factors):
    """``x = factor x + b`` for each sample."""
    x = oa.Variable((len(factors), 3), name="x")
    b = oa.Parameter(np.ones((len(factors), 3)), name="b")
    scales = np.repeat(np.asarray(factors)[:, None], 3, axis=1)
    return oa.fixed_point(x, oa.Diagonal(scales) @ x + b, sample_axes=1), b


@pytest.mark.parametrize("mode", ["neumann", "phantom"])
def test_a_series_without_a_sum_is_lost_alone(mode):
    plan, b = plan_of([0.5, 1e6])
    found = plan.solve(tol=1e-10, on_failure="return")
    pulled = found.vjp(np.ones((2, 3)), b, mode=mode, terms=120, on_inexact="return")
    np.testing.assert_allclose(pulled[b][0], 2.0, rtol=1e-6)
    assert np.all(pulled[b][1] == 0)


def test_without_samples_it_is_an_error():
    x, b = oa.Variable(3, name="x"), oa.Parameter(np.ones(3), name="b")
    found = oa.fixed_point(x, 1e6 * x + b).solve(tol=1e-6, on_failure="return")
    with pytest.raises(oa.NotAContractionError, match="no sum"):
        found.vjp(np.ones(3), b, mode="neumann", terms=120, on_inexact="return")
