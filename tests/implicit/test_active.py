"""The active part of terms, found from nothing but the derivatives of their proxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.active import Active
from tests.implicit.points import lineariser_of, refined


def active(energy: oa.Energy, **options: Any) -> Active:
    found = refined(oa.compile(energy, **options).solve(tol=1e-10, max_iter=20_000, on_failure="return")).active
    assert found is not None
    return found


def test_l1_is_flat_on_its_support() -> None:
    x = oa.Variable(4)
    y = np.array([2.0, 0.1, -1.5, 0.3])
    found = active(0.5 * oa.sum_squares(x - y) + 0.5 * oa.norm1(x), method="proximal_gradient")
    assert found.forms == ("flat",)
    np.testing.assert_array_equal(found.masks[0], [1, 0, 1, 0])


def test_groups_have_the_curvature_of_their_norms() -> None:
    y = np.array([[3.0, 4.0], [0.1, 0.2]])
    x = oa.Variable((2, 2))
    energy = 0.5 * oa.sum_squares(x - y) + oa.norm21(x, axis=1)
    found = active(energy, method="proximal_gradient")
    assert found.forms == ("hessian",)
    np.testing.assert_array_equal(found.masks[0], [[1, 1], [0, 0]])


def test_an_elastic_net_has_a_diagonal_curvature() -> None:
    x = oa.Variable(3)
    y = np.array([2.0, -0.3, 1.0])
    found = active(0.5 * oa.sum_squares(x - y) + 2.0 * oa.elastic_net(x, 0.3), method="proximal_gradient")
    assert found.forms == ("diagonal",)
    mask, curvature = found.masks[0], found.diagonals[0]
    np.testing.assert_allclose(curvature[mask > 0], curvature[mask > 0][0])
    assert curvature[mask > 0][0] > 0


def test_the_nuclear_norm_holds_no_entries(rng: np.random.Generator) -> None:
    x = oa.Variable((4, 5))
    y = np.outer(np.arange(1, 5), np.ones(5)) + 0.1 * rng.standard_normal((4, 5))
    energy = 0.5 * oa.sum_squares(x - y) + 1.0 * oa.nuclear_norm(x)
    solution = oa.compile(energy, method="proximal_gradient").solve(tol=1e-10)
    here = refined(solution)
    assert here.active is not None and not here.active.by_entries
    assert lineariser_of(solution).margin(here) == (None, ())  # moving entries says nothing of singular values


@pytest.mark.parametrize("amount", [1e-3, 1e-6])
def test_the_margin_is_the_distance_to_a_kink(amount: float) -> None:
    # y - lambda = amount is how far the smallest entry of x is from zero, relative to the largest, 1
    y = np.array([1.5, 0.5 + amount, 0.2])
    x = oa.Variable(3)
    solution = oa.compile(0.5 * oa.sum_squares(x - y) + 0.5 * oa.norm1(x), method="proximal_gradient").solve(tol=1e-12)
    margin, flags = lineariser_of(solution).margin(refined(solution))
    assert margin is not None and amount / 4 <= margin <= 2 * amount and flags == ()
