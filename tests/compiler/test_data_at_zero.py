"""Energies whose data are zero, so that nothing but the start has a size."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.solving.status import Status


@pytest.mark.parametrize("start", [0.1, 1.0, 40.0])
def test_a_nonconvex_energy_of_data_at_zero_is_solved_from_anywhere(start):
    x = oa.Variable(4, name="x")
    energy = 0.05 * oa.sum_squares(x - np.zeros(4)) - 3.0 * oa.pointwise(oa.activation("tanh"), x)
    sol = oa.compile(energy, nonconvex=True).solve(np.full(4, start), tol=1e-8)
    slope = 0.1 * sol.x - 3.0 * np.tanh(sol.x)
    assert sol.status is Status.STATIONARY and np.isfinite(sol.certificate.relative)
    assert np.linalg.norm(slope) < 1e-5 and sol.x.min() > 29.0
