"""Points that are proven to be exact minimisers, and those that are not."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.proof import is_proven
from tests.implicit.points import lineariser_of

Y = np.array([2.0, -0.3, 1.2, 0.1, -1.7, 0.8])


def proven(energy: oa.Energy, **options: object) -> bool:
    lineariser = lineariser_of(oa.compile(energy, **options).solve(tol=1e-6, max_iter=20_000, on_failure="return"))
    here = lineariser.refined()[0]
    assert lineariser.problem is not None
    return is_proven(here, lineariser.problem, lineariser.inspector, lineariser.margin(here)[0])


X = oa.Variable(6, name="x")
FIT = 0.5 * oa.sum_squares(X - Y)
CASES = {
    "quadratic": (FIT, True),
    "l1": (FIT + 0.5 * oa.norm1(X), True),
    "sign": (FIT + oa.indicator(X >= 0), True),
    "elastic net": (FIT + oa.elastic_net(X, 0.5, 0.2), True),
    "differences": (FIT + 0.4 * oa.norm1(oa.Gradient((6,)) @ X), True),
    "smooth": (FIT + oa.log_cosh(X, 0.5), False),
    "group": (FIT + 0.5 * oa.norm2(X), False),
}


@pytest.mark.parametrize("name", CASES)
def test_piecewise_quadratic_energies_are_proven(name: str) -> None:
    energy, expected = CASES[name]
    assert proven(energy) is expected


def test_a_point_on_a_kink_is_not_proven() -> None:
    x = oa.Variable(2)
    assert not proven(0.5 * oa.sum_squares(x - np.array([0.5, 2.0])) + 0.5 * oa.norm1(x))  # |y| = lambda


def test_a_point_that_is_not_exact_is_not_proven() -> None:
    solution = oa.compile(FIT + 0.4 * oa.norm1(oa.Gradient((6,)) @ X), method="primal_dual").solve(tol=1e-2)
    lineariser = lineariser_of(solution)
    here = lineariser.at(lineariser.start)
    assert lineariser.problem is not None
    assert not is_proven(here, lineariser.problem, lineariser.inspector, 1.0)
