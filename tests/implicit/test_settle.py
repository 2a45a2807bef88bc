"""What is held where multipliers are not unique."""

from __future__ import annotations

import numpy as np

import opalg as oa
from opalg.implicit.settle import Settler
from tests.implicit.points import lineariser_of


def flat_square(rng: np.random.Generator) -> oa.Solution:
    """A picture that becomes constant: all differences are held, and many multipliers hold them."""
    x = oa.Variable((6, 6))
    y = 0.1 * rng.standard_normal((6, 6))
    energy = 0.5 * oa.sum_squares(x - y) + 0.4 * oa.total_variation(x, isotropic=False)
    return oa.compile(energy, method="primal_dual").solve(tol=1e-10, max_iter=20_000)


def test_multipliers_on_their_bounds_are_moved_inside(rng: np.random.Generator) -> None:
    lineariser = lineariser_of(flat_square(rng))
    here = lineariser.at(lineariser.start)
    count = 1
    place = lineariser.equation.v[0].shape
    # a flow around one square changes no sum, and takes a multiplier to its bound exactly
    flow = np.zeros(place)
    flow[0, 1, 1], flow[1, 2, 1], flow[0, 1, 2], flow[1, 1, 1] = 1.0, 1.0, -1.0, -1.0
    v, s = here.point[count], lineariser.programs.controls[lineariser.equation.split[0].penalty]
    pushed = v + np.min(0.4 / s - (flow * v)[flow != 0]) * flow
    assert np.isclose(s * np.abs(pushed).max(), 0.4, rtol=1e-14)
    there = lineariser.at([here.point[0], pushed])
    assert there.relative <= 1e-8
    found, _ = Settler(lineariser.equation, lineariser.inspector, lineariser.at)(there)
    assert found.relative <= 1e-9
    assert np.all(np.abs(s * found.point[count]) < 0.4 * (1 - 1e-8))
    assert found.active is not None and not np.any(found.active.masks[0])


def test_a_settled_point_is_left_alone(rng: np.random.Generator) -> None:
    lineariser = lineariser_of(flat_square(rng))
    here = lineariser.refined()[0]
    found, products = Settler(lineariser.equation, lineariser.inspector, lineariser.at)(here)
    assert found is here and products == 0
