"""Variables and parameters that are single numbers."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa


@pytest.mark.parametrize("backend", ["numpy", "torch", "array_api_strict"])
def test_a_scalar_variable(backend: str) -> None:
    b, y = oa.Variable((), name="b"), oa.Parameter(np.array(2.0), name="y")
    lam = oa.Parameter(0.5, name="lambda", nonneg=True)
    plan = oa.compile(0.5 * oa.sum_squares(b - y) + lam * oa.norm1(b), backend=backend)
    solution = plan.solve()
    found = solution.vjp(plan.backend.asarray(3.0), [y, lam])
    assert float(found[y]) == 3.0 and float(found[lam]) == -3.0
    assert float(solution.jvp({y: 1.0})) == 1.0
